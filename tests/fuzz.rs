//! What the fuzzer has found worth keeping still holds. The targets, and what each of
//! them asserts, are in `fuzz/`; `make fuzz` looks for more.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use metagov_fuzz::TARGETS;

fn folder(name: &str) -> PathBuf {
    crate::root().join("tests/fuzz").join(name)
}

/// The names of what is in a folder, without their endings.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| name(entry.unwrap().path())).collect()
}

#[test]
fn the_corpus_of_every_fuzz_target_still_holds() {
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let corpus = folder("corpus").join(name);
        let files = fs::read_dir(&corpus).unwrap_or_else(|e| panic!("{}: {e}", corpus.display()));
        for file in files {
            let path = file.unwrap().path();
            let data = fs::read(&path).unwrap();
            if catch_unwind(AssertUnwindSafe(|| target(&data))).is_err() {
                broken.push(path.display().to_string());
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Nor may a target be forgotten by `make fuzz`, or a corpus by `make test`.
#[test]
fn every_fuzz_target_has_a_bin_and_a_small_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets, names(&folder("corpus")));
    assert_eq!(targets, names(&folder("fuzz_targets")));
    for (name, _) in TARGETS {
        let count = fs::read_dir(folder("corpus").join(name)).unwrap().count();
        assert!((1..=50).contains(&count), "{name}: {count} files");
    }
}
