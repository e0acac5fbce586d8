//! `metagov community`.

use super::{list, run, run_with};
use crate::harness::Gateway;

#[tokio::test]
async fn a_community_lives_from_create_to_delete() {
    let gateway = Gateway::start().await;
    let create = ["community", "create", "garden", "--name", "Our garden"];
    let said = run(&gateway, &create).await.line();
    assert_eq!(said, "community garden created");
    run(&gateway, &create)
        .await
        .failed(4, &["COMMUNITY_EXISTS"]);
    let rows = run(&gateway, &["community", "list"]).await.rows();
    assert_eq!(rows[0][..2], ["garden", "Our garden"]);

    let get = ["community", "get", "garden", "--output", "json"];
    let before = run(&gateway, &get).await.json();
    assert_eq!(before["community"]["displayName"], "Our garden");
    let etag = before["community"]["etag"].as_str().unwrap();
    let update = [
        "community",
        "update",
        "garden",
        "--name",
        "Yours",
        "--etag",
        etag,
    ];
    let said = run(&gateway, &update).await.line();
    assert_eq!(said, "community garden updated");
    // Somebody changed it: run it again once that was looked at.
    run(&gateway, &update).await.failed(5, &["ETAG_MISMATCH"]);
    let rows = run(&gateway, &["community", "get", "garden"]).await.rows();
    assert_eq!(rows[0][1], "Yours");

    let delete = ["community", "delete", "garden"];
    let said = run(&gateway, &delete).await.line();
    assert_eq!(said, "community garden deleted");
    run(&gateway, &delete)
        .await
        .failed(4, &["COMMUNITY_NOT_FOUND"]);
    let none = run(&gateway, &["community", "list"]).await.rows();
    assert_eq!(none, Vec::<Vec<String>>::new());
}

#[tokio::test]
async fn a_command_that_is_run_again_does_it_once() {
    let gateway = Gateway::start().await;
    let create = ["community", "create", "garden", "--request-id", "7"];
    for _ in 0..2 {
        run(&gateway, &create).await.done();
    }
}

#[tokio::test]
async fn what_is_no_id_is_refused_with_its_field() {
    let gateway = Gateway::start().await;
    let ran = run(&gateway, &["community", "create", "Not An Id"]).await;
    ran.failed(4, &["community.community_id: "]);
}

#[tokio::test]
async fn a_list_is_read_as_far_as_asked() {
    let gateway = Gateway::start().await;
    for id in ["a", "b", "c"] {
        gateway.api.community(id).await;
    }
    let two = ["community", "list", "--limit", "2", "--output", "json"];
    let answer = run(&gateway, &two).await.json();
    assert_eq!(list(&answer, "communities").len(), 2);
}

#[tokio::test]
async fn the_community_is_a_setting() {
    let gateway = Gateway::start().await;
    for id in ["garden", "kitchen"] {
        gateway.api.community(id).await;
    }
    let (endpoint, data) = (gateway.endpoint(), gateway.data());
    let variables = [
        ("METAGOV_ENDPOINT", endpoint.as_str()),
        ("METAGOV_DATA_DIR", data.to_str().unwrap()),
        ("METAGOV_COMMUNITY", "kitchen"),
    ];
    run_with(&["identity", "create"], &variables).await.line();
    let rows = run_with(&["identity", "list"], &variables).await.rows();
    assert_eq!(rows[0][1], "kitchen");
    // A flag goes before it.
    let other = ["identity", "list", "--community", "garden"];
    let rows = run_with(&other, &variables).await.rows();
    assert_eq!(rows, Vec::<Vec<String>>::new());
    let events = run_with(&["events", "list"], &variables).await.rows();
    assert!(events.iter().all(|row| row[1] == "kitchen"), "{events:?}");
}
