//! The signatures of webhooks: what verifies is what we signed, and nothing else.
//!
//! A hook is tried twice. As it was sent: the bytes up to an empty line are the values of
//! the headers, one a line, the rest is the body. And signed by us, at some time, with
//! one thing changed afterwards.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use metagov::plugins::kit::{Error, Hook, Result, SigningSecret, Time, verify};
use sha2::Sha256;

use crate::take;

const SECRET: &str = "a secret of the fuzzer";
/// `whsec_` and 32 times 7.
const STANDARD_SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const NOW: i64 = 1_790_000_000;
const WINDOW: u64 = 300;

/// A way of signing.
struct Scheme {
    /// The headers that count: the signature, then the time and the id if there are any.
    headers: &'static [&'static str],
    verify: fn(&Hook, bool) -> Result<verify::Verified>,
    /// The header of the signature.
    sign: fn(&Signed) -> String,
    /// Whether the time is looked at.
    is_fresh: bool,
}

/// What a signature covers.
struct Signed<'a> {
    time: &'a str,
    id: &'a str,
    body: &'a [u8],
}

/// GitHub: an HMAC of the body.
pub fn github(data: &[u8]) {
    check(
        data,
        &Scheme {
            headers: &["x-hub-signature-256"],
            verify: |hook, has| verify::github(hook, secret(has, SECRET).as_ref()),
            sign: |it| format!("sha256={}", hex::encode(mac(SECRET.as_bytes(), &[it.body]))),
            is_fresh: false,
        },
    );
}

/// Discourse: an HMAC of the body.
pub fn discourse(data: &[u8]) {
    check(
        data,
        &Scheme {
            headers: &["x-discourse-event-signature"],
            verify: |hook, has| verify::discourse(hook, secret(has, SECRET).as_ref()),
            sign: |it| format!("sha256={}", hex::encode(mac(SECRET.as_bytes(), &[it.body]))),
            is_fresh: false,
        },
    );
}

/// Slack: an HMAC of time and body.
pub fn slack(data: &[u8]) {
    check(
        data,
        &Scheme {
            headers: &["x-slack-signature", "x-slack-request-timestamp"],
            verify: |hook, has| verify::slack(hook, secret(has, SECRET).as_ref()),
            sign: |it| {
                let parts = [b"v0:", it.time.as_bytes(), b":", it.body];
                format!("v0={}", hex::encode(mac(SECRET.as_bytes(), &parts)))
            },
            is_fresh: true,
        },
    );
}

/// Discord: an Ed25519 signature of time and body.
pub fn discord(data: &[u8]) {
    check(
        data,
        &Scheme {
            headers: &["x-signature-ed25519", "x-signature-timestamp"],
            verify: |hook, has| {
                let public = hex::encode(key().verifying_key());
                verify::discord(hook, has.then_some(&*public))
            },
            sign: |it| {
                let signed = [it.time.as_bytes(), it.body].concat();
                hex::encode(key().sign(&signed).to_bytes())
            },
            is_fresh: false,
        },
    );
}

/// Standard Webhooks: an HMAC of id, time and body, in a list.
pub fn standard_webhooks(data: &[u8]) {
    check(
        data,
        &Scheme {
            headers: &["webhook-signature", "webhook-timestamp", "webhook-id"],
            verify: |hook, has| {
                verify::standard_webhooks(hook, secret(has, STANDARD_SECRET).as_ref())
            },
            sign: |it| {
                let parts = [it.id.as_bytes(), b".", it.time.as_bytes(), b".", it.body];
                format!("v1,{}", STANDARD.encode(mac(&[7; 32], &parts)))
            },
            is_fresh: true,
        },
    );
}

fn secret(has: bool, text: &str) -> Option<SigningSecret> {
    has.then(|| SigningSecret::new(&["another secret", text]).expect("two secrets"))
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn check(data: &[u8], scheme: &Scheme) {
    as_sent(data, scheme);
    signed(data, scheme);
}

fn as_sent(data: &[u8], scheme: &Scheme) {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((data, &b""[..]), |at| (&data[..at], &data[at + 2..]));
    let Ok(head) = std::str::from_utf8(head) else {
        return;
    };
    let values: Vec<&str> = head.lines().collect();
    let hook = hook(scheme.headers.iter().zip(values), body);
    if holds(scheme, &hook) {
        let [signature, time, id] = values_of(&hook, scheme);
        let expected = (scheme.sign)(&Signed {
            time: &time,
            id: &id,
            body,
        });
        // In a list, one of them.
        assert!(
            signature.split(' ').any(|one| one == expected),
            "{signature}"
        );
    }
}

fn signed(data: &[u8], scheme: &Scheme) {
    let ([high, low, what, at, to], body) = take::<5>(data);
    let offset = i64::from(i16::from_be_bytes([high, low]) % 600);
    let (time, id) = ((NOW + offset).to_string(), format!("msg_{at}"));
    let signature = (scheme.sign)(&Signed {
        time: &time,
        id: &id,
        body,
    });
    let values = [&*signature, &time, &id];
    let right = hook(scheme.headers.iter().zip(values), body);
    let is_fresh = !scheme.is_fresh || offset.unsigned_abs() <= WINDOW;
    assert_eq!(holds(scheme, &right), is_fresh, "{offset} s");
    assert!((scheme.verify)(&right, false).is_err(), "without a secret");
    if let Some(changed) = changed(&right, what, at, to) {
        assert!(!holds(scheme, &changed), "{changed:?}");
    }
}

/// The hook with one thing different: a byte of a header or of the body, a header that
/// is missing or comes twice. None if it would be the same.
fn changed(hook: &Hook, what: u8, at: u8, to: u8) -> Option<Hook> {
    let mut other = hook.clone();
    let header = usize::from(what >> 2) % hook.headers.len();
    match what % 4 {
        0 => {
            let mut body = hook.body.to_vec();
            let at = usize::from(at) % body.len().max(1);
            *body.get_mut(at)? = to;
            other.body = body.into();
        }
        1 => {
            let mut bytes = hook.headers[header].1.clone().into_bytes();
            let at = usize::from(at) % bytes.len();
            bytes[at] = to;
            other.headers[header].1 = String::from_utf8(bytes).ok()?;
        }
        2 => drop(other.headers.remove(header)),
        _ => other.headers.push(hook.headers[header].clone()),
    }
    (other != *hook).then_some(other)
}

fn hook<'a>(headers: impl Iterator<Item = (&'a &'static str, &'a str)>, body: &[u8]) -> Hook {
    Hook {
        headers: headers
            .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
            .collect(),
        body: body.to_vec().into(),
        receive_time: Time(NOW * 1_000_000 + 999_999),
        ..Hook::default()
    }
}

fn values_of(hook: &Hook, scheme: &Scheme) -> [String; 3] {
    let value = |at: usize| hook.header(scheme.headers.get(at)?).map(str::to_owned);
    std::array::from_fn(|at| value(at).unwrap_or_default())
}

/// Whether it verifies; every other answer is that it is not signed.
fn holds(scheme: &Scheme, hook: &Hook) -> bool {
    match (scheme.verify)(hook, true) {
        Ok(_) => true,
        Err(Error::Unsigned(_)) => false,
        Err(other) => panic!("{other:?}"),
    }
}
