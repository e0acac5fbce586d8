//! Ids as types of their own, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new one: a UUIDv7, so later ones sort after earlier ones.
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Reads the canonical form; `None` if the text is no UUID in it.
            pub fn parse(text: &str) -> Option<Self> {
                let id = Uuid::try_parse(text).ok()?;
                // Only hyphenated and in lower case: one id has one spelling.
                let mut written = Uuid::encode_buffer();
                (*id.hyphenated().encode_lower(&mut written) == *text).then_some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

uuid_id! {
    /// Names a delivery of a webhook.
    DeliveryId,
    /// Names an event.
    EventId,
    /// Names an identity.
    IdentityId,
    /// Names an installation.
    InstallationId,
    /// Names a process.
    ProcessId,
}

macro_rules! text_id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Trusts that the text was checked before, as that of a row was.
            pub fn trusted(text: impl Into<String>) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

text_id! {
    /// Names a community: `[a-z0-9]`, then up to 62 of `[a-z0-9-]`; the driver's choice.
    CommunityId,
    /// Makes a retry recognisable: 1 to 128 visible ASCII characters, the caller's choice.
    RequestId,
    /// Who calls. Request ids and subscriptions are unique within a principal.
    Principal,
    /// Names a subscription within its principal: as a community's id, the driver's choice.
    SubscriptionId,
    /// Names a token: 16 hex digits.
    TokenId,
}

/// Names a request: unique within its principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Who asks.
    pub principal: Principal,
    /// What they call it.
    pub id: RequestId,
}

/// Names a subscription: unique within its principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionKey {
    /// Whose it is.
    pub principal: Principal,
    /// What they call it.
    pub id: SubscriptionId,
}

impl CommunityId {
    /// Reads an id; `None` if it is not of the form above.
    pub fn parse(text: &str) -> Option<Self> {
        is_slug(text).then(|| Self(text.to_owned()))
    }
}

impl SubscriptionId {
    /// Reads an id; `None` if it is not of the form above.
    pub fn parse(text: &str) -> Option<Self> {
        is_slug(text).then(|| Self(text.to_owned()))
    }
}

/// `[a-z0-9]`, then up to 62 of `[a-z0-9-]`.
fn is_slug(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let Some((first, rest)) = text.as_bytes().split_first() else {
        return false;
    };
    plain(*first) && rest.len() <= 62 && rest.iter().all(|&c| plain(c) || c == b'-')
}

impl TokenId {
    /// Reads an id; `None` if it is not of the form above.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        (text.len() == 16 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }
}

impl RequestId {
    /// Reads an id; `None` if it is not of the form above.
    pub fn parse(text: &str) -> Option<Self> {
        let good = (1..=128).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
        good.then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_community_id_is_a_slug_of_1_to_63_characters() {
        for good in ["a", "0", "my-co-op", "a-", &"x".repeat(63)] {
            assert!(CommunityId::parse(good).is_some(), "{good}");
            assert!(SubscriptionId::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "A",
            "a_b",
            "a/b",
            "..",
            "*",
            "ä",
            "a\u{202e}",
            "a b",
            &"x".repeat(64),
        ] {
            assert!(CommunityId::parse(bad).is_none(), "{bad}");
            assert!(SubscriptionId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_uuid_has_one_spelling() {
        let id = ProcessId::new();
        assert_eq!(ProcessId::parse(&id.to_string()), Some(id));
        assert_eq!(ProcessId::parse(&id.0.simple().to_string()), None);
        assert_eq!(ProcessId::parse(&format!("{{{id}}}")), None);
        let upper = "01900000-0000-7000-8000-0000000000AB";
        assert_eq!(ProcessId::parse(upper), None);
        assert!(ProcessId::parse(&upper.to_lowercase()).is_some());
        assert_eq!(ProcessId::parse(""), None);
    }
}
