//! A plugin without its types: descriptors, and functions over JSON.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Applied, Ballot, Cast, Context, Error, Folded, Hook, Http, Installed, Object, Place, Progress,
    Received, Result, Routed, Schema, Signal, Start, Started, View,
};
use crate::model::PluginDescriptor;

/// A future that may be sent to another thread.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A step that may ask the platform.
pub type Step<I, O> = Arc<dyn Fn(Call, I) -> BoxFuture<Result<O>> + Send + Sync>;

/// A step that only computes.
pub type Pure<I, O> = Arc<dyn Fn(I) -> Result<O> + Send + Sync>;

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
}

impl Call {
    pub(super) fn context<C: DeserializeOwned, O: DeserializeOwned>(self) -> Result<Context<C, O>> {
        Ok(Context {
            config: parse(Value::Object(self.config), "config")?,
            operator: parse(Value::Object(self.operator), "operator")?,
            http: self.http,
            place: self.place,
            state: self.state,
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
