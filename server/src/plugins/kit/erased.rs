//! A plugin without its types: descriptors, functions over JSON, and the way there.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Act, Applied, Ballot, Ballots, Cast, Clock, Context, Error, Folded, Hook, Http, Installed,
    OAuth, Object, Place, Process, Progress, Received, Result, Routed, Run, Schema, Signal, Start,
    Started, View,
};
use crate::model::{Credentials, PluginDescriptor};

/// A future that may be sent to another thread.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A step that may ask the platform.
pub type Step<I, O> = Arc<dyn Fn(Call, I) -> BoxFuture<Result<O>> + Send + Sync>;

/// A step that only computes.
pub type Pure<I, O> = Arc<dyn Fn(I) -> Result<O> + Send + Sync>;

/// The way to what a platform granted to the installation. The gateway gives it.
pub type Held = Arc<dyn Fn() -> BoxFuture<Result<Credentials>> + Send + Sync>;

/// A plugin: a plain struct of descriptors, schemas and functions. Made by
/// [`super::Builder`].
pub struct Plugin {
    /// What the catalogue tells.
    pub descriptor: PluginDescriptor,
    /// The schema of an installation's configuration.
    pub config: Schema,
    /// The schema of the operator's settings; each property is a setting
    /// `METAGOV_<PLUGIN>_<PROPERTY>`.
    pub operator: Schema,
    /// What it can perform, by full name.
    pub actions: BTreeMap<String, Action>,
    /// What it can run, by full name.
    pub processes: BTreeMap<String, ProcessSteps>,
    /// Whether it comes to its platform as the operator's application, for all
    /// communities: then a platform_id is of one community only, which has proved that.
    pub operator_credentials: bool,
    /// How it is authorized, if it is.
    pub oauth: Option<OAuth>,
    /// Checks credentials, learns platform_id and first state.
    pub setup: Step<(), Installed>,
    /// Undoes what `setup` registered at the platform.
    pub teardown: Option<Step<(), ()>>,
    /// Whether hooks are taken without the slug, since `receive` verifies a signature.
    pub verifies: bool,
    /// Verifies a hook and says what it means.
    pub receive: Option<Pure<(Call, Hook), Received>>,
    /// Verifies a platform-wide hook and says where it goes. Gets the operator's
    /// settings.
    pub route: Option<Pure<(Object, Hook), Routed>>,
    /// Asks a platform that sends no hooks what is new.
    pub poll: Option<Step<(), Vec<Signal>>>,
    /// Answers a [`Signal::Fetch`].
    pub fetch: Option<Step<Value, Vec<Signal>>>,
    /// Answers a [`Signal::Fold`].
    pub fold: Option<Pure<Row, Folded<Value>>>,
}

/// What a fold is given: the row's key, the row, the input.
pub type Row = (String, Option<Value>, Value);

/// An action.
pub struct Action {
    /// The schema of its parameters.
    pub parameters: Schema,
    /// The schema of its result.
    pub result: Schema,
    /// Whether it only reads.
    pub read_only: bool,
    /// Whether callers without a credential may perform it.
    pub allow_anonymous: bool,
    /// Performs it. The value is `None` if a ballot among the signals gives it.
    pub perform: Step<Value, (Option<Value>, Vec<Signal>)>,
}

/// The steps of a process.
pub struct ProcessSteps {
    /// The schema of its parameters.
    pub parameters: Schema,
    /// The schema of its outcome.
    pub outcome: Schema,
    /// Whether the gateway asks in intervals how it stands.
    pub polled: bool,
    /// Starts it on the platform.
    pub start: Step<Start<Value>, Started<Value>>,
    /// Asks the platform how it stands.
    pub refresh: Step<Value, Progress<Value>>,
    /// Ends it on the platform.
    pub close: Option<Step<Value, Progress<Value>>>,
    /// Withdraws it from the platform.
    pub cancel: Option<Step<Value, ()>>,
    /// Outcome and tally of a state.
    pub view: Pure<Value, View<Object>>,
    /// If the gateway holds its ballots.
    pub ballots: Option<BallotSteps>,
}

/// The steps of a vote whose ballots the gateway holds. `input` is the parameters.
pub struct BallotSteps {
    /// Decides on one ballot: (input, state, cast).
    pub apply: Pure<(Value, Value, Cast<Value>), Applied<Value>>,
    /// The state counted afresh: (input, state, ballots).
    pub count: Pure<(Value, Value, Vec<Ballot>), Value>,
    /// The options that a ballot counts for: (input, ballots), a list for each ballot.
    pub chosen: Pure<(Value, Vec<Ballot>), Vec<Vec<String>>>,
    /// Redraws the vote on its platform.
    pub show: Step<Value, ()>,
}

/// A [`Context`] without its types.
#[derive(Clone)]
pub struct Call {
    /// The installation's configuration, with its secrets.
    pub config: Object,
    /// The operator's settings for the plugin.
    pub operator: Object,
    /// The way to the platform.
    pub http: Http,
    /// For whom the step runs.
    pub place: Place,
    /// The rows of the installation's state whose key has no `/`.
    pub state: Arc<BTreeMap<String, Value>>,
    /// What the platform granted.
    pub credentials: Held,
    /// What time it is.
    pub clock: Clock,
}

