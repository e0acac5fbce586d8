//! What is not restored, and that nothing is changed then.

use std::{fs, path::Path};

use metagov::config::Config;
use serde_json::json;

use super::{backup, file::Lines, new_home, of_vault, restore};
use crate::{
    harness::{Gateway, Home, Kind},
    secrets::stored::Stored,
};

const KEY_FILE: &str = "--master-key-file (METAGOV_MASTER_KEY_FILE): ";

/// Refused in one line, and the database holds nothing afterwards: a good file still
/// fits into it.
async fn refuses(stored: &Stored, bad: &Path) -> String {
    let (_home, config) = new_home(&stored.config());
    let said = restore(&config, bad).await.unwrap_err();
    assert_eq!(said.lines().count(), 1, "{said}");
    let good = bad.parent().unwrap().join("metagov.backup");
    restore(&config, &good).await.unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_and_changes_nothing() {
    let (stored, folder, file) = of_vault().await;
    let bytes = fs::read(&file).unwrap();
    let bad = folder.path().join("bad");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 4;
    for (bytes, says) in [
        (flipped, "is damaged"),
        (bytes[..bytes.len() / 2].to_vec(), "is cut off"),
        (bytes[..bytes.len() - 1].to_vec(), "is cut off"),
        ([&bytes[..], b"\0"].concat(), "more after its end"),
        (b"SQLite format 3\0".to_vec(), "is no backup"),
        (vec![], "is cut off"),
    ] {
        fs::write(&bad, bytes).unwrap();
        let said = refuses(&stored, &bad).await;
        assert!(said.starts_with(bad.to_str().unwrap()), "{said}");
        assert!(said.contains(says), "{says}: {said}");
    }
    let said = refuses(&stored, &folder.path().join("missing")).await;
    assert!(said.contains("missing: No such file"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_make_is_named_and_changes_nothing() {
    let (stored, folder, file) = of_vault().await;
    let bad = folder.path().join("bad");
    type Change = fn(&mut Lines);
    let changes: [(Change, &str); 7] = [
        (|it| it.0[0]["version"] = json!(2), "reads version 1"),
        (|it| it.0[0]["format"] = json!("another"), "is no backup"),
        (
            |it| {
                it.0[0]["migrations"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!("m9999_future"))
            },
            "written by a newer metagov",
        ),
        (
            |it| it.0[0]["migrations"] = json!([]),
            "written by a newer metagov",
        ),
        (
            |it| it.0[0]["position"] = json!(1),
            "not what its first line says",
        ),
        (|it| it.0[2][0] = json!("one"), "line 3 is no row of feed"),
        (
            |it| {
                let row =
                    it.0.iter()
                        .position(|line| line["table"] == "event")
                        .unwrap()
                        + 1;
                it.0.insert(row, it.0[row].clone());
            },
            "rows of event cannot be written, nothing was changed",
        ),
    ];
    for (change, says) in changes {
        let mut lines = Lines::of(&file);
        change(&mut lines);
        lines.write(&bad);
        let said = refuses(&stored, &bad).await;
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_or_none_is_refused_and_the_right_one_named() {
    let (stored, _folder, file) = of_vault().await;
    let known = stored.keys("master.key").id().to_owned();
    let (_home, config) = new_home(&stored.config());
    let key = config.data_dir.join("master.key");
    let right = fs::read(&key).unwrap();
    fs::write(&key, "12".repeat(32)).unwrap();
    let wrong = restore(&config, &file).await.unwrap_err();
    fs::remove_file(&key).unwrap();
    let none = restore(&config, &file).await.unwrap_err();
    for said in [wrong, none] {
        let expected = format!(
            "{KEY_FILE}the backup is encrypted with the key whose fingerprint begins with {known}; copy its file to {}",
            key.display()
        );
        assert!(said.starts_with(&expected), "{said}");
    }
    assert!(!key.exists() && !config.data_dir.join("metagov.db").exists());
    let elsewhere = config.data_dir.join("../elsewhere.key");
    fs::write(&elsewhere, right).unwrap();
    let mut named = config.clone();
    named.access.master_key_file = Some(elsewhere);
    restore(&named, &file).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_database_that_nobody_uses_is_filled() {
    let (stored, _folder, file) = of_vault().await;
    let before = stored.ask("SELECT display_name FROM community").await;
    let said = restore(&stored.config(), &file).await.unwrap_err();
    assert!(
        said.contains("it is not empty") && said.contains("community"),
        "{said}"
    );
    assert_eq!(
        stored.ask("SELECT display_name FROM community").await,
        before
    );
    stored.opens().await;
    // One with tables and no rows is as good as none.
    let (_home, config) = new_home(&stored.config());
    metagov::migrate(&config).await.ok().unwrap();
    restore(&config, &file).await.unwrap();
    stored.opens_with(config).await.unwrap();
    // A gateway that runs has taken its folder.
    let gateway = Gateway::start_in(Home::on(Kind::Sqlite), |_| (), vec![]).await;
    let said = restore(&gateway.config(), &file).await.unwrap_err();
    assert!(said.contains("another gateway uses"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_served_is_no_thing_to_back_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: folder.path().join("data"),
        ..Config::default()
    };
    metagov::migrate(&config).await.ok().unwrap();
    let said = backup(&config, &folder.path().join("file"))
        .await
        .unwrap_err();
    assert!(said.contains("no gateway has ever served it"), "{said}");
}
