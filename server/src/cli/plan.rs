//! What must be done so that a community is as a document says. Pure.

use serde_json::{Map, Value};

use super::{
    document::Document,
    matching::{Installed, matching},
};

/// A community as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Current {
    /// Its display name; nothing if there is no such community.
    pub(super) display_name: Option<String>,
    /// Oldest first.
    pub(super) installed: Vec<Installed>,
}

/// One step, in the order in which they are taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step<'a> {
    /// Create the community, or change its name if one is given.
    SetCommunity {
        /// The name to set.
        display_name: Option<&'a str>,
    },
    /// The community is as it should be.
    KeepCommunity,
    /// Enable a plugin.
    Enable {
        /// Which.
        plugin: &'a str,
        /// Its configuration.
        config: Map<String, Value>,
    },
    /// Change an installation's configuration. If there are secrets in the patch it may
    /// turn out to be unchanged: only the gateway can compare them.
    Update {
        /// Which.
        installed: &'a Installed,
        /// A merge patch.
        patch: Map<String, Value>,
    },
    /// The installation is as it should be.
    Keep(&'a Installed),
    /// Disable an installation that the document does not mention.
    Disable(&'a Installed),
}

/// The steps from what is to what should be. What the document does not mention stays,
/// unless `prune`.
pub(super) fn plan<'a>(
    current: &'a Current,
    document: &'a Document,
    prune: bool,
) -> Result<Vec<Step<'a>>, String> {
    let meant = matching(&current.installed, &document.plugins)?;
    let mut steps = vec![community(current, document)];
    for (entry, meant) in document.plugins.iter().zip(&meant) {
        steps.push(match meant {
            Some(index) => update(&current.installed[*index], &entry.config),
            None => Step::Enable {
                plugin: &entry.name,
                config: without_nulls(&entry.config),
            },
        });
    }
    if prune {
        let unmentioned = current.installed.iter().enumerate();
        let unmentioned = unmentioned.filter(|(index, _)| !meant.contains(&Some(*index)));
        steps.extend(unmentioned.map(|(_, installed)| Step::Disable(installed)));
    }
    Ok(steps)
}

fn community<'a>(current: &Current, document: &'a Document) -> Step<'a> {
    let display_name = document.display_name.as_deref();
    match &current.display_name {
        Some(name) if display_name.is_none_or(|wanted| wanted == name) => Step::KeepCommunity,
        _ => Step::SetCommunity { display_name },
    }
}

fn update<'a>(installed: &'a Installed, wanted: &Map<String, Value>) -> Step<'a> {
    let mut patch = installed.changes(wanted);
    let secrets = wanted
        .iter()
        .filter(|(key, _)| installed.secret_names.contains(key));
    patch.extend(secrets.map(|(key, value)| (key.clone(), value.clone())));
    match patch.is_empty() {
        true => Step::Keep(installed),
        false => Step::Update { installed, patch },
    }
}

/// `null` removes a key; of what is new there is nothing to remove.
fn without_nulls(config: &Map<String, Value>) -> Map<String, Value> {
    let mut clean = Value::Object(Map::new());
    json_patch::merge(&mut clean, &Value::Object(config.clone()));
    match clean {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::matching::tests::{entry, installed};
    use super::*;
    use serde_json::json;

    fn document(
        display_name: Option<&str>,
        plugins: Vec<super::super::document::Entry>,
    ) -> Document {
        Document {
            community_id: "c".to_owned(),
            display_name: display_name.map(str::to_owned),
            plugins,
        }
    }

    fn current(installed: Vec<Installed>) -> Current {
        Current {
            display_name: Some("C".to_owned()),
            installed,
        }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_new_community_is_created_and_its_plugins_enabled() {
        let config = json!({"low": 1, "high": null, "deep": {"a": null}});
        let document = document(None, vec![entry("randomness", config)]);
        let nothing = Current::default();
        let steps = plan(&nothing, &document, true).unwrap();
        let enable = Step::Enable {
            plugin: "randomness",
            config: map(json!({"low": 1, "deep": {}})),
        };
        let set = Step::SetCommunity { display_name: None };
        assert_eq!(steps, [set, enable]);
    }

    #[test]
    fn what_is_as_it_should_be_is_kept() {
        let current = current(vec![installed("1", "p", "", json!({"a": 1, "b": 2}))]);
        for name in [None, Some("C")] {
            let document = document(name, vec![entry("p", json!({"a": 1}))]);
            let steps = plan(&current, &document, true).unwrap();
            let kept = Step::Keep(&current.installed[0]);
            assert_eq!(steps, [Step::KeepCommunity, kept]);
        }
    }

    #[test]
    fn a_name_that_differs_is_set_even_to_nothing() {
        for name in ["D", ""] {
            let (current, document) = (current(vec![]), document(Some(name), vec![]));
            let display_name = Some(name);
            let steps = plan(&current, &document, false);
            assert_eq!(steps, Ok(vec![Step::SetCommunity { display_name }]));
        }
    }

    #[test]
    fn a_patch_has_what_differs_and_the_secrets_that_cannot_be_compared() {
        let old = json!({"a": 1, "b": 2, "c": 3, "secret": ""});
        let current = current(vec![installed("1", "p", "", old)]);
        let new = json!({"a": 1, "b": 5, "secret": "s"});
        let document = document(None, vec![entry("p", new)]);
        let steps = plan(&current, &document, false).unwrap();
        let update = Step::Update {
            installed: &current.installed[0],
            patch: map(json!({"b": 5, "secret": "s"})),
        };
        assert_eq!(steps[1], update);
    }

    #[test]
    fn what_is_not_mentioned_stays_unless_pruned() {
        let installed = vec![
            installed("1", "p", "here", json!({"a": 1})),
            installed("2", "p", "there", json!({"a": 2})),
            installed("3", "q", "", json!({})),
        ];
        let current = current(installed);
        let document = document(None, vec![entry("p", json!({"a": 2}))]);
        let kept = plan(&current, &document, false).unwrap();
        let [first, second, third] = &current.installed[..] else {
            unreachable!()
        };
        assert_eq!(kept, [Step::KeepCommunity, Step::Keep(second)]);
        let pruned = plan(&current, &document, true).unwrap();
        assert_eq!(pruned[2..], [Step::Disable(first), Step::Disable(third)]);
    }
}
