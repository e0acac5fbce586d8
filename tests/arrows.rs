//! The rooms of the server import downwards only, and none knows what it must not. The
//! picture is in the README. A room that is missing in the table fails as well.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A room, the rooms it may import, and the crates it must not. A crate stands for its
/// family: `tonic` for `tonic_health` too.
type Room = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// `lib.rs` builds everything and `main.rs` starts it: they may import any room.
const ROOMS: &[Room] = &[
    (
        "model",
        &["error"],
        &[DB, TABLES, GRPC, PROST, PROTO, WEB, HTTP, RUNTIME],
    ),
    (
        "error",
        &["model"],
        &[DB, TABLES, GRPC, PROST, PROTO, WEB, HTTP, RUNTIME],
    ),
    (
        "store",
        &["model", "error"],
        &[GRPC, PROST, PROTO, WEB, HTTP],
    ),
    (
        "feed",
        &["store", "model", "error"],
        &[DB, TABLES, GRPC, PROST, PROTO, WEB, HTTP],
    ),
    (
        "plugins",
        &["model", "error"],
        &[DB, TABLES, GRPC, PROST, PROTO, WEB],
    ),
    (
        "gateway",
        &["store", "feed", "plugins", "model", "error"],
        &[DB, TABLES, GRPC, PROST, PROTO, WEB, HTTP],
    ),
    ("rpc", &["gateway", "model", "error"], &[DB, TABLES, HTTP]),
    (
        "http",
        &["gateway", "model", "error"],
        &[DB, TABLES, GRPC, PROST, PROTO, HTTP],
    ),
    ("cli", &["config"], &[DB, TABLES, WEB, HTTP]),
    ("config", &[], &[DB, TABLES, GRPC, PROST, PROTO, WEB, HTTP]),
];

const DB: &str = "sea_orm";
const TABLES: &str = "metagov_migrations";
const GRPC: &str = "tonic";
const PROST: &str = "prost";
const PROTO: &str = "metagov_proto";
const WEB: &str = "axum";
const HTTP: &str = "reqwest";
const RUNTIME: &str = "tokio";

/// Room, path. What is allowed although the table says no, and why.
const EXCEPT: &[(&str, &str)] = &[
    // One spelling of JSON pointers for everybody.
    ("plugins", "metagov_proto::json"),
];

#[test]
fn arrows_only_point_down() {
    let src = crate::root().join("server/src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let inner = file.strip_prefix(&src).unwrap();
        let module = module_path(inner);
        // `lib.rs` and `main.rs` stand above the rooms.
        let Some(name) = module.first() else { continue };
        let Some(room) = ROOMS.iter().find(|room| room.0 == name) else {
            wrong.push(format!("{}: no such room in the table", inner.display()));
            continue;
        };
        let source = fs::read_to_string(&file).unwrap();
        for path in paths(&source) {
            if let Some(why) = fault(room, module.len(), &path) {
                wrong.push(format!("{}: {}: {why}", inner.display(), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_every_way_to_write_a_path() {
    let source = "
        use crate::{model::{Id, Time}, store::Store}; // crate::no
        use tonic as t;
        fn f() -> super::super::feed::Feed { crate::rpc::g() }";
    let seen: Vec<String> = paths(source).iter().map(|path| path.join("::")).collect();
    let expected = [
        "crate::model::Id",
        "crate::model::Time",
        "crate::store::Store",
        "tonic",
        "super::super::feed::Feed",
        "crate::rpc::g",
    ];
    assert_eq!(seen, expected);
    let plugins = ROOMS.iter().find(|room| room.0 == "plugins").unwrap();
    let is_wrong = |path: &str| {
        let path: Vec<&str> = path.split("::").collect();
        fault(plugins, 2, &path).is_some()
    };
    for path in [
        "crate::store::Store",
        "super::super::feed",
        "tonic_health::pb",
        "crate::new",
    ] {
        assert!(is_wrong(path), "{path}");
    }
    for path in [
        "crate::model::Id",
        "super::kit",
        "metagov_proto::json::escape",
        "tonics",
    ] {
        assert!(!is_wrong(path), "{path}");
    }
}

/// Why a file of this room, `depth` modules below the crate, may not use this path.
fn fault(&(name, may, must_not): &Room, depth: usize, path: &[&str]) -> Option<String> {
    let joined = path.join("::");
    if EXCEPT
        .iter()
        .any(|(room, free)| *room == name && joined.starts_with(free))
    {
        return None;
    }
    let supers = path.iter().take_while(|part| **part == "super").count();
    let other = match path[0] {
        "crate" => path[1],
        // Inside a nested module one `super` stays inside the file: a name that is no
        // room is not ours to judge.
        "super" if supers >= depth => {
            let next = path.get(supers)?;
            ROOMS.iter().find(|room| room.0 == *next)?.0
        }
        "super" => return None,
        dependency => {
            let of = |family: &&&str| {
                let rest = dependency.strip_prefix(**family);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            };
            let family = must_not.iter().find(of)?;
            return Some(format!("{name} must not know {family}"));
        }
    };
    let fine = other == name || may.contains(&other);
    (!fine).then(|| format!("{name} must not import {other}"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// `plugins/kit/mod.rs` is the module `plugins::kit`; `lib.rs` is the crate itself.
fn module_path(file: &Path) -> Vec<String> {
    let file = file.with_extension("");
    let parts = file.iter().map(|part| part.to_str().unwrap().to_owned());
    parts
        .filter(|part| !["mod", "lib", "main"].contains(&part.as_str()))
        .collect()
}

/// Every path of two and more parts, and every single name after `use`, with groups
/// written out.
fn paths(source: &str) -> Vec<Vec<&str>> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let used = at > 0 && tokens[at - 1] == "use";
        if is_name(tokens[at]) && (used || tokens.get(at + 1) == Some(&"::")) {
            at = tree(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads `a::b::{c, d::e}` at `at`; returns where it ends.
fn tree<'a>(
    tokens: &[&'a str],
    mut at: usize,
    before: &[&'a str],
    found: &mut Vec<Vec<&'a str>>,
) -> usize {
    let mut path = before.to_vec();
    while at < tokens.len() && is_name(tokens[at]) {
        path.push(tokens[at]);
        at += 1;
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    if tokens.get(at) != Some(&"{") || tokens[at - 1] != "::" {
        found.push(path);
        return at;
    }
    while at < tokens.len() && tokens[at] != "}" {
        at += 1;
        if tokens.get(at).is_some_and(|token| is_name(token)) {
            at = tree(tokens, at, &path, found);
        }
    }
    at + 1
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Names, `::`, and single signs, without comments.
fn tokens(source: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for line in source.lines() {
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with("//") {
            let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let end = match name.unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => rest.chars().next().map_or(0, char::len_utf8),
                end => end,
            };
            tokens.push(&rest[..end]);
            rest = rest[end..].trim_start();
        }
    }
    tokens
}
