//! `metagov identity`.

use super::{UNKNOWN, list, run, with};

#[tokio::test]
async fn an_identity_lives_from_create_to_merge() {
    let gateway = with(&[]).await;
    let at = ["--community", "co-op"];
    let create = [&["identity", "create"][..], &at].concat();
    let ada = run(&gateway, &create).await.line();
    let other = run(&gateway, &create).await.line();
    let link = [
        "identity",
        "link",
        &ada,
        "forum",
        "ada",
        "since=2020",
        "--platform",
        "north",
    ];
    let said = run(&gateway, &link).await.line();
    assert_eq!(said, format!("account forum:ada linked to {ada}"));
    run(&gateway, &["identity", "link", &other, "chat", "al"])
        .await
        .done();
    // An account has one owner.
    let taken = [
        "identity",
        "link",
        &other,
        "forum",
        "ada",
        "--platform",
        "north",
    ];
    run(&gateway, &taken).await.failed(4, &["ACCOUNT_LINKED"]);

    let merge = ["identity", "merge", &ada, &other];
    let said = run(&gateway, &merge).await.line();
    assert_eq!(said, format!("identity {other} merged into {ada}"));
    let rows = run(&gateway, &["identity", "get", &other]).await.rows();
    assert_eq!(rows[0][0], ada, "it answers with what it became");
    for account in ["forum:ada at north", "chat:al"] {
        assert!(rows[0][2].contains(account), "{rows:?}");
    }
    let get = ["identity", "get", &ada, "--output", "json"];
    let answer = run(&gateway, &get).await.json();
    let accounts = answer["identity"]["accounts"].as_array().unwrap();
    let forum = accounts
        .iter()
        .find(|account| account["provider"] == "forum")
        .unwrap();
    assert_eq!(forum["linkMethod"], "LINK_METHOD_MANUAL");
    assert_eq!(forum["customData"]["since"], 2020);

    let unlink = ["identity", "unlink", "chat", "al"];
    run(&gateway, &[&unlink[..], &at].concat()).await.done();
    let with = ["identity", "list", "--provider", "chat", "--output", "json"];
    let answer = run(&gateway, &[&with[..], &at].concat()).await.json();
    assert_eq!(list(&answer, "identities").len(), 0);
    let sure = [
        "identity",
        "list",
        "--method",
        "manual",
        "--min-quality",
        "strong",
    ];
    assert_eq!(
        run(&gateway, &[&sure[..], &at].concat()).await.rows().len(),
        1
    );
}

#[tokio::test]
async fn an_identity_that_is_not_there_is_named() {
    let gateway = with(&[]).await;
    for args in [
        &["identity", "get", UNKNOWN][..],
        &["identity", "link", UNKNOWN, "forum", "ada"],
        &["identity", "merge", UNKNOWN, UNKNOWN],
    ] {
        run(&gateway, args).await.failed(4, &[UNKNOWN]);
    }
}
