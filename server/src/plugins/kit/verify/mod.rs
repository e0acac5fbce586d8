//! Who sent a hook: one function for each way in which platforms sign.
//!
//! | function | header | signed | how |
//! |---|---|---|---|
//! | [`github`] | `X-Hub-Signature-256: sha256=<hex>`; the SHA-1 header is ignored | the body | HMAC-SHA256 |
//! | [`discourse`] | `X-Discourse-Event-Signature: sha256=<hex>` | the body | HMAC-SHA256 |
//! | [`slack`] | `X-Slack-Signature: v0=<hex>`, `X-Slack-Request-Timestamp` | `v0:<timestamp>:<body>` | HMAC-SHA256, fresh |
//! | [`discord`] | `X-Signature-Ed25519: <hex>`, `X-Signature-Timestamp` | timestamp and body | Ed25519, strict |
//! | [`standard_webhooks`] | `webhook-id`, `webhook-timestamp`, `webhook-signature` | `<id>.<timestamp>.<body>` | HMAC-SHA256 or Ed25519, fresh |
//!
//! A platform that signs nothing takes `unsigned_webhook`: the slug of the address is
//! its secret, and what it says is a hint to be asked about with `Signal::Fetch`.
//!
//! All of them look at the raw bytes, before anything is parsed, compare in constant
//! time, and say [`Error::Unsigned`] to everything else: a header that is missing,
//! twice or of another spelling, a stale time, and **no secret**. Hex digits are lower
//! case, as every one of these platforms writes them. Fresh means within 300 s of
//! [`Hook::receive_time`], either way.

mod body;
mod discord;
mod slack;
mod standard;
#[cfg(test)]
mod tests;

pub use body::{discourse, github};
pub use discord::discord;
pub use slack::slack;
pub use standard::standard_webhooks;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Error, Hook, Repeat, Result, SigningSecret, Time};

/// The reason in [`Error::Unsigned`] where there is nothing to verify with: the hook is
/// refused all the same, and it is for the operator to see to it.
pub const NO_SECRET: &str = "no secret is configured";

/// How far a platform's clock may be from ours, in seconds.
const WINDOW: u64 = 300;

/// What a signature proved besides that the body is the platform's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The hook's id, where the signature covers one.
    pub id: Option<String>,
    /// When it was signed, where the signature says so.
    pub time: Option<Time>,
}

impl Verified {
    /// How a repeat is known: by the id if it is signed, else by the body. An id that
    /// is not signed, such as `X-GitHub-Delivery`, would let anyone who has seen one
    /// hook send it again and again.
    pub fn repeat(&self) -> Repeat {
        self.id.clone().map_or(Repeat::Body, Repeat::Id)
    }
}

fn unsigned(why: impl Into<String>) -> Error {
    Error::Unsigned(why.into())
}

/// The secret, if there is one.
fn configured(secret: Option<&SigningSecret>) -> Result<&SigningSecret> {
    secret.ok_or_else(|| unsigned(NO_SECRET))
}

/// Whether this is the HMAC-SHA256 of all parts with one of the keys. Every key is
/// tried, and each comparison takes the same time whatever it finds.
fn is_mac<'a>(
    keys: impl Iterator<Item = &'a [u8]>,
    parts: &[&[u8]],
    mac: &[u8; 32],
) -> Result<bool> {
    let mut is = false;
    for key in keys {
        let mut own = Hmac::<Sha256>::new_from_slice(key).map_err(Error::internal)?;
        parts.iter().for_each(|part| own.update(part));
        is |= own.verify_slice(mac).is_ok();
    }
    Ok(is)
}

/// The bytes of so many hex digits in lower case, and of nothing else.
fn lower_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let lower = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if !digits.bytes().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

/// A time in whole seconds: digits and nothing else, so that no two texts mean one time
/// and none runs into the body that follows it.
fn seconds(digits: &str) -> Option<i64> {
    let plain = (1..=12).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// When a hook was signed, if its clock and ours are near enough.
fn fresh(hook: &Hook, header: &str, digits: &str) -> Result<Time> {
    let time = seconds(digits)
        .ok_or_else(|| unsigned(format!("the header {header} is no time in seconds")))?;
    let now = hook.receive_time.0.div_euclid(1_000_000);
    if now.abs_diff(time) > WINDOW {
        let why = format!("the header {header} is more than {WINDOW} s from the time it came");
        return Err(unsigned(why));
    }
    Ok(Time(time * 1_000_000))
}
