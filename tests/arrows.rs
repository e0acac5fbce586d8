//! The rooms of the server import downwards only, and none knows what it must not. The
//! picture is in the README. A room that is missing in the table fails as well.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Room | rooms it may import | crates it must not know, each with its family: `tonic`
/// stands for `tonic_health` too. `lib.rs` and `main.rs` may import everything; `log` is
/// the one file beside `main.rs`.
const ROOMS: &str = "
    rpc     | gateway model error metrics traces proof | reqwest sea_orm metagov_migrations
    http    | gateway model error metrics proof | reqwest sea_orm metagov_migrations tonic prost metagov_proto
    gateway | store feed plugins model error metrics traces proof | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum
    feed    | store model error metrics proof  | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum
    plugins | model error metrics traces       | sea_orm metagov_migrations tonic prost metagov_proto axum
    store   | model error folder metrics traces proof | reqwest tonic prost metagov_proto axum
    model   | error                            | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum tokio
    error   | model                            | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum tokio
    folder  |                                  | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum tokio
    proof   |                                  | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum
    config  |                                  | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum tokio
    cli     | config                           | sea_orm metagov_migrations axum
    listen  | config                           | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum
    metrics |                                  | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum tokio
    traces  |                                  | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum tokio
    log     | config traces                           | reqwest sea_orm metagov_migrations tonic prost metagov_proto axum tokio
";

#[test]
fn arrows_only_point_down() {
    let src = crate::root().join("server/src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let inner = file.strip_prefix(&src).unwrap();
        let source = fs::read_to_string(&file).unwrap();
        let faults = faults(&module(inner), &source).into_iter();
        wrong.extend(faults.map(|fault| format!("{}: {fault}", inner.display())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Each database comes through the same code.
#[test]
fn only_one_file_speaks_to_sqlite_alone() {
    let folders = ["server/src/store", "server/src/feed", "migrations/src"];
    for file in folders
        .iter()
        .flat_map(|folder| rust_files(&crate::root().join(folder)))
    {
        let source = fs::read_to_string(&file).unwrap().to_lowercase();
        let speaks = ["sqlite", "pragma", "from_string"]
            .iter()
            .any(|word| tokens(&source).iter().any(|token| token.contains(word)));
        assert_eq!(
            speaks,
            file.ends_with("store/open.rs"),
            "{}",
            file.display()
        );
    }
}

#[test]
fn the_check_sees_every_way_to_write_an_arrow() {
    let is_wrong = |source| !faults(&["plugins", "kit"], source).is_empty();
    for source in [
        "use crate::{model::{Id, Time}, store::Store};",
        "fn f() -> super::super::feed::Feed { loop {} }",
        "use super::super::{error, feed::Feed};",
        "fn f() { crate::rpc::g() }",
        "use tonic as t;",
        "use {prost::Message, std::fs};",
        "fn f(_: tonic_health::pb::A) {}",
        "#[cfg(test)]\nmod tests {\n}\nuse crate::store;",
        "#[cfg(test)]\nmod tests;\nuse crate::store;",
    ] {
        assert!(is_wrong(source), "{source}");
    }
    for source in [
        "use crate::{error::Error, model::{Id, store::Kind}};",
        "use super::{feed, http::Http};",
        "fn f() { super::super::super::inner() }",
        "use tonics::A; // crate::store",
        "#[cfg(test)]\nmod tests {\n    use crate::store;\n}",
    ] {
        assert!(!is_wrong(source), "{source}");
    }
    assert!(!faults(&["new"], "").is_empty());
}

/// What is wrong with the arrows of a module.
fn faults(module: &[&str], source: &str) -> Vec<String> {
    // `lib.rs` and `main.rs` stand above the rooms.
    let Some(&here) = module.first() else {
        return vec![];
    };
    let Some([_, may, must_not]) = rooms().find(|[name, ..]| *name == here) else {
        return vec![format!("{here} is no room of the table")];
    };
    let may: Vec<&str> = may.split_whitespace().collect();
    let (rooms, crates) = imports(&without_tests(source), module.len());
    let up = rooms
        .into_iter()
        .filter(|room| room != here && !may.contains(&room.as_str()));
    let up = up.map(|room| format!("{here} must not import {room}"));
    // The gateway is no client of itself: that are only the verbs.
    let client = (here != "cli").then_some("metagov_client");
    let must_not = || must_not.split_whitespace().chain(client);
    let known = crates
        .into_iter()
        .filter(|name| must_not().any(|of| is_family(name, of)));
    up.chain(known.map(|name| format!("{here} must not know {name}")))
        .collect()
}

fn rooms() -> impl Iterator<Item = [&'static str; 3]> {
    let rows = ROOMS.lines().filter(|line| !line.trim().is_empty());
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        cells.try_into().unwrap()
    })
}

fn is_family(name: &str, of: &str) -> bool {
    let rest = name.strip_prefix(of);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// The source without its modules of tests, which may use what they need.
fn without_tests(source: &str) -> String {
    let mut kept = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // rustfmt closes a module where it began: at the margin.
            if lines.next().is_some_and(|line| line.ends_with('{')) {
                lines.find(|line| *line == "}");
            }
        } else {
            kept.extend([line, "\n"]);
        }
    }
    kept
}

/// The rooms that a source names, `depth` modules below the crate, and every first name
/// of a path, which may be a crate.
fn imports(source: &str, depth: usize) -> (Vec<String>, Vec<String>) {
    let tokens = tokens(source);
    let (mut found, mut crates) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |at| tokens[at]);
        let after = tokens.get(at + 1).copied().unwrap_or_default();
        let is_path = after == "::" || before == "use";
        if before == "::" || !is_name(token) || !is_path {
            continue;
        }
        let rest = &tokens[at..];
        let supers = rest
            .iter()
            .step_by(2)
            .take_while(|t| **t == "super")
            .count();
        match *token {
            "crate" | "metagov" => found.extend(heads(&rest[2..])),
            // A nested module may climb higher than its file is deep: there, only what
            // is a room is one.
            "super" if supers >= depth => found.extend(
                heads(&rest[2 * supers..])
                    .into_iter()
                    .filter(|head| rooms().any(|[name, ..]| name == head)),
            ),
            name => crates.push(name.to_owned()),
        }
    }
    (found, crates)
}

/// The names that a path goes on with: `a` of `a::b`, `a` and `c` of `{a::b, c}`.
fn heads(tokens: &[&str]) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut before) = (0, "{");
    for token in tokens {
        if is_name(token) && depth <= 1 && ["{", ","].contains(&before) {
            heads.push((*token).to_owned());
        }
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        before = token;
    }
    heads
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

/// The modules of a file: `plugins/kit/mod.rs` is `plugins::kit`, `lib.rs` is above all.
fn module(file: &Path) -> Vec<&str> {
    let parts = file.iter().map(|part| part.to_str().unwrap());
    parts
        .map(|part| part.trim_end_matches(".rs"))
        .filter(|part| !["mod", "lib", "main"].contains(part))
        .collect()
}

/// The files of a folder and below it. A file `tests.rs` is a module of tests, a folder
/// `tests` has its parts.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
