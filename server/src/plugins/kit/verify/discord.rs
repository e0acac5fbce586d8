//! Discord: an Ed25519 signature of time and body.
//!
//! <https://docs.discord.com/developers/interactions/overview>. Discord sends wrong
//! signatures now and then, and disables an address that does not answer them with 401:
//! a PING, too, is answered only after this. Which application it is for stands in the
//! body, and is for the plugin to compare.

use ed25519_dalek::{Signature, VerifyingKey};

use super::{Hook, NO_SECRET, Result, Time, Verified, lower_hex, seconds, unsigned};

const SIGNATURE: &str = "x-signature-ed25519";
const TIMESTAMP: &str = "x-signature-timestamp";

/// A hook of Discord. The public key is the application's, in hex. Discord names no
/// window for the time: a repeat is known by the interaction's id, which is signed.
pub fn discord(hook: &Hook, public_key: Option<&str>) -> Result<Verified> {
    let key = public_key.ok_or_else(|| unsigned(NO_SECRET))?;
    let key = key_of(key).ok_or_else(|| unsigned("the public key is not one of Discord's"))?;
    let signature = lower_hex::<64>(hook.only(SIGNATURE)?)
        .ok_or_else(|| unsigned(format!("the header {SIGNATURE} is not 128 hex digits")))?;
    let timestamp = hook.only(TIMESTAMP)?;
    let time = seconds(timestamp)
        .ok_or_else(|| unsigned(format!("the header {TIMESTAMP} is no time in seconds")))?;
    let signed = [timestamp.as_bytes(), &hook.body].concat();
    // Strict: one signature has one spelling, and weak keys are none.
    key.verify_strict(&signed, &Signature::from_bytes(&signature))
        .map_err(|_| {
            unsigned(format!(
                "the header {SIGNATURE} is not of this time, body and key"
            ))
        })?;
    Ok(Verified {
        id: None,
        time: Some(Time(time * 1_000_000)),
    })
}

/// The operator pasted it, in whichever case.
fn key_of(digits: &str) -> Option<VerifyingKey> {
    let bytes = lower_hex::<32>(&digits.to_ascii_lowercase())?;
    VerifyingKey::from_bytes(&bytes).ok()
}
