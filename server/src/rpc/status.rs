//! Errors as gRPC says them: the one exhaustive match.

use std::{collections::HashMap, time::Duration};

use metagov_proto::{
    ERROR_DOMAIN,
    v1::{ErrorReason as Reason, ProcessState},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::error::{Error, Fault, Thing, Trouble};

/// After what time a call is worth repeating, where nobody knows better.
const RETRY: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The id of the call that runs here; unset outside of one.
    pub(super) static CALL_ID: String;
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let said = say(error);
        let mut details = ErrorDetails::new();
        details.set_error_info(said.reason.as_str_name(), ERROR_DOMAIN, said.metadata);
        if !said.faults.is_empty() {
            let violations = said
                .faults
                .into_iter()
                .map(|f| FieldViolation::new(f.field, f.why));
            details.set_bad_request(violations.collect::<Vec<_>>());
        }
        if let Some(delay) = said.retry {
            details.set_retry_info(Some(delay));
        }
        let message = match said.reason {
            Reason::Internal => {
                "a fault of the gateway; its log has more under this request_id".to_owned()
            }
            _ => message,
        };
        Status::with_error_details(said.code, message, details)
    }
}

/// An error in gRPC's words.
struct Said {
    code: Code,
    reason: Reason,
    metadata: HashMap<String, String>,
    faults: Vec<Fault>,
    retry: Option<Duration>,
}

fn said<const N: usize>(code: Code, reason: Reason, metadata: [(&str, String); N]) -> Said {
    Said {
        code,
        reason,
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        faults: Vec::new(),
        retry: None,
    }
}

fn say(error: Error) -> Said {
    use Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, OutOfRange};
    match error {
        Error::Invalid(faults) => Said {
            faults,
            ..said(InvalidArgument, Reason::InvalidField, [])
        },
        Error::Schema { of, faults } => Said {
            faults,
            ..said(InvalidArgument, Reason::SchemaMismatch, [("schema_of", of)])
        },
        Error::NotFound(thing) => absent(thing),
        Error::Exists(thing) => present(thing),
        Error::Linked(identity) => {
            let metadata = [("identity_id", identity.to_string())];
            said(AlreadyExists, Reason::AccountLinked, metadata)
        }
        Error::NotEnabled { community, plugin } => {
            let metadata = [("community_id", community.to_string()), ("plugin", plugin)];
            said(FailedPrecondition, Reason::PluginNotEnabled, metadata)
        }
        Error::Ambiguous { installations, .. } => {
            let ids: Vec<String> = installations.iter().map(ToString::to_string).collect();
            let metadata = [("installation_ids", ids.join(","))];
            said(FailedPrecondition, Reason::InstallationAmbiguous, metadata)
        }
        Error::Done { process, state, .. } => {
            let state = ProcessState::from(state).as_str_name().to_owned();
            let metadata = [("process_id", process.to_string()), ("state", state)];
            said(FailedPrecondition, Reason::ProcessDone, metadata)
        }
        Error::Unsupported { plugin, .. } => said(
            FailedPrecondition,
            Reason::UnsupportedByPlugin,
            [("plugin", plugin)],
        ),
        Error::Busy(id) => {
            let metadata = [("installation_id", id.to_string())];
            said(FailedPrecondition, Reason::InstallationBusy, metadata)
        }
        Error::Changed | Error::ClaimLost => said(Aborted, Reason::EtagMismatch, []),
        Error::CursorInvalid => said(InvalidArgument, Reason::CursorInvalid, []),
        Error::CursorExpired { earliest } => said(
            OutOfRange,
            Reason::CursorExpired,
            [("earliest_cursor", earliest)],
        ),
        Error::CursorForeign { earliest } => said(
            FailedPrecondition,
            Reason::CursorForeign,
            [("earliest_cursor", earliest)],
        ),
        Error::CursorAhead => said(FailedPrecondition, Reason::CursorAhead, []),
        Error::RequestIdReused => said(InvalidArgument, Reason::RequestIdReused, []),
        Error::InProgress => again(said(Aborted, Reason::RequestInProgress, []), RETRY),
        Error::OutcomeUnknown { plugin, .. } => {
            said(Aborted, Reason::OutcomeUnknown, [("plugin", plugin)])
        }
        Error::Platform { plugin, trouble } => platform(plugin, trouble),
        Error::Refused { plugin, why } => {
            let metadata = [("plugin", plugin), ("why", why)];
            said(FailedPrecondition, Reason::PluginRefused, metadata)
        }
        Error::TokenInvalid => said(Code::Unauthenticated, Reason::TokenInvalid, []),
        Error::RoleTooSmall { needs } => said(
            Code::PermissionDenied,
            Reason::RoleTooSmall,
            [("needs", needs)],
        ),
        Error::AddressNotAllowed { plugin } => said(
            FailedPrecondition,
            Reason::AddressNotAllowed,
            [("plugin", plugin)],
        ),
        Error::RedirectNotAllowed => said(InvalidArgument, Reason::RedirectNotAllowed, []),
        Error::Moved(id) => {
            let metadata = [("subscription_id", id.to_string())];
            let moved = said(Code::Unavailable, Reason::SubscriptionMoved, metadata);
            again(moved, RETRY)
        }
        Error::TooManySubscriptions(limit) => said(
            Code::ResourceExhausted,
            Reason::SubscriptionsExhausted,
            [("limit", limit.to_string())],
        ),
        Error::RateLimited(wait) => {
            again(said(Code::ResourceExhausted, Reason::RateLimited, []), wait)
        }
        Error::Draining => again(said(Code::Unavailable, Reason::Draining, []), RETRY),
        Error::StoreUnavailable | Error::StoreReadOnly | Error::Contended => {
            again(said(Code::Unavailable, Reason::StoreUnavailable, []), RETRY)
        }
        Error::StorageFull => {
            let full = said(Code::ResourceExhausted, Reason::StorageFull, []);
            again(full, Duration::from_secs(60))
        }
        // A signature is no matter of this edge.
        Error::Unsigned(what) | Error::Internal(what) => internal(&what),
    }
}

