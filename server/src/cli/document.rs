//! The document that `apply` takes: one community and its plugins, as JSON.

use metagov_proto::json;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A community as it should be. What is absent stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// `name`, or its other spelling `slug`.
    pub(super) community_id: String,
    /// `readable_name`.
    pub(super) display_name: Option<String>,
    /// `plugins`, in order.
    pub(super) plugins: Vec<Entry>,
}

/// One plugin that should be enabled.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The plugin's name.
    pub(super) name: String,
    /// The keys of its configuration that should be so; `null` removes one.
    #[serde(default)]
    pub(super) config: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    slug: Option<String>,
    readable_name: Option<String>,
    plugins: Option<Vec<Entry>>,
}

impl Document {
    /// Reads a document, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // serde would also take a struct's fields as a list.
        if !text.trim_start().starts_with('{') {
            return Err("it is no JSON object".to_owned());
        }
        let raw: Raw = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let mut plugins = raw.plugins.unwrap_or_default();
        for (index, entry) in plugins.iter_mut().enumerate() {
            let root = format!("plugins/{index}/config");
            exact(&entry.config, &root)?;
            // As it comes back from the gateway: 3.0 is 3.
            entry.config = json::to_json(json::from_json(std::mem::take(&mut entry.config)));
        }
        Ok(Self {
            community_id: community_id(raw.name, raw.slug)?,
            display_name: raw.readable_name,
            plugins,
        })
    }
}

fn community_id(name: Option<String>, slug: Option<String>) -> Result<String, String> {
    match (name, slug) {
        (Some(name), Some(slug)) if name != slug => Err(format!(
            "name is {name:?} and slug is {slug:?}; they are two words for the community's id, give one"
        )),
        (Some(id), _) | (None, Some(id)) if !id.is_empty() => Ok(id),
        // The original made up an id here. Then a second run would make a second community.
        _ => Err("name is missing: the community's id, [a-z0-9] then [a-z0-9-]{0,62}".to_owned()),
    }
}

/// Refuses whole numbers that a `Struct` cannot carry: it knows only doubles, and the id
/// of a chat room must not arrive as its neighbour's.
pub(super) fn exact(config: &Map<String, Value>, at: &str) -> Result<(), String> {
    config
        .iter()
        .try_for_each(|(key, value)| exact_value(value, &format!("{at}/{}", json::escape(key))))
}

fn exact_value(value: &Value, at: &str) -> Result<(), String> {
    match value {
        Value::Object(fields) => exact(fields, at),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| exact_value(item, &format!("{at}/{index}"))),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            let size = number.as_f64().unwrap_or(f64::INFINITY).abs();
            match size <= json::MAX_SAFE_INTEGER {
                true => Ok(()),
                false => Err(format!(
                    "{at}: a whole number above 2^53 is not exact; make it a string"
                )),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault(text: &str) -> String {
        Document::parse(text).unwrap_err()
    }

    #[test]
    fn a_document_names_a_community_and_its_plugins() {
        let text = json!({"name": "my-co-op", "readable_name": "My Co-op", "plugins": [
            {"name": "randomness", "config": {"default_low": 2.0, "default_high": 200}},
            {"name": "ballot"},
        ]});
        let document = Document::parse(&text.to_string()).unwrap();
        assert_eq!(document.community_id, "my-co-op");
        assert_eq!(document.display_name.as_deref(), Some("My Co-op"));
        let config = json!({"default_low": 2, "default_high": 200});
        assert_eq!(json!(document.plugins[0].config), config);
        assert_eq!(json!(document.plugins[1].config), json!({}));
    }

    #[test]
    fn name_and_slug_are_two_words_for_one_thing() {
        for text in [
            r#"{"slug":"c"}"#,
            r#"{"name":"c","slug":"c"}"#,
            r#"{"name":"c","plugins":null}"#,
        ] {
            assert_eq!(Document::parse(text).unwrap().community_id, "c");
        }
        assert!(fault(r#"{"name":"c","slug":"d"}"#).contains("give one"));
    }

    #[test]
    fn a_document_without_an_id_is_refused() {
        for text in [
            "{}",
            r#"{"name":""}"#,
            r#"{"readable_name":"new community"}"#,
        ] {
            assert!(fault(text).starts_with("name is missing"), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert!(fault(r#"{"name":"c","plugin":[]}"#).contains("`plugin`"));
        let entry = r#"{"name":"c","plugins":[{"name":"ballot","configs":{}}]}"#;
        assert!(fault(entry).contains("`configs`"));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in [
            "",
            "[]",
            "null",
            "\"c\"",
            "{",
            r#"{"name":1}"#,
            r#"{"name":"c"} x"#,
            r#"{"name":"c","name":"d"}"#,
        ] {
            fault(text);
        }
    }

    #[test]
    fn a_number_that_would_change_on_its_way_is_refused() {
        let text =
            r#"{"name":"c","plugins":[{"name":"p","config":{"rooms":[140750062325202944]}}]}"#;
        assert!(fault(text).starts_with("plugins/0/config/rooms/0: "));
    }
}