impl Call {
    pub(super) fn context<C: DeserializeOwned, O: DeserializeOwned>(self) -> Result<Context<C, O>> {
        Ok(Context {
            config: parse(Value::Object(self.config), "config")?,
            operator: parse(Value::Object(self.operator), "operator")?,
            http: self.http,
            place: self.place,
            state: self.state,
            credentials: self.credentials,
            clock: self.clock,
        })
    }
}

/// Reads what passed its schema. What still does not fit its type (a whole number too
/// large for it, say) is the caller's fault at `field`; no value is repeated.
pub(super) fn parse<T: DeserializeOwned>(value: Value, field: &str) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        tracing::debug!(field, kind = ?error.classify(), "passed its schema, not its type");
        Error::invalid(
            field,
            "a value is out of range, or not of the kind that is expected",
        )
    })
}

/// An `async fn(&Context)` without its types.
pub(super) fn run<C, O, R, F>(f: F) -> Step<(), R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    O: DeserializeOwned + Send + Sync + 'static,
    R: Send + 'static,
    F: for<'a> Run<'a, Context<C, O>, R>,
{
    let f = Arc::new(f);
    Arc::new(move |call: Call, ()| {
        let f = f.clone();
        let step: BoxFuture<Result<R>> = Box::pin(async move { f.run(&call.context()?).await });
        step
    })
}

/// An `async fn(&Context, Input)` without its types; `field` names its input in faults.
pub(super) fn act<C, O, I, R, F>(f: F, field: &'static str) -> Step<Value, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    O: DeserializeOwned + Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    R: Send + 'static,
    F: for<'a> Act<'a, Context<C, O>, I, R>,
{
    let f = Arc::new(f);
    Arc::new(move |call: Call, input| {
        let f = f.clone();
        Box::pin(async move { f.act(&call.context()?, parse(input, field)?).await })
    })
}

/// A process without its types.
pub(super) fn process_steps<C, O, P>(
    process: &Arc<P>,
    parameters: Schema,
    outcome: Schema,
) -> ProcessSteps
where
    C: DeserializeOwned + Send + Sync + 'static,
    O: DeserializeOwned + Send + Sync + 'static,
    P: Process<Context = Context<C, O>>,
{
    let (starts, refreshes, views) = (process.clone(), process.clone(), process.clone());
    ProcessSteps {
        parameters,
        outcome,
        polled: false,
        start: Arc::new(move |call, start: Start<Value>| {
            let process = starts.clone();
            Box::pin(async move {
                let cx = call.context()?;
                let Start {
                    process_id,
                    input,
                    close_time,
                } = start;
                let input = parse(input, "parameters")?;
                let started = process
                    .start(
                        &cx,
                        Start {
                            process_id,
                            input,
                            close_time,
                        },
                    )
                    .await?;
                started.erased()
            })
        }),
        refresh: Arc::new(move |call, state| {
            let process = refreshes.clone();
            Box::pin(async move {
                let cx = call.context()?;
                let progress = process.refresh(&cx, parse(state, "state")?).await?;
                progress.try_map(|state| to_json(&state))
            })
        }),
        view: Arc::new(move |state| {
            let view = views.view(&parse(state, "state")?);
            let outcome = view.outcome.as_ref().map(to_json).transpose()?;
            let outcome = outcome.and_then(|o| o.as_object().cloned());
            let tally = view.tally;
            Ok(View { outcome, tally })
        }),
        close: None,
        cancel: None,
        ballots: None,
    }
}

/// A vote without its types.
pub(super) fn ballot_steps<C, O, P>(process: &Arc<P>) -> BallotSteps
where
    C: DeserializeOwned + Send + Sync + 'static,
    O: DeserializeOwned + Send + Sync + 'static,
    P: Ballots<Context = Context<C, O>>,
{
    let (applies, counts) = (process.clone(), process.clone());
    let (chooses, shows) = (process.clone(), process.clone());
    BallotSteps {
        apply: Arc::new(move |(input, state, cast)| {
            let cast = Cast {
                ballot: typed(cast.ballot)?,
                previous: cast.previous.map(typed).transpose()?,
                answer_to: cast.answer_to,
            };
            let input = parse(input, "parameters")?;
            applies.apply(&input, parse(state, "state")?, cast).erased()
        }),
        count: Arc::new(move |(input, state, ballots)| {
            let ballots: Vec<_> = ballots.into_iter().map(typed).collect::<Result<_>>()?;
            let input = parse(input, "parameters")?;
            to_json(&counts.count(&input, parse(state, "state")?, &ballots))
        }),
        chosen: Arc::new(move |(input, ballots)| {
            let input = parse(input, "parameters")?;
            let each = ballots
                .into_iter()
                .map(|ballot| Ok(chooses.chosen(&input, &typed(ballot)?)));
            each.collect()
        }),
        show: Arc::new(move |call, state| {
            let process = shows.clone();
            Box::pin(async move {
                let cx = call.context()?;
                process.show(&cx, parse(state, "state")?).await
            })
        }),
    }
}

fn typed<C: DeserializeOwned>(ballot: Ballot) -> Result<Ballot<C>> {
    let Ballot {
        voter,
        subject,
        choices,
    } = ballot;
    let choices = parse(choices, "parameters/choices")?;
    Ok(Ballot {
        voter,
        subject,
        choices,
    })
}

/// What a plugin made, as JSON.
pub(super) fn to_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::internal(format!("no JSON: {e}")))
}
