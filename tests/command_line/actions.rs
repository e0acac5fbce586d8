//! `metagov action`: parameters typed by the schema, checked before they are sent.

use std::fs;

use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use super::{list, run, with};

const RANDOM: [&str; 5] = [
    "action",
    "perform",
    "randomness.random-int",
    "--community",
    "co-op",
];

#[tokio::test]
async fn an_action_is_performed_with_typed_parameters() {
    let gateway = with(&["randomness"]).await;
    let perform = [&RANDOM[..], &["low=3", "high:=4"]].concat();
    let out = run(&gateway, &perform).await.done();
    assert_eq!(out, "NAME   VALUE\nvalue  3\n");
    let json = [&perform[..], &["--output", "json"]].concat();
    let text = run(&gateway, &json).await.done();
    assert_eq!(text, "{\n  \"result\": {\n    \"value\": 3\n  }\n}\n");
    let yaml = [&perform[..], &["--output", "yaml"]].concat();
    assert_eq!(run(&gateway, &yaml).await.done(), "result:\n  value: 3\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parameters.json");
    fs::write(&file, json!({ "low": 5, "high": 9 }).to_string()).unwrap();
    let from = ["--parameters", file.to_str().unwrap(), "high=6"];
    let out = run(&gateway, &[&RANDOM[..], &from].concat()).await.done();
    assert!(out.ends_with("value  5\n"), "{out}");
}

#[tokio::test]
async fn the_cred_of_a_user_is_asked_for() {
    let instance = MockServer::start().await;
    let accounts = include_str!("../platforms/sourcecred/accounts.json");
    let file = Mock::given(method("GET")).and(path("/output/accounts.json"));
    let answer = ResponseTemplate::new(200).set_body_string(accounts);
    file.respond_with(answer).mount(&instance).await;
    let gateway = with(&[]).await;
    let server = format!("server_url={}", instance.uri());
    let enable = [
        "plugin",
        "enable",
        "sourcecred",
        &server,
        "--community",
        "co-op",
    ];
    run(&gateway, &enable).await.done();
    let perform = [
        "action",
        "perform",
        "sourcecred.user-cred",
        "username=gardener",
    ];
    let at = ["--community", "co-op"];
    let out = run(&gateway, &[&perform[..], &at].concat()).await.done();
    assert!(out.starts_with("NAME"), "{out}");
}

#[tokio::test]
async fn what_does_not_fit_is_told_with_the_plugins_own_texts() {
    let gateway = with(&["randomness"]).await;
    let wrong = [&RANDOM[..], &["low=three", "hihg=4"]].concat();
    let words = [
        "action randomness.random-int does not fit its schema; nothing was sent",
        "low: the value is not of types",
        "hihg: is not known here; is it misspelt?",
        "high  integer  no",
        "One more than the highest number",
    ];
    run(&gateway, &wrong).await.failed(4, &words);
    let twice = [&RANDOM[..], &["low=1", "low=2"]].concat();
    run(&gateway, &twice)
        .await
        .failed(4, &["low: is given more than once"]);
    let large = [&RANDOM[..], &["low=140750062325202944"]].concat();
    run(&gateway, &large).await.failed(4, &["low: ", "2^53"]);
    // What only the plugin can say comes from the gateway.
    let empty = [&RANDOM[..], &["low=4", "high=4"]].concat();
    run(&gateway, &empty)
        .await
        .failed(4, &["parameters/high: "]);
}

#[tokio::test]
async fn an_action_that_is_not_there_is_told_with_those_that_are() {
    let gateway = with(&[]).await;
    for (name, words) in [
        ("randomness.random", "randomness.random-int"),
        ("randomness", "PLUGIN.NAME"),
        ("nothing.at-all", "PLUGIN_NOT_FOUND"),
        ("randomness.random-int", "PLUGIN_NOT_ENABLED"),
    ] {
        let perform = ["action", "perform", name, "--community", "co-op"];
        run(&gateway, &perform).await.failed(4, &[words]);
    }
}

#[tokio::test]
async fn actions_are_listed_and_described() {
    let gateway = with(&[]).await;
    let of = ["action", "list", "--plugin", "randomness"];
    let rows = run(&gateway, &of).await.rows();
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(
        names,
        ["randomness.random-int", "randomness.set-lucky-number"]
    );
    let json = [&of[..], &["--output", "json"]].concat();
    let answer = run(&gateway, &json).await.json();
    assert_eq!(
        list(&answer, "plugins")[0]["actions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let describe = ["action", "describe", "randomness.random-int"];
    let page = run(&gateway, &describe).await.done();
    for words in [
        "A random whole number.",
        "PARAMETER",
        "low",
        "RESULT",
        "It only reads.",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let json = [&describe[..], &["--output", "json"]].concat();
    let answer = run(&gateway, &json).await.json();
    assert_eq!(answer["action"], "randomness.random-int");
    assert_eq!(answer["parametersSchema"]["type"], "object");
}
