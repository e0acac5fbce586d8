//! The one error: what went wrong, and for whom. It speaks no protocol; the edges
//! (`rpc/status.rs`, `http/status.rs`) say it in theirs.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::{
    CommunityId, DeliveryId, IdentityId, InstallationId, ProcessId, ProcessState, SubscriptionId,
    Time, TokenId,
};

/// What everything in the gateway answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Serialisable, since an answer is kept for its request id.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    /// Fields that are malformed or missing.
    #[error("{}", sentences(.0))]
    Invalid(Vec<Fault>),
    /// Input that does not fit its JSON Schema.
    #[error("{of} does not fit its schema: {}", sentences(.faults))]
    Schema {
        /// What the schema is of, such as `randomness.random-int`.
        of: String,
        /// Every fault, at most 20.
        faults: Vec<Fault>,
    },
    /// It does not exist.
    #[error("{0} does not exist")]
    NotFound(Thing),
    /// It exists already.
    #[error("{0} exists already")]
    Exists(Thing),
    /// The account is linked to another identity.
    #[error("the account is linked to the identity {0} already; unlink it there, or merge the two")]
    Linked(IdentityId),
    /// The community did not enable the plugin.
    #[error(
        "the plugin {plugin} is not enabled for community {community}; enable it with EnablePlugin"
    )]
    NotEnabled {
        /// The community.
        community: CommunityId,
        /// The plugin's name.
        plugin: String,
    },
    /// Several installations fit.
    #[error("several installations of {plugin} fit; name one of {} as installation_id", join(.installations))]
    Ambiguous {
        /// The plugin's name.
        plugin: String,
        /// Those that fit.
        installations: Vec<InstallationId>,
    },
    /// The process is done, or takes no more votes.
    #[error("the process {process} is done: {why}")]
    Done {
        /// Which.
        process: ProcessId,
        /// Where it stands.
        state: ProcessState,
        /// For people.
        why: String,
    },
    /// The plugin cannot do this.
    #[error("{why}")]
    Unsupported {
        /// The plugin's name.
        plugin: String,
        /// For people.
        why: String,
    },
    /// Processes of the installation are open.
    #[error("the installation {0} has open processes; close or cancel them first")]
    Busy(InstallationId),
    /// Somebody changed it first.
    #[error("somebody changed it first; read it again and retry with the new etag")]
    Changed,
    /// Another gateway does it, since this one did not say for long that it lives.
    #[error("another gateway has taken this over; call again")]
    ClaimLost,
    /// The cursor is damaged.
    #[error("the cursor is damaged; send one exactly as it was received, or start_at EARLIEST")]
    CursorInvalid,
    /// The log no longer reaches back so far.
    #[error(
        "the log no longer reaches back so far; go on after earliest_cursor, and read again what you keep"
    )]
    CursorExpired {
        /// The oldest place that still works.
        earliest: String,
    },
    /// The cursor is of another feed.
    #[error(
        "the cursor is of another feed, as after a restore; go on after earliest_cursor, and read again what you keep"
    )]
    CursorForeign {
        /// The oldest place that works.
        earliest: String,
    },
    /// The cursor is past the end.
    #[error("the cursor is past the end of the log; was the gateway's database exchanged?")]
    CursorAhead,
    /// The request id was used before for something else.
    #[error("the request_id was used for another request within the last day; choose a new one")]
    RequestIdReused,
    /// The same request is still running.
    #[error(
        "a request with this request_id is still running; retry with the same one to get its answer"
    )]
    InProgress,
    /// Whether it happened cannot be known.
    #[error(
        "{why}; it may have happened: look at {plugin} before trying again with a new request_id"
    )]
    OutcomeUnknown {
        /// The plugin's name.
        plugin: String,
        /// What is known.
        why: String,
    },
    /// The platform did not do it.
    #[error("{plugin}: {trouble}")]
    Platform {
        /// The plugin's name.
        plugin: String,
        /// What it said, or that it said nothing.
        trouble: Trouble,
    },
    /// The plugin says no.
    #[error("{why}")]
    Refused {
        /// The plugin's name.
        plugin: String,
        /// For people.
        why: String,
    },
    /// A webhook whose signature does not hold.
    #[error("the signature does not hold: {0}")]
    Unsigned(String),
    /// No token, or one that is not valid. Nobody is told which.
    #[error(
        "no valid token: send one as \"authorization: Bearer <token>\"; the first start of the gateway says where one is"
    )]
    TokenInvalid,
    /// The token's role is too small.
    #[error("the token's role is too small; this needs {needs}")]
    RoleTooSmall {
        /// Such as `driver`.
        needs: String,
    },
    /// The address is not one the operator allows. Nothing more is said.
    #[error("address not allowed")]
    AddressNotAllowed {
        /// The plugin's name.
        plugin: String,
    },
    /// The redirect address is not one of the operator's.
    #[error("redirect_uri is not one that the operator allows with --redirect-uris")]
    RedirectNotAllowed,
    /// The subscription was moved while it was watched.
    #[error("the subscription {0} was moved; watch it again, and it goes on at its new place")]
    Moved(SubscriptionId),
    /// The principal may have no more subscriptions.
    #[error("the principal has {0} subscriptions, and may have no more; delete one first")]
    TooManySubscriptions(u64),
    /// Too many at once.
    #[error("too many requests; wait and call again")]
    RateLimited(Duration),
    /// This server is shutting down.
    #[error("this server is shutting down; call again")]
    Draining,
    /// The database does not answer.
    #[error("the database does not answer; call again")]
    StoreUnavailable,
    /// The database takes no changes: a standby, or a file that may not be written.
    #[error(
        "the database is read-only; reads go on, the operator must lead the gateway to one that can be written"
    )]
    StoreReadOnly,
    /// Others changed the same at the same time, each time that it was tried. The
    /// writer's callers get [`Error::StoreUnavailable`] instead.
    #[error("others change the same all the time; call again")]
    Contended,
    /// The disk is full.
    #[error("the disk of the gateway is full; reads go on, the operator must make room")]
    StorageFull,
    /// A fault of the gateway. Logged at the edge, never shown.
    #[error("internal: {0}")]
    Internal(String),
}

