//! A COMMIT whose answer is lost: what was done stays done, and nothing is undone that the
//! database keeps.

use std::time::Duration;

use metagov_proto::v1::{PerformActionRequest, StartProcessRequest};
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::{
    acceptance,
    harness::{Cluster, Gateway, Home, PATIENCE, Wire, fault, object},
    stage,
    stand::{self, Stand},
};

/// Longer than a call waits for a connection, and no longer than a platform would be told.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_stays_set_up_whose_commit_was_not_answered() {
    let (cluster, theatre) = (Cluster::start(&[]), stage::theatre().await);
    let away = Duration::from_secs(7);
    let wire = Wire::to(&cluster, "INSERT INTO \"installation\"", away).await;
    let gateway = Gateway::start_in(Home::at(wire.url()), |_| (), vec![stage::plugin()]).await;
    let api = &gateway.api;
    api.community("co-op").await;
    let made = api
        .enable("co-op", "stage", json!({ "url": theatre.uri() }))
        .await;
    assert!(wire.was_cut());
    assert_eq!(acceptance::installed(api).await, [made]);
    assert!(stage::told(&theatre).await.is_empty(), "it was torn down");
}

/// Nothing was done under it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_free_whose_claim_was_not_answered() {
    let cluster = Cluster::start(&[]);
    let wire = Wire::to(&cluster, "INSERT INTO \"request\"", Duration::ZERO).await;
    let gateway = Gateway::start_in(Home::at(wire.url()), |_| (), vec![stand::plugin()]).await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    stand.enable(api, "co-op").await;
    let request = StartProcessRequest {
        community_id: "co-op".into(),
        process_type: "stand.vote".into(),
        parameters: object(json!({ "title": "Once?" })),
        request_id: "r1".into(),
        ..Default::default()
    };
    assert!(!wire.was_cut());
    let lost = fault(api.start_request(request.clone()).await);
    assert!(wire.was_cut());
    assert_eq!(lost.code, Code::Unavailable, "{lost:?}");
    assert_eq!(stand.heard("POST /start").await, 0);
    let until = Instant::now() + PATIENCE;
    loop {
        match api.start_request(request.clone()).await {
            Ok(_) => break,
            // Each connection that was cut is found out by one who asks.
            Err(away) => assert_eq!(away.code(), Code::Unavailable, "{away:?}"),
        }
        assert!(Instant::now() < until, "the database is back");
    }
    assert_eq!(stand.heard("POST /start").await, 1);
}

/// The connection is lost while that COMMIT waits, as for a standby.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_still_being_committed_is_kept() {
    let (cluster, theatre) = (Cluster::start(&[]), stage::theatre().await);
    let wire = Wire::to_the_midst(&cluster, "UPDATE \"request\" SET \"answer\"").await;
    let gateway = Gateway::start_in(Home::at(wire.url()), |_| (), vec![stage::plugin()]).await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.enable("co-op", "stage", json!({ "url": theatre.uri() }))
        .await;
    for sql in [
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON request
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()",
    ] {
        gateway.home().run(sql).await;
    }
    let request = PerformActionRequest {
        community_id: "co-op".into(),
        action: "stage.bow".into(),
        request_id: "r1".into(),
        ..Default::default()
    };
    let lost = fault(api.perform_request(request.clone()).await);
    assert!(wire.was_cut());
    assert!(lost.is(Code::Aborted, "OUTCOME_UNKNOWN"), "{lost:?}");
    let again = api.perform_request(request).await;
    assert!(again.is_ok(), "what was answered is known: {again:?}");
    assert_eq!(stage::told(&theatre).await, ["bow"]);
}
