//! An error as a driver reads it.

use std::{collections::BTreeMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// An error's parts.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    /// Without the prefix ERROR_REASON_.
    pub(crate) reason: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// The fields of BadRequest, in order.
    pub(crate) fields: Vec<String>,
    pub(crate) retry: Option<Duration>,
    pub(crate) message: String,
}

impl Fault {
    /// Code and reason, to be compared at once.
    pub(crate) fn is(&self, code: Code, reason: &str) -> bool {
        self.code == code && self.reason == reason
    }
}

/// The error of a call that must fail.
pub(crate) fn fault<T: std::fmt::Debug>(answer: Result<T, Status>) -> Fault {
    let status = answer.expect_err("the call must fail");
    let details = status.get_error_details();
    let info = details.error_info().cloned();
    let reason = info
        .as_ref()
        .map(|info| info.reason.clone())
        .unwrap_or_default();
    if let Some(info) = &info {
        assert_eq!(info.domain, "metagov.org");
    }
    let fields = details
        .bad_request()
        .map(|bad| bad.field_violations.clone());
    Fault {
        code: status.code(),
        reason: reason.trim_start_matches("ERROR_REASON_").to_owned(),
        metadata: info
            .map(|info| info.metadata.into_iter().collect())
            .unwrap_or_default(),
        fields: fields
            .unwrap_or_default()
            .into_iter()
            .map(|v| v.field)
            .collect(),
        retry: details.retry_info().and_then(|retry| retry.retry_delay),
        message: status.message().to_owned(),
    }
}