/// One fault of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where: a field path, such as `community.community_id` or `parameters/options/0`.
    pub field: String,
    /// What is wrong and what to do.
    pub why: String,
}

impl Fault {
    /// A fault of a property: its name as RFC 6901 writes it, below `place`.
    pub fn of_property(place: &str, name: &str, why: impl Into<String>) -> Self {
        let name = name.replace('~', "~0").replace('/', "~1");
        Self {
            field: format!("{place}/{name}"),
            why: why.into(),
        }
    }
}

/// What may not exist, or exist already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Thing {
    /// A community.
    Community(CommunityId),
    /// A plugin, action or process type, by its name.
    Plugin(String),
    /// An installation.
    Installation(InstallationId),
    /// A plugin's installation for one community on its platform.
    PluginInstallation {
        /// The plugin's name.
        plugin: String,
        /// What the community is called on the platform.
        platform_id: String,
    },
    /// A process.
    Process(ProcessId),
    /// An identity.
    Identity(IdentityId),
    /// A delivery.
    Delivery(DeliveryId),
    /// A token.
    Token(TokenId),
    /// A subscription of the caller's.
    Subscription(SubscriptionId),
    /// A webhook; what was wrong with the address is not said.
    Webhook,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Community(id) => write!(f, "the community {id}"),
            Self::Plugin(name) => write!(f, "the plugin, action or process {name}"),
            Self::Installation(id) => write!(f, "the installation {id}"),
            Self::PluginInstallation {
                plugin,
                platform_id,
            } if platform_id.is_empty() => {
                write!(f, "an installation of {plugin} in this community")
            }
            Self::PluginInstallation {
                plugin,
                platform_id,
            } => {
                write!(f, "an installation of {plugin} for {platform_id}")
            }
            Self::Process(id) => write!(f, "the process {id}"),
            Self::Identity(id) => write!(f, "the identity {id}"),
            Self::Delivery(id) => write!(f, "the delivery {id}"),
            Self::Token(id) => write!(f, "the token {id}"),
            Self::Subscription(id) => write!(f, "the subscription {id}"),
            Self::Webhook => write!(f, "the webhook"),
        }
    }
}

/// What a platform said, or that it said nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Trouble {
    /// It surely did nothing: it was not reached, or was only to be read.
    Unavailable(String),
    /// It surely did nothing, and says for how long it will not.
    Busy(Duration),
    /// It limits us; how long to wait, if it says.
    RateLimited(Option<Duration>),
    /// It refused our credentials.
    Unauthorized(String),
    /// It refused the request.
    Rejected {
        /// Its HTTP status, or 0 if it said no in another way.
        status: u16,
        /// What it said.
        why: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the platform gives no usable answer: {why}"),
            Self::Busy(wait) => write!(
                f,
                "the platform can do nothing now; call again in {} s",
                wait.as_secs()
            ),
            Self::RateLimited(None) => write!(f, "the platform limits us; wait and call again"),
            Self::RateLimited(Some(wait)) => {
                write!(
                    f,
                    "the platform limits us; call again in {} s",
                    wait.as_secs()
                )
            }
            Self::Unauthorized(why) => {
                write!(
                    f,
                    "the platform refused the installation's credentials: {why}"
                )
            }
            Self::Rejected { why, .. } => write!(f, "the platform refused the request: {why}"),
        }
    }
}

