//! `google.protobuf.Struct` ⇄ JSON.

use metagov_proto::json::{MAX_SAFE_INTEGER, escape, from_json, unsayable_value, value_to_json};
use prost_types::{Struct, Value as ProtoValue, value::Kind};
use serde_json::{Number, Value};

/// What cannot go the way between JSON and `Struct`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotJson {
    /// A JSON value that is no object.
    #[error("a Struct is a JSON object")]
    NotObject,
    /// A number that a `Struct` may not keep exactly: it is beyond ±2^53.
    #[error("{at}: {number} may not be exact in a Struct; send it as a string")]
    TooLarge {
        /// Its place, as a JSON pointer.
        at: String,
        /// The number.
        number: String,
    },
    /// A number that JSON has no word for: NaN or an infinity.
    #[error("{at}: NaN and the infinities are no JSON")]
    NotFinite {
        /// Its place, as a JSON pointer.
        at: String,
    },
}

/// The `Struct` of a JSON object.
///
/// # Errors
///
/// It is no object, or has a number beyond ±2^53. An integer there would not be kept exactly, and serde_json reads
/// 10^25 and 1e25 as the same.
pub fn to_struct(object: Value) -> Result<Struct, NotJson> {
    match (inexact(&object, ""), object) {
        (Some(error), _) => Err(error),
        (None, Value::Object(fields)) => Ok(from_json(fields)),
        (None, _) => Err(NotJson::NotObject),
    }
}

/// The JSON object of a `Struct`. Whole numbers up to ±2^53 are integers: 3, not 3.0.
///
/// # Errors
///
/// NaN or an infinity, which JSON cannot say.
pub fn from_struct(fields: Struct) -> Result<Value, NotJson> {
    let kind = Some(Kind::StructValue(fields));
    from_value(ProtoValue { kind })
}

/// The same for the result of an action, which may be any JSON value; one without a kind is
/// `null`.
///
/// # Errors
///
/// NaN or an infinity, which JSON cannot say.
pub fn from_value(value: ProtoValue) -> Result<Value, NotJson> {
    match unsayable_value(&value, "") {
        Some(at) => Err(NotJson::NotFinite { at }),
        None => Ok(value_to_json(value)),
    }
}

/// The first number that may be an integer which is no double.
fn inexact(value: &Value, at: &str) -> Option<NotJson> {
    match value {
        Value::Number(number) if is_beyond(number) => Some(NotJson::TooLarge {
            at: at.to_owned(),
            number: number.to_string(),
        }),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| inexact(item, &format!("{at}/{index}")))
        }
        Value::Object(fields) => {
            let mut fields = fields.iter();
            fields.find_map(|(key, item)| inexact(item, &format!("{at}/{}", escape(key))))
        }
        _ => None,
    }
}

fn is_beyond(number: &Number) -> bool {
    const LARGEST: u64 = MAX_SAFE_INTEGER as u64;
    let whole = number.as_i64().map(i64::unsigned_abs);
    match whole.or_else(|| number.as_u64()) {
        Some(size) => size > LARGEST,
        None => number.as_f64().is_some_and(|x| x.abs() > MAX_SAFE_INTEGER),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_as_it_went() {
        let fields = json!({"n": 3, "x": 2.5, "big": -9_007_199_254_740_992_i64});
        let back = from_struct(to_struct(fields.clone()).unwrap()).unwrap();
        assert_eq!(back, fields);
    }

    #[test]
    fn a_number_that_may_not_be_exact_is_named() {
        for number in [
            json!(9_007_199_254_740_993_i64),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e25),
        ] {
            let fields = json!({"a/b": [0, {"c": number}]});
            let error = to_struct(fields).unwrap_err();
            let start = format!("/a~1b/1/c: {number} ");
            assert!(error.to_string().starts_with(&start), "{error}");
            assert!(error.to_string().ends_with("as a string"), "{error}");
        }
    }

    #[test]
    fn only_objects_are_structs() {
        assert_eq!(to_struct(json!([1])), Err(NotJson::NotObject));
    }

    #[test]
    fn what_json_cannot_say_is_named() {
        for number in [f64::NAN, f64::INFINITY] {
            let kind = Some(Kind::NumberValue(number));
            let fields = [("a".to_owned(), ProtoValue { kind })].into();
            let error = from_struct(Struct { fields }).unwrap_err();
            assert_eq!(
                error,
                NotJson::NotFinite {
                    at: "/a".to_owned()
                }
            );
        }
    }
}
