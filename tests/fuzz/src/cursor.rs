//! Cursors of the feed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use metagov::{error::Error, feed::Cursors};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::take;

const LENGTH: usize = 29;

/// What is read is written as the same text; what was written is read as its position,
/// and as nothing once a bit differs; what another feed wrote is foreign.
pub fn cursor(data: &[u8]) {
    let ours = cursors(1, "ab");
    if let Ok(text) = std::str::from_utf8(data) {
        holds(&ours, text);
    }
    with_checksum(&ours, data);
    written(&ours, data);
}

fn cursors(feed: u128, key: &str) -> Cursors {
    Cursors::new(Uuid::from_u128(feed << 64), &key.repeat(32)).expect("a key in hex")
}

fn holds(ours: &Cursors, text: &str) {
    match ours.read(text) {
        Ok(position) => assert_eq!(ours.write(position), text),
        Err(Error::CursorInvalid | Error::CursorForeign { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// Bytes that the checksum does not stop: only the MAC can.
fn with_checksum(ours: &Cursors, data: &[u8]) {
    let written = URL_SAFE_NO_PAD.decode(ours.write(7)).expect("base64");
    let (changes, _) = take::<{ LENGTH - 4 }>(data);
    let mut bytes: Vec<u8> = written.iter().zip(changes).map(|(a, b)| a ^ b).collect();
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum[..4]);
    holds(ours, &URL_SAFE_NO_PAD.encode(bytes));
}

fn written(ours: &Cursors, data: &[u8]) {
    let (position, rest) = take::<8>(data);
    let position = i64::from_be_bytes(position);
    let cursor = ours.write(position);
    assert_eq!(ours.read(&cursor), Ok(position));

    let (bit, _) = take::<1>(rest);
    let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).expect("base64");
    let bit = usize::from(bit[0]) % (8 * LENGTH);
    bytes[bit / 8] ^= 1 << (bit % 8);
    let changed = ours.read(&URL_SAFE_NO_PAD.encode(&bytes));
    assert_eq!(changed, Err(Error::CursorInvalid), "bit {bit}");

    let foreign = ours.read(&cursors(2, "ab").write(position));
    assert!(matches!(foreign, Err(Error::CursorForeign { .. })));
    // The same feed, but a key that had to be guessed.
    let forged = ours.read(&cursors(1, "cd").write(position));
    assert_eq!(forged, Err(Error::CursorInvalid));
}