fn absent(thing: Thing) -> Said {
    let (reason, key, value) = match thing {
        Thing::Community(id) => (Reason::CommunityNotFound, "community_id", id.to_string()),
        Thing::Plugin(name) | Thing::PluginInstallation { plugin: name, .. } => {
            (Reason::PluginNotFound, "name", name)
        }
        Thing::Installation(id) => (
            Reason::InstallationNotFound,
            "installation_id",
            id.to_string(),
        ),
        Thing::Process(id) => (Reason::ProcessNotFound, "process_id", id.to_string()),
        Thing::Identity(id) => (Reason::IdentityNotFound, "identity_id", id.to_string()),
        Thing::Delivery(id) => (Reason::DeliveryNotFound, "delivery_id", id.to_string()),
        Thing::Token(id) => (Reason::TokenNotFound, "token_id", id.to_string()),
        Thing::Subscription(id) => (
            Reason::SubscriptionNotFound,
            "subscription_id",
            id.to_string(),
        ),
        Thing::Webhook => return internal("a webhook was looked for by gRPC"),
    };
    said(Code::NotFound, reason, [(key, value)])
}

fn present(thing: Thing) -> Said {
    match thing {
        Thing::Community(id) => {
            let metadata = [("community_id", id.to_string())];
            said(Code::AlreadyExists, Reason::CommunityExists, metadata)
        }
        Thing::PluginInstallation {
            plugin,
            platform_id,
        } => {
            let metadata = [("plugin", plugin), ("platform_id", platform_id)];
            said(Code::AlreadyExists, Reason::InstallationExists, metadata)
        }
        Thing::Subscription(id) => {
            let metadata = [("subscription_id", id.to_string())];
            said(Code::AlreadyExists, Reason::SubscriptionExists, metadata)
        }
        other => internal(&format!("{other} cannot exist twice")),
    }
}

