//! Slack: an HMAC of time and body, for events, clicks and slash commands alike.
//!
//! <https://docs.slack.dev/authentication/verifying-requests-from-slack>. The body is
//! what came, also where it is a form: read it with `Hook::form` only after this.

use super::{
    Hook, Result, SigningSecret, Verified, configured, fresh, is_mac, lower_hex, unsigned,
};

const SIGNATURE: &str = "x-slack-signature";
const TIMESTAMP: &str = "x-slack-request-timestamp";

/// A hook of Slack. `event_id` in the body of an event is signed with it: a retry has
/// another time and the same id.
pub fn slack(hook: &Hook, secret: Option<&SigningSecret>) -> Result<Verified> {
    let secret = configured(secret)?;
    let mac = hook.only(SIGNATURE)?.strip_prefix("v0=");
    let mac = mac.and_then(lower_hex).ok_or_else(|| {
        unsigned(format!(
            "the header {SIGNATURE} is not v0= and 64 hex digits"
        ))
    })?;
    let timestamp = hook.only(TIMESTAMP)?;
    let time = fresh(hook, TIMESTAMP, timestamp)?;
    let signed = [b"v0:", timestamp.as_bytes(), b":", &hook.body];
    let keys = secret.reveal().map(str::as_bytes);
    if !is_mac(keys, &signed, &mac)? {
        let why = format!("the header {SIGNATURE} is not of this time, body and secret");
        return Err(unsigned(why));
    }
    Ok(Verified {
        id: None,
        time: Some(time),
    })
}
