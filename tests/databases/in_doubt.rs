//! A COMMIT whose answer is lost: what was done stays done, nothing is undone that the
//! database keeps, and what was claimed is done.

use std::time::{Duration, Instant};

use metagov_proto::v1::{
    ListProcessesRequest, PerformActionRequest, Process, ProcessState, StartProcessRequest,
};
use serde_json::json;
use tonic::Code;

use crate::{
    acceptance,
    harness::{Api, Cluster, Gateway, Home, PATIENCE, Wire, fault, object},
    stage,
    stand::{self, Stand},
};

async fn with_stage(wire: &Wire) -> Gateway {
    let gateway = Gateway::start_in(Home::at(wire.url()), |_| (), vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    gateway
}

fn start(process_type: &str) -> StartProcessRequest {
    StartProcessRequest {
        community_id: "co-op".into(),
        process_type: process_type.into(),
        parameters: object(json!({ "title": "Hamlet" })),
        request_id: "r1".into(),
        ..Default::default()
    }
}

/// Asks until the database is back: each connection that was cut is found out by one who
/// asks.
async fn started(api: &Api, request: &StartProcessRequest) -> Process {
    let until = Instant::now() + PATIENCE;
    loop {
        match api.start_request(request.clone()).await {
            Err(away) if away.code() == Code::Unavailable => {}
            started => return started.unwrap(),
        }
        assert!(Instant::now() < until, "the database is back");
    }
}

/// Has each COMMIT take so long that changes a table so, as if it waited for a standby.
async fn slow_down(home: &Home, changes: &str, seconds: u32) {
    let slow = format!(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slow AFTER {changes}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
    );
    home.run(&slow).await;
}

/// Longer than a call waits for a connection, and no longer than a platform would be told.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_stays_set_up_whose_commit_was_not_answered() {
    let (cluster, theatre) = (Cluster::start(&[]), stage::theatre().await);
    let away = Duration::from_secs(7);
    let wire = Wire::to(&cluster, "INSERT INTO \"installation\"", away).await;
    let gateway = with_stage(&wire).await;
    let api = &gateway.api;
    let made = api
        .enable("co-op", "stage", json!({ "url": theatre.uri() }))
        .await;
    assert!(wire.was_cut());
    assert_eq!(acceptance::installed(api).await, [made]);
    assert!(stage::told(&theatre).await.is_empty(), "it was torn down");
}

/// The gateway lives on, and was not told that it has the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_timer_fires_once_whose_claim_was_not_answered() {
    let (cluster, stand) = (Cluster::start(&[]), Stand::open().await);
    let claim = "UPDATE \"process\" SET \"claim_replica_id\" = $1, \"claim_number\"";
    let wire = Wire::to(&cluster, claim, Duration::ZERO).await;
    let gateway = Gateway::start_in(Home::at(wire.url()), |_| (), vec![stand::plugin()]).await;
    let api = &gateway.api;
    stand.enable(api, "co-op").await;
    let id = stand::start_until(api, "stand.vote", Duration::from_secs(2)).await;
    let id = id.process_id;
    let until = Instant::now() + PATIENCE;
    // Each connection of before is found dead once.
    while !matches!(api.process(&id).await, Ok(now) if now.state() == ProcessState::Completed) {
        assert!(Instant::now() < until, "it stays open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(wire.was_cut());
    assert_eq!(stand.heard("POST /close").await, 1);
}

/// The one who asks goes away while the COMMIT waits, for a standby, say: what it keeps
/// nobody can read yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_that_still_runs_will_keep_is_not_undone() {
    let (cluster, theatre) = (Cluster::start(&[]), stage::theatre().await);
    let wire = Wire::until_asked(&cluster, "INSERT INTO \"installation\"").await;
    let gateway = with_stage(&wire).await;
    let api = &gateway.api;
    slow_down(gateway.home(), "INSERT ON installation", 3).await;
    let made = api
        .enable("co-op", "stage", json!({ "url": theatre.uri() }))
        .await;
    assert!(wire.was_cut());
    assert_eq!(acceptance::installed(api).await, [made]);
    assert!(stage::told(&theatre).await.is_empty(), "it was torn down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_well_done_whose_commit_was_not_answered() {
    let (cluster, theatre) = (Cluster::start(&[]), stage::theatre().await);
    let wire = Wire::to(&cluster, "UPDATE \"process\"", Duration::ZERO).await;
    let gateway = with_stage(&wire).await;
    let api = &gateway.api;
    api.enable("co-op", "stage", json!({ "url": theatre.uri() }))
        .await;
    let started = started(api, &start("stage.play")).await;
    assert!(wire.was_cut());
    assert_eq!(started.state(), ProcessState::Open);
    let all = ListProcessesRequest::default();
    let all = api.processes().list_processes(all).await.unwrap();
    assert_eq!(all.into_inner().processes, [started]);
    assert_eq!(stage::told(&theatre).await, ["start"]);
}

/// Nothing was done under it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_free_whose_claim_was_not_answered() {
    let cluster = Cluster::start(&[]);
    let wire = Wire::to(&cluster, "INSERT INTO \"request\"", Duration::ZERO).await;
    let gateway = Gateway::start_in(Home::at(wire.url()), |_| (), vec![stand::plugin()]).await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    stand.enable(api, "co-op").await;
    let request = start("stand.vote");
    assert!(!wire.was_cut());
    let lost = fault(api.start_request(request.clone()).await);
    assert!(wire.was_cut());
    assert_eq!(lost.code, Code::Unavailable, "{lost:?}");
    assert_eq!(stand.heard("POST /start").await, 0);
    started(api, &request).await;
    assert_eq!(stand.heard("POST /start").await, 1);
}

/// The connection is lost while that COMMIT waits, as for a standby.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_still_being_committed_is_kept() {
    let (cluster, theatre) = (Cluster::start(&[]), stage::theatre().await);
    let wire = Wire::until_asked(&cluster, "UPDATE \"request\" SET \"answer\"").await;
    let gateway = with_stage(&wire).await;
    let api = &gateway.api;
    api.enable("co-op", "stage", json!({ "url": theatre.uri() }))
        .await;
    slow_down(gateway.home(), "UPDATE ON request", 1).await;
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
