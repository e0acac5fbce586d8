//! Signals: what a plugin asks the gateway to do, as plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Account, HookReply, Object, Progress, Time};

/// What a plugin asks the gateway to do. All signals of one step are done in one
/// transaction, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// Append to the feed.
    Event(Happened),
    /// The process with this key now stands so. Unknown keys are ignored, unless a
    /// process of the installation is just starting: then the hook waits for it.
    Progress {
        /// The platform's id for the process, as its `start` named it.
        key: String,
        /// How it stands.
        progress: Progress<Value>,
    },
    /// Someone votes in a vote that the gateway holds.
    Ballot {
        /// The platform's id for the process.
        key: String,
        /// Who votes.
        voter: String,
        /// On what, where one vote decides on several things; empty otherwise.
        subject: String,
        /// What they chose, as the process's `Choice`.
        choices: Value,
        /// What `apply` needs to answer this voter, such as a response address.
        answer_to: Value,
    },
    /// Ask the platform how the process with this key stands, later and with retries.
    Refresh {
        /// The platform's id for the process.
        key: String,
    },
    /// Ask the platform for something else, later and with retries: calls `fetch`.
    Fetch {
        /// What, in the plugin's own words.
        what: Value,
    },
    /// Change the installation's state: calls `fold` inside the transaction.
    Fold {
        /// Which row of the state. Rows whose key has a `/` are seen by `fold` only;
        /// the others are given to every step, so keep those small.
        key: String,
        /// What `fold` gets with the row.
        input: Value,
    },
    /// An account belongs to someone: to the identity that has it already, or to a
    /// new one. The quality of a link never falls.
    Link {
        /// The account.
        account: Account,
    },
    /// The platform withdrew our credentials.
    Revoked {
        /// Why, for people.
        why: String,
    },
}

/// Something happened on the platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// The type without the plugin's name: `post_created`.
    pub event_type: String,
    /// Details, as the event's schema describes.
    pub data: Object,
    /// The platform's account that did it; empty if not known.
    pub user_id: String,
    /// When, by the platform's clock.
    pub occur_time: Option<Time>,
    /// Whether our own account did it.
    pub by_gateway: bool,
}

impl Signal {
    /// Something happened on the platform. `data` must be an object.
    pub fn event(event_type: &str, user_id: impl Into<String>, data: Value) -> Self {
        let data = match data {
            Value::Object(fields) => fields,
            other => Object::from_iter([("value".to_owned(), other)]),
        };
        Self::Event(Happened {
            event_type: event_type.to_owned(),
            user_id: user_id.into(),
            data,
            ..Happened::default()
        })
    }
}

/// What a webhook's body means.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// How a repeat of the same delivery is known.
    pub repeat: Repeat,
    /// What the platform is answered with, once all is committed.
    pub reply: HookReply,
    /// What is to be done.
    pub signals: Vec<Signal>,
}

impl Received {
    /// 200, and these signals. A repeat is known by the hash of the body.
    pub fn signals(signals: Vec<Signal>) -> Self {
        Self {
            repeat: Repeat::Body,
            reply: HookReply::ok(),
            signals,
        }
    }
}

/// How a repeat of the same delivery is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// By the SHA-256 of the body: for platforms that sign the body alone.
    Body,
    /// By an id that the signature covers.
    Id(String),
    /// Not at all: equal bodies may be honest, as with unsigned hooks.
    Never,
}

/// Where a platform-wide hook goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Routed {
    /// It is answered at once.
    Reply(HookReply),
    /// To the installations with this platform_id, which a verified field names.
    To(String),
    /// Nowhere; it is answered with 200.
    Nothing,
}

/// What `setup` learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Installed {
    /// What the platform proved that the community is called there; empty if that
    /// has no meaning. Unique within (community, plugin), and within the plugin where the
    /// credentials are the operator's.
    pub platform_id: String,
    /// The installation's first state, by row.
    pub state: Vec<(String, Value)>,
    /// What is to be done besides.
    pub signals: Vec<Signal>,
}

/// A row of the installation's state after a fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded<S> {
    /// The row as it now is; `None` removes it.
    pub state: Option<S>,
    /// What follows from the change.
    pub signals: Vec<Signal>,
}
