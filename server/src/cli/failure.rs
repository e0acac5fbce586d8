//! What is said when a verb fails, and the exit code (the table is in `cli/mod.rs`).

use std::{error::Error, fmt};

use metagov_proto::code;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

/// How a verb ends that does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something else; look before you run it again.
    Other = 1,
    /// The gateway cannot be reached.
    Unreachable = 3,
    /// The input is refused.
    Refused = 4,
    /// Run it again.
    NotNow = 5,
}

/// Where a token comes from.
const NO_TOKEN: &str = "the token sent is that of --token, else of METAGOV_TOKEN, else, to a \
    gateway on this machine, that of the file admin.token in --data-dir (METAGOV_DATA_DIR); an \
    admin makes others with `metagov token create`";

/// What it may be if the connection breaks.
const NO_ANSWER: &str = "the connection broke before there was an answer: if the gateway does \
    TLS, its endpoint begins with https://";

/// Why a verb failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the shell.
    pub exit: Exit,
    /// For people: one line, and one for each field that is at fault.
    pub text: String,
}

impl Failure {
    /// A failure that no gateway answered with.
    pub fn new(exit: Exit, text: impl fmt::Display) -> Self {
        let text = printable(&text.to_string());
        Self { exit, text }
    }

    /// What the gateway answered while this was being done, such as `plugin discourse`.
    pub(super) fn answered(doing: &str, status: &Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.as_str());
        let name = reason.unwrap_or_else(|| code::name(status.code()));
        let mut text = printable(&format!("{doing}: {} [{name}]", status.message()));
        let fields = details.bad_request().map(|bad| bad.field_violations.iter());
        for fault in fields.into_iter().flatten() {
            text += "\n  ";
            text += &printable(&format!("{}: {}", fault.field, fault.description));
        }
        if let Some(source) = status.source() {
            // No gateway says so: there was no answer.
            text += &printable(&format!("\n  {}; {NO_ANSWER}", innermost(source)));
        }
        if status.code() == Code::Unauthenticated {
            text += "\n  ";
            text += NO_TOKEN;
        }
        let exit = exit(status.code(), reason.unwrap_or_default());
        Self { exit, text }
    }

    /// The same with one more line below.
    pub(super) fn line(mut self, text: impl fmt::Display) -> Self {
        self.text += "\n  ";
        self.text += &printable(&text.to_string());
        self
    }
}

/// What the gateway answered while this was being done, or why it did not.
pub(super) fn answered<T>(doing: &str, answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    let answer = answer.map_err(|status| Failure::answered(doing, &status))?;
    Ok(answer.into_inner())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The innermost source, which is the one that people understand ("Connection refused").
pub(super) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut why = error;
    while let Some(source) = why.source() {
        why = source;
    }
    why
}

fn exit(code: Code, reason: &str) -> Exit {
    match (reason, code) {
        ("ERROR_REASON_OUTCOME_UNKNOWN", _) => Exit::Other,
        // The same document would be too large again.
        ("ERROR_REASON_MESSAGE_TOO_LARGE", _) => Exit::Refused,
        (_, Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound) => Exit::Refused,
        (_, Code::AlreadyExists | Code::OutOfRange | Code::Unimplemented) => Exit::Refused,
        (_, Code::Unauthenticated | Code::PermissionDenied) => Exit::Refused,
        (_, Code::Unavailable | Code::Aborted | Code::ResourceExhausted) => Exit::NotNow,
        (_, Code::DeadlineExceeded | Code::Cancelled) => Exit::NotNow,
        (_, Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss) => Exit::Other,
    }
}

/// One line that cannot steer a terminal, nor turn the direction in which it is read: a
/// platform's words may be in it.
pub(super) fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(|c: char| c.is_control() || turns(c), " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::{ErrorDetails, StatusExt};

    #[test]
    fn an_answer_is_told_with_its_reason_and_its_fields() {
        let mut details = ErrorDetails::new();
        details.set_error_info("ERROR_REASON_SCHEMA_MISMATCH", "metagov.org", []);
        details.add_bad_request_violation("config/default_low", "is required");
        let message = "randomness does not fit its schema";
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        let failure = Failure::answered("plugin randomness", &status);
        let text = "plugin randomness: randomness does not fit its schema \
                    [ERROR_REASON_SCHEMA_MISMATCH]\n  config/default_low: is required";
        assert_eq!(failure.to_string(), text);
        assert_eq!(failure.exit, Exit::Refused);
    }

    #[test]
    fn an_answer_without_a_reason_is_told_with_its_code() {
        let failure = Failure::answered("community c", &Status::unimplemented("no such service"));
        assert_eq!(
            failure.to_string(),
            "community c: no such service [UNIMPLEMENTED]"
        );
    }

    #[test]
    fn who_has_no_token_is_told_where_one_comes_from() {
        let failure = Failure::answered("tokens", &Status::unauthenticated("no valid token"));
        assert_eq!(failure.exit, Exit::Refused);
        for word in ["--token", "METAGOV_TOKEN", "admin.token", "token create"] {
            assert!(failure.text.contains(word), "{failure}");
        }
    }

    #[test]
    fn the_exit_code_says_whether_to_run_it_again() {
        assert_eq!(exit(Code::Unavailable, ""), Exit::NotNow);
        assert_eq!(
            exit(Code::Aborted, "ERROR_REASON_ETAG_MISMATCH"),
            Exit::NotNow
        );
        assert_eq!(
            exit(Code::Aborted, "ERROR_REASON_OUTCOME_UNKNOWN"),
            Exit::Other
        );
        let too_large = "ERROR_REASON_MESSAGE_TOO_LARGE";
        assert_eq!(exit(Code::ResourceExhausted, too_large), Exit::Refused);
        assert_eq!(exit(Code::Internal, "ERROR_REASON_INTERNAL"), Exit::Other);
    }

    #[test]
    fn an_answer_cannot_steer_the_terminal() {
        let failure = Failure::answered("a", &Status::internal("\u{1b}[2Jb\nerror: c\u{202e}"));
        assert_eq!(failure.to_string(), "a:  [2Jb error: c  [INTERNAL]");
    }
}
