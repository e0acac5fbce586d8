//! What an error means.

use std::{collections::BTreeMap, time::Duration};

use tonic::Status;
use tonic_types::StatusExt;

use crate::advice;

/// What an error means: the details that the gateway sends, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code as gRPC spells it, such as `NOT_FOUND`.
    pub code: &'static str,
    /// Why, such as `ERROR_REASON_COMMUNITY_NOT_FOUND`: see [`crate::v1::ErrorReason`].
    /// Empty if it was not the gateway that answered.
    pub reason: String,
    /// For people.
    pub message: String,
    /// What is wrong with which field, by its path, such as `parameters/low`.
    pub fields: BTreeMap<String, String>,
    /// What belongs to the reason, such as `earliest_cursor`.
    pub metadata: BTreeMap<String, String>,
    /// How long to wait before the next try; none if that does not help, or is not known.
    pub retry_delay: Option<Duration>,
    /// What to do, a sentence; empty if the message says all.
    pub advice: &'static str,
}

/// What an error means.
///
/// ```
/// let fault = metagov_client::error(&tonic::Status::unauthenticated("no valid token"));
/// assert_eq!(fault.code, "UNAUTHENTICATED");
/// assert!(fault.advice.contains("METAGOV_TOKEN"));
/// ```
pub fn error(status: &Status) -> Fault {
    let details = status.get_error_details();
    let info = details.error_info();
    let broken = details.bad_request().map(|bad| bad.field_violations.iter());
    let broken = broken.into_iter().flatten();
    Fault {
        code: metagov_proto::code::name(status.code()),
        reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
        message: message(status),
        fields: broken
            .map(|fault| (fault.field.clone(), fault.description.clone()))
            .collect(),
        metadata: info
            .map(|info| info.metadata.clone().into_iter().collect())
            .unwrap_or_default(),
        retry_delay: details.retry_info().and_then(|info| info.retry_delay),
        advice: advice::of(status, info.map(|info| info.reason.as_str())),
    }
}

/// With what lies beneath, which tells more than "transport error".
fn message(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("{}: {}", status.message(), crate::tls::innermost(source)),
        None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn all_that_the_gateway_says_is_there() {
        let mut details = ErrorDetails::new();
        let metadata = [("schema_of".to_owned(), "config".to_owned())];
        details.set_error_info("ERROR_REASON_SCHEMA_MISMATCH", "metagov.org", metadata);
        details.add_bad_request_violation("config/low", "is required");
        details.set_retry_info(Some(Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::InvalidArgument, "does not fit", details);
        let fault = error(&status);
        assert_eq!(fault.code, "INVALID_ARGUMENT");
        assert_eq!(fault.reason, "ERROR_REASON_SCHEMA_MISMATCH");
        assert_eq!(fault.message, "does not fit");
        assert_eq!(fault.fields["config/low"], "is required");
        assert_eq!(fault.metadata["schema_of"], "config");
        assert_eq!(fault.retry_delay, Some(Duration::from_millis(1500)));
        assert!(!fault.advice.is_empty());
    }

    #[test]
    fn an_error_of_somebody_else_has_no_reason() {
        let fault = error(&Status::not_found("no such thing"));
        assert_eq!((fault.code, &*fault.reason), ("NOT_FOUND", ""));
        assert_eq!(fault.retry_delay, None);
    }
}
