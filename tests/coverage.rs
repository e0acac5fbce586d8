//! `COVERAGE.md` has a test for each claim, and each of those tests exists.

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
        [format!("fn {name}("), format!("def {name}(")]
            .iter()
            .any(|start| line.contains(start))
            || line.starts_with(&format!("{name}:"))
    };
    source.lines().any(defines)
}
