//! The operator's settings for plugins, as flags.
//!
//! A plugin says with a JSON Schema what its operator may set. Each property `api_url`
//! of a plugin `discourse` is the flag `--discourse-api-url`, with the property's
//! description as its help, and a value is checked against the property's schema.
//! Nothing is required here: a plugin that misses a setting says so in the catalogue.

use std::{collections::BTreeMap, sync::Arc};

use clap::{Arg, ArgMatches, Command};
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

/// What the operator may set, of all plugins.
pub struct Operator {
    settings: Vec<Setting>,
}

struct Setting {
    plugin: String,
    property: String,
    help: String,
    validator: Arc<Validator>,
}

impl Operator {
    /// From each plugin's name and operator schema. Fails if one is no schema.
    pub fn of<'a>(plugins: impl Iterator<Item = (&'a str, &'a Value)>) -> Result<Self, String> {
        let mut settings = Vec::new();
        for (plugin, document) in plugins {
            let properties = document.get("properties").and_then(Value::as_object);
            for (property, schema) in properties.into_iter().flatten() {
                settings.push(Setting::new(plugin, property, schema)?);
            }
        }
        Ok(Self { settings })
    }

    /// Adds the flags to a command.
    pub fn add_to(&self, command: Command) -> Command {
        command.args(self.settings.iter().map(Setting::arg))
    }

    /// What was given, by plugin.
    pub fn given(&self, matches: &ArgMatches) -> BTreeMap<String, Map<String, Value>> {
        let mut given = BTreeMap::<String, Map<String, Value>>::new();
        for setting in &self.settings {
            if let Some(value) = matches.get_one::<Value>(&setting.id()) {
                let of_plugin = given.entry(setting.plugin.clone()).or_default();
                of_plugin.insert(setting.property.clone(), value.clone());
            }
        }
        given
    }
}

impl Setting {
    fn new(plugin: &str, property: &str, schema: &Value) -> Result<Self, String> {
        let validator = jsonschema::draft202012::options()
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map_err(|e| format!("the schema of {plugin}'s setting {property}: {e}"))?;
        Ok(Self {
            plugin: plugin.to_owned(),
            property: property.to_owned(),
            help: help(schema),
            validator: Arc::new(validator),
        })
    }

    fn id(&self) -> String {
        format!("{}.{}", self.plugin, self.property)
    }

    fn arg(&self) -> Arg {
        let validator = self.validator.clone();
        let property = self.property.replace('_', "-");
        Arg::new(self.id())
            .long(format!("{}-{property}", self.plugin))
            .value_name("VALUE")
            .help(self.help.clone())
            .help_heading(format!("Settings of {}", self.plugin))
            .value_parser(move |text: &str| read(text, &validator))
    }
}

fn help(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str);
    let text = text.unwrap_or_default().trim();
    match schema.get("default") {
        None | Some(Value::Null) => text.to_owned(),
        // Without quotes, which a value printed as JSON has.
        Some(Value::String(default)) => format!("{text} Default {default}."),
        Some(default) => format!("{text} Default {default}."),
    }
}

/// The text itself where the schema takes it, else the JSON that it is: so `5` is a
/// number only where a number is wanted. The value may be a secret: no fault repeats it.
fn read(text: &str, validator: &Validator) -> Result<Value, String> {
    let words = Value::String(text.to_owned());
    if validator.is_valid(&words) {
        return Ok(words);
    }
    let value = serde_json::from_str(text).unwrap_or(words);
    match validator.validate(&value) {
        Ok(()) => Ok(value),
        Err(fault) => Err(fault.masked_with("the value").to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::explain;
    use serde_json::json;

    fn given(args: &[&str]) -> Result<BTreeMap<String, Map<String, Value>>, String> {
        let discourse = json!({"type": "object", "required": ["secret"], "properties": {
            "api_url": {"type": "string", "description": "Where it is.", "default": "https://d.org"},
            "page_size": {"type": "integer", "minimum": 1},
            "strict": {"type": ["boolean", "null"]},
            "secret": {"type": "string", "minLength": 8, "writeOnly": true},
        }});
        let none = json!({"type": "object"});
        let plugins = [("discourse", &discourse), ("randomness", &none)];
        let operator = Operator::of(plugins.into_iter()).unwrap();
        let command = operator.add_to(Command::new("serve"));
        let line = ["serve"].iter().chain(args);
        let matches = command.try_get_matches_from(line);
        let matches = matches.map_err(|e| explain(&e).unwrap_or(e.to_string()))?;
        Ok(operator.given(&matches))
    }

    #[test]
    fn a_property_is_a_flag_whose_value_has_the_type_of_its_schema() {
        let args = [
            "--discourse-api-url=123",
            "--discourse-page-size=20",
            "--discourse-strict=true",
        ];
        let expected = json!({"discourse": {"api_url": "123", "page_size": 20, "strict": true}});
        assert_eq!(json!(given(&args).unwrap()), expected);
    }

    #[test]
    fn nothing_is_required() {
        assert_eq!(given(&[]).unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_malformed_value_is_named_and_not_repeated() {
        let why = given(&["--discourse-secret=hunter2"]).unwrap_err();
        assert!(why.starts_with("--discourse-secret (METAGOV_DISCOURSE_SECRET): "));
        assert!(!why.contains("hunter2") && !why.contains('\n'), "{why}");
        assert!(given(&["--discourse-page-size=0"]).is_err());
        assert!(given(&["--discourse-page-size=many"]).is_err());
        assert!(given(&["--discourse-unknown=1"]).is_err());
    }

    #[test]
    fn the_help_of_a_flag_is_the_text_of_its_schema() {
        let schema = json!({"description": "Where it is.", "default": "https://d.org"});
        assert_eq!(help(&schema), "Where it is. Default https://d.org.");
    }
}
