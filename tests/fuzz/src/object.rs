//! JSON objects as requests carry them: `google.protobuf.Struct`.

use metagov::{error::Error, model::Object, rpc::fuzz};
use metagov_proto::json;
use prost::Message;
use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::Value;

use crate::take;

const MAX_DEPTH: usize = 24;
const MAX_VALUES: usize = 10_000;
const MAX_STRING: usize = 64 << 10;

/// What is within the limits is taken, and nothing else; whole numbers stay whole; and
/// what is taken comes back the same through a Struct and through text.
pub fn object(data: &[u8]) {
    let ([how], rest) = take::<1>(data);
    match how % 3 {
        0 => encoded(rest),
        1 => {
            if let Ok(Value::Object(fields)) = serde_json::from_slice(rest) {
                encoded(&json::from_json(fields).encode_to_vec());
            }
        }
        _ => encoded(&grown(rest).encode_to_vec()),
    }
}

fn encoded(bytes: &[u8]) {
    let fields = Struct::decode(bytes).ok();
    let taken = fuzz::object(bytes);
    assert_eq!(fields.is_some(), taken.is_some());
    let (Some(fields), Some(taken)) = (fields, taken) else {
        return;
    };
    let mut values = 0;
    let mut is_good = fields.fields.keys().all(|key| key.len() <= MAX_STRING);
    for value in fields.fields.values() {
        is_good &= is_within(value, 1, &mut values);
    }
    is_good &= values <= MAX_VALUES;
    match taken {
        Ok(object) => {
            assert!(is_good, "beyond the limits, but taken");
            assert!(same_fields(&fields, &object));
            comes_back(&object);
        }
        Err(Error::Invalid(faults)) => {
            assert!(!is_good, "within the limits, but refused: {faults:?}");
            assert!(
                faults
                    .iter()
                    .all(|fault| fault.field.starts_with("parameters"))
            );
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Whether a value in an object or list of this depth is within the limits of each; they
/// are counted.
fn is_within(value: &ProtoValue, depth: usize, values: &mut usize) -> bool {
    *values += 1;
    let mut within = |item| is_within(item, depth + 1, values);
    match &value.kind {
        Some(Kind::NumberValue(number)) => number.is_finite(),
        Some(Kind::StringValue(text)) => text.len() <= MAX_STRING,
        // No short cut: all are to be counted.
        Some(Kind::ListValue(list)) => {
            let good = list.values.iter().filter(|item| within(item)).count();
            depth < MAX_DEPTH && good == list.values.len()
        }
        Some(Kind::StructValue(inner)) => {
            let good = inner
                .fields
                .iter()
                .filter(|(key, item)| within(item) & (key.len() <= MAX_STRING))
                .count();
            depth < MAX_DEPTH && good == inner.fields.len()
        }
        _ => true,
    }
}

fn same_fields(fields: &Struct, object: &Object) -> bool {
    let same = |(key, value): (&String, &Value)| {
        let field = fields.fields.get(key);
        field.is_some_and(|field| is_same(field, value))
    };
    fields.fields.len() == object.len() && object.iter().all(same)
}

fn is_same(proto: &ProtoValue, value: &Value) -> bool {
    match (&proto.kind, value) {
        (None | Some(Kind::NullValue(_)), Value::Null) => true,
        (Some(Kind::BoolValue(a)), Value::Bool(b)) => a == b,
        (Some(Kind::NumberValue(a)), Value::Number(b)) => {
            let is_whole = a.fract() == 0.0 && a.abs() <= json::MAX_SAFE_INTEGER;
            b.as_f64() == Some(*a) && b.is_i64() == is_whole
        }
        (Some(Kind::StringValue(a)), Value::String(b)) => a == b,
        (Some(Kind::ListValue(a)), Value::Array(b)) => {
            a.values.len() == b.len() && a.values.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Some(Kind::StructValue(a)), Value::Object(b)) => same_fields(a, b),
        _ => false,
    }
}

/// Through a Struct, and through the text that the store keeps.
fn comes_back(object: &Object) {
    let again = fuzz::object(&json::from_json(object.clone()).encode_to_vec());
    assert_eq!(again, Some(Ok(object.clone())));
    let text = serde_json::to_string(object).expect("JSON");
    let read: Object = serde_json::from_str(&text).expect("what was written");
    assert_eq!(read, *object, "{text}");
}

/// Few bytes become large and deep objects: each step makes a value, or puts the last
/// one into something larger.
fn grown(steps: &[u8]) -> Struct {
    let mut made = Made::of(Kind::NullValue(0), Made::LEAST);
    let mut fields = Struct::default();
    for step in steps.chunks(2).take(256) {
        let ([step, count], _) = take::<2>(step);
        let number = usize::from(count);
        made = match step % 8 {
            0 => Made::of(Kind::BoolValue(number > 7), Made::LEAST),
            1 => Made::of(
                Kind::StringValue("ä".repeat(number << 8)),
                Made::LEAST + (number << 9),
            ),
            2 => Made::of(
                Kind::NumberValue(f64::from_bits(u64::from(count) << 55)),
                Made::LEAST,
            ),
            3 => Made::of(Kind::NumberValue(f64::from(count) / 4.0), Made::LEAST),
            4 => made.times(1),
            5 => made.times(1 + number),
            6 => made.named(format!("~/{count}")),
            _ => {
                if let Some(copy) = made.copy() {
                    fields.fields.insert(format!("{count}"), copy);
                }
                made
            }
        };
    }
    fields.fields.insert(String::new(), made.value);
    fields
}

/// A value, and about how much memory it takes; there is a bound to that.
struct Made {
    value: ProtoValue,
    weight: usize,
}

impl Made {
    const LEAST: usize = 8;
    const MOST: usize = 1 << 18;

    fn of(kind: Kind, weight: usize) -> Self {
        let value = ProtoValue { kind: Some(kind) };
        Self { value, weight }
    }

    fn copy(&self) -> Option<ProtoValue> {
        (self.weight < Self::MOST >> 4).then(|| self.value.clone())
    }

    fn times(self, times: usize) -> Self {
        let times = times.min(Self::MOST / self.weight).max(1);
        let values = vec![self.value; times];
        Self::of(
            Kind::ListValue(ListValue { values }),
            Self::LEAST + self.weight * times,
        )
    }

    fn named(self, key: String) -> Self {
        let fields = [(key, self.value)].into();
        Self::of(
            Kind::StructValue(Struct { fields }),
            Self::LEAST + self.weight,
        )
    }
}
