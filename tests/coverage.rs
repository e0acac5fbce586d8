//! What is written about the code names what there is: `COVERAGE.md` has a test for each
//! claim, and the files and functions that the README speaks of exist.

use std::fs;

#[test]
fn every_claim_has_a_test_that_exists() {
    let table = fs::read_to_string(crate::root().join("tests/COVERAGE.md")).unwrap();
    let mut wrong = Vec::new();
    for (claim, tests) in table.lines().filter_map(row) {
        if tests.is_empty() {
            wrong.push(format!("{claim}: no test"));
        }
        let missing = tests.into_iter().filter(|test| !exists(test));
        wrong.extend(missing.map(|test| format!("{claim}: {test} does not exist")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_the_readme_names_exists() {
    let readme = fs::read_to_string(crate::root().join("README.md")).unwrap();
    let prose = without_blocks(&readme);
    let linked = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let named = prose.split('`').skip(1).step_by(2);
    let paths = named.filter(|name| is_path(name)).chain(linked);
    let missing: Vec<&str> = paths.filter(|path| !is_there(path)).collect();
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn the_code_of_the_readme_is_real() {
    let readme = fs::read_to_string(crate::root().join("README.md")).unwrap();
    let example = crate::root().join("server/src/plugins/randomness.rs");
    let real = fs::read_to_string(example).unwrap();
    let block = readme.split("```rust\n").nth(1).expect("a block of Rust");
    let block = block.split("```").next().unwrap_or_default();
    // What is left out is marked with a line of its own.
    let parts = block
        .split("        // …\n")
        .flat_map(|part| part.split("\n\n"));
    for part in parts {
        assert!(real.contains(part.trim_end()), "this is not there:\n{part}");
    }
}

/// The README without its blocks of code.
fn without_blocks(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// Whether a name in back quotes is a file or folder of ours: `store/events.rs::append`,
/// `tests/`; not `/api/hooks` nor `PluginService/GetPlugin`.
fn is_path(name: &str) -> bool {
    let file = name.split("::").next().unwrap_or_default();
    let ends = [
        ".rs", ".proto", ".md", ".toml", ".py", ".yaml", "/", ".ci/run",
    ];
    let looks = ends.iter().any(|end| file.ends_with(end));
    looks && !file.starts_with('/') && !is_made(file)
}

/// What is not in the repository, but made by building or running.
fn is_made(path: &str) -> bool {
    ["target/", "./"]
        .iter()
        .any(|start| path.starts_with(start))
}

/// Whether a path is there, from the root or below one of the folders that prose leaves
/// out, and the function in it that is named.
fn is_there(path: &str) -> bool {
    ["", "server/", "server/src/", "proto/metagov/v1/", "tests/"]
        .iter()
        .map(|folder| format!("{folder}{path}"))
        .any(|path| match path.contains("::") {
            true => exists(&path),
            false => crate::root().join(path).exists(),
        })
}

/// A row's number and tests. The head of a table and prose are no rows.
fn row(line: &str) -> Option<(&str, Vec<&str>)> {
    let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
    let &[number, _, tests, ""] = cells.as_slice() else {
        panic!("a row has a number, a claim and its tests: {line}");
    };
    let is_row = number.starts_with(|c: char| c.is_ascii_digit());
    is_row.then(|| (number, tests.split('`').skip(1).step_by(2).collect()))
}

/// `tests/events.rs::a_cursor_survives_a_restart` is a function of that name in that
/// file, in Rust or in Python; `Makefile::lint` is a target.
fn exists(test: &str) -> bool {
    let Some((file, name)) = test.rsplit_once("::") else {
        return false;
    };
    let Ok(source) = fs::read_to_string(crate::root().join(file)) else {
        return false;
    };
    let defines = |line: &str| {
        let line = line.trim_start();
        ["fn ", "def "].iter().any(|keyword| {
            let named = line
                .split(keyword)
                .nth(1)
                .and_then(|rest| rest.strip_prefix(name));
            named.is_some_and(|rest| rest.starts_with(['(', '<']))
        }) || line.starts_with(&format!("{name}:"))
    };
    source.lines().any(defines)
}
