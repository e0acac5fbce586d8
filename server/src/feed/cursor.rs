//! Cursors: places between two events, bound to one feed.
//!
//! base64url (no padding) of 29 bytes: version (1), start of the feed's id (8),
//! position (8, big endian), MAC (8), checksum (4). The MAC is keyed by the feed: a
//! cursor cannot be made up. The checksum tells damage from a cursor of another feed,
//! whose MAC we cannot check.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{Error, Result};

const VERSION: u8 = 1;
const LENGTH: usize = 29;

/// Makes and reads the cursors of one feed.
pub struct Cursors {
    feed: [u8; 8],
    key: Hmac<Sha256>,
}

impl Cursors {
    /// For the feed with this id and key (in hex).
    pub fn new(feed_id: Uuid, key: &str) -> Result<Self> {
        let key = hex::decode(key).map_err(|_| Error::internal("the feed's key is no hex"))?;
        let key = Hmac::new_from_slice(&key).map_err(Error::internal)?;
        let mut feed = [0; 8];
        feed.copy_from_slice(&feed_id.as_bytes()[..8]);
        Ok(Self { feed, key })
    }

    /// The cursor of the place just after a position.
    pub fn write(&self, position: i64) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend(self.feed);
        bytes.extend(position.to_be_bytes());
        bytes.extend(self.mac(&bytes));
        bytes.extend(checksum(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position of a cursor: [`Error::CursorInvalid`] if it is damaged,
    /// [`Error::CursorForeign`] (without the earliest place) if it is of another feed.
    pub fn read(&self, cursor: &str) -> Result<i64> {
        let bytes = URL_SAFE_NO_PAD
            .decode(cursor)
            .map_err(|_| Error::CursorInvalid)?;
        let (said, sum) = bytes.split_last_chunk::<4>().ok_or(Error::CursorInvalid)?;
        if bytes.len() != LENGTH || bytes[0] != VERSION || *sum != checksum(said) {
            return Err(Error::CursorInvalid);
        }
        if said[1..9] != self.feed {
            let earliest = String::new();
            return Err(Error::CursorForeign { earliest });
        }
        let (place, mac) = said.split_at(17);
        if mac != self.mac(place) {
            return Err(Error::CursorInvalid);
        }
        let position = place.last_chunk::<8>().ok_or(Error::CursorInvalid)?;
        Ok(i64::from_be_bytes(*position))
    }

    fn mac(&self, place: &[u8]) -> [u8; 8] {
        let full = self.key.clone().chain_update(place).finalize().into_bytes();
        first(&full)
    }
}

fn checksum(said: &[u8]) -> [u8; 4] {
    first(&Sha256::digest(said))
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| bytes[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors() -> Cursors {
        Cursors::new(Uuid::from_u128(1 << 100), &"ab".repeat(32)).unwrap()
    }

    #[test]
    fn a_cursor_comes_back_as_its_position() {
        for position in [0, 1, 77, i64::MAX] {
            let cursor = cursors().write(position);
            assert_eq!(cursors().read(&cursor), Ok(position));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = URL_SAFE_NO_PAD.decode(cursors().write(5)).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let bad = URL_SAFE_NO_PAD.encode(bad);
            assert_eq!(cursors().read(&bad), Err(Error::CursorInvalid), "bit {bit}");
        }
        for bad in [
            "",
            "a",
            "????",
            "AAAA",
            &"A".repeat(39),
            &"A".repeat(10_000),
        ] {
            assert_eq!(cursors().read(bad), Err(Error::CursorInvalid), "{bad}");
        }
    }

    #[test]
    fn a_cursor_of_another_feed_is_foreign() {
        let other = Cursors::new(Uuid::from_u128(2 << 100), &"cd".repeat(32)).unwrap();
        let cursor = other.write(5);
        assert!(matches!(
            cursors().read(&cursor),
            Err(Error::CursorForeign { .. })
        ));
    }

    #[test]
    fn a_made_up_cursor_is_refused() {
        // The right feed and checksum, but a key that the maker had to guess.
        let made_up = Cursors::new(Uuid::from_u128(1 << 100), &"00".repeat(32)).unwrap();
        assert_eq!(cursors().read(&made_up.write(5)), Err(Error::CursorInvalid));
    }
}
