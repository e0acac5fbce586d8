//! What a caller sends: `mg_<id>_<secret>_<checksum>`, all in lower-case hex.
//!
//! The id is 64 random bits and may be shown; the secret is 256; the checksum is the
//! CRC-32 of what stands before it, so that a mistyped token is known as one without a
//! look at the database, and a scanner of leaked secrets can tell ours from others.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::TokenId;

const PREFIX: &str = "mg";
/// `mg_`, 16 digits, `_`, 64 digits, `_`, 8 digits.
const LENGTH: usize = 3 + 16 + 1 + 64 + 1 + 8;

/// A token with its secret. Prints as its id only.
#[derive(Clone)]
pub struct Bearer {
    /// The part that may be shown.
    pub id: TokenId,
    secret: String,
}

impl Bearer {
    /// Of random bytes.
    pub fn new(id: [u8; 8], secret: [u8; 32]) -> Self {
        Self {
            id: TokenId::trusted(hex::encode(id)),
            secret: hex::encode(secret),
        }
    }

    /// Reads a token; `None` if it is not of the form above.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != LENGTH || !text.is_ascii() {
            return None;
        }
        let (body, checksum) = text.rsplit_once('_')?;
        let mut parts = body.split('_');
        let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let is_secret = secret.len() == 64 && secret.bytes().all(digit);
        let whole = prefix == PREFIX && is_secret && parts.next().is_none();
        if !whole || checksum != sum(body) {
            return None;
        }
        let id = TokenId::parse(id)?;
        let secret = secret.to_owned();
        Some(Self { id, secret })
    }

    /// What is sent.
    pub fn text(&self) -> String {
        let body = format!("{PREFIX}_{}_{}", self.id, self.secret);
        let checksum = sum(&body);
        format!("{body}_{checksum}")
    }

    /// SHA-256 of the secret, in hex: what is kept. No slow hash is needed for 256
    /// random bits.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.secret.as_bytes()))
    }

    /// Whether it is the token that has this hash; takes the same time for every other.
    pub fn has_hash(&self, hash: &str) -> bool {
        self.hash().as_bytes().ct_eq(hash.as_bytes()).into()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer({})", self.id)
    }
}

fn sum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let bearer = Bearer::new([0xab; 8], [7; 32]);
        let text = bearer.text();
        let read = Bearer::parse(&text).unwrap();
        assert_eq!(read.id, bearer.id);
        assert!(read.has_hash(&bearer.hash()));
        assert_eq!(text.len(), LENGTH);
    }

    #[test]
    fn any_other_letter_makes_it_no_token() {
        let text = Bearer::new([0xab; 8], [7; 32]).text();
        for at in 0..text.len() {
            for letter in ["0", "f", "F", "_", "g", "é"] {
                let mut wrong = text.clone();
                wrong.replace_range(at..=at, letter);
                if wrong != text {
                    assert!(Bearer::parse(&wrong).is_none(), "{wrong}");
                }
            }
        }
        for wrong in [
            String::new(),
            text[1..].to_owned(),
            text.clone() + "0",
            text.to_uppercase(),
        ] {
            assert!(Bearer::parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let bearer = Bearer::new([0xab; 8], [7; 32]);
        assert_eq!(format!("{bearer:?}"), "Bearer(abababababababab)");
    }
}
