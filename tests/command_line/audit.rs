//! `metagov audit`: what is listed, and what `verify` finds.

use super::{Ran, list, run};
use crate::harness::Gateway;

/// A gateway with at least six entries in its audit; the newest number.
async fn audited() -> (Gateway, i64) {
    let gateway = Gateway::start().await;
    for at in 1..=6 {
        gateway.api.community(&format!("c{at}")).await;
    }
    let (newest, _) = head(verify(&gateway, &[]).await);
    assert!(newest >= 6, "{newest}");
    (gateway, newest)
}

async fn verify(gateway: &Gateway, flags: &[&str]) -> Ran {
    run(gateway, &[&["audit", "verify"], flags].concat()).await
}

/// What `verify` prints of an audit that is whole.
#[track_caller]
fn head(ran: Ran) -> (i64, String) {
    let line = ran.line();
    let (number, hash) = line.split_once(':').unwrap();
    assert_eq!(hash.len(), 64, "{line}");
    (number.parse().unwrap(), line.clone())
}

/// Changes the audit behind the gateway's back.
async fn tamper(gateway: &Gateway, statements: &[&str]) {
    for statement in statements {
        assert!(gateway.home().run(statement).await > 0, "{statement}");
    }
}

#[tokio::test]
async fn the_audit_is_listed_newest_first() {
    let gateway = Gateway::start().await;
    for community in ["garden", "kitchen"] {
        gateway.api.community(community).await;
    }
    let rows = run(&gateway, &["audit", "list"]).await.rows();
    let [newest, before, ..] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    let call = "CommunityService/CreateCommunity";
    assert_eq!(newest[3..6], ["OK", "kitchen", call]);
    assert_eq!(before[3..6], ["OK", "garden", call]);
    let number = |row: &[String]| row[0].parse::<i64>().unwrap();
    assert_eq!(number(newest), number(before) + 1);

    let one = ["audit", "list", "--limit", "1", "--output", "json"];
    let answer = run(&gateway, &one).await.json();
    let [entry] = list(&answer, "entries") else {
        panic!("{answer}")
    };
    assert_eq!(entry["entryNumber"], newest[0]);
    assert_eq!(entry["rpc"], format!("metagov.v1.{call}"));
    let garden = ["audit", "list", "--community", "garden"];
    let rows = run(&gateway, &garden).await.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0], *before);
}

#[tokio::test]
async fn a_whole_audit_is_its_head() {
    let (gateway, newest) = audited().await;
    let (number, anchor) = head(verify(&gateway, &[]).await);
    assert_eq!(number, newest, "verifying is no change");
    gateway.api.community("later").await;
    let (number, _) = head(verify(&gateway, &["--anchor", &anchor]).await);
    assert_eq!(number, newest + 1);
    // Also after a restart, where it goes on.
    let gateway = gateway.restart(vec![]).await;
    gateway.api.community("latest").await;
    let (number, _) = head(verify(&gateway, &["--anchor", &anchor]).await);
    assert_eq!(number, newest + 2);
}

#[tokio::test]
async fn an_audit_of_several_pages_is_verified() {
    let (gateway, newest) = audited().await;
    // A page has at most a thousand.
    for at in 0..1010 {
        let id = format!("p{}", at % 7);
        let create = gateway.api.clone();
        let request = metagov_proto::v1::DeleteCommunityRequest {
            community_id: id,
            ..Default::default()
        };
        let _ = create.communities().delete_community(request).await;
    }
    let (number, _) = head(verify(&gateway, &[]).await);
    assert_eq!(number, newest + 1010);
    let number = number - 1005;
    tamper(
        &gateway,
        &[&format!(
            "UPDATE audit_entry SET subject = 'x' WHERE number = {number}"
        )],
    )
    .await;
    let found = format!("entry {number} is bad");
    verify(&gateway, &[]).await.failed(1, &[&found]);
}

#[tokio::test]
async fn a_changed_row_is_named() {
    for change in [
        "record_time = record_time + 1",
        "token_id = 'another'",
        "rpc = 'metagov.v1.CommunityService/GetCommunity'",
        "community_id = 'another'",
        "subject = 'another'",
        "code = 'NOT_FOUND'",
        "hash = (SELECT hash FROM audit_entry WHERE number = 2)",
    ] {
        let (gateway, _) = audited().await;
        let statement = format!("UPDATE audit_entry SET {change} WHERE number = 3");
        tamper(&gateway, &[&statement]).await;
        let ran = verify(&gateway, &[]).await;
        ran.failed(1, &["entry 3 is bad: its hash does not fit"]);
    }
}

#[tokio::test]
async fn a_row_that_is_missing_is_named() {
    for number in [1, 3] {
        let (gateway, _) = audited().await;
        let statement = format!("DELETE FROM audit_entry WHERE number = {number}");
        tamper(&gateway, &[&statement]).await;
        let missing = format!("entry {number} is missing");
        verify(&gateway, &[]).await.failed(1, &[&missing]);
    }
    // The next ones moved up.
    let (gateway, _) = audited().await;
    let moved = [
        "DELETE FROM audit_entry WHERE number = 3",
        "UPDATE audit_entry SET number = -number WHERE number > 3",
        "UPDATE audit_entry SET number = -number - 1 WHERE number < 0",
    ];
    tamper(&gateway, &moved).await;
    verify(&gateway, &[]).await.failed(1, &["entry 3 is bad"]);
}

#[tokio::test]
async fn rows_that_changed_places_are_named() {
    let (gateway, _) = audited().await;
    let swap = [
        "UPDATE audit_entry SET number = -2 WHERE number = 2",
        "UPDATE audit_entry SET number = 2 WHERE number = 4",
        "UPDATE audit_entry SET number = 4 WHERE number = -2",
    ];
    tamper(&gateway, &swap).await;
    verify(&gateway, &[]).await.failed(1, &["entry 2 is bad"]);
}

#[tokio::test]
async fn a_newest_row_that_was_cut_off_is_found_with_an_anchor_only() {
    let (gateway, newest) = audited().await;
    let (_, anchor) = head(verify(&gateway, &[]).await);
    let cut = format!("DELETE FROM audit_entry WHERE number = {newest}");
    tamper(&gateway, &[&cut]).await;
    let (left, _) = head(verify(&gateway, &[]).await);
    assert_eq!(left, newest - 1, "the chain alone cannot show it");
    let ran = verify(&gateway, &["--anchor", &anchor]).await;
    ran.failed(1, &[&format!("entry {newest} is missing")]);
}

#[tokio::test]
async fn an_anchor_of_another_audit_is_refused() {
    let (gateway, newest) = audited().await;
    let other = format!("{newest}:{}", "ab".repeat(32));
    let ran = verify(&gateway, &["--anchor", &other]).await;
    ran.failed(1, &[&format!("entry {newest} is bad"), "anchor"]);
}
