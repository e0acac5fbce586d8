//! JSON from outside, within limits: what is deeper, larger or ambiguous is refused.
//!
//! The limits are the operator's and hold for gRPC's Struct (`rpc/input.rs`), for hooks
//! and for public actions alike. A key that comes twice is refused, since two readers
//! of such an object may see two different things; so is a number that no double holds.

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value, error::Category};

use super::Object;
use crate::error::{Error, Result};

/// How much JSON is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// How deep objects and lists are nested; the outermost is 1.
    pub depth: usize,
    /// How many values there are, the outermost not counted.
    pub values: usize,
    /// How many bytes a string or a key has.
    pub string: usize,
}

/// What the settings say where nobody says otherwise.
impl Default for JsonLimits {
    fn default() -> Self {
        Self {
            depth: 24,
            values: 10_000,
            string: 64 << 10,
        }
    }
}

impl JsonLimits {
    /// Reads JSON. What is wrong with it is said without repeating any of it.
    pub fn parse(&self, bytes: &[u8]) -> Result<Value, String> {
        let left = Cell::new(self.values);
        let root = Strict {
            limits: self,
            left: &left,
            depth: 1,
        };
        let mut from = serde_json::Deserializer::from_slice(bytes);
        let value = root.deserialize(&mut from).map_err(|e| said(&e))?;
        from.end().map_err(|e| said(&e))?;
        Ok(value)
    }

    /// Reads a JSON object; `field` is where it was given.
    pub fn object(&self, field: &str, bytes: &[u8]) -> Result<Object> {
        match self.parse(bytes) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err(Error::invalid(field, "must be a JSON object")),
            Err(why) => Err(Error::invalid(field, why)),
        }
    }

    /// What is wrong with something nested so deep.
    pub fn check_depth(&self, depth: usize) -> Result<(), String> {
        let most = self.depth;
        match depth <= most {
            true => Ok(()),
            false => Err(format!("is nested more than {most} levels deep")),
        }
    }

    /// How many values are left after one more, of so many.
    pub fn count(&self, left: usize) -> Result<usize, String> {
        let most = self.values;
        left.checked_sub(1)
            .ok_or_else(|| format!("has more than {most} values"))
    }

    /// What is wrong with such a string or key.
    pub fn check_string(&self, text: &str) -> Result<(), String> {
        let most = self.string;
        match text.len() <= most {
            true => Ok(()),
            false => Err(format!("has a string of more than {most} bytes")),
        }
    }
}

/// Our own faults are of the category Data; the others are those of the syntax.
fn said(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => error.to_string(),
        _ => format!("is no JSON: {error}"),
    }
}

/// Reads one value at this depth.
struct Strict<'a> {
    limits: &'a JsonLimits,
    left: &'a Cell<usize>,
    depth: usize,
}