fn platform(plugin: String, trouble: Trouble) -> Said {
    use Code::{FailedPrecondition, ResourceExhausted, Unavailable};
    let plugin = ("plugin", plugin);
    match trouble {
        Trouble::Unavailable(_) => again(
            said(Unavailable, Reason::PlatformUnavailable, [plugin]),
            RETRY,
        ),
        Trouble::Busy(wait) => again(
            said(Unavailable, Reason::PlatformUnavailable, [plugin]),
            wait,
        ),
        Trouble::RateLimited(wait) => {
            let limited = said(ResourceExhausted, Reason::PlatformRateLimited, [plugin]);
            again(limited, wait.unwrap_or(RETRY))
        }
        Trouble::Unauthorized(_) => {
            said(FailedPrecondition, Reason::PlatformUnauthorized, [plugin])
        }
        Trouble::Rejected { status, .. } => {
            let metadata = [plugin, ("platform_status", status.to_string())];
            said(FailedPrecondition, Reason::PlatformRejected, metadata)
        }
    }
}

fn again(said: Said, after: Duration) -> Said {
    let retry = Some(after);
    Said { retry, ..said }
}

/// Logged here, once; the caller gets only the id of the call.
fn internal(what: &str) -> Said {
    let request_id = CALL_ID.try_with(Clone::clone).unwrap_or_default();
    tracing::error!(request_id, what, "a fault of the gateway");
    said(
        Code::Internal,
        Reason::Internal,
        [("request_id", request_id)],
    )
}

/// A message over the limit, which tonic answers with the code of an expired cursor.
pub(super) fn too_large(limit: usize) -> Status {
    let message =
        format!("the message is larger than the {limit} bytes that are allowed; send less at once");
    over(limit, message)
}

/// An answer over the limit, for which tonic has the same code.
pub(super) fn answer_too_large(limit: usize) -> Status {
    let message = format!(
        "the answer is larger than the {limit} bytes that are allowed; ask for less at once"
    );
    over(limit, message)
}

fn over(limit: usize, message: String) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = HashMap::from([("limit".to_owned(), limit.to_string())]);
    details.set_error_info(
        Reason::MessageTooLarge.as_str_name(),
        ERROR_DOMAIN,
        metadata,
    );
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// A message that cannot be decoded, which tonic answers with INTERNAL.
pub(super) fn undecodable() -> Status {
    Error::invalid(
        "",
        "the message cannot be decoded: it is damaged, or nested too deep",
    )
    .into()
}

/// A call that names another host.
pub(super) fn host_not_allowed() -> Status {
    let message = "the API is not called by this host; the operator may add its name to --hosts (METAGOV_HOSTS)";
    bare(Code::PermissionDenied, Reason::HostNotAllowed, message)
}

/// A call of a web page that may not.
pub(super) fn origin_not_allowed() -> Status {
    let message = "pages of this origin may not call; the operator may add it to --cors-origins (METAGOV_CORS_ORIGINS)";
    bare(Code::PermissionDenied, Reason::OriginNotAllowed, message)
}

/// A codec of gRPC that is not spoken here.
pub(super) fn unknown_content_type() -> Status {
    Error::invalid(
        "content-type",
        "must be application/grpc, application/grpc-web or application/grpc-web-text, of which nothing but +proto is spoken",
    )
    .into()
}

/// The caller's own deadline passed.
pub(super) fn deadline_exceeded() -> Status {
    let message = "the call took longer than its caller waits; what it asked for may still happen";
    bare(Code::DeadlineExceeded, Reason::DeadlineExceeded, message)
}

/// What no [`Error`] says, since it is known here only.
fn bare(code: Code, reason: Reason, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str_name(), ERROR_DOMAIN, []);
    Status::with_error_details(code, message, details)
}
