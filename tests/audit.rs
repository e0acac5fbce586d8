//! The audit: what was called, by whom, and how it ended.

use metagov_proto::{
    audit::entry_hash,
    v1::{AuditEntry, CreateIdentityRequest, GetProcessRequest, ListAuditEntriesRequest, Role},
};
use serde_json::json;

use crate::{
    harness::{Api, Gateway, PATIENCE, raw::methods},
    stage,
};

/// Everything, oldest first.
async fn entries(api: &Api) -> Vec<AuditEntry> {
    let mut found = Vec::new();
    let mut request = ListAuditEntriesRequest {
        page_size: 3,
        ..Default::default()
    };
    loop {
        let page = api.access().list_audit_entries(request.clone()).await;
        let page = page.unwrap().into_inner();
        found.extend(page.entries);
        if page.next_page_token.is_empty() {
            found.reverse();
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

/// What it says but for when, as `rpc token community subject code`.
fn said(entry: &AuditEntry, names: &[(&str, &str)]) -> String {
    let rpc = entry.rpc.rsplit('/').next().unwrap_or_default();
    let name = names.iter().find(|(id, _)| *id == entry.token_id);
    let who = name.map_or("", |(_, name)| name);
    let AuditEntry {
        community_id,
        subject,
        code,
        ..
    } = entry;
    format!("{rpc} {who} {community_id} {subject} {code}")
}

fn id_of(secret: &str) -> &str {
    secret.split('_').nth(1).unwrap()
}

#[tokio::test]
async fn every_mutating_call_and_every_refused_one_is_an_entry() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("a").await;
    api.enable("a", "ballot", json!({})).await;
    let vote = json!({ "title": "x", "options": ["yes", "no"] });
    let process = api.start("a", "ballot.vote", vote).await.unwrap();
    let ballot = json!({ "process_id": process.process_id, "voter": "ada", "choices": ["maybe"] });
    assert!(api.perform("a", "ballot.cast", ballot).await.is_err());
    let secret = api.token(Role::Reader, &["b"]).await;
    let reader = gateway.connect_with(&secret).await;
    assert!(
        api.process(&process.process_id).await.is_ok(),
        "reads leave nothing"
    );
    assert!(reader.process(&process.process_id).await.is_err());
    assert!(reader.close(&process.process_id).await.is_err());

    let admin = gateway.admin_token();
    let names = [(id_of(&admin), "admin"), (id_of(&secret), "reader")];
    let found = entries(api).await;
    let said: Vec<String> = found.iter().map(|entry| said(entry, &names)).collect();
    let id = &process.process_id;
    assert_eq!(
        said,
        [
            "CreateCommunity admin a a OK".to_owned(),
            "EnablePlugin admin a ballot OK".to_owned(),
            "StartProcess admin a ballot.vote OK".to_owned(),
            "PerformAction admin a ballot.cast INVALID_ARGUMENT".to_owned(),
            format!("CreateToken admin  {} OK", id_of(&secret)),
            format!("GetProcess reader  {id} NOT_FOUND"),
            format!("CloseProcess reader  {id} PERMISSION_DENIED"),
        ]
    );
    assert_eq!(found[0].rpc, "metagov.v1.CommunityService/CreateCommunity");
}

#[tokio::test]
async fn the_entries_are_a_chain_across_restarts() {
    let mut gateway = Gateway::start().await;
    for id in ["a", "b", "c"] {
        gateway.api.community(id).await;
        gateway = gateway.restart(vec![]).await;
    }
    let found = entries(&gateway.api).await;
    let (mut number, mut hash) = (0, [0; 32]);
    for entry in &found {
        number += 1;
        assert_eq!(entry.entry_number, number);
        hash = entry_hash(&hash, entry);
        assert_eq!(entry.entry_hash, hash, "{entry:?}");
    }
    assert!(number >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_are_one_chain() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let calls = (0..200).map(|_| {
        let api = gateway.api.clone();
        tokio::spawn(async move {
            let request = CreateIdentityRequest {
                community_id: "a".into(),
                request_id: String::new(),
            };
            api.identities().create_identity(request).await.unwrap();
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let found = entries(&gateway.api).await;
    assert_eq!(found.len(), 201);
    let mut hash = [0; 32];
    for entry in &found {
        hash = entry_hash(&hash, entry);
        assert_eq!(entry.entry_hash, hash);
    }
}

#[tokio::test]
async fn calls_without_a_token_are_one_entry_with_their_number() {
    let gateway = Gateway::start().await;
    let nobody = gateway.connect_with("").await;
    for _ in 0..50 {
        let request = GetProcessRequest::default();
        assert!(nobody.processes().get_process(request).await.is_err());
    }
    // What was counted is written down at the end of a minute, or here.
    let gateway = gateway.restart(vec![]).await;
    let found = entries(&gateway.api).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(said(&found[0], &[]), "   50 UNAUTHENTICATED");
}

#[tokio::test]
async fn an_admin_of_some_sees_what_was_called_there() {
    let gateway = Gateway::start().await;
    for id in ["a", "b"] {
        gateway.api.community(id).await;
    }
    let secret = gateway.api.token(Role::Admin, &["a"]).await;
    let admin = gateway.connect_with(&secret).await;
    let found = entries(&admin).await;
    let rpcs: Vec<&str> = found
        .iter()
        .map(|entry| entry.community_id.as_str())
        .collect();
    assert_eq!(rpcs, ["a"]);
    let request = ListAuditEntriesRequest {
        community_id: "b".into(),
        ..Default::default()
    };
    assert!(
        admin
            .access()
            .list_audit_entries(request.clone())
            .await
            .is_err()
    );
    let page = gateway
        .api
        .access()
        .list_audit_entries(request)
        .await
        .unwrap();
    assert_eq!(page.into_inner().entries.len(), 1);
}

/// Whoever goes away in the midst of a call has called all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_is_an_entry() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("a").await;
    let config = json!({ "url": theatre.uri() });
    gateway.api.enable("a", "stage", config).await;
    theatre.reset().await;
    let slow = wiremock::ResponseTemplate::new(200)
        .set_body_json(json!({}))
        .set_delay(std::time::Duration::from_secs(2));
    let mock = wiremock::Mock::given(wiremock::matchers::any()).respond_with(slow);
    mock.mount(&theatre).await;
    let api = gateway.api.clone();
    let call = tokio::spawn(async move { api.perform("a", "stage.bow", json!({})).await });
    let until = tokio::time::Instant::now() + PATIENCE;
    while theatre.received_requests().await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    call.abort();
    let last = loop {
        let found = entries(&gateway.api).await;
        let last = found
            .last()
            .map(|entry| said(entry, &[]))
            .unwrap_or_default();
        if last.starts_with("PerformAction") || tokio::time::Instant::now() > until {
            break last;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(last, "PerformAction  a stage.bow CANCELLED");
}

#[test]
fn what_changes_something_is_marked_in_the_contract() {
    for method in methods() {
        let reads = ["Get", "List", "Watch", "Check"];
        let name = method.name().to_owned();
        let is_read = reads.iter().any(|start| name.starts_with(start));
        assert_eq!(method.mutates, !is_read, "{name}");
    }
}
