//! The JSON Schemas of a plugin, as people read them and as a command line needs them.
//!
//! They come from the gateway, which checks again whatever is sent: a schema that cannot
//! be understood here refuses nothing.

use std::collections::BTreeSet;

use jsonschema::{PatternOptions, error::ValidationErrorKind};
use metagov_proto::json;
use prost_types::Struct;
use serde_json::{Map, Value};

/// The schema of an object: parameters, or a configuration.
pub(super) struct Schema(Value);

impl Schema {
    pub(super) fn of(schema: Option<Struct>) -> Self {
        Self(Value::Object(json::to_json(schema.unwrap_or_default())))
    }

    /// The schema of one property; nothing if it is not known here.
    pub(super) fn property(&self, name: &str) -> Option<&Value> {
        self.0.get("properties")?.get(name)
    }

    /// A line for each property, what is needed first: its name, its type, whether it is
    /// needed, and what it is.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let properties = self.0.get("properties").and_then(Value::as_object);
        let needed = self.0.get("required").and_then(Value::as_array);
        let needed: Vec<&str> = needed
            .into_iter()
            .flatten()
            .flat_map(Value::as_str)
            .collect();
        let mut rows: Vec<(bool, Vec<String>)> = properties
            .into_iter()
            .flatten()
            .map(|(name, schema)| {
                let is_needed = needed.contains(&name.as_str());
                let word = if is_needed { "yes" } else { "no" }.to_owned();
                let about = schema.get("description").and_then(Value::as_str);
                let about = about.unwrap_or_default().to_owned();
                (!is_needed, vec![name.clone(), kind(schema), word, about])
            })
            .collect();
        rows.sort_by_key(|(optional, _)| *optional);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// What of these values does not fit, each by its place and without the value, which
    /// may be a secret. With `partly` what is missing is no fault, nor is `null`: that
    /// removes a property.
    pub(super) fn faults(
        &self,
        values: &Map<String, Value>,
        partly: bool,
    ) -> Vec<(String, String)> {
        let options = jsonschema::draft202012::options();
        let options = options.with_pattern_options(PatternOptions::regex());
        let Ok(validator) = options.build(&self.0) else {
            return Vec::new();
        };
        let mut values = values.clone();
        values.retain(|_, value| !partly || !value.is_null());
        let values = Value::Object(values);
        let errors = validator.iter_errors(&values);
        errors.flat_map(|error| faults(&error, partly)).collect()
    }
}

fn faults(error: &jsonschema::ValidationError<'_>, partly: bool) -> Vec<(String, String)> {
    let at = error.instance_path().to_string();
    let below = |name: &str| format!("{at}/{}", json::escape(name)).split_off(1);
    match error.kind() {
        // Of a patch the gateway alone knows what it is merged into.
        ValidationErrorKind::Required { .. } if partly && at.is_empty() => vec![],
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![(below(name), "is missing".to_owned())]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let why = "is not known here; is it misspelt?";
            let unknown = unexpected.iter().map(|name| (below(name), why.to_owned()));
            unknown.collect()
        }
        _ => {
            let why = error.masked_with("the value").to_string();
            vec![(at.trim_start_matches('/').to_owned(), why)]
        }
    }
}

/// The JSON types that a schema takes, as JSON Schema names them. All if it does not say.
pub(super) fn types(schema: &Value) -> BTreeSet<&str> {
    let named = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(some)) => some.iter().flat_map(Value::as_str).collect(),
        _ => {
            let values = schema.get("enum").and_then(Value::as_array);
            let values = values.into_iter().flatten().chain(schema.get("const"));
            let values = values.map(type_of);
            values.chain(options(schema).flat_map(types)).collect()
        }
    };
    named.into_iter().collect()
}

/// The schemas of which one has to fit.
fn options(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["anyOf", "oneOf"].map(|key| schema.get(key).and_then(Value::as_array));
    lists.into_iter().flatten().flatten()
}

fn type_of(value: &Value) -> &str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What a schema takes, in words: `integer`, `list of string`, `single or approval`.
fn kind(schema: &Value) -> String {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let values = schema.get("enum").and_then(Value::as_array);
    let values: Vec<String> = values.into_iter().flatten().map(text).collect();
    let mut words: Vec<String> = match (schema.get("const"), values.is_empty()) {
        (Some(value), _) => vec![text(value)],
        (None, false) => values,
        (None, true) => options(schema).filter(is_said).map(kind).collect(),
    };
    if words.is_empty() {
        let named = types(schema).into_iter();
        words = named.map(|name| of_type(name, schema)).collect();
    }
    words.retain(|word| word != "null");
    if words.is_empty() {
        "any".to_owned()
    } else {
        words.join(" or ")
    }
}

/// That something may be left out is said elsewhere.
fn is_said(option: &&Value) -> bool {
    types(option) != BTreeSet::from(["null"])
}

fn of_type(name: &str, schema: &Value) -> String {
    let format = schema.get("format").and_then(Value::as_str);
    match (name, format, schema.get("items")) {
        ("array", _, Some(items)) => format!("list of {}", kind(items)),
        ("array", _, None) => "list".to_owned(),
        // Of numbers the format is their width in Rust.
        ("string", Some(format), _) => format!("string ({format})"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vote() -> Schema {
        Schema(json!({
            "type": "object", "additionalProperties": false, "required": ["title", "options"],
            "properties": {
                "method": {"type": "string", "enum": ["single", "approval"]},
                "options": {"type": "array", "items": {"type": "string"}, "minItems": 2},
                "quorum": {"type": ["integer", "null"], "format": "int64", "minimum": 1},
                "title": {"type": "string", "description": "What is decided."},
                "who": {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]},
            }
        }))
    }

    #[test]
    fn a_schema_is_told_in_words() {
        let rows = vote().rows();
        let rows: Vec<[&str; 4]> = rows
            .iter()
            .map(|row| std::array::from_fn(|at| row[at].as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                ["options", "list of string", "yes", ""],
                ["title", "string", "yes", "What is decided."],
                ["method", "single or approval", "no", ""],
                ["quorum", "integer", "no", ""],
                ["who", "string (uuid)", "no", ""],
            ]
        );
        assert_eq!(kind(&json!({})), "any");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place_and_without_its_value() {
        let given = json!({"options": ["a", 5], "titel": "s3cret", "quorum": 0});
        let faults = vote().faults(given.as_object().unwrap(), false);
        let mut places: Vec<&str> = faults.iter().map(|(place, _)| place.as_str()).collect();
        places.sort_unstable();
        assert_eq!(places, ["options/1", "quorum", "titel", "title"]);
        assert!(faults.iter().all(|(_, why)| !why.contains("s3cret")));
    }

    #[test]
    fn a_part_may_leave_out_what_is_needed_and_remove_with_null() {
        let given = json!({"title": null, "quorum": 3});
        assert_eq!(vote().faults(given.as_object().unwrap(), true), []);
        let given = json!({"quorum": "many"});
        assert_eq!(vote().faults(given.as_object().unwrap(), true).len(), 1);
    }

    #[test]
    fn a_schema_that_is_none_refuses_nothing() {
        let schema = Schema(json!({"type": "no such type"}));
        assert_eq!(schema.faults(&Map::new(), false), []);
        assert_eq!(Schema::of(None).faults(&Map::new(), false), []);
    }
}
