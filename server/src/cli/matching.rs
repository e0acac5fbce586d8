//! Which installation an entry of a document means.
//!
//! A document has no installation ids, so an entry is recognised by what it says:
//!
//! 1. the installation whose configuration already is as the entry says, secrets aside;
//! 2. if the document has one entry of the plugin, and the community one installation:
//!    that one;
//! 3. the installation whose `platform_id` is one of the entry's values, such as the
//!    server's address.
//!
//! Otherwise the entry is new. Where several installations fit equally well the one
//! meant cannot be seen, and guessing could send one server's key to another: that is a
//! fault, unless there is an entry for each. Then they pair in order, which is the order
//! in which they were enabled.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::document::Entry;

/// An installation as it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Installed {
    pub(super) installation_id: String,
    pub(super) plugin: String,
    pub(super) platform_id: String,
    pub(super) etag: String,
    /// Without its secrets.
    pub(super) config: Map<String, Value>,
    /// Which secrets are set.
    pub(super) secret_names: Vec<String>,
}

impl Installed {
    /// The keys of a patch that would change the configuration, secrets aside.
    pub(super) fn changes(&self, patch: &Map<String, Value>) -> Map<String, Value> {
        let changes = |(key, value): &(&String, &Value)| {
            if self.secret_names.contains(key) {
                return false;
            }
            let mut after = self.config.get(*key).cloned().unwrap_or(Value::Null);
            json_patch::merge(&mut after, value);
            after != self.config.get(*key).cloned().unwrap_or(Value::Null)
        };
        let changed = patch.iter().filter(changes);
        changed
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn is_at(&self, entry: &Entry) -> bool {
        let here = self.platform_id.trim_end_matches('/');
        let mut texts = entry.config.values().filter_map(Value::as_str);
        !here.is_empty() && texts.any(|text| text.trim_end_matches('/') == here)
    }
}

/// For each entry the index of the installation that it means, or nothing if it is new.
/// The installations are given oldest first.
pub(super) fn matching(
    installed: &[Installed],
    entries: &[Entry],
) -> Result<Vec<Option<usize>>, String> {
    let mut by_plugin = BTreeMap::<&str, Vec<usize>>::new();
    for (index, entry) in entries.iter().enumerate() {
        by_plugin.entry(&entry.name).or_default().push(index);
    }
    let mut meant = vec![None; entries.len()];
    for (plugin, of_plugin) in by_plugin {
        let mut free: Vec<usize> = (0..installed.len())
            .filter(|i| installed[*i].plugin == plugin)
            .collect();
        if let ([entry], [only]) = (&of_plugin[..], &free[..]) {
            meant[*entry] = Some(*only);
            continue;
        }
        take_equal(installed, entries, (&of_plugin, &mut free), &mut meant)?;
        for index in of_plugin {
            if meant[index].is_none() {
                let at = free
                    .iter()
                    .position(|i| installed[*i].is_at(&entries[index]));
                meant[index] = at.map(|at| free.remove(at));
            }
        }
    }
    Ok(meant)
}

/// Gives each entry an installation that already is as it says.
fn take_equal(
    installed: &[Installed],
    entries: &[Entry],
    (of_plugin, free): (&[usize], &mut Vec<usize>),
    meant: &mut [Option<usize>],
) -> Result<(), String> {
    // Those that say most first, so that they are not left with what another could take.
    let mut order = of_plugin.to_vec();
    order.sort_by_key(|index| std::cmp::Reverse(entries[*index].config.len()));
    for (done, index) in order.iter().enumerate() {
        let entry = &entries[*index];
        let fits = |i: &&usize| installed[**i].changes(&entry.config).is_empty();
        let fitting: Vec<usize> = free.iter().filter(fits).copied().collect();
        let Some(first) = fitting.first() else {
            continue;
        };
        if fitting.len() > order.len() - done {
            return Err(ambiguous(installed, (*index, entry), &fitting));
        }
        meant[*index] = Some(*first);
        free.retain(|i| i != first);
    }
    Ok(())
}

fn ambiguous(installed: &[Installed], (index, entry): (usize, &Entry), fit: &[usize]) -> String {
    let ids = fit.iter().map(|i| installed[*i].installation_id.as_str());
    let ids = ids.collect::<Vec<_>>().join(", ");
    let plugin = &entry.name;
    format!(
        "plugins/{index}: several installations of {plugin} fit ({ids}); give a key of its config \
         that only one has, or change it with UpdateInstallation"
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// Secrets are the keys of `config` that begin with `secret`.
    pub(in crate::cli) fn installed(id: &str, plugin: &str, at: &str, config: Value) -> Installed {
        let fields = config.as_object().unwrap().clone();
        let (secrets, config): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .partition(|(key, _)| key.starts_with("secret"));
        Installed {
            installation_id: id.to_owned(),
            plugin: plugin.to_owned(),
            platform_id: at.to_owned(),
            etag: format!("etag-{id}"),
            config: config.into_iter().collect(),
            secret_names: secrets.into_iter().map(|(key, _)| key).collect(),
        }
    }

    pub(in crate::cli) fn entry(name: &str, config: Value) -> Entry {
        let config = config.as_object().unwrap().clone();
        let name = name.to_owned();
        Entry { name, config }
    }

    fn forum(id: &str, url: &str) -> Installed {
        installed(
            id,
            "discourse",
            url,
            json!({"server_url": url, "secret": "s", "page": 1}),
        )
    }

    #[test]
    fn one_entry_means_the_only_installation_of_its_plugin() {
        let installed = [forum("1", "https://a.org")];
        let moved = [entry("discourse", json!({"server_url": "https://b.org"}))];
        assert_eq!(matching(&installed, &moved), Ok(vec![Some(0)]));
        let other = [entry("randomness", json!({}))];
        assert_eq!(matching(&installed, &other), Ok(vec![None]));
    }

    #[test]
    fn an_equal_configuration_goes_before_everything_else() {
        let installed = [forum("1", "https://a.org"), forum("2", "https://b.org")];
        let entries = [
            entry(
                "discourse",
                json!({"server_url": "https://b.org", "secret": "new"}),
            ),
            entry(
                "discourse",
                json!({"server_url": "https://a.org", "page": 1}),
            ),
        ];
        assert_eq!(matching(&installed, &entries), Ok(vec![Some(1), Some(0)]));
    }

    #[test]
    fn a_changed_entry_is_recognised_by_its_place_on_the_platform() {
        let installed = [forum("1", "https://a.org"), forum("2", "https://b.org")];
        let entries = [
            entry("discourse", json!({"server_url": "https://c.org"})),
            entry(
                "discourse",
                json!({"server_url": "https://b.org/", "page": 2}),
            ),
        ];
        assert_eq!(matching(&installed, &entries), Ok(vec![None, Some(1)]));
    }

    #[test]
    fn an_installation_is_meant_once() {
        let installed = [forum("1", "https://a.org")];
        let same = entry("discourse", json!({"server_url": "https://a.org"}));
        let entries = [same.clone(), same];
        assert_eq!(matching(&installed, &entries), Ok(vec![Some(0), None]));
    }

    #[test]
    fn an_entry_that_fits_several_is_a_fault() {
        let installed = [forum("1", "https://a.org"), forum("2", "https://b.org")];
        let entries = [entry("discourse", json!({"secret": "x"}))];
        let why = matching(&installed, &entries).unwrap_err();
        assert!(why.starts_with("plugins/0: several installations of discourse fit (1, 2)"));
    }

    #[test]
    fn entries_of_nothing_but_secrets_pair_in_order() {
        let installed = ["1", "2"].map(|id| installed(id, "loomio", id, json!({"secret": ""})));
        let entries = ["a", "b"].map(|s| entry("loomio", json!({"secret": s})));
        assert_eq!(matching(&installed, &entries), Ok(vec![Some(0), Some(1)]));
    }

    #[test]
    fn an_entry_that_says_more_chooses_before_one_that_says_less() {
        let installed = [forum("1", "https://a.org"), forum("2", "https://b.org")];
        let entries = [
            entry("discourse", json!({})),
            entry("discourse", json!({"server_url": "https://a.org"})),
        ];
        assert_eq!(matching(&installed, &entries), Ok(vec![Some(1), Some(0)]));
    }

    #[test]
    fn a_patch_changes_what_a_merge_would() {
        let one = installed(
            "1",
            "p",
            "",
            json!({"a": {"x": 1, "y": 2}, "b": 1, "secret": ""}),
        );
        let changed = |patch: Value| json!(one.changes(patch.as_object().unwrap()));
        assert_eq!(
            changed(json!({"a": {"x": 1}, "b": 1, "c": null})),
            json!({})
        );
        assert_eq!(changed(json!({"secret": "s"})), json!({}));
        let patch = json!({"a": {"x": null}, "b": null, "c": [], "secret_2": "s"});
        assert_eq!(changed(patch.clone()), patch);
    }
}
