//! Where a community's own server is, as its configuration names it.

use std::fmt;

use serde_json::Value;
use url::Url;

use super::{Error, Object, Result};
use crate::error::Fault;

/// Why an address with a user name or a password is refused.
pub(super) const NO_PASSWORD: &str = "must not hold a user name or a password";

/// The address of a server, in one spelling: http or https, a host, perhaps a path,
/// without a slash at the end. Nothing secret is in it, so it may be shown, and may be
/// a platform_id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads an address; `field` is where it was given, such as `config/server_url`.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(field, why);
        let mut url =
            Url::parse(text).map_err(|_| bad("must be an address such as https://example.org"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("must begin with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad(NO_PASSWORD));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("must end before the ? or the #"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The address of something below it. Each segment is escaped.
    pub fn at<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// Every text in a configuration that is an address of the web, with its place, whatever
/// the property is called: a plugin's author cannot forget one.
pub(super) fn found_in(config: &Object) -> Vec<(String, Url)> {
    let mut found = Vec::new();
    for (name, value) in config {
        find(
            Fault::of_property("config", name, "").field,
            value,
            &mut found,
        );
    }
    found
}

fn find(place: String, value: &Value, found: &mut Vec<(String, Url)>) {
    match value {
        Value::String(text) => {
            let url = Url::parse(text).ok();
            let of_web = url.filter(|url| matches!(url.scheme(), "http" | "https"));
            found.extend(of_web.map(|url| (place, url)));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find(format!("{place}/{index}"), item, found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                find(Fault::of_property(&place, name, "").field, value, found);
            }
        }
        _ => {}
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for (text, normal) in [
            ("https://cred.example", "https://cred.example"),
            ("https://cred.example/", "https://cred.example"),
            ("https://CRED.example:443//", "https://cred.example"),
            ("http://127.0.0.1:8080/a/b/", "http://127.0.0.1:8080/a/b"),
        ] {
            let address = Address::parse(text, "config/server_url").unwrap();
            assert_eq!(address.to_string(), normal);
        }
    }

    #[test]
    fn an_address_is_of_the_web_and_holds_no_secret() {
        for bad in [
            "",
            "cred.example",
            "/output",
            "ftp://cred.example",
            "file:///etc",
            "https://",
            "https://user@cred.example",
            "https://user:secret@cred.example",
            "https://cred.example/?token=secret",
            "https://cred.example/#top",
        ] {
            let error = Address::parse(bad, "config/server_url").unwrap_err();
            let Error::Invalid(faults) = &error else {
                panic!("{bad}: {error}")
            };
            assert_eq!(faults[0].field, "config/server_url");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn every_address_of_a_configuration_is_found() {
        let config = serde_json::json!({
            "server_url": "https://a.example/path?key=1",
            "a/b": {"deep": [7, {"~": " HTTP:\\\\127.1 "}]},
            "text": "see https://b.example",
            "mail": "mailto:ada@c.example",
            "host": "127.0.0.1",
            "flag": true,
        });
        let mut found = found_in(config.as_object().unwrap());
        found.sort();
        let found: Vec<_> = found
            .iter()
            .map(|(at, url)| (&at[..], url.as_str()))
            .collect();
        let expected = [
            ("config/a~1b/deep/1/~0", "http://127.0.0.1/"),
            ("config/server_url", "https://a.example/path?key=1"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        let address = Address::parse("https://cred.example/a", "").unwrap();
        let at = |segment| address.at(["u", segment]).to_string();
        assert_eq!(at("x y.json"), "https://cred.example/a/u/x%20y.json");
        assert_eq!(at("../b?c#d"), "https://cred.example/a/u/..%2Fb%3Fc%23d");
        assert_eq!(at(".."), "https://cred.example/a/u");
    }
}
