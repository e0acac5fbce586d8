//! A COMMIT whose answer is lost: what was done stays done, nothing is undone that the
//! database keeps, and what was claimed is done.

use std::time::{Duration, Instant};

use metagov_proto::v1::ProcessState;
use serde_json::json;

use crate::{
    acceptance,
    harness::{Cluster, Gateway, Home, PATIENCE, Wire},
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
