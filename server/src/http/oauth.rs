//! `GET /auth/<plugin>/callback`: a person comes back from a platform.
//!
//! Where they go next stands in what was begun, never in what the callback says. Nothing
//! that came is repeated: not on a page, and of the platform's errors only their kind.
//!
//! | `error` | what happened |
//! |---|---|
//! | `access_denied` | the person said no, or the platform for them |
//! | `temporarily_unavailable` | the platform or the gateway cannot do it now: begin anew |
//! | `wrong_community` | it is enabled for another community of this gateway |
//! | `account_linked` | the account is linked to another identity |
//! | `refused` | the plugin does not take it, such as from somebody who is no administrator |
//! | `not_found` | the community or the identity is gone |
//! | `server_error` | anything else; the gateway's log says what |

use axum::{
    extract::{RawQuery, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use url::{Url, form_urlencoded};

use super::{Place, Public, status::Failure};
use crate::{
    error::{Error, Thing, Trouble},
    gateway::{Callback, Outcome, Redirect},
};

/// The most bytes of a query.
const MAX_QUERY: usize = 16 << 10;

/// What people read where nothing can be done for them.
const UNKNOWN: &str = "This authorization is not known here: it was ended already, took too \
    long, or was never begun. Go back to where you came from and begin again.\n";
const UNAVAILABLE: &str = "The gateway cannot do this now. Load this page again in a moment.\n";

/// `/auth/<plugin>/callback`.
pub(super) async fn callback(
    State(public): State<Public>,
    Place(plugin): Place<String>,
    method: Method,
    RawQuery(query): RawQuery,
) -> Response {
    // Who only looks at an address ends nothing.
    if method != Method::GET {
        return Failure::NoMethod.into_response();
    }
    let Some(callback) = query.as_deref().and_then(read) else {
        return page(StatusCode::BAD_REQUEST, UNKNOWN);
    };
    match public.gateway.end_authorization(plugin, callback).await {
        Ok(Some(ended)) => redirect(&ended),
        Ok(None) => page(StatusCode::BAD_REQUEST, UNKNOWN),
        Err(error) => {
            tracing::error!(%error, "a callback could not be taken");
            page(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE)
        }
    }
}

/// What a platform calls back with. Nothing may be said twice (RFC 6749, section 3.1).
fn read(query: &str) -> Option<Callback> {
    if query.len() > MAX_QUERY {
        return None;
    }
    let mut callback = Callback::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let (name, value) = (name.into_owned(), value.into_owned());
        if callback.claimed.insert(name, value).is_some() {
            return None;
        }
    }
    let mut take = |name: &str| callback.claimed.remove(name);
    callback.state = take("state")?;
    (callback.code, callback.error, callback.iss) = (take("code"), take("error"), take("iss"));
    Some(callback)
}

/// Where the person goes, with what came of it, and never with a token.
fn redirect(ended: &Redirect) -> Response {
    let Ok(mut url) = Url::parse(&ended.redirect_uri) else {
        return page(StatusCode::BAD_REQUEST, UNKNOWN);
    };
    let (community, state) = (ended.community_id.as_str(), ended.caller_state.as_str());
    let (id, code);
    let said = match &ended.outcome {
        Ok(Outcome::Installed(installation)) => {
            id = installation.to_string();
            vec![("installation_id", id.as_str())]
        }
        Ok(Outcome::Linked(identity)) => {
            id = identity.to_string();
            vec![("identity_id", id.as_str())]
        }
        Ok(Outcome::Denied) => failure(("access_denied", "It was not allowed.")),
        Err(error) => {
            code = failed(error);
            tracing::warn!(community_id = community, code = code.0, why = %told(error), "an authorization failed");
            failure(code)
        }
    };
    if !state.is_empty() {
        url.query_pairs_mut().append_pair("state", state);
    }
    url.query_pairs_mut()
        .append_pair("community_id", community)
        .extend_pairs(said);
    let Ok(location) = HeaderValue::from_str(url.as_str()) else {
        return page(StatusCode::BAD_REQUEST, UNKNOWN);
    };
    let mut response = page(StatusCode::SEE_OTHER, "");
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn failure((code, why): (&'static str, &'static str)) -> Vec<(&'static str, &'static str)> {
    vec![("error", code), ("error_description", why)]
}

/// A failure in fixed words.
fn failed(error: &Error) -> (&'static str, &'static str) {
    const LATER: (&str, &str) = (
        "temporarily_unavailable",
        "The platform gives no usable answer now. Begin again.",
    );
    match error {
        Error::Platform {
            trouble: Trouble::Unavailable(_) | Trouble::Busy(_) | Trouble::RateLimited(_),
            ..
        } => LATER,
        Error::StoreUnavailable
        | Error::StoreReadOnly
        | Error::StorageFull
        | Error::Draining
        | Error::Changed => LATER,
        Error::Exists(Thing::PluginInstallation { .. }) => (
            "wrong_community",
            "It is enabled for another community already. Disable it there first.",
        ),
        Error::Linked(_) => (
            "account_linked",
            "The account is linked to another identity already.",
        ),
        Error::Refused { .. } => ("refused", "The plugin does not take this."),
        Error::NotFound(_) => ("not_found", "What this was for is gone."),
        _ => ("server_error", "It failed. The gateway's log says why."),
    }
}

/// A failure as the log has it: without what a platform said, for that may repeat what
/// we said to it.
fn told(error: &Error) -> String {
    match error {
        Error::Platform { plugin, trouble } => match trouble {
            Trouble::Unavailable(_) | Trouble::Busy(_) => format!("{plugin}: no usable answer"),
            Trouble::RateLimited(_) => format!("{plugin}: it limits us"),
            Trouble::Unauthorized(_) => format!("{plugin}: it refused our credentials"),
            Trouble::Rejected { status, .. } => format!("{plugin}: refused with status {status}"),
        },
        other => other.to_string(),
    }
}

/// Text without anything in it that a browser could do.
fn page(status: StatusCode, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        assert!(read("state=s&code=c&iss=i&guild=g").is_some());
        for bad in [
            "",
            "code=c",
            "state=s&state=s",
            "state=s&code=c&code=d",
            "state=s&guild=1&guild=2",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
        let long = format!("state=s&code={}", "c".repeat(MAX_QUERY));
        assert!(read(&long).is_none());
    }

    #[test]
    fn what_only_the_platform_says_is_a_claim() {
        let callback = read("guild_id=7&state=s&code=c").unwrap();
        assert_eq!(callback.claimed.len(), 1);
        assert_eq!(callback.claimed["guild_id"], "7");
        assert_eq!((callback.state.as_str(), callback.iss), ("s", None));
    }
}