impl<'a> Strict<'a> {
    /// The reader of a value inside of this one.
    fn inner<E: de::Error>(&self) -> Result<Strict<'a>, E> {
        let left = self.limits.count(self.left.get()).map_err(E::custom)?;
        self.left.set(left);
        Ok(Strict {
            limits: self.limits,
            left: self.left,
            depth: self.depth + 1,
        })
    }

    fn check_string<E: de::Error>(&self, text: &str) -> Result<(), E> {
        self.limits.check_string(text).map_err(E::custom)
    }

    fn check_depth<E: de::Error>(&self) -> Result<(), E> {
        self.limits.check_depth(self.depth).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Value, E> {
        Ok(Value::Bool(is))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        let number = Number::from_f64(number);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("has a number that JSON cannot say"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.check_string(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut list = Vec::new();
        // Counted when it is there: the end of the list is no value.
        while let Some(item) = items.next_element_seed(Counted(&self))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut fields = Object::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.check_string(&key)?;
            let value = entries.next_value_seed(Counted(&self))?;
            if fields.insert(key, value).is_some() {
                return Err(de::Error::custom("has a key twice in one object"));
            }
        }
        Ok(Value::Object(fields))
    }
}

/// A value inside of another one.
struct Counted<'a, 'b>(&'b Strict<'a>);

impl<'de> DeserializeSeed<'de> for Counted<'_, '_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.0.inner()?.deserialize(from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Value, String> {
        JsonLimits::default().parse(text.as_bytes())
    }

    fn fault(bytes: &[u8]) -> String {
        JsonLimits::default().parse(bytes).unwrap_err()
    }

    #[test]
    fn json_is_read_as_it_is() {
        for text in [
            "null",
            "true",
            "-5",
            "18446744073709551615",
            "0.25",
            r#""\u6295\ud83d\ude00""#,
            r#"{"b":[1,{"a":null}],"a":{},"":[]}"#,
            " [ ] ",
        ] {
            let usual: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text), Ok(usual), "{text}");
        }
    }

    #[test]
    fn a_key_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"{"x":[{"y":{"a":1,"a":2}}]}"#,
        ] {
            assert!(fault(text.as_bytes()).contains("twice"), "{text}");
        }
        assert!(parse(r#"{"a":{"a":1},"b":{"a":1},"A":2}"#).is_ok());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bytes in [
            &b""[..],
            b"{",
            b"{}{}",
            b"[1,]",
            b"nul",
            b"NaN",
            b"Infinity",
            b"1e999",
            b"-1e999",
            b"01",
            b"'a'",
            b"\"\xff\"",
            b"{\"\xc3\x28\": 1}",
            b"\xef\xbb\xbf{}",
            b"\"\\ud800\"",
            b"\"\x00\"",
            b"{\"a\":1} // more",
        ] {
            let why = fault(bytes);
            assert!(why.starts_with("is no JSON"), "{bytes:?}: {why}");
        }
    }

    #[test]
    fn depth_count_and_length_have_limits() {
        let limits = JsonLimits {
            depth: 3,
            values: 5,
            string: 4,
        };
        let fits = |text: &str| limits.parse(text.as_bytes()).is_ok();
        assert!(fits("[[[1]]]") && !fits("[[[[]]]]"));
        assert!(fits(r#"{"a":[{}]}"#) && !fits(r#"{"a":[{"b":[]}]}"#));
        assert!(fits("[1,2,3,4,5]") && !fits("[1,2,3,4,5,6]"));
        assert!(fits("[[1,2],[3]]") && !fits("[[1,2],[3,4]]"));
        assert!(fits(r#"["abcd"]"#) && !fits(r#"["abcde"]"#));
        assert!(fits(r#"{"abcd":1}"#) && !fits(r#"{"abcde":1}"#));
        assert!(fits(r#""\u0061bcd""#) && !fits(r#""éé1""#), "bytes count");
    }

    #[test]
    fn what_is_nested_without_end_is_refused_and_the_stack_holds() {
        for open in ["[", r#"{"a":"#, "[[{\"b\":"] {
            let why = fault(open.repeat(100_000).as_bytes());
            assert!(why.contains("24 levels"), "{why}");
        }
        // Even where the operator allows what serde_json does not.
        let limits = JsonLimits {
            depth: usize::MAX,
            ..JsonLimits::default()
        };
        let why = limits.parse("[".repeat(100_000).as_bytes()).unwrap_err();
        assert!(why.contains("recursion limit"), "{why}");
    }

    #[test]
    fn an_object_is_no_list_and_not_null() {
        let limits = JsonLimits::default();
        assert_eq!(limits.object("body", b"{}"), Ok(Object::new()));
        for other in ["null", "[]", "5", "\"{}\"", "true"] {
            let error = limits.object("body", other.as_bytes()).unwrap_err();
            assert_eq!(error, Error::invalid("body", "must be a JSON object"));
        }
    }

    #[test]
    fn no_fault_repeats_what_was_sent() {
        for text in [
            r#"{"canary":1,"canary":2}"#,
            r#"{"canary" 1}"#,
            r#"[canary]"#,
        ] {
            assert!(!fault(text.as_bytes()).contains("canary"), "{text}");
        }
        assert_eq!(parse("{}"), Ok(json!({})));
    }
}
