//! What a platform signs its hooks with: one secret, or two while it is exchanged.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// The most secrets that hold at the same time.
const MOST: usize = 2;

/// The secret that hooks are signed with. In a configuration it is a text, or while it
/// is exchanged a list of both: `["new", "old"]` first, then the new one at the
/// platform, then `"new"`. `writeOnly` in the schema, never returned by the API, never
/// printed, as [`super::Secret`] is.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OneOrMore")]
pub struct SigningSecret(Vec<String>);

impl SigningSecret {
    /// One secret or two; none of them is empty.
    pub fn new(secrets: &[&str]) -> Option<Self> {
        let fits = (1..=MOST).contains(&secrets.len()) && !secrets.contains(&"");
        fits.then(|| Self(secrets.iter().map(|&secret| secret.to_owned()).collect()))
    }

    /// Each secret that holds, for the one place that compares signatures.
    pub fn reveal(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl TryFrom<OneOrMore> for SigningSecret {
    type Error = &'static str;

    fn try_from(given: OneOrMore) -> Result<Self, Self::Error> {
        let secrets = match given {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        };
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        Self::new(&secrets).ok_or("must be one secret, or a list of one or two")
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl JsonSchema for SigningSecret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SigningSecret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "minLength": 1,
            "items": { "type": "string", "minLength": 1 },
            "minItems": 1,
            "maxItems": MOST,
            "writeOnly": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::Schema, *};

    fn read(value: Value) -> Option<Vec<String>> {
        let secret: SigningSecret = serde_json::from_value(value).ok()?;
        Some(secret.reveal().map(str::to_owned).collect())
    }

    #[test]
    fn a_signing_secret_is_one_text_or_a_list_of_two_and_its_schema_says_the_same() {
        let schema = Schema::of::<SigningSecret>();
        let fits = |value: &Value| schema.check(value, "", "").is_ok();
        for (value, secrets) in [
            (json!("a"), vec!["a"]),
            (json!(["a"]), vec!["a"]),
            (json!(["new", "old"]), vec!["new", "old"]),
        ] {
            assert!(fits(&value), "{value}");
            assert_eq!(read(value).unwrap(), secrets);
        }
        for bad in [
            json!(""),
            json!([]),
            json!([""]),
            json!(["a", ""]),
            json!(["a", "b", "c"]),
            json!([["a"]]),
            json!([1]),
            json!(5),
            json!(null),
            json!({ "is": "a" }),
        ] {
            assert!(!fits(&bad) && read(bad.clone()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_signing_secret_is_not_printed() {
        let secret = SigningSecret::new(&["canary-1", "canary-2"]);
        assert_eq!(format!("{secret:?}"), "Some([secret])");
        let bad = json!(["canary-1", "canary-2", "canary-3"]);
        let fault = serde_json::from_value::<SigningSecret>(bad).unwrap_err();
        assert!(!fault.to_string().contains("canary"), "{fault}");
    }
}
