//! The table of contents of a plugin.

use std::{collections::BTreeMap, future::Future, marker::PhantomData, sync::Arc};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Action, Ballots, Cancel, Close, Context, Folded, Hook, Installed, OAuth, Object, Plugin,
    Process, ProcessSteps, Received, Result, Routed, Schema, Signal,
    erased::{Call, Step, act, ballot_steps, parse, process_steps, run, to_json},
};
use crate::model::{
    ActionDescriptor, AuthKind, CloseTimeSupport, EventDescriptor, PluginDescriptor,
    ProcessDescriptor,
};

/// An `async fn(&Context, Input) -> Result<Output>`.
///
/// A trait of our own, since `AsyncFn` has no bound that says that the future of the
/// call is `Send`.
pub trait Act<'a, X: 'a, I, R>: Send + Sync + 'static {
    /// Calls it.
    fn act(&self, cx: &'a X, input: I) -> impl Future<Output = Result<R>> + Send + 'a;
}

impl<'a, X, I, R, F, Fut> Act<'a, X, I, R> for F
where
    X: 'a,
    F: Fn(&'a X, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send + 'a,
{
    fn act(&self, cx: &'a X, input: I) -> impl Future<Output = Result<R>> + Send + 'a {
        self(cx, input)
    }
}

/// An `async fn(&Context) -> Result<Output>`.
pub trait Run<'a, X: 'a, R>: Send + Sync + 'static {
    /// Calls it.
    fn run(&self, cx: &'a X) -> impl Future<Output = Result<R>> + Send + 'a;
}

impl<'a, X, R, F, Fut> Run<'a, X, R> for F
where
    X: 'a,
    F: Fn(&'a X) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send + 'a,
{
    fn run(&self, cx: &'a X) -> impl Future<Output = Result<R>> + Send + 'a {
        self(cx)
    }
}

/// What an action returns: its output, or its output [`With`] signals.
pub trait Reply: Send {
    /// What the result's schema is made from.
    type Output: JsonSchema;
    /// The result as JSON, and the signals.
    fn reply(self) -> Result<(Option<Value>, Vec<Signal>)>;
}

impl<T: Serialize + JsonSchema + Send> Reply for T {
    type Output = T;
    fn reply(self) -> Result<(Option<Value>, Vec<Signal>)> {
        Ok((Some(to_json(&self)?), Vec::new()))
    }
}

/// An action's output with signals. Without an output it is the `reply` of the ballot
/// among the signals.
pub struct With<T>(pub Option<T>, pub Vec<Signal>);

impl<T: Serialize + JsonSchema + Send> Reply for With<T> {
    type Output = T;
    fn reply(self) -> Result<(Option<Value>, Vec<Signal>)> {
        let output = self.0.as_ref().map(to_json).transpose()?;
        Ok((output, self.1))
    }
}

/// Builds a plugin. `At` is what was added last.
pub struct Builder<C, O, At = ()> {
    pub(super) plugin: Plugin,
    types: PhantomData<fn() -> (C, O)>,
    at: At,
}

/// After `.action(…)`.
pub struct AnAction;
/// After `.process(…)`.
pub struct AProcess<P>(Arc<P>);

impl Plugin {
    /// Begins a plugin with configuration `C` and operator settings `O`.
    #[allow(clippy::new_ret_no_self)]
    pub fn new<C, O>(name: &str, description: &str) -> Builder<C, O>
    where
        C: DeserializeOwned + JsonSchema + Send + Sync + 'static,
        O: DeserializeOwned + JsonSchema + Send + Sync + 'static,
    {
        let config = Schema::of::<C>();
        let descriptor = PluginDescriptor {
            name: name.to_owned(),
            description: description.to_owned(),
            auth_kind: match config.secret_names().is_empty() {
                true => AuthKind::None,
                false => AuthKind::ApiKey,
            },
            config_schema: config.document.clone(),
            uses_webhook: false,
            actions: Vec::new(),
            processes: Vec::new(),
            events: Vec::new(),
            setup_help: String::new(),
            unavailable_reason: String::new(),
        };
        let plugin = Plugin {
            descriptor,
            config,
            operator: Schema::of::<O>(),
            actions: BTreeMap::new(),
            processes: BTreeMap::new(),
            operator_credentials: false,
            oauth: None,
            setup: Arc::new(|_, ()| Box::pin(async { Ok(Installed::default()) })),
            teardown: None,
            verifies: false,
            receive: None,
            route: None,
            poll: None,
            fetch: None,
            fold: None,
        };
        let types = PhantomData;
        let at = ();
        Builder { plugin, types, at }
    }
}

impl<C, O, At> Builder<C, O, At>
where
    C: DeserializeOwned + Send + Sync + 'static,
    O: DeserializeOwned + Send + Sync + 'static,
{
    /// The credentials are the operator's: one bot or application for all communities.
    /// It could read every community's server, so which one is whose must be proved: the
    /// plugin is enabled by an authorization at the platform, or by an admin; what `setup`
    /// returns as platform_id is needed, is unique in the whole gateway, and stays. Never
    /// copy it from the configuration without having asked the platform.
    pub fn operator_credentials(mut self) -> Self {
        self.plugin.operator_credentials = true;
        self
    }

    /// How to set up the platform's side, in Markdown.
    pub fn setup_help(mut self, text: &str) -> Self {
        text.clone_into(&mut self.plugin.descriptor.setup_help);
        self
    }

    /// Checks credentials, learns platform_id and first state. Runs when the plugin is
    /// enabled, reconfigured and checked. May only read, unless there is a teardown.
    pub fn setup<F>(mut self, f: F) -> Self
    where
        F: for<'a> Run<'a, Context<C, O>, Installed>,
    {
        self.plugin.setup = run(f);
        self
    }

    /// Undoes what `setup` registered at the platform.
    pub fn teardown<F>(mut self, f: F) -> Self
    where
        F: for<'a> Run<'a, Context<C, O>, ()>,
    {
        self.plugin.teardown = Some(run(f));
        self
    }

    /// Asks a platform that sends no hooks what is new.
    pub fn poll<F>(mut self, f: F) -> Self
    where
        F: for<'a> Run<'a, Context<C, O>, Vec<Signal>>,
    {
        self.plugin.poll = Some(run(f));
        self
    }

    /// Answers a [`Signal::Fetch`].
    pub fn fetch<I, F>(mut self, f: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        F: for<'a> Act<'a, Context<C, O>, I, Vec<Signal>>,
    {
        self.plugin.fetch = Some(act(f, "fetch"));
        self
    }

    /// Answers a [`Signal::Fold`]: `fold(key, row, input)`. Pure.
    pub fn fold<S, I, F>(mut self, f: F) -> Self
    where
        S: DeserializeOwned + Serialize,
        I: DeserializeOwned,
        F: Fn(&str, Option<S>, I) -> Result<Folded<S>> + Send + Sync + 'static,
    {
        self.plugin.fold = Some(Arc::new(move |(key, row, input)| {
            let row = row.map(|row| parse(row, "state")).transpose()?;
            let folded = f(&key, row, parse(input, "fold")?)?;
            let state = folded.state.as_ref().map(to_json).transpose()?;
            let signals = folded.signals;
            Ok(Folded { state, signals })
        }));
        self
    }

    /// Takes hooks of one installation, whose signature `f` verifies over the raw body.
    pub fn webhook<F>(self, f: F) -> Self
    where
        F: Fn(&Context<C, O>, &Hook) -> Result<Received> + Send + Sync + 'static,
    {
        let mut with = self.unsigned_webhook(f);
        with.plugin.verifies = true;
        with
    }

    /// Takes hooks that nobody signs: only at the secret address. Such a hook is a
    /// hint; ask the platform, and emit only what it says.
    pub fn unsigned_webhook<F>(mut self, f: F) -> Self
    where
        F: Fn(&Context<C, O>, &Hook) -> Result<Received> + Send + Sync + 'static,
    {
        self.plugin.descriptor.uses_webhook = true;
        self.plugin.receive = Some(Arc::new(move |(call, hook): (Call, Hook)| {
            f(&call.context()?, &hook)
        }));
        self
    }

    /// Takes the platform-wide hook, verifies it with the operator's settings and says
    /// where it goes.
    pub fn route<F>(mut self, f: F) -> Self
    where
        F: Fn(&O, &Hook) -> Result<Routed> + Send + Sync + 'static,
    {
        self.plugin.route = Some(Arc::new(move |(operator, hook): (Object, Hook)| {
            f(&parse(Value::Object(operator), "operator")?, &hook)
        }));
        self
    }

    /// A kind of event that may appear in the feed, such as `post_created`.
    pub fn event<D: JsonSchema>(mut self, event_type: &str, description: &str) -> Self {
        let event_type = self.full_name(event_type);
        self.plugin.descriptor.events.push(EventDescriptor {
            event_type,
            description: description.to_owned(),
            data_schema: Schema::of::<D>().document,
        });
        self
    }

    /// An action: one call to the platform, answered at once.
    pub fn action<I, R, F>(mut self, name: &str, description: &str, f: F) -> Builder<C, O, AnAction>
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        R: Reply + 'static,
        F: for<'a> Act<'a, Context<C, O>, I, R>,
    {
        let action = self.full_name(name);
        let (parameters, result) = (Schema::of::<I>(), Schema::of::<R::Output>());
        self.plugin.descriptor.actions.push(ActionDescriptor {
            action: action.clone(),
            description: description.to_owned(),
            parameters_schema: parameters.document.clone(),
            result_schema: result.document.clone(),
            read_only: false,
            allow_anonymous: false,
        });
        let f = Arc::new(f);
        let perform: Step<Value, _> = Arc::new(move |call, input| {
            let f = f.clone();
            Box::pin(async move {
                let cx = call.context()?;
                f.act(&cx, parse(input, "parameters")?).await?.reply()
            })
        });
        let steps = Action {
            parameters,
            result,
            read_only: false,
            allow_anonymous: false,
            perform,
        };
        self.plugin.actions.insert(action, steps);
        self.now_at(AnAction)
    }

    /// A process: a decision that people take over time.
    pub fn process<P>(
        mut self,
        name: &str,
        description: &str,
        process: P,
    ) -> Builder<C, O, AProcess<P>>
    where
        P: Process<Context = Context<C, O>>,
    {
        let process_type = self.full_name(name);
        let (parameters, outcome) = (Schema::of::<P::Input>(), Schema::of::<P::Outcome>());
        self.plugin.descriptor.processes.push(ProcessDescriptor {
            process_type: process_type.clone(),
            description: description.to_owned(),
            parameters_schema: parameters.document.clone(),
            outcome_schema: outcome.document.clone(),
            closable: false,
            cancellable: false,
            is_vote: false,
            close_time_support: CloseTimeSupport::None,
        });
        let process = Arc::new(process);
        let steps = process_steps(&process, parameters, outcome);
        self.plugin.processes.insert(process_type, steps);
        self.now_at(AProcess(process))
    }

    /// The plugin. Panics where the table of contents contradicts itself, so that such
    /// a plugin never starts.
    pub fn build(self) -> Plugin {
        let name = &self.plugin.descriptor.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(
            name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain),
            "{name:?} is no plugin name: [a-z][a-z0-9-]*"
        );
        let descriptor = &self.plugin.descriptor;
        assert!(
            descriptor.actions.len() == self.plugin.actions.len()
                && descriptor.processes.len() == self.plugin.processes.len(),
            "{name} has two actions or two processes of one name"
        );
        let authorizes = |oauth: &OAuth| oauth.install.is_some() || oauth.login.is_some();
        assert!(
            self.plugin.oauth.as_ref().is_none_or(authorizes),
            "{name} has an oauth for nothing: say install or login"
        );
        for process in descriptor.processes.iter().filter(|p| p.is_vote) {
            for needed in ["title", "details", "options"] {
                assert!(
                    process.parameters_schema["properties"]
                        .get(needed)
                        .is_some(),
                    "{}: a vote takes {needed}",
                    process.process_type
                );
            }
        }
        self.plugin
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}.{name}", self.plugin.descriptor.name)
    }

    pub(super) fn now_at<Next>(self, at: Next) -> Builder<C, O, Next> {
        let (plugin, types) = (self.plugin, PhantomData);
        Builder { plugin, types, at }
    }
}

impl<C, O> Builder<C, O, AnAction> {
    /// The action only reads: it may be retried freely.
    pub fn read_only(mut self) -> Self {
        let (descriptor, steps) = self.last();
        (descriptor.read_only, steps.read_only) = (true, true);
        self
    }

    /// Callers without a credential may perform the action too.
    pub fn anonymous(mut self) -> Self {
        let (descriptor, steps) = self.last();
        (descriptor.allow_anonymous, steps.allow_anonymous) = (true, true);
        self
    }

    fn last(&mut self) -> (&mut ActionDescriptor, &mut Action) {
        let descriptor = self.plugin.descriptor.actions.last_mut();
        let descriptor = descriptor.expect("comes after an action");
        let steps = self.plugin.actions.get_mut(&descriptor.action);
        (descriptor, steps.expect("was added with its descriptor"))
    }
}

impl<C, O, P: Process> Builder<C, O, AProcess<P>> {
    /// The process is a vote: its view has a tally.
    pub fn vote(mut self) -> Self {
        self.last().0.is_vote = true;
        self
    }

    /// Whether StartProcess takes a close_time.
    pub fn close_time(mut self, support: CloseTimeSupport) -> Self {
        self.last().0.close_time_support = support;
        self
    }

    /// The gateway asks in intervals how the process stands, since the platform sends
    /// no hooks about it.
    pub fn polled(mut self) -> Self {
        self.last().1.polled = true;
        self
    }

    fn last(&mut self) -> (&mut ProcessDescriptor, &mut ProcessSteps) {
        let descriptor = self.plugin.descriptor.processes.last_mut();
        let descriptor = descriptor.expect("comes after a process");
        let steps = self.plugin.processes.get_mut(&descriptor.process_type);
        (descriptor, steps.expect("was added with its descriptor"))
    }
}

impl<C, O, P> Builder<C, O, AProcess<P>>
where
    C: DeserializeOwned + Send + Sync + 'static,
    O: DeserializeOwned + Send + Sync + 'static,
    P: Process<Context = Context<C, O>>,
{
    /// CloseProcess works.
    pub fn closable(mut self) -> Self
    where
        P: Close,
    {
        let process = self.at.0.clone();
        let (descriptor, steps) = self.last();
        descriptor.closable = true;
        steps.close = Some(Arc::new(move |call, state| {
            let process = process.clone();
            Box::pin(async move {
                let cx = call.context()?;
                let progress = process.close(&cx, parse(state, "state")?).await?;
                progress.try_map(|state| to_json(&state))
            })
        }));
        self
    }

    /// CancelProcess withdraws the process from the platform too.
    pub fn cancellable(mut self) -> Self
    where
        P: Cancel,
    {
        let process = self.at.0.clone();
        let (descriptor, steps) = self.last();
        descriptor.cancellable = true;
        steps.cancel = Some(Arc::new(move |call, state| {
            let process = process.clone();
            Box::pin(async move {
                let cx = call.context()?;
                process.cancel(&cx, parse(state, "state")?).await
            })
        }));
        self
    }

    /// The gateway holds the ballots.
    pub fn ballots(mut self) -> Self
    where
        P: Ballots,
    {
        let process = self.at.0.clone();
        self.last().1.ballots = Some(ballot_steps(&process));
        self
    }
}
