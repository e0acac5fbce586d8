//! Parameters on the command line: `low=3`, and `tags:='["a", 1]'` for raw JSON.
//!
//! What `=` gives is text, and the schema says what it means: a string where strings are
//! taken, one more item where a list is, else JSON. So `low=3` is a number for
//! `randomness.random-int`, and `title=3` a text for `ballot.vote`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::{
    Exit, Failure,
    common::read,
    document::exact,
    output::aligned,
    schema::{Schema, types},
};

/// One parameter as it was given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    name: String,
    given: Given,
}

#[derive(Clone, Debug, PartialEq)]
enum Given {
    Text(String),
    Json(Value),
}

impl Setting {
    /// Reads `name=text` or `name:=JSON`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is no name=value, nor name:=JSON"))?;
        let (name, given) = match name.strip_suffix(':') {
            None => (name, Given::Text(value.to_owned())),
            Some(name) => {
                let json = serde_json::from_str(value).map_err(|e| format!("{name}:= {e}"))?;
                (name, Given::Json(json))
            }
        };
        if name.is_empty() {
            return Err(format!("{text:?} has no name before its ="));
        }
        let name = name.to_owned();
        Ok(Self { name, given })
    }
}

/// What an action is performed with, or a process started.
#[derive(Clone, Args)]
pub(super) struct Input {
    /// Its parameters: name=text, which is a number or a list where the schema wants one,
    /// or name:=JSON. Given again, a name is one more item of a list.
    #[arg(value_name = "NAME=VALUE", value_parser = Setting::parse)]
    parameters: Vec<Setting>,

    /// A file with the parameters as a JSON object, `-` for the standard input. What is
    /// given besides goes over it. Default none.
    #[arg(long = "parameters", value_name = "FILE", hide_env = true)]
    file: Option<PathBuf>,

    /// By which installation, if the community has several of the plugin. Default: the one.
    #[arg(long, value_name = "ID", hide_env = true)]
    pub(super) installation: Option<String>,
}

impl Input {
    /// Reads the file, if one is named.
    pub(super) fn read(&self) -> Result<Parameters, Failure> {
        Parameters::new(self.parameters.clone(), self.file.as_ref(), "--parameters")
    }
}

/// All that was given: those of a file, and over them those of the command line.
pub(super) struct Parameters {
    file: Map<String, Value>,
    settings: Vec<Setting>,
}

impl Parameters {
    /// Reads the file, which a flag names, if there is one.
    pub(super) fn new(
        settings: Vec<Setting>,
        file: Option<&PathBuf>,
        flag: &str,
    ) -> Result<Self, Failure> {
        let file = file.map(|file| object(file, flag)).transpose()?;
        let file = file.unwrap_or_default();
        Ok(Self { file, settings })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.file.is_empty() && self.settings.is_empty()
    }

    /// The values, as the schema types them, if they fit it. `of` is what they are for;
    /// `partly` is said at [`Schema::faults`].
    pub(super) fn fit(
        self,
        schema: &Schema,
        of: &str,
        partly: bool,
    ) -> Result<Map<String, Value>, Failure> {
        let mut values = self.file;
        for (name, given) in grouped(self.settings) {
            let value = typed(given, schema.property(&name))
                .map_err(|why| Failure::new(Exit::Refused, format!("{of}: {name}: {why}")))?;
            values.insert(name, value);
        }
        exact(&values, "").map_err(|why| {
            let why = why.trim_start_matches('/');
            Failure::new(Exit::Refused, format!("{of}: {why}"))
        })?;
        let faults = schema.faults(&values, partly);
        match faults.is_empty() {
            true => Ok(values),
            false => Err(unfit(of, schema, faults)),
        }
    }
}

/// The parameters that do not fit, and below them what there is to know of each.
fn unfit(of: &str, schema: &Schema, faults: Vec<(String, String)>) -> Failure {
    let why = format!("{of} does not fit its schema; nothing was sent");
    let mut failure = Failure::new(Exit::Refused, why);
    for (place, why) in faults {
        failure = failure.line(format!("{place}: {why}"));
    }
    let rows = schema.rows();
    if rows.is_empty() {
        return failure.line("it takes no parameters");
    }
    let lines = aligned(&HEADS, rows);
    lines.into_iter().fold(failure, Failure::line)
}

/// Above the rows of a schema.
pub(super) const HEADS: [&str; 4] = ["NAME", "TYPE", "NEEDED", "DESCRIPTION"];

fn object(file: &Path, flag: &str) -> Result<Map<String, Value>, Failure> {
    let text = read(file, flag)?;
    serde_json::from_str(&text).map_err(|e| {
        let why = format!("{flag}: {}: it is no JSON object: {e}", file.display());
        Failure::new(Exit::Refused, why)
    })
}

/// What was given under one name, in the order of the names.
fn grouped(settings: Vec<Setting>) -> Vec<(String, Vec<Given>)> {
    let mut groups: Vec<(String, Vec<Given>)> = Vec::new();
    for Setting { name, given } in settings {
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) => all.push(given),
            None => groups.push((name, vec![given])),
        }
    }
    groups
}

