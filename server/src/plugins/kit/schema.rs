//! JSON Schema 2020-12: made from types, checked with every fault named.
//!
//! <https://json-schema.org/draft/2020-12>. Remote references do not resolve, and
//! regular expressions run in linear time.

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{Error, Result};
use crate::error::Fault;

/// The most faults that one answer names.
const MAX_FAULTS: usize = 20;

/// A schema and what checks against it.
#[derive(Debug)]
pub struct Schema {
    /// The schema itself.
    pub document: Value,
    validator: Validator,
}

impl Schema {
    /// The schema of a type, as it is read.
    pub fn of<T: JsonSchema>() -> Self {
        let mut generator = SchemaSettings::draft2020_12()
            .with(|settings| {
                settings.inline_subschemas = true;
                settings.meta_schema = None;
            })
            .into_generator();
        let mut document = generator.root_schema_for::<T>().to_value();
        strip_titles(&mut document);
        Self::new(document).expect("the schema of a type is a schema")
    }

    /// A schema that is given as JSON.
    pub fn new(document: Value) -> Result<Self> {
        let validator = jsonschema::draft202012::options()
            .with_pattern_options(PatternOptions::regex())
            .build(&document)
            .map_err(|e| Error::internal(format!("not a JSON Schema: {e}")))?;
        Ok(Self {
            document,
            validator,
        })
    }

    /// Checks a value. Every fault (at most 20) is named by its place below `root`,
    /// such as `parameters/options/0`; no value is repeated in a message.
    pub fn check(&self, value: &Value, of: &str, root: &str) -> Result<()> {
        let faults: Vec<Fault> = self
            .validator
            .iter_errors(value)
            .flat_map(|error| faults(root, &error))
            .take(MAX_FAULTS)
            .collect();
        if faults.is_empty() {
            return Ok(());
        }
        let of = of.to_owned();
        Err(Error::Schema { of, faults })
    }

    /// The top-level properties that are marked `writeOnly`, in order.
    pub fn secret_names(&self) -> Vec<String> {
        let properties = self.document.get("properties").and_then(Value::as_object);
        let secret = |schema: &Value| schema.get("writeOnly") == Some(&Value::Bool(true));
        let mut names: Vec<String> = properties
            .into_iter()
            .flatten()
            .filter(|(_, schema)| secret(schema))
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names
    }
}

/// The faults that an error of the validator means. Missing and unknown keys it reports
/// at their parent: here each is a fault of its own, with its own name.
fn faults(root: &str, error: &ValidationError<'_>) -> Vec<Fault> {
    let field = format!("{root}{}", error.instance_path());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Fault::of_property(&field, name, "is missing")]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .map(|name| Fault::of_property(&field, name, "is not known here; is it misspelt?"))
            .collect(),
        _ => {
            let why = error.masked_with("the value").to_string();
            vec![Fault { field, why }]
        }
    }
}

/// schemars puts the names of Rust types into `title`; they are nobody's business.
fn strip_titles(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A property that is called "title" is a schema, not a text.
            if fields.get("title").is_some_and(Value::is_string) {
                fields.remove("title");
            }
            fields.values_mut().for_each(strip_titles);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_titles),
        _ => {}
    }
}
