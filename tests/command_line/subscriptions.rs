//! `metagov subscription`.

use serde_json::Value;

use super::{run, with};

#[tokio::test]
async fn a_subscription_lives_from_create_to_delete() {
    let gateway = with(&["ballot"]).await;
    let create = [
        "subscription",
        "create",
        "bot",
        "--earliest",
        "--kind",
        "installation",
    ];
    let said = run(&gateway, &create).await.line();
    assert_eq!(said, "subscription bot created");
    let get = ["subscription", "get", "bot", "--output", "json"];
    let answer = run(&gateway, &get).await.json();
    assert_eq!(answer["subscription"]["lagCount"], "1");
    let kinds = &answer["subscription"]["filter"]["kinds"];
    assert_eq!(kinds[0], "EVENT_KIND_INSTALLATION_CHANGED");
    let rows = run(&gateway, &["subscription", "list"]).await.rows();
    assert_eq!(rows[0][..2], ["bot", "1"]);

    let events = ["events", "list", "--output", "json"];
    let events = run(&gateway, &events).await.json();
    let cursor = events["cursor"].as_str().unwrap();
    let acknowledge = ["subscription", "acknowledge", "bot", cursor];
    run(&gateway, &acknowledge).await.done();
    assert_eq!(lag(&run(&gateway, &get).await.json()), 0);
    let seek = ["subscription", "seek", "bot", "--earliest"];
    let said = run(&gateway, &seek).await.line();
    assert_eq!(said, "subscription bot moved, 1 behind");

    run(&gateway, &["subscription", "delete", "bot"])
        .await
        .done();
    run(&gateway, &get)
        .await
        .failed(4, &["SUBSCRIPTION_NOT_FOUND"]);
}

/// It is left out if it is none.
fn lag(answer: &Value) -> u64 {
    let lag = answer["subscription"]["lagCount"].as_str();
    lag.map_or(0, |lag| lag.parse().unwrap())
}

#[tokio::test]
async fn what_is_wrong_with_a_subscription_is_told() {
    let gateway = with(&[]).await;
    for (args, words) in [
        (&["create", "Not An Id"][..], "subscription_id: "),
        (&["create", "bot", "--after", "nonsense"], "CURSOR"),
        (&["seek", "nobody", "--earliest"], "SUBSCRIPTION_NOT_FOUND"),
        (&["seek", "nobody"], "start: "),
        (
            &["acknowledge", "nobody", "nonsense"],
            "subscription nobody: ",
        ),
        (&["delete", "nobody"], "SUBSCRIPTION_NOT_FOUND"),
    ] {
        let ran = run(&gateway, &[&["subscription"], args].concat()).await;
        ran.failed(4, &[words]);
    }
}
