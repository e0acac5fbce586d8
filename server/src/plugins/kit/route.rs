//! Where an action that passes a method through goes: below the platform's own address,
//! and nowhere else.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use url::Url;

use super::{Address, Error, Result};

/// The most characters of a route.
const LONGEST: usize = 1000;
/// What a parameter looks like; [`Route::parse`] has the last word.
const PATTERN: &str = r"^[^/\\%?#:;@\s][^\\%?#;]*$";
/// Segments that begin with an @: Discord's words for whoever asks, and for the first
/// answer. No other segment has one.
const WORDS: [&str; 2] = ["@me", "@original"];

/// A relative route, such as `repos/metagov/gateway/issues`, as a parameter of an
/// action like `github.method`. It has no scheme, no host, no query and no `..`, in
/// whatever disguise: what has a meaning in addresses is not in it, and the rest is
/// escaped. Query parameters are for a property of their own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Route(Vec<String>);

impl Route {
    /// Reads a route; `field` is where it was given, such as `parameters/route`.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        segments(text)
            .map(Self)
            .map_err(|why| Error::invalid(field, why))
    }

    /// The address that it stands for. Each segment is escaped.
    pub fn under(&self, platform: &Address) -> Url {
        platform.at(self.0.iter().map(String::as_str))
    }
}

impl TryFrom<String> for Route {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        segments(&text).map(Self)
    }
}

fn segments(text: &str) -> Result<Vec<String>, &'static str> {
    if text.chars().count() > LONGEST {
        return Err("is longer than a route is");
    }
    // Percent signs could hide any of the others.
    if text.contains(['%', '\\', '?', '#', ';']) || text.chars().any(char::is_control) {
        return Err("must be a plain path: no %, \\, ?, #, ; and no control characters");
    }
    let segments: Vec<&str> = text.split('/').collect();
    if segments[0].contains(':') {
        return Err("must be relative, without a scheme");
    }
    for segment in &segments {
        match *segment {
            "" => return Err("must neither begin nor end with a /, nor have two in a row"),
            "." | ".." => return Err("must not have the segments . or .."),
            word if word.contains('@') && !WORDS.contains(&word) => {
                return Err("must not have an @, but for @me and @original");
            }
            other if other.trim() != other => return Err("must not have spaces around a segment"),
            _ => {}
        }
    }
    Ok(segments.into_iter().map(str::to_owned).collect())
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

impl JsonSchema for Route {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Route".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": LONGEST, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Schema, *};

    const PLATFORM: &str = "https://api.example.org/v3";

    fn under(text: &str) -> Option<String> {
        let platform = Address::parse(PLATFORM, "").unwrap();
        let route = Route::parse(text, "parameters/route").ok()?;
        Some(route.under(&platform).to_string())
    }

    #[test]
    fn a_route_stays_below_the_platform() {
        let schema = Schema::of::<Route>();
        for (text, path) in [
            ("chat.postMessage", "chat.postMessage"),
            ("repos/o/r/issues/1", "repos/o/r/issues/1"),
            ("repos/o/r/compare/a...b", "repos/o/r/compare/a...b"),
            (
                "repos/o/r/labels/good first issue",
                "repos/o/r/labels/good%20first%20issue",
            ),
            (
                "channels/1/messages/2/reactions/👍/@me",
                "channels/1/messages/2/reactions/%F0%9F%91%8D/@me",
            ),
            (
                "webhooks/1/x/messages/@original",
                "webhooks/1/x/messages/@original",
            ),
            ("a/b:c", "a/b:c"),
        ] {
            assert!(schema.check(&json!(text), "", "").is_ok(), "{text}");
            let expected = format!("{PLATFORM}/{path}");
            assert_eq!(under(text).as_deref(), Some(&*expected), "{text}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_route() {
        for bad in [
            "",
            "/",
            "/users",
            "users/",
            "//evil.example",
            "users//1",
            "https://evil.example",
            "https:evil",
            "javascript:alert(1)",
            "..",
            ".",
            "../admin",
            "users/../../admin",
            "users/./1",
            "users/..",
            "%2e%2e/admin",
            "users/%2E%2e/admin",
            "users/%252e%252e/admin",
            "users%2f..%2fadmin",
            "users/..%00",
            "users\\..\\admin",
            "\\\\evil.example",
            "users/..;/admin",
            "@evil.example",
            "x@evil.example/a",
            "users/@you",
            "users/me@",
            "users?token=1",
            "users#top",
            "users/\u{0}",
            "users/\r\nHost: evil.example",
            "users/\u{85}",
            " users",
            "users / 1",
            "users/ .. /admin",
            "users/..\u{3000}",
        ] {
            let error = Route::parse(bad, "parameters/route").unwrap_err();
            let Error::Invalid(faults) = error else {
                panic!("{bad}")
            };
            assert_eq!(faults[0].field, "parameters/route");
            assert!(serde_json::from_value::<Route>(json!(bad)).is_err());
        }
        assert!(Route::parse(&"a".repeat(LONGEST), "").is_ok());
        assert!(Route::parse(&"a".repeat(LONGEST + 1), "").is_err());
    }
}
