//! Ids and short texts that callers send.

use metagov::{
    model::{CommunityId, ProcessId, RequestId, TokenId},
    rpc::fuzz,
};

/// What is taken is of the form that the contract says, and has one spelling.
pub fn ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    community(text);
    if let Some(id) = ProcessId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    let visible = |c: char| ('!'..='~').contains(&c);
    let is_request = (1..=128).contains(&text.len()) && text.chars().all(visible);
    assert_eq!(RequestId::parse(text).is_some(), is_request, "{text:?}");
    let digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    let is_token = text.len() == 16 && text.chars().all(digit);
    assert_eq!(TokenId::parse(text).is_some(), is_token, "{text:?}");
    for max in [1, 7, 200] {
        let plain = !text.is_empty() && !text.chars().any(deceives);
        let fits = text.chars().nth(max).is_none();
        assert_eq!(fuzz::text(text, max).is_ok(), plain && fits, "{text:?}");
    }
}

fn community(text: &str) {
    let plain = |c: char| matches!(c, '0'..='9' | 'a'..='z');
    let good =
        text.len() <= 63 && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-');
    match CommunityId::parse(text) {
        Some(id) => assert!(good && id.as_str() == text, "{text:?}"),
        None => assert!(!good, "{text:?}"),
    }
}

/// Controls, separators of lines, and what turns the direction of text (UAX #9).
fn deceives(c: char) -> bool {
    c.is_control() || "\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".contains(c)
}
