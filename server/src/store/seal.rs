//! The keys that secrets are encrypted with: XChaCha20-Poly1305 under a key made from the
//! operator's master key.
//!
//! A sealed text is `v1.<key id>.<base64url(nonce ‖ ciphertext)>`. It opens only at the
//! place it was sealed for (`["installation.secrets", community, installation,
//! property]`), so a row that was copied over another one is noticed. Where the master
//! key comes from stands in `master_key.rs`.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{from_text, to_text};
use crate::error::{Error, Result};

const VERSION: &str = "v1";
const NONCE: usize = 24;
const TAG: usize = 16;
/// How many digits of the fingerprint name a key.
const ID: usize = 8;

/// The bytes of a master key, wiped when dropped.
pub type MasterKey = Zeroizing<[u8; 32]>;

/// Seals and opens. Cheap to clone; the keys are wiped with the last clone, and never
/// printed.
#[derive(Clone)]
pub struct Keys(Arc<Ring>);

struct Ring {
    cipher: XChaCha20Poly1305,
    fingerprint: String,
}

impl Keys {
    /// The keys that a master key gives.
    pub fn new(master: &MasterKey) -> Self {
        let cipher = XChaCha20Poly1305::new((&*derived(master, "seal")).into());
        Self(Arc::new(Ring {
            cipher,
            fingerprint: hex::encode(*derived(master, "fingerprint")),
        }))
    }