impl Error {
    /// One malformed or missing field.
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        let (field, why) = (field.into(), why.into());
        Self::Invalid(vec![Fault { field, why }])
    }

    /// A fault of the gateway; say what was being done.
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::Internal(what.to_string())
    }

    /// The same, with the plugin named where a plugin's step left that open.
    pub fn of_plugin(mut self, name: &str) -> Self {
        match &mut self {
            Self::Unsupported { plugin, .. }
            | Self::OutcomeUnknown { plugin, .. }
            | Self::Platform { plugin, .. }
            | Self::Refused { plugin, .. }
            | Self::AddressNotAllowed { plugin }
                if plugin.is_empty() =>
            {
                name.clone_into(plugin);
            }
            _ => {}
        }
        self
    }

    /// The same without these secrets in its texts, also where a text was cut off in the
    /// midst of one. Secrets of fewer than 4 characters are left: they stand in any text.
    pub fn masked(mut self, secrets: &[&str]) -> Self {
        let mut secrets: Vec<&str> = secrets.iter().copied().filter(|s| s.len() >= 4).collect();
        // The longest first, or a part would be replaced and the rest left.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for text in self.texts() {
            mask(text, &secrets);
        }
        self
    }

    /// What plugins and platforms have said in it.
    fn texts(&mut self) -> Vec<&mut String> {
        match self {
            Self::Invalid(faults) | Self::Schema { faults, .. } => {
                faults.iter_mut().map(|fault| &mut fault.why).collect()
            }
            Self::Done { why, .. }
            | Self::Unsupported { why, .. }
            | Self::OutcomeUnknown { why, .. }
            | Self::Refused { why, .. }
            | Self::Unsigned(why)
            | Self::Internal(why)
            | Self::Platform {
                trouble:
                    Trouble::Unavailable(why)
                    | Trouble::Unauthorized(why)
                    | Trouble::Rejected { why, .. },
                ..
            } => vec![why],
            Self::Exists(Thing::PluginInstallation { platform_id, .. }) => vec![platform_id],
            _ => vec![],
        }
    }

    /// A process whose voting ended before the call came.
    pub fn voting_ended(process: ProcessId, state: ProcessState, at: Time) -> Self {
        let why = format!("voting ended at {}", at.rfc3339());
        Self::Done {
            process,
            state,
            why,
        }
    }
}

/// What stands where a secret stood.
const MASK: &str = "[secret]";
/// How much of a secret at the end of a text is enough to be masked.
const MIN_CUT: usize = 6;

fn mask(text: &mut String, secrets: &[&str]) {
    for secret in secrets
        .iter()
        .filter(|secret| text.contains(**secret))
        .collect::<Vec<_>>()
    {
        *text = text.replace(*secret, MASK);
    }
    let ends = text.trim_end_matches(['…', '.']);
    let cut = secrets
        .iter()
        .filter_map(|secret| {
            let lengths = (MIN_CUT..secret.len()).rev();
            let mut parts = lengths.filter_map(|length| secret.get(..length));
            parts.find(|part| ends.ends_with(part)).map(str::len)
        })
        .max();
    if let Some(cut) = cut {
        text.truncate(ends.len() - cut);
        text.push_str(MASK);
    }
}

fn sentences(faults: &[Fault]) -> String {
    let each = faults.iter().map(|f| match f.field.as_str() {
        "" => f.why.clone(),
        field => format!("{field}: {}", f.why),
    });
    each.collect::<Vec<_>>().join("; ")
}

fn join(ids: &[InstallationId]) -> String {
    let each: Vec<String> = ids.iter().map(ToString::to_string).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(why: &str) -> Error {
        let (plugin, why) = ("forum".to_owned(), why.to_owned());
        let trouble = Trouble::Rejected { status: 422, why };
        Error::Platform { plugin, trouble }
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let error = rejected("no key hunter22, nor hunter22x").masked(&["hunter22", "hunter22x"]);
        assert_eq!(error, rejected("no key [secret], nor [secret]"));
    }

    #[test]
    fn a_secret_that_was_cut_off_at_the_end_is_masked() {
        for (said, masked) in [
            ("the key hunter22-and", "the key [secret]"),
            ("the key hunter…", "the key [secret]"),
            ("the key hunt", "the key hunt"),
            ("hunter22-and then more", "hunter22-and then more"),
        ] {
            assert_eq!(
                rejected(said).masked(&["hunter22-and-more"]),
                rejected(masked)
            );
        }
    }

    #[test]
    fn a_short_secret_is_left() {
        assert_eq!(rejected("an abc").masked(&["abc", ""]), rejected("an abc"));
    }

    #[test]
    fn every_error_with_a_text_is_masked() {
        let text = || "hunter22".to_owned();
        let plugin = || "forum".to_owned();
        for error in [
            Error::invalid("a", text()),
            Error::Schema {
                of: plugin(),
                faults: vec![Fault {
                    field: "a".into(),
                    why: text(),
                }],
            },
            Error::Unsupported {
                plugin: plugin(),
                why: text(),
            },
            Error::OutcomeUnknown {
                plugin: plugin(),
                why: text(),
            },
            Error::Refused {
                plugin: plugin(),
                why: text(),
            },
            Error::Unsigned(text()),
            Error::Internal(text()),
            Error::Platform {
                plugin: plugin(),
                trouble: Trouble::Unavailable(text()),
            },
            Error::Platform {
                plugin: plugin(),
                trouble: Trouble::Unauthorized(text()),
            },
            rejected("hunter22"),
            Error::Exists(Thing::PluginInstallation {
                plugin: plugin(),
                platform_id: text(),
            }),
        ] {
            let said = error.masked(&["hunter22"]).to_string();
            assert!(
                !said.contains("hunter22") && said.contains("[secret]"),
                "{said}"
            );
        }
    }
}
