//! Errors as HTTP says them: the one exhaustive match.
//!
//! One shape for all:
//! `{"error": {"reason": "ERROR_REASON_…", "message": "…", "fields": [{"field", "why"}]}}`,
//! with the reasons of the gRPC contract, and a few of this edge's own without that
//! prefix, such as `METHOD_NOT_ALLOWED`. `fields` is there only for faults of fields.

use axum::{
    Json,
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::error::{Error, Fault, Thing, Trouble};

/// What can go wrong at this edge.
#[derive(Debug)]
pub(super) enum Failure {
    /// What the gateway says.
    Error(Error),
    /// No such address.
    NoRoute,
    /// The address does not take this method.
    NoMethod,
    /// The body has more bytes than this.
    TooLarge(usize),
    /// The body is compressed.
    Encoded,
    /// It did not arrive in time.
    TooSlow,
    /// It was not done in time.
    TooLong,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        answer(self)
    }
}

/// The answer that says a failure.
pub(super) fn answer(failure: Failure) -> Response<Body> {
    let (status, reason, message) = match &failure {
        Failure::Error(error) => {
            let (status, reason) = said(error);
            (status, reason, message(error))
        }
        Failure::NoRoute => {
            let what = "there is nothing at this address".to_owned();
            (StatusCode::NOT_FOUND, "NOT_FOUND", what)
        }
        Failure::NoMethod => {
            let what = "this address does not take this method".to_owned();
            (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", what)
        }
        Failure::TooLarge(limit) => {
            let what = format!("the body is larger than the {limit} bytes that are allowed");
            (
                StatusCode::PAYLOAD_TOO_LARGE,
                "ERROR_REASON_MESSAGE_TOO_LARGE",
                what,
            )
        }
        Failure::Encoded => {
            let what = "the body must be sent without a Content-Encoding".to_owned();
            (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                what,
            )
        }
        Failure::TooSlow => {
            let what = "the request did not arrive in time".to_owned();
            (StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", what)
        }
        Failure::TooLong => {
            let what = "the request is not done yet; try again".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, "NOT_DONE_IN_TIME", what)
        }
    };
    let mut body = json!({ "error": { "reason": reason, "message": message } });
    if let Failure::Error(Error::Invalid(faults) | Error::Schema { faults, .. }) = &failure {
        body["error"]["fields"] = faults.iter().map(field).collect();
    }
    let mut response = (status, Json(body)).into_response();
    if let Some(seconds) = retry_after(&failure) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

fn field(fault: &Fault) -> serde_json::Value {
    json!({ "field": fault.field, "why": fault.why })
}

/// Logged here, once, if it is a fault of the gateway; the caller gets only its id.
fn message(error: &Error) -> String {
    let Error::Internal(what) = error else {
        return error.to_string();
    };
    let request_id = uuid::Uuid::now_v7();
    tracing::error!(%request_id, what, "a fault of the gateway");
    format!("a fault of the gateway; its log has more under {request_id}")
}

fn retry_after(failure: &Failure) -> Option<HeaderValue> {
    let seconds = match failure {
        Failure::Error(
            Error::Draining
            | Error::StoreUnavailable
            | Error::StoreReadOnly
            | Error::Contended
            | Error::InProgress,
        )
        | Failure::TooLong => 1,
        Failure::Error(Error::StorageFull) => 60,
        Failure::Error(Error::RateLimited(wait)) => wait.as_secs().max(1),
        Failure::Error(Error::Platform { trouble, .. }) => match trouble {
            Trouble::RateLimited(wait) => wait.map_or(1, |wait| wait.as_secs().max(1)),
            Trouble::Busy(wait) => wait.as_secs().max(1),
            Trouble::Unavailable(_) => 1,
            Trouble::Unauthorized(_) | Trouble::Rejected { .. } => return None,
        },
        _ => return None,
    };
    Some(HeaderValue::from(seconds))
}

fn said(error: &Error) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        Error::Invalid(_) => (S::BAD_REQUEST, "ERROR_REASON_INVALID_FIELD"),
        Error::Schema { .. } => (S::BAD_REQUEST, "ERROR_REASON_SCHEMA_MISMATCH"),
        Error::NotFound(thing) => (S::NOT_FOUND, absent(thing)),
        Error::Exists(Thing::Community(_)) => (S::CONFLICT, "ERROR_REASON_COMMUNITY_EXISTS"),
        Error::Exists(_) => (S::CONFLICT, "ERROR_REASON_INSTALLATION_EXISTS"),
        Error::Linked(_) => (S::CONFLICT, "ERROR_REASON_ACCOUNT_LINKED"),
        Error::NotEnabled { .. } => (S::BAD_REQUEST, "ERROR_REASON_PLUGIN_NOT_ENABLED"),
        Error::Ambiguous { .. } => (S::BAD_REQUEST, "ERROR_REASON_INSTALLATION_AMBIGUOUS"),
        Error::Done { .. } => (S::BAD_REQUEST, "ERROR_REASON_PROCESS_DONE"),
        Error::Unsupported { .. } => (S::BAD_REQUEST, "ERROR_REASON_UNSUPPORTED_BY_PLUGIN"),
        Error::Busy(_) => (S::BAD_REQUEST, "ERROR_REASON_INSTALLATION_BUSY"),
        Error::Changed | Error::ClaimLost => (S::CONFLICT, "ERROR_REASON_ETAG_MISMATCH"),
        Error::CursorInvalid => (S::BAD_REQUEST, "ERROR_REASON_CURSOR_INVALID"),
        Error::CursorExpired { .. } => (S::BAD_REQUEST, "ERROR_REASON_CURSOR_EXPIRED"),
        Error::CursorForeign { .. } => (S::BAD_REQUEST, "ERROR_REASON_CURSOR_FOREIGN"),
        Error::CursorAhead => (S::BAD_REQUEST, "ERROR_REASON_CURSOR_AHEAD"),
        Error::RequestIdReused => (S::BAD_REQUEST, "ERROR_REASON_REQUEST_ID_REUSED"),
        Error::InProgress => (S::CONFLICT, "ERROR_REASON_REQUEST_IN_PROGRESS"),
        Error::OutcomeUnknown { .. } => (S::BAD_GATEWAY, "ERROR_REASON_OUTCOME_UNKNOWN"),
        Error::Platform { trouble, .. } => platform(trouble),
        Error::Refused { .. } => (S::BAD_REQUEST, "ERROR_REASON_PLUGIN_REFUSED"),
        Error::Unsigned(_) => (S::UNAUTHORIZED, "SIGNATURE_INVALID"),
        Error::TokenInvalid => (S::UNAUTHORIZED, "ERROR_REASON_TOKEN_INVALID"),
        Error::RoleTooSmall { .. } => (S::FORBIDDEN, "ERROR_REASON_ROLE_TOO_SMALL"),
        Error::AddressNotAllowed { .. } => (S::BAD_REQUEST, "ERROR_REASON_ADDRESS_NOT_ALLOWED"),
        Error::RedirectNotAllowed => (S::BAD_REQUEST, "ERROR_REASON_REDIRECT_NOT_ALLOWED"),
        Error::RateLimited(_) => (S::TOO_MANY_REQUESTS, "ERROR_REASON_RATE_LIMITED"),
        Error::Draining => (S::SERVICE_UNAVAILABLE, "ERROR_REASON_DRAINING"),
        Error::StoreUnavailable | Error::StoreReadOnly | Error::Contended => {
            (S::SERVICE_UNAVAILABLE, "ERROR_REASON_STORE_UNAVAILABLE")
        }
        Error::StorageFull => (S::SERVICE_UNAVAILABLE, "ERROR_REASON_STORAGE_FULL"),
        // Subscriptions are no matter of this edge.
        Error::Moved(_) | Error::TooManySubscriptions(_) | Error::Internal(_) => {
            (S::INTERNAL_SERVER_ERROR, "ERROR_REASON_INTERNAL")
        }
    }
}