    /// The same, of a master key as it is written: 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut master = MasterKey::default();
        hex::decode_to_slice(text.trim(), &mut *master).ok()?;
        Some(Self::new(&master))
    }

    /// What the master key is known by; says nothing of the key itself.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// The first digits of the fingerprint, as they stand in each sealed text.
    pub fn id(&self) -> &str {
        &self.0.fingerprint[..ID]
    }

    /// Encrypts for a place: the table and column first, then what names the row and
    /// what is inside of it. Never gives the same text twice.
    pub fn seal(&self, place: &[&str], plain: &[u8]) -> Result<String> {
        let nonce: [u8; NONCE] = rand::random();
        let message = Payload {
            msg: plain,
            aad: &bound_to(place),
        };
        let encrypted = self.0.cipher.encrypt(&XNonce::from(nonce), message);
        let encrypted =
            encrypted.map_err(|_| Error::internal(format!("{} is too long", named(place))))?;
        let text = BASE64URL.encode([&nonce[..], &encrypted].concat());
        Ok(format!("{VERSION}.{}.{text}", self.id()))
    }

    /// Decrypts what was sealed for this very place.
    pub fn open(&self, place: &[&str], sealed: &str) -> Result<Zeroizing<Vec<u8>>> {
        let failed = |why: &str| Error::internal(format!("{} {why}", named(place)));
        let (key, text) = parts(sealed).ok_or_else(|| failed("is not encrypted"))?;
        if key != self.id() {
            return Err(failed(&format!("is encrypted with another key, {key:?}")));
        }
        let bytes = BASE64URL.decode(text);
        let bytes = bytes.map_err(|_| failed("is encrypted, but damaged"))?;
        if bytes.len() < NONCE + TAG {
            return Err(failed("is encrypted, but cut off"));
        }
        let (nonce, encrypted) = bytes.split_at(NONCE);
        let nonce = XNonce::try_from(nonce).map_err(Error::internal)?;
        let message = Payload {
            msg: encrypted,
            aad: &bound_to(place),
        };
        let opened = self.0.cipher.decrypt(&nonce, message);
        let opened = opened.map_err(|_| failed("is damaged, or was moved from another row"))?;
        Ok(Zeroizing::new(opened))
    }

    /// Seals something as JSON.
    pub fn seal_json(&self, place: &[&str], plain: &impl Serialize) -> Result<String> {
        self.seal(place, Zeroizing::new(to_text(plain)?).as_bytes())
    }

    /// Opens what [`Keys::seal_json`] has sealed.
    pub fn open_json<T: DeserializeOwned>(&self, place: &[&str], sealed: &str) -> Result<T> {
        from_text(&self.open_text(place, sealed)?)
    }

    /// Opens what was text.
    pub fn open_text(&self, place: &[&str], sealed: &str) -> Result<Zeroizing<String>> {
        let opened = self.open(place, sealed)?;
        let text = str::from_utf8(&opened);
        let text = text.map_err(|_| Error::internal(format!("{} is no text", named(place))))?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// Whether a text has the form of a sealed one. No JSON has, and no slug.
pub(super) fn is_sealed(text: &str) -> bool {
    parts(text).is_some_and(|(key, text)| {
        let long = BASE64URL
            .decode(text)
            .is_ok_and(|bytes| bytes.len() >= NONCE + TAG);
        long && key.len() == ID && key.bytes().all(|c| c.is_ascii_hexdigit())
    })
}

/// The key id and the base64 of a sealed text.
fn parts(sealed: &str) -> Option<(&str, &str)> {
    let rest = sealed.strip_prefix(VERSION)?.strip_prefix('.')?;
    rest.split_once('.')
}

/// The associated data: with its length before each part, so that no two places are the
/// same bytes.
fn bound_to(place: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [VERSION].iter().chain(place) {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// How a place is called in errors.
fn named(place: &[&str]) -> String {
    match place {
        [column, row @ ..] => format!("{column} of {}", row.join("/")),
        [] => "nothing".to_owned(),
    }
}

/// One key for each purpose: what one of them shows says nothing of the others.
fn derived(master: &[u8; 32], purpose: &str) -> Zeroizing<[u8; 32]> {
    mac(master, format!("metagov master key: {purpose}").as_bytes())
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    // HMAC fills a short key up with zeros; given so, it cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mac = Hmac::<Sha256>::new((&*block).into()).chain_update(bytes);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: [&str; 4] = ["installation.secrets", "garden", "1", "api_key"];

    fn keys(byte: u8) -> Keys {
        Keys::new(&MasterKey::new([byte; 32]))
    }

    #[test]
    fn what_was_sealed_opens_at_its_place() {
        let keys = keys(1);
        for plain in [&b""[..], b"hunter2", &[0xff; 100_000]] {
            let sealed = keys.seal(&PLACE, plain).unwrap();
            assert!(sealed.starts_with(&format!("v1.{}.", keys.id())));
            assert!(is_sealed(&sealed));
            assert_eq!(*keys.open(&PLACE, &sealed).unwrap(), plain);
        }
        assert!(!is_sealed(r#""v1.a.b""#) && !is_sealed("0123abcd") && !is_sealed("v1"));
    }

    #[test]
    fn it_opens_at_no_other_place() {
        let keys = keys(1);
        let sealed = keys.seal(&PLACE, b"hunter2").unwrap();
        for other in [
            &["installation.secrets", "garden", "2", "api_key"][..],
            &["installation.secrets", "orchard", "1", "api_key"],
            &["installation.secrets", "garden", "1", "webhook_secret"],
            &["installation_state.value", "garden", "1", "api_key"],
            // The same bytes in a row, but other parts.
            &["installation.secrets", "garden1", "", "api_key"],
            &["installation.secrets", "garden", "1api_key"],
            &["installation.secrets", "garden", "1", "api_key", ""],
            &[],
        ] {
            let error = keys.open(other, &sealed).unwrap_err();
            assert!(error.to_string().contains("moved from another row"));
        }
    }

    #[test]
    fn a_swapped_row_does_not_open() {
        let keys = keys(1);
        let other = ["installation.secrets", "orchard", "2", "api_key"];
        let [a, b] = [(&PLACE, b"ours"), (&other, b"them")].map(|(p, s)| keys.seal(p, s).unwrap());
        assert!(keys.open(&PLACE, &b).is_err() && keys.open(&other, &a).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let keys = keys(1);
        let sealed = keys.seal(&PLACE, b"hunter2").unwrap();
        for at in 0..sealed.len() {
            for bit in 0..7 {
                let mut bytes = sealed.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let text = String::from_utf8(bytes).unwrap();
                assert!(keys.open(&PLACE, &text).is_err(), "{at} {bit}");
            }
        }
    }

    #[test]
    fn a_text_that_was_cut_off_is_noticed() {
        let keys = keys(1);
        let sealed = keys.seal(&PLACE, b"hunter2").unwrap();
        for length in 0..sealed.len() {
            assert!(keys.open(&PLACE, &sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn another_key_is_named_and_does_not_open() {
        let sealed = keys(1).seal(&PLACE, b"hunter2").unwrap();
        let error = keys(2).open(&PLACE, &sealed).unwrap_err().to_string();
        assert!(error.contains("another key"), "{error}");
        assert!(error.contains(keys(1).id()), "{error}");
        // Nor does it if it claims to be ours.
        let claimed = sealed.replace(keys(1).id(), keys(2).id());
        assert!(keys(2).open(&PLACE, &claimed).is_err());
    }

    #[test]
    fn the_same_secret_is_never_the_same_text() {
        let keys = keys(1);
        let texts = (0..1000).map(|_| keys.seal(&PLACE, b"hunter2").unwrap());
        let texts: std::collections::HashSet<String> = texts.collect();
        assert_eq!(texts.len(), 1000);
    }

    #[test]
    fn neither_keys_nor_secrets_are_printed() {
        let keys = keys(0xab);
        assert_eq!(format!("{keys:?}"), "Keys");
        let error = keys.open(&PLACE, "hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        assert!(!keys.fingerprint().contains("abab"));
    }
}
