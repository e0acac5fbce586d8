//! GitHub and Discourse: an HMAC of the body alone, as `sha256=` and hex digits.
//!
//! <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>,
//! `app/jobs/regular/emit_web_hook_event.rb` in Discourse. Nothing in them grows old:
//! a repeat is known by the body's hash for as long as deliveries are kept.

use super::{Hook, Result, SigningSecret, Verified, configured, is_mac, lower_hex, unsigned};

/// A hook of GitHub. What `X-Hub-Signature`, the header with SHA-1, says is ignored.
pub fn github(hook: &Hook, secret: Option<&SigningSecret>) -> Result<Verified> {
    of_body(hook, secret, "x-hub-signature-256")
}

/// A hook of Discourse. Which forum sent it is for the plugin to compare:
/// `X-Discourse-Instance` is not signed.
pub fn discourse(hook: &Hook, secret: Option<&SigningSecret>) -> Result<Verified> {
    of_body(hook, secret, "x-discourse-event-signature")
}

fn of_body(hook: &Hook, secret: Option<&SigningSecret>, header: &str) -> Result<Verified> {
    let secret = configured(secret)?;
    let mac = hook.only(header)?.strip_prefix("sha256=");
    let mac = mac.and_then(lower_hex).ok_or_else(|| {
        unsigned(format!(
            "the header {header} is not sha256= and 64 hex digits"
        ))
    })?;
    let keys = secret.reveal().map(str::as_bytes);
    match is_mac(keys, &[&hook.body], &mac)? {
        true => Ok(Verified::default()),
        false => Err(unsigned(format!(
            "the header {header} is not of this body and secret"
        ))),
    }
}
