//! The alerts and the dashboard of `server/deploy/` speak of metrics that there are, and
//! only of those. `python/test_deploy.py` looks at the other files.

use std::{collections::BTreeSet, fs};

use metagov::metrics::NAMES;
use serde_json::Value;

fn read(file: &str) -> String {
    let path = crate::root().join("server/deploy").join(file);
    fs::read_to_string(path).unwrap()
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    words.filter(|word| word.starts_with("metagov_")).collect()
}

fn is_declared(name: &str) -> bool {
    NAMES.iter().any(|declared| super::is_of(name, declared))
}

/// Every query of the dashboard, and of its variables.
fn queries(dashboard: &Value) -> Vec<String> {
    let targets = dashboard["panels"].as_array().unwrap().iter();
    let targets = targets.filter_map(|panel| panel["targets"].as_array());
    let panels = targets.flatten().map(|target| &target["expr"]);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables = variables.iter().map(|variable| &variable["query"]);
    let all = panels.chain(variables);
    all.map(|query| query.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    let alerts = read("alerts.yaml");
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let queries = queries(&dashboard).join("\n");
    assert!(named(&alerts).len() > 10 && named(&queries).len() > 15);
    for name in named(&alerts).into_iter().chain(named(&queries)) {
        assert!(is_declared(name), "there is no {name}");
    }
}

/// What nobody looks at need not be measured.
#[test]
fn the_dashboard_shows_every_metric() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let queries = queries(&dashboard).join("\n");
    for declared in NAMES {
        let shown = named(&queries)
            .into_iter()
            .any(|name| super::is_of(name, declared));
        assert!(shown, "{declared} is on no panel");
    }
}

#[test]
fn panels_stand_side_by_side_and_say_what_they_show() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(!title.is_empty());
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{title}");
        for column in x..x + w {
            for line in y..y + h {
                assert!(taken.insert((column, line)), "{title} covers another");
            }
        }
    }
}
