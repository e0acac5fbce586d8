//! What to do about an error: a sentence for people.

use std::error::Error;

use tonic::{Code, Status};

use crate::tls;

const NOT_RUNNING: &str = "is the gateway running, and is METAGOV_ENDPOINT right?";
const TLS: &str = "does METAGOV_ENDPOINT begin with https:// exactly when the gateway does TLS? \
    who vouches for its certificate can be given as METAGOV_CA; if it is not valid at this time, \
    is this machine's clock right?";
const NOT_GRPC: &str = "METAGOV_ENDPOINT is not a Metagov gRPC address";
const NO_TOKEN: &str = "give a valid token as METAGOV_TOKEN; an admin makes one with \
    `metagov token create`";

/// How tonic begins the message of an error that is none of gRPC.
const HTTP: &str = "grpc-status header missing, mapped from HTTP status code 4";

/// Why a connection was not made.
pub(crate) fn transport(error: &(dyn Error + 'static)) -> &'static str {
    match tls::fault(error) {
        Some(_) => TLS,
        None => NOT_RUNNING,
    }
}

/// What to do about the answer to a call.
pub(crate) fn of(status: &Status, reason: Option<&str>) -> &'static str {
    match reason {
        Some(reason) => by_reason(reason, status.code()),
        None => by_itself(status),
    }
}

/// The gateway said nothing: it was the connection, a proxy, or another server.
fn by_itself(status: &Status) -> &'static str {
    let source = status.source();
    match status.code() {
        _ if source.is_some_and(|source| tls::fault(source).is_some()) => TLS,
        _ if status.message().starts_with(HTTP) => NOT_GRPC,
        Code::Unimplemented => NOT_GRPC,
        Code::Unavailable => NOT_RUNNING,
        Code::Unauthenticated => NO_TOKEN,
        // The connection broke before there was an answer.
        Code::Unknown | Code::Internal if source.is_some() => TLS,
        Code::DeadlineExceeded => "call again, and give it more time",
        _ => "",
    }
}

fn by_reason(reason: &str, code: Code) -> &'static str {
    match reason.trim_start_matches("ERROR_REASON_") {
        "INVALID_FIELD" | "SCHEMA_MISMATCH" => "correct the fields that are named",
        "CURSOR_EXPIRED" => {
            "the events after the cursor are gone; go on from metadata earliest_cursor, and \
             know that some were missed"
        }
        "CURSOR_FOREIGN" => {
            "the gateway was restored or is another; go on from metadata earliest_cursor, and \
             know that some events may come again"
        }
        "CURSOR_AHEAD" | "CURSOR_INVALID" => "take a cursor that this gateway gave",
        "PLUGIN_NOT_ENABLED" => "enable the plugin for the community first",
        "INSTALLATION_AMBIGUOUS" => "name one of metadata installation_ids",
        "ETAG_MISMATCH" => "somebody changed it first: read it again, and change that",
        "OUTCOME_UNKNOWN" => "look at the platform before you try again with a new request_id",
        "PLATFORM_UNAUTHORIZED" => "give the plugin credentials that the platform accepts",
        "ROLE_TOO_SMALL" => "give a token with the role of metadata needs as METAGOV_TOKEN",
        "MESSAGE_TOO_LARGE" => "send less at once",
        "REQUEST_ID_REUSED" => "take a new request_id for another request",
        "HOST_NOT_ALLOWED" => {
            "call the gateway by a name that its operator allows, or have this one allowed"
        }
        "INTERNAL" => "the gateway's log has more, by metadata request_id",
        _ => by_code(code),
    }
}

fn by_code(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => NO_TOKEN,
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted => {
            "call again, after retry_delay if there is one"
        }
        Code::DeadlineExceeded => "call again, with the same request_id, and give it more time",
        _ => "",
    }
}
