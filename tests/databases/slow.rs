//! A database that takes long for each answer: it is waited for, and what comes due is done
//! all the same.

use std::time::{Duration, Instant};

use metagov_proto::v1::{ProcessState, Role};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{SECOND, create, read};
use crate::{
    fakes::{Forum, post},
    harness::{Binary, Cluster, Gateway, Home, Wire},
    operations::scrape,
    stand::start_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_waited_for() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    let gateway = Binary::serve(&home, &[]);
    let api = gateway.api().await;
    home.run(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';
         CREATE TRIGGER slow BEFORE INSERT ON community EXECUTE FUNCTION slow()",
    )
    .await;
    let begun = Instant::now();
    let calls = (0..3).map(|number| {
        let api = api.clone();
        async move { create(&api, &format!("c{number}")).await }
    });
    let (created, listed) = tokio::join!(futures::future::join_all(calls), read(&api));
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    assert!(listed.is_ok());
    assert!(begun.elapsed() >= 2 * SECOND);
}

/// So slow that a change idles for longer than it otherwise may, and that it takes longer
/// than a lease to say that one lives.
#[tokio::test(flavor = "multi_thread")]
async fn where_each_answer_is_slow_what_comes_due_is_done() {
    let cluster = Cluster::start(&[]);
    let wire = Wire::whole(&cluster).await;
    let short = |config: &mut metagov::config::Config| config.replica_lease = SECOND;
    let gateway = Gateway::start_in(Home::at(wire.url()), short, vec![]).await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.enable("co-op", "ballot", json!({})).await;
    let vote = start_until(api, "ballot.vote", 2 * SECOND).await;
    wire.slow_down(SECOND + SECOND / 5);
    let begun = Instant::now();
    while api.process(&vote.process_id).await.unwrap().state() != ProcessState::Completed {
        assert!(begun.elapsed() < 180 * SECOND, "it is not closed");
        sleep(SECOND).await;
    }
    wire.slow_down(Duration::ZERO);
}

/// Who reads metrics gives up after 10 s, as Prometheus does, and learns what cannot be done.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_come_in_time_from_a_gateway_whose_database_is_silent() {
    let (cluster, forum) = (Cluster::start(&[]), Forum::start().await);
    let wire = Wire::whole(&cluster).await;
    let home = Home::at(wire.url());
    let gateway = Binary::serve(&home, &["--hook-timeout", "3s"]);
    let api = gateway.api().await;
    api.community("co-op").await;
    let discourse = api.enable("co-op", "discourse", forum.config()).await;
    let reader = api.token(Role::Reader, &[]).await;
    scrape(&gateway.endpoint, &reader).await;
    wire.slow_down(3600 * SECOND);
    let hook = forum.hook(&discourse.webhook_url, "post_created", &post(1, "ada"));
    let refused = hook.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    // What is in memory of tokens and counts is no longer so.
    sleep(15 * SECOND).await;
    let scraped = timeout(10 * SECOND, scrape(&gateway.endpoint, &reader)).await;
    let samples = scraped.expect("it comes in time");
    assert_eq!(samples["metagov_ready"], 0.0);
    let unanswered = r#"metagov_hooks_total{plugin="discourse",result="unanswered"}"#;
    assert_eq!(samples[unanswered], 1.0);
}
