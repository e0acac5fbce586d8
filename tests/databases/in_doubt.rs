//! A COMMIT whose answer is lost: what was done stays done, and nothing is undone that the
//! database keeps.

use std::time::Duration;

use serde_json::json;

use crate::{
    acceptance,
    harness::{Cluster, Gateway, Home, Wire},
    stage,
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

/// The one who asks goes away while the COMMIT waits, for a standby, say: what it keeps
/// nobody can read yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_that_still_runs_will_keep_is_not_undone() {
    let (cluster, theatre) = (Cluster::start(&[]), stage::theatre().await);
    let wire = Wire::until_asked(&cluster, "INSERT INTO \"installation\"").await;
    let gateway = Gateway::start_in(Home::at(wire.url()), |_| (), vec![stage::plugin()]).await;
    let api = &gateway.api;
    api.community("co-op").await;
    let slow = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(3); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON installation
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()";
    gateway.home().run(slow).await;
    let made = api
        .enable("co-op", "stage", json!({ "url": theatre.uri() }))
        .await;
    assert!(wire.was_cut());
    assert_eq!(acceptance::installed(api).await, [made]);
    assert!(stage::told(&theatre).await.is_empty(), "it was torn down");
}
