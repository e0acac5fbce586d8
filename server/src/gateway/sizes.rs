//! How large an event is for who reads it.

use serde_json::Value;

use crate::model::Object;

/// What stands around the data of a platform's event: ids, times, type, cursor.
const ENVELOPE: usize = 512;

/// Whether an event with this data, done by this account, can be read by everybody: its
/// size in protobuf, and how deep its data is nested.
pub(super) fn fits(data: &Object, user_id: &str, max_size: usize, max_depth: usize) -> bool {
    let size = of_struct(data) + user_id.len() + ENVELOPE;
    size <= max_size && data.values().all(|value| depth(value) < max_depth)
}

/// The size of a `google.protobuf.Struct`.
fn of_struct(fields: &Object) -> usize {
    let entry = |(key, value): (&String, &Value)| delimited(delimited(key.len()) + of_field(value));
    fields.iter().map(entry).sum()
}

/// A `google.protobuf.Value` as a field or an item.
fn of_field(value: &Value) -> usize {
    delimited(match value {
        Value::Null | Value::Bool(_) => 2,
        Value::Number(_) => 9,
        Value::String(text) => delimited(text.len()),
        Value::Array(items) => delimited(items.iter().map(of_field).sum()),
        Value::Object(fields) => delimited(of_struct(fields)),
    })
}

/// A field with a length: its tag, the length, and so many bytes.
fn delimited(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros()).max(1) as usize;
    1 + bits.div_ceil(7) + length
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use metagov_proto::json::from_json;
    use prost::Message;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_size_is_what_protobuf_makes_of_it() {
        for value in [
            json!({}),
            json!({"a": null, "b": true, "c": 0.5, "d": -7, "e": "", "f": [], "g": {}}),
            json!({"投票": [["x".repeat(127)], "x".repeat(128), {"k": "x".repeat(20_000)}]}),
            json!({ "many": vec![0; 5000] }),
        ] {
            let fields = value.as_object().unwrap();
            let real = from_json(fields.clone()).encoded_len();
            assert_eq!(of_struct(fields), real);
        }
    }

    #[test]
    fn what_is_large_or_deep_does_not_fit() {
        let data = |value: Value| value.as_object().unwrap().clone();
        let text = data(json!({ "a": "x".repeat(1000) }));
        assert!(fits(&text, "ada", 2000, 24) && !fits(&text, "ada", 1000, 24));
        assert!(!fits(&text, &"x".repeat(1000), 2000, 24));
        let deep = data(json!({ "a": [{ "b": [] }] }));
        assert!(fits(&deep, "", 2000, 4) && !fits(&deep, "", 2000, 3));
    }
}
