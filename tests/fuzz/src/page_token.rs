//! Page tokens.

use metagov::rpc::fuzz;

const KINDS: [&str; 4] = ["communities", "processes", "audit entries", "audit"];

/// What is read is written as the same token, and no other list takes it.
pub fn page_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for kind in KINDS {
        if let Ok(Some(last)) = fuzz::after_page(kind, text) {
            assert_eq!(fuzz::page_token(kind, &last), text);
        }
        let token = fuzz::page_token(kind, text);
        assert_eq!(fuzz::after_page(kind, &token), Ok(Some(text.to_owned())));
        let apart = |other: &&str| !kind.starts_with(other) && !other.starts_with(kind);
        for other in KINDS.iter().filter(|other| apart(other)) {
            assert!(fuzz::after_page(other, &token).is_err());
        }
    }
}