/// What was given under one name as a value of its schema.
fn typed(mut given: Vec<Given>, schema: Option<&Value>) -> Result<Value, String> {
    let schema = schema.unwrap_or(&Value::Null);
    let types = types(schema);
    let is_list = types.contains("array") && !types.contains("string");
    match (given.len(), is_list) {
        (1, false) => Ok(one(given.remove(0), schema)),
        (1, true) => Ok(match one(given.remove(0), schema) {
            Value::String(text) => Value::Array(vec![item(text, schema)]),
            value => value,
        }),
        (_, true) => {
            let items = given.into_iter().map(|given| match given {
                Given::Text(text) => item(text, schema),
                Given::Json(value) => value,
            });
            Ok(Value::Array(items.collect()))
        }
        (_, false) => Err("is given more than once, and is no list".to_owned()),
    }
}

fn item(text: String, schema: &Value) -> Value {
    one(
        Given::Text(text),
        schema.get("items").unwrap_or(&Value::Null),
    )
}

/// A text stays one where strings are taken; else it is read as JSON if it is some of a
/// type that is taken. What is left is a text, and the schema says what is wrong with it.
fn one(given: Given, schema: &Value) -> Value {
    let text = match given {
        Given::Json(value) => return value,
        Given::Text(text) => text,
    };
    let types = types(schema);
    if types.contains("string") {
        return Value::String(text);
    }
    // `options=5` of a list of texts is an item, the text 5.
    let fits = |value: &Value| match value {
        Value::Array(_) => true,
        Value::Null => types.contains("null"),
        _ => !types.contains("array"),
    };
    let value = serde_json::from_str(&text).ok().filter(fits);
    value.unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metagov_proto::json as proto;
    use serde_json::json;

    fn schema() -> Schema {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["title"],
            "properties": {
                "title": {"type": "string", "description": "What is decided."},
                "options": {"type": "array", "items": {"type": "string"}},
                "rooms": {"type": "array", "items": {"type": "integer"}},
                "quorum": {"type": ["integer", "null"]},
                "secret": {"type": "boolean"},
                "more": {},
            }
        });
        Schema::of(Some(proto::from_json(schema.as_object().unwrap().clone())))
    }

    fn fit(args: &[&str]) -> Result<Value, Failure> {
        let settings = args.iter().map(|arg| Setting::parse(arg).unwrap());
        let parameters = Parameters::new(settings.collect(), None, "--parameters")?;
        let values = parameters.fit(&schema(), "ballot.vote", false)?;
        Ok(Value::Object(values))
    }

    #[test]
    fn the_schema_says_what_a_text_means() {
        for (args, values) in [
            (&["title=3"][..], json!({"title": "3"})),
            (&["title=a=b"], json!({"title": "a=b"})),
            (&["title=", "quorum=3"], json!({"title": "", "quorum": 3})),
            (
                &["title=t", "quorum=null"],
                json!({"title": "t", "quorum": null}),
            ),
            (
                &["title=t", "secret=true"],
                json!({"title": "t", "secret": true}),
            ),
            (
                &["title=t", "options=5"],
                json!({"title": "t", "options": ["5"]}),
            ),
            (
                &["title=t", "options=a", "options=b"],
                json!({"title": "t", "options": ["a", "b"]}),
            ),
            (
                &["title=t", "options=[\"a\"]"],
                json!({"title": "t", "options": ["a"]}),
            ),
            (&["title=t", "rooms=5"], json!({"title": "t", "rooms": [5]})),
            (
                &["title=t", "rooms:=[5,6]"],
                json!({"title": "t", "rooms": [5, 6]}),
            ),
            (&["title=t", "more=x"], json!({"title": "t", "more": "x"})),
            (&["title=t", "more={}"], json!({"title": "t", "more": {}})),
        ] {
            assert_eq!(fit(args), Ok(values), "{args:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_there_is() {
        let failure = fit(&["quorum=many", "titel=s3cret"]).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        for words in [
            "title: is missing",
            "titel: is not known",
            "quorum: ",
            "What is decided.",
        ] {
            assert!(failure.text.contains(words), "{words}: {failure}");
        }
        assert!(!failure.text.contains("s3cret"), "{failure}");
        for args in [
            &["title=a", "title=b"][..],
            &["title=a", "quorum:=140750062325202944"],
        ] {
            assert_eq!(fit(args).unwrap_err().exit, Exit::Refused, "{args:?}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for text in ["", "title", "=x", ":=5", "title:=", "title:={"] {
            Setting::parse(text).unwrap_err();
        }
    }

    #[test]
    fn the_command_line_goes_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"title": "file", "quorum": 2}"#).unwrap();
        let settings = vec![Setting::parse("title=line").unwrap()];
        let path = file.path().to_owned();
        let both = Parameters::new(settings, Some(&path), "--parameters").unwrap();
        let values = both.fit(&schema(), "ballot.vote", false).unwrap();
        assert_eq!(Value::Object(values), json!({"title": "line", "quorum": 2}));
        std::fs::write(file.path(), "[]").unwrap();
        let failure = Parameters::new(vec![], Some(&path), "--parameters")
            .err()
            .unwrap();
        assert!(failure.text.starts_with("--parameters: "), "{failure}");
    }
}
