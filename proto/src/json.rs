//! `google.protobuf.Struct` ⇄ `serde_json::Value`.
//!
//! A `Struct` knows only doubles. Here a whole double becomes an integer again, so
//! that `3` stays `3` on its way through the gateway and never turns into `3.0`.
//! Whole numbers are exact up to 2^53; larger ones belong into strings.
//! Format: <https://protobuf.dev/reference/protobuf/google.protobuf/#struct>

use prost_types::{ListValue, NullValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Number, Value};

/// The largest double up to which every integer has a double of its own: 2^53.
pub const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_992.0;

/// The JSON of a `Struct`.
///
/// What JSON cannot say (NaN, the infinities) becomes `null`; [`unsayable`] finds it.
pub fn to_json(fields: Struct) -> Map<String, Value> {
    fields
        .fields
        .into_iter()
        .map(|(key, value)| (key, value_to_json(value)))
        .collect()
}

/// The JSON of a `google.protobuf.Value`; a value without a kind is `null`.
pub fn value_to_json(value: ProtoValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(number)) => number_to_json(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(value_to_json).collect())
        }
        Some(Kind::StructValue(fields)) => Value::Object(to_json(fields)),
    }
}

/// The `Struct` of a JSON object.
pub fn from_json(fields: Map<String, Value>) -> Struct {
    Struct {
        fields: fields
            .into_iter()
            .map(|(key, value)| (key, value_from_json(value)))
            .collect(),
    }
}

/// The `google.protobuf.Value` of any JSON value.
pub fn value_from_json(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(NullValue::NullValue.into()),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue {
            values: items.into_iter().map(value_from_json).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(from_json(fields)),
    };
    ProtoValue { kind: Some(kind) }
}

/// The JSON pointer of the first number that JSON cannot say, if there is one.
pub fn unsayable(fields: &Struct) -> Option<String> {
    fields
        .fields
        .iter()
        .find_map(|(key, value)| unsayable_value(value, &format!("/{}", escape(key))))
}

/// The same for any value, whose own JSON pointer is `at`.
pub fn unsayable_value(value: &ProtoValue, at: &str) -> Option<String> {
    match value.kind.as_ref()? {
        Kind::NumberValue(number) if !number.is_finite() => Some(at.to_owned()),
        Kind::ListValue(list) => list
            .values
            .iter()
            .enumerate()
            .find_map(|(index, item)| unsayable_value(item, &format!("{at}/{index}"))),
        Kind::StructValue(fields) => fields
            .fields
            .iter()
            .find_map(|(key, item)| unsayable_value(item, &format!("{at}/{}", escape(key)))),
        _ => None,
    }
}

/// A key as a reference token of a JSON pointer (RFC 6901).
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn number_to_json(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER {
        // Exact: a whole number of at most 53 bits.
        return Value::Number(Number::from(number as i64));
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn there_and_back(value: Value) -> Value {
        value_to_json(value_from_json(value))
    }

    #[test]
    fn json_survives_the_way_through_a_struct() {
        let value = json!({
            "text": "ü", "none": null, "yes": true, "list": [1, -2, 2.5, {"deep": []}],
            "zero": 0, "big": 9_007_199_254_740_992_i64, "small": -9_007_199_254_740_992_i64,
        });
        assert_eq!(there_and_back(value.clone()), value);
    }

    #[test]
    fn whole_numbers_stay_whole_and_others_do_not_become_so() {
        assert_eq!(there_and_back(json!(3.0)).to_string(), "3");
        assert_eq!(there_and_back(json!(-0.0)).to_string(), "0");
        assert_eq!(there_and_back(json!(0.5)).to_string(), "0.5");
        assert_eq!(there_and_back(json!(1e300)).to_string(), "1e+300");
    }

    #[test]
    fn a_number_that_json_cannot_say_is_found_by_its_pointer() {
        let bad = ProtoValue {
            kind: Some(Kind::NumberValue(f64::NAN)),
        };
        let list = ProtoValue {
            kind: Some(Kind::ListValue(ListValue { values: vec![bad] })),
        };
        let fields = Struct {
            fields: [("a/b".to_owned(), list)].into(),
        };
        assert_eq!(unsayable(&fields).as_deref(), Some("/a~1b/0"));
        assert_eq!(unsayable(&from_json(Map::new())), None);
    }
}