fn absent(thing: &Thing) -> &'static str {
    match thing {
        Thing::Community(_) => "ERROR_REASON_COMMUNITY_NOT_FOUND",
        Thing::Plugin(_) | Thing::PluginInstallation { .. } => "ERROR_REASON_PLUGIN_NOT_FOUND",
        Thing::Installation(_) => "ERROR_REASON_INSTALLATION_NOT_FOUND",
        Thing::Process(_) => "ERROR_REASON_PROCESS_NOT_FOUND",
        Thing::Identity(_) => "ERROR_REASON_IDENTITY_NOT_FOUND",
        Thing::Delivery(_) => "ERROR_REASON_DELIVERY_NOT_FOUND",
        Thing::Token(_) => "ERROR_REASON_TOKEN_NOT_FOUND",
        Thing::Subscription(_) => "ERROR_REASON_SUBSCRIPTION_NOT_FOUND",
        Thing::Webhook => "WEBHOOK_NOT_FOUND",
    }
}

fn platform(trouble: &Trouble) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match trouble {
        Trouble::Unavailable(_) | Trouble::Busy(_) => {
            (S::SERVICE_UNAVAILABLE, "ERROR_REASON_PLATFORM_UNAVAILABLE")
        }
        Trouble::RateLimited(_) => (S::TOO_MANY_REQUESTS, "ERROR_REASON_PLATFORM_RATE_LIMITED"),
        Trouble::Unauthorized(_) => (S::BAD_REQUEST, "ERROR_REASON_PLATFORM_UNAUTHORIZED"),
        Trouble::Rejected { .. } => (S::BAD_REQUEST, "ERROR_REASON_PLATFORM_REJECTED"),
    }
}
