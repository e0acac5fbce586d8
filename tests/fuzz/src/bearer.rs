//! The token of an `authorization` header.

use metagov::{gateway, model::Bearer};

use crate::take;

/// A header that holds a token holds that token's text, in its one spelling. A token is
/// read as it was written, and as none once anything of it differs.
pub fn bearer(data: &[u8]) {
    if let Some(read) = gateway::bearer(data) {
        let text = std::str::from_utf8(data).expect("a token is text");
        assert_eq!(
            text.split_once(' ').map(|(_, token)| token),
            Some(&*read.text())
        );
        is_discreet(&read);
    }
    with_checksum(data);
    let (id, rest) = take::<8>(data);
    let (secret, rest) = take::<32>(rest);
    written(&Bearer::new(id, secret), rest);
}

fn written(made: &Bearer, change: &[u8]) {
    let text = made.text();
    let read = gateway::bearer(format!("Bearer {text}").as_bytes()).expect("as it was written");
    assert!(read.id == made.id && read.has_hash(&made.hash()));
    is_discreet(&read);
    if let &[at, to, ..] = change {
        let mut bytes = text.clone().into_bytes();
        let at = usize::from(at) % bytes.len();
        bytes[at] = to;
        let changed = gateway::bearer(&[b"Bearer ", &*bytes].concat());
        assert!(changed.is_none() || bytes == text.as_bytes(), "{bytes:?}");
    }
}

/// Any text with the right checksum: that alone makes no token.
fn with_checksum(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else {
        return;
    };
    let token = format!("{body}_{:08x}", crc32fast::hash(data));
    if let Some(read) = Bearer::parse(&token) {
        assert_eq!(read.text(), token);
        is_discreet(&read);
    }
}

/// What is printed is the id only.
fn is_discreet(bearer: &Bearer) {
    assert_eq!(format!("{bearer:?}"), format!("Bearer({})", bearer.id));
    assert!(!bearer.hash().contains(bearer.id.as_str()));
}
