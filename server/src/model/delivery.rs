//! A delivery: something that a platform sent to a webhook.

use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::percent_decode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DeliveryId, InstallationId, JsonLimits, Object, Time};
use crate::error::{Error, Result};

/// Something a platform delivered to a webhook, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Unique.
    pub id: DeliveryId,
    /// To which installation.
    pub installation_id: InstallationId,
    /// What became of it.
    pub state: DeliveryState,
    /// When it came.
    pub receive_time: Time,
    /// How often it was tried.
    pub attempt_count: i32,
    /// When it is tried again.
    pub next_attempt_time: Option<Time>,
    /// Why the last try failed.
    pub problem: String,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Stored, to be processed.
    Pending,
    /// Processed.
    Done,
    /// Given up.
    Parked,
}

/// A webhook's request: what a plugin verifies and reads.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hook {
    /// Header names in lower case with their values, as they came.
    pub headers: Vec<(String, String)>,
    /// The query string without its `?`; empty if there is none.
    pub query: String,
    /// The raw body: signatures are over exactly these bytes.
    pub body: Bytes,
    /// When it came. Signatures are fresh or stale by this, so that a hook that is
    /// worked on hours later is as good as it was.
    #[serde(skip)]
    pub receive_time: Time,
    /// How much JSON it may hold.
    #[serde(skip)]
    pub limits: JsonLimits,
}

impl Hook {
    /// The first value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a header that a signature depends on: it must be there, and once,
    /// or two readers of the request could see two different ones.
    pub fn only(&self, name: &str) -> Result<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(value),
            (None, _) => Err(Error::Unsigned(format!("the header {name} is missing"))),
            (Some(_), Some(_)) => Err(Error::Unsigned(format!("the header {name} comes twice"))),
        }
    }

    /// The body as a JSON object, within the limits and without a key twice.
    pub fn json(&self) -> Result<Object> {
        self.limits.object("body", &self.body)
    }

    /// The same as a type of the plugin's own.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let value = Value::Object(self.json()?);
        serde_json::from_value(value)
            .map_err(|_| Error::invalid("body", "is not what this hook has"))
    }

    /// The body as the fields of a form, such as Slack sends. JSON in a field is read
    /// with [`JsonLimits::object`].
    pub fn form(&self) -> Result<BTreeMap<String, String>> {
        let bad = |why: &str| Error::invalid("body", why);
        let mut fields = BTreeMap::new();
        let pairs = self.body.split(|byte| *byte == b'&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let mut part = || decoded(parts.next().unwrap_or_default());
            let (Some(name), Some(value)) = (part(), part()) else {
                return Err(bad("is not UTF-8"));
            };
            if fields.insert(name, value).is_some() {
                return Err(bad("has a field twice"));
            }
            if fields.len() > self.limits.values {
                return Err(bad("has too many fields"));
            }
        }
        Ok(fields)
    }
}

/// A name or value of a form, if it is text.
fn decoded(part: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = part
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let text = percent_decode(&spaced).decode_utf8().ok()?;
    Some(text.into_owned())
}

/// What a webhook is answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct HookReply {
    /// The HTTP status.
    pub status: u16,
    /// The type of `body`; empty if there is none.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

impl HookReply {
    /// 200 and nothing more.
    pub fn ok() -> Self {
        Self {
            status: 200,
            content_type: String::new(),
            body: Bytes::new(),
        }
    }

    /// 200 and a JSON body.
    pub fn json(body: &serde_json::Value) -> Self {
        Self {
            status: 200,
            content_type: "application/json".to_owned(),
            body: Bytes::from(body.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(body: &'static [u8]) -> Hook {
        Hook {
            headers: [("a", "1"), ("b", "2"), ("b", "2")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            body: Bytes::from_static(body),
            ..Hook::default()
        }
    }

    #[test]
    fn a_header_that_a_signature_depends_on_comes_once() {
        let hook = hook(b"");
        assert_eq!(hook.only("a"), Ok("1"));
        for name in ["b", "c"] {
            assert!(matches!(hook.only(name), Err(Error::Unsigned(_))));
        }
    }

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let body = b"payload=%7B%22a%22%3A+1%7D&text=%E6%8A%95+%2B&empty=&alone&x=a=b&&bad=%zz";
        let form = hook(body).form().unwrap();
        let form: Vec<_> = form.iter().map(|(key, value)| (&**key, &**value)).collect();
        let expected = [
            ("alone", ""),
            ("bad", "%zz"),
            ("empty", ""),
            ("payload", r#"{"a": 1}"#),
            ("text", "投 +"),
            ("x", "a=b"),
        ];
        assert_eq!(form, expected);
        assert!(hook(b"").form().unwrap().is_empty());
    }

    #[test]
    fn a_form_that_two_readers_could_read_in_two_ways_is_refused() {
        for body in [
            &b"a=1&a=2"[..],
            b"a=1&%61=2",
            b"a=%ff",
            b"\xff=1",
            b"a=\xc3",
        ] {
            let form = hook(body).form();
            assert!(matches!(form, Err(Error::Invalid(_))), "{form:?}");
        }
    }

    #[test]
    fn a_body_is_an_object_of_the_wanted_kind_or_invalid() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Wanted {
            id: u64,
        }
        assert_eq!(hook(br#"{"id":5,"more":1}"#).read(), Ok(Wanted { id: 5 }));
        for body in [
            &b"null"[..],
            b"[5]",
            b"{}",
            br#"{"id":-1}"#,
            br#"{"id":5,"id":5}"#,
            br#"{"id":1e999}"#,
        ] {
            let read = hook(body).read::<Wanted>();
            assert!(matches!(read, Err(Error::Invalid(_))), "{read:?}");
        }
    }
}
