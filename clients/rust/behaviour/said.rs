//! Lines of JSON, and errors as one of them.

use std::io::{Write, stdout};

use metagov_client::{ConnectError, NotJson, error};
use serde_json::{Value, json};
use tonic::Status;

/// What is printed as an error.
pub(crate) struct Fault(pub(crate) Value);

/// Prints a line at once.
pub(crate) fn say(line: &Value) {
    let mut out = stdout().lock();
    // Whoever reads them may have gone away.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

impl Fault {
    /// Of an input that is none.
    pub(crate) fn of_input(message: impl ToString) -> Self {
        Status::invalid_argument(message.to_string()).into()
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let fault = error(&status);
        Self(json!({
            "code": fault.code,
            "reason": fault.reason,
            "message": fault.message,
            "fields": fault.fields,
            "metadata": fault.metadata,
            "retry_delay": fault.retry_delay.map(|delay| delay.as_secs_f64()),
            "advice": fault.advice,
        }))
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        Self::of_input(error)
    }
}

impl From<NotJson> for Fault {
    fn from(error: NotJson) -> Self {
        Self::of_input(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::of_input(error)
    }
}
