//! Standard Webhooks: <https://github.com/standard-webhooks/standard-webhooks>, `spec/`.
//!
//! `webhook-signature` is a list, such as `v1,<base64> v1a,<base64>`: `v1` is an HMAC
//! with a secret `whsec_…`, `v1a` an Ed25519 signature under a public key `whpk_…`. One
//! that holds is enough. What begins with neither word is no key at all, so that a
//! public key can never serve as a secret. The crate `standardwebhooks` knows `v1` only,
//! reads the clock itself and refuses a body that is no text.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};

use super::{Hook, Result, SigningSecret, Verified, configured, fresh, is_mac, unsigned};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
/// The most signatures that one hook is tried for. Each costs, and comes from anybody.
const MOST_SIGNATURES: usize = 16;
/// How many bytes a secret has.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

/// A hook as Standard Webhooks are. Its id is signed, and the same on every retry.
pub fn standard_webhooks(hook: &Hook, secret: Option<&SigningSecret>) -> Result<Verified> {
    let keys = Keys::of(configured(secret)?)?;
    let id = hook.only(ID)?;
    // With a full stop in it, an id could take in the time and a part of the body.
    if id.is_empty() || id.contains('.') {
        return Err(unsigned(format!(
            "the header {ID} is empty or has a full stop"
        )));
    }
    let timestamp = hook.only(TIMESTAMP)?;
    let time = fresh(hook, TIMESTAMP, timestamp)?;
    let signatures: Vec<&str> = hook.only(SIGNATURE)?.split(' ').collect();
    if signatures.len() > MOST_SIGNATURES {
        let why = format!("the header {SIGNATURE} has more than {MOST_SIGNATURES} signatures");
        return Err(unsigned(why));
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &hook.body].concat();
    for signature in signatures {
        if keys.fit(signature, &signed)? {
            return Ok(Verified {
                id: Some(id.to_owned()),
                time: Some(time),
            });
        }
    }
    let why = format!("the header {SIGNATURE} has no signature of this id, time, body and secret");
    Err(unsigned(why))
}

#[derive(Default)]
struct Keys {
    secrets: Vec<Vec<u8>>,
    public: Vec<VerifyingKey>,
}

impl Keys {
    /// The keys that are written as they have to be; at least one.
    fn of(secret: &SigningSecret) -> Result<Self> {
        let mut keys = Self::default();
        for text in secret.reveal() {
            if let Some(bytes) = after("whsec_", text).filter(|b| SECRET_LENGTH.contains(&b.len()))
            {
                keys.secrets.push(bytes);
            } else if let Some(key) = after("whpk_", text).and_then(|b| public_key(&b)) {
                keys.public.push(key);
            }
        }
        match keys.secrets.is_empty() && keys.public.is_empty() {
            true => Err(unsigned("the secret is neither whsec_… nor whpk_…")),
            false => Ok(keys),
        }
    }

    /// Whether one entry of the list holds. Those of another version are not for us.
    fn fit(&self, entry: &str, signed: &[u8]) -> Result<bool> {
        match entry.split_once(',') {
            Some(("v1", mac)) => match exactly::<32>(mac) {
                Some(mac) => is_mac(self.secrets.iter().map(Vec::as_slice), &[signed], &mac),
                None => Ok(false),
            },
            Some(("v1a", signature)) => Ok(exactly::<64>(signature).is_some_and(|signature| {
                let signature = Signature::from_bytes(&signature);
                let holds = |key: &VerifyingKey| key.verify_strict(signed, &signature).is_ok();
                self.public.iter().any(holds)
            })),
            _ => Ok(false),
        }
    }
}

fn after(prefix: &str, text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.strip_prefix(prefix)?).ok()
}

fn exactly<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn public_key(bytes: &[u8]) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()
}
