//! `metagov completions` and `metagov man`: no gateway is needed.

use std::{fs, process::Command};

use super::run_with;

#[tokio::test]
async fn each_shell_gets_a_script_that_it_understands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run_with(&["completions", shell], &[]).await.done();
        for word in ["perform", "subscription", "cursor-file"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        fs::write(&file, script).unwrap();
        // A shell that is not on this machine cannot judge; bash is everywhere.
        match Command::new(shell).arg("-n").arg(&file).output() {
            Ok(judged) => assert!(judged.status.success(), "{shell}: {judged:?}"),
            Err(_) => assert_ne!(shell, "bash"),
        }
    }
}

#[tokio::test]
async fn every_verb_has_a_page() {
    let page = run_with(&["man"], &[]).await.done();
    assert!(page.contains(".TH metagov 1"), "{page}");
    let page = run_with(&["man", "events", "watch"], &[]).await.done();
    for words in [".TH metagov-events-watch 1", "cursor\\-file"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    run_with(&["man", "events", "sing"], &[])
        .await
        .failed(4, &["metagov events has no verb sing"]);

    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("man1");
    run_with(&["man", "--folder", into.to_str().unwrap()], &[])
        .await
        .done();
    for name in [
        "metagov",
        "metagov-serve",
        "metagov-action",
        "metagov-action-perform",
    ] {
        assert!(into.join(format!("{name}.1")).exists(), "{name}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let ran = run_with(&["man", "--folder", file.to_str().unwrap()], &[]).await;
    ran.failed(1, &[file.to_str().unwrap()]);
}
