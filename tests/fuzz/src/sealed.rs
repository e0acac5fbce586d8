//! Secrets at rest.

use metagov::store::{Keys, MasterKey};

use crate::take;

const PLACE: [&str; 3] = ["table.column", "garden", "api_key"];

/// What was sealed opens as it was, at its place alone, and not once a byte differs.
/// Nothing else opens.
pub fn sealed(data: &[u8]) {
    let keys = Keys::new(&MasterKey::new([7; 32]));
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(keys.open(&PLACE, text).is_err(), "nobody sealed this");
        // With the right version and key id, too.
        let text = format!("v1.{}.{text}", keys.id());
        assert!(keys.open(&PLACE, &text).is_err(), "nobody sealed this");
    }
    let ([at, to], plain) = take::<2>(data);
    let text = keys.seal(&PLACE, plain).expect("short enough");
    let opened = keys.open(&PLACE, &text).expect("as it was sealed");
    assert_eq!(*opened, plain);

    let mut bytes = text.clone().into_bytes();
    let at = usize::from(at) % bytes.len();
    bytes[at] = to;
    if let Ok(changed) = String::from_utf8(bytes) {
        let same = changed == text;
        assert_eq!(
            keys.open(&PLACE, &changed).is_ok(),
            same,
            "byte {at} is {to}"
        );
    }
    elsewhere(&keys, &text, plain);
}

/// The same text in another row, or under another key.
fn elsewhere(keys: &Keys, text: &str, data: &[u8]) {
    let other = String::from_utf8_lossy(data);
    let mut parts = other.split('/');
    let place: [&str; 3] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    assert_eq!(keys.open(&place, text).is_ok(), place == PLACE);
    let others = Keys::new(&MasterKey::new([8; 32]));
    assert!(others.open(&PLACE, text).is_err());
}
