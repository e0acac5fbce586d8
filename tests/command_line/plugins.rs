//! `metagov plugin`: the catalogue, and what communities have enabled.

use std::fs;

use serde_json::json;

use super::{UNKNOWN, list, run, with};
use crate::{harness::Gateway, stage};

#[tokio::test]
async fn the_catalogue_is_shown() {
    let gateway = Gateway::start().await;
    let rows = run(&gateway, &["plugin", "list"]).await.rows();
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["ballot", "discourse", "randomness", "sourcecred"]);
    let page = run(&gateway, &["plugin", "get", "discourse"]).await.done();
    for words in [
        "api_key",
        "server_url",
        "discourse.create-post",
        "CONFIGURATION",
        "EVENT",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let get = ["plugin", "get", "ballot", "--output", "json"];
    let answer = run(&gateway, &get).await.json();
    assert_eq!(
        answer["plugin"]["processes"][0]["processType"],
        "ballot.vote"
    );
    let ran = run(&gateway, &["plugin", "get", "none"]).await;
    ran.failed(4, &["plugin none: ", "PLUGIN_NOT_FOUND"]);
}

#[tokio::test]
async fn an_installation_lives_from_enable_to_disable() {
    let gateway = with(&[]).await;
    let at = ["--community", "co-op"];
    let enable = [
        "plugin",
        "enable",
        "randomness",
        "default_low=1",
        "default_high:=7",
    ];
    let said = run(&gateway, &[&enable[..], &at].concat()).await.line();
    let id = said.strip_prefix("plugin randomness enabled ").unwrap();

    let installations = [&["plugin", "installations"][..], &at].concat();
    let rows = run(&gateway, &installations).await.rows();
    assert_eq!(rows[0][..2], [id, "randomness"]);
    let said = run(&gateway, &["plugin", "check", id]).await.line();
    assert_eq!(said, format!("installation {id} works"));

    let configure = ["plugin", "configure", id];
    let change = [&configure[..], &["default_high=9"]].concat();
    run(&gateway, &change).await.done();
    // What it cannot do without the gateway knows.
    let remove = [&configure[..], &["default_low:=null"]].concat();
    let missing = ["config_patch/default_low: is missing"];
    run(&gateway, &remove).await.failed(4, &missing);
    let json = [&installations[..], &["--output", "json"]].concat();
    let answer = run(&gateway, &json).await.json();
    let config = &list(&answer, "installations")[0]["config"];
    assert_eq!(*config, json!({ "default_low": 1, "default_high": 9 }));
    // A number is a number: whole ones are written so.
    let yaml = [&installations[..], &["--output", "yaml"]].concat();
    let text = run(&gateway, &yaml).await.done();
    assert!(text.contains("default_high: 9\n"), "{text}");

    run(&gateway, &["plugin", "disable", id]).await.done();
    assert_eq!(
        run(&gateway, &installations).await.rows(),
        Vec::<Vec<String>>::new()
    );
}

#[tokio::test]
async fn a_configuration_is_checked_before_it_is_sent() {
    let gateway = with(&["randomness"]).await;
    let at = ["--community", "co-op"];
    let enable = ["plugin", "enable", "discourse", "api_kee=s3cret"];
    let ran = run(&gateway, &[&enable[..], &at].concat()).await;
    let error = ran.failed(
        4,
        &[
            "api_kee: is not known",
            "server_url: is missing",
            "nothing was sent",
        ],
    );
    assert!(!error.contains("s3cret"), "{error}");
    let rows = [&["plugin", "installations"][..], &at].concat();
    let id = run(&gateway, &rows).await.rows()[0][0].clone();
    let ran = run(&gateway, &["plugin", "configure", &id, "default_low=many"]).await;
    ran.failed(4, &["default_low: ", "The lowest"]);
    run(&gateway, &["plugin", "configure", &id])
        .await
        .failed(4, &["nothing is given"]);
    for verb in ["check", "disable"] {
        let ran = run(&gateway, &["plugin", verb, UNKNOWN]).await;
        ran.failed(4, &["INSTALLATION_NOT_FOUND"]);
    }
}

#[tokio::test]
async fn a_secret_is_given_in_a_file() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stage.json");
    let path = file.to_str().unwrap();
    fs::write(&file, json!({ "url": theatre.uri() }).to_string()).unwrap();
    let enable = [
        "plugin",
        "enable",
        "stage",
        "--community",
        "co-op",
        "--config",
    ];
    run(&gateway, &[&enable[..], &[path]].concat()).await.done();
    for (text, words) in [("[]", "no JSON object"), ("{", "no JSON object")] {
        fs::write(&file, text).unwrap();
        let ran = run(&gateway, &[&enable[..], &[path]].concat()).await;
        ran.failed(4, &["--config: ", path, words]);
    }
    let ran = run(&gateway, &[&enable[..], &["no/such/file"]].concat()).await;
    ran.failed(4, &["--config: no/such/file: "]);
}

#[tokio::test]
async fn what_is_not_authorized_so_says_it() {
    let gateway = with(&[]).await;
    let authorize = ["plugin", "authorize", "ballot", "--community", "co-op"];
    let to = ["--redirect-uri", "https://example.org/done"];
    let ran = run(&gateway, &[&authorize[..], &to].concat()).await;
    ran.failed(4, &["plugin ballot: "]);
}
