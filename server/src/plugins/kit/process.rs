//! What a process is: a few steps over private state, and one pure view of it.

use std::future::Future;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Ballot, Error, ProcessId, Result, Signal, Tally, Time, erased::to_json};

/// A decision that people take over minutes to weeks.
///
/// Each step takes the private state and returns the next. Outcome and tally are
/// [`Process::view`] of it, pure: an outcome that stays the same is no change.
pub trait Process: Send + Sync + 'static {
    /// The plugin's `Context<Config, Operator>`.
    type Context: Send + Sync;
    /// What it is started with. For a vote at least `title`, `details` and `options`.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// What only the plugin understands.
    type State: Serialize + DeserializeOwned + Send + Sync;
    /// The result so far.
    type Outcome: Serialize + JsonSchema;

    /// Starts it on the platform.
    fn start(
        &self,
        cx: &Self::Context,
        start: Start<Self::Input>,
    ) -> impl Future<Output = Result<Started<Self::State>>> + Send;

    /// Asks the platform how it stands. Without a platform to ask it stands as it is.
    fn refresh(
        &self,
        _cx: &Self::Context,
        state: Self::State,
    ) -> impl Future<Output = Result<Progress<Self::State>>> + Send {
        async { Ok(Progress::Open(state)) }
    }

    /// Outcome and tally of a state. Pure.
    fn view(&self, state: &Self::State) -> View<Self::Outcome>;
}

/// A process that can be ended now, keeping its outcome.
pub trait Close: Process {
    /// Ends it on the platform. Anything but `Completed` or `Failed` is refused.
    fn close(
        &self,
        cx: &Self::Context,
        state: Self::State,
    ) -> impl Future<Output = Result<Progress<Self::State>>> + Send;
}

/// A process that can be withdrawn from its platform.
pub trait Cancel: Process {
    /// Withdraws it from the platform.
    fn cancel(
        &self,
        cx: &Self::Context,
        state: Self::State,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// A vote whose ballots the gateway holds, as rows (process, voter, subject).
pub trait Ballots: Process {
    /// What a voter says.
    type Choice: Serialize + DeserializeOwned;

    /// Decides on one ballot, moves the running tally and words the answer. Pure: it
    /// runs inside the transaction that keeps the ballot, perhaps more than once.
    fn apply(
        &self,
        input: &Self::Input,
        state: Self::State,
        cast: Cast<Self::Choice>,
    ) -> Applied<Self::State>;

    /// The state counted afresh from all ballots, as at the close. Pure.
    fn count(
        &self,
        input: &Self::Input,
        state: Self::State,
        ballots: &[Ballot<Self::Choice>],
    ) -> Self::State;

    /// The options that a ballot counts for, to fill `OptionTally.user_ids`; none if
    /// the vote is secret. Pure.
    fn chosen(&self, input: &Self::Input, ballot: &Ballot<Self::Choice>) -> Vec<String>;

    /// Redraws the vote on its platform; called after changes, the newest state last.
    fn show(
        &self,
        _cx: &Self::Context,
        _state: Self::State,
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

/// What `start` gets.
#[derive(Clone, Debug)]
pub struct Start<I> {
    /// The gateway's id for the process, for platforms where a button can carry it.
    pub process_id: ProcessId,
    /// The checked parameters.
    pub input: I,
    /// When it is to close, if the request says so. The gateway's timer closes it
    /// then; a platform that closes by itself is told here.
    pub close_time: Option<Time>,
}

/// What `start` returns.
#[derive(Clone, Debug)]
pub struct Started<S> {
    /// The platform's id for it; unique within the installation.
    pub key: String,
    /// The page where people take part; may be empty.
    pub url: String,
    /// What is being decided; `None` takes the parameter `title`, else the
    /// description of the process.
    pub title: Option<String>,
    /// When it closes, if that is known.
    pub close_time: Option<Time>,
    /// How it stands, usually [`Progress::Open`].
    pub progress: Progress<S>,
    /// What is to be done besides.
    pub signals: Vec<Signal>,
}

impl<S> Started<S> {
    /// Open, with this key and no page.
    pub fn open(key: impl Into<String>, state: S) -> Self {
        Self {
            key: key.into(),
            url: String::new(),
            title: None,
            close_time: None,
            progress: Progress::Open(state),
            signals: Vec::new(),
        }
    }
}

/// How a process stands after a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Progress<S> {
    /// People are deciding.
    Open(S),
    /// Decided.
    Completed(S),
    /// Broken, and why.
    Failed(String),
}

impl<S: Serialize> Started<S> {
    /// The same with its state as JSON.
    pub(super) fn erased(self) -> Result<Started<Value>> {
        let Self {
            key,
            url,
            title,
            close_time,
            progress,
            signals,
        } = self;
        let progress = progress.try_map(|state| to_json(&state))?;
        Ok(Started {
            key,
            url,
            title,
            close_time,
            progress,
            signals,
        })
    }
}

impl<S> Progress<S> {
    /// The same with another kind of state.
    pub fn try_map<T>(self, f: impl FnOnce(S) -> Result<T>) -> Result<Progress<T>> {
        Ok(match self {
            Self::Open(state) => Progress::Open(f(state)?),
            Self::Completed(state) => Progress::Completed(f(state)?),
            Self::Failed(why) => Progress::Failed(why),
        })
    }
}

/// Outcome and tally of a state.
#[derive(Clone, Debug, PartialEq)]
pub struct View<O> {
    /// The result so far; `None` is the empty object.
    pub outcome: Option<O>,
    /// The votes so far; `None` if it is no vote, or they are hidden until the end.
    pub tally: Option<Tally>,
}

/// A ballot that is being cast.
#[derive(Clone, Debug)]
pub struct Cast<C> {
    /// The ballot.
    pub ballot: Ballot<C>,
    /// The same voter's ballot before, which this one replaces.
    pub previous: Option<Ballot<C>>,
    /// From the signal: what is needed to answer the voter.
    pub answer_to: Value,
}

/// What became of a ballot.
#[derive(Debug)]
pub enum Applied<S> {
    /// It counts.
    Counted {
        /// The state with it.
        state: S,
        /// What an action answers with, or the body of the webhook's reply.
        reply: Value,
        /// A request to make once all is committed.
        call: Option<Outgoing>,
    },
    /// It does not.
    Refused {
        /// The error: `kit::invalid` for a choice that is not offered, `kit::refuse`
        /// for a voter who may not vote.
        error: Error,
        /// The body of the webhook's reply.
        reply: Value,
        /// A request to make, such as a message that only the voter sees.
        call: Option<Outgoing>,
    },
}

/// A request to be made after the commit, as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// `POST`, `PUT` …
    pub method: String,
    /// Where to.
    pub url: String,
    /// Header names with their values.
    pub headers: Vec<(String, String)>,
    /// The JSON body.
    pub body: Value,
}

impl<S: Serialize> Applied<S> {
    /// The same with its state as JSON.
    pub(super) fn erased(self) -> Result<Applied<Value>> {
        Ok(match self {
            Self::Counted { state, reply, call } => {
                let state = to_json(&state)?;
                Applied::Counted { state, reply, call }
            }
            Self::Refused { error, reply, call } => Applied::Refused { error, reply, call },
        })
    }
}
