//! Two gateways that tell each other of commits by a NATS. They look once a minute besides,
//! and no test waits for so long.

use std::time::Duration;

use metagov::config::{Config, Notify};
use sea_orm::prelude::Uuid;

use crate::harness::{Gateway, Home, Kind, Nats, PATIENCE, Watcher};

async fn two(nats: &Nats) -> (Gateway, Gateway) {
    let by_nats = |config: &mut Config| {
        config.database.notify = Notify::Nats(vec![nats.url()]);
        config.database.feed_poll = 2 * PATIENCE;
    };
    let home = Home::on(Kind::Postgres);
    let first = Gateway::start_in(home, by_nats, Vec::new()).await;
    let second = first.replica(by_nats, Vec::new()).await;
    (first, second)
}

/// Makes communities at one until a stream at the other shows one of them: what is told
/// while nobody listens is lost. How they are called begins with `name`.
async fn is_told(teller: &Gateway, watcher: &mut Watcher, name: &str) {
    let told = async {
        for number in 0.. {
            teller.api.community(&format!("{name}-{number}")).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let shown = async { while !watcher.next().await.community_id.starts_with(name) {} };
    tokio::select! {
        () = told => {}
        () = shown => {}
    }
}

/// Reads until the stream shows this community.
async fn shows(watcher: &mut Watcher, id: &str) {
    while watcher.next().await.community_id != id {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_commits_the_other_is_told_by_nats() {
    let nats = Nats::start().await;
    let (first, second) = two(&nats).await;
    let (mut here, mut there) = (first.api.watch().await, second.api.watch().await);
    is_told(&first, &mut there, "listens").await;
    is_told(&second, &mut here, "listens-too").await;
    // From now on each single commit is heard of.
    for number in 0..10 {
        let id = format!("community-{number}");
        [&first, &second][number % 2].api.community(&id).await;
        shows(&mut here, &id).await;
        shows(&mut there, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_is_away_holds_up_nothing_and_is_used_when_it_comes() {
    let mut nats = Nats::away();
    let (first, second) = two(&nats).await;
    let mut there = second.api.watch().await;
    first.api.community("nobody-was-told").await;
    nats.comes().await;
    is_told(&first, &mut there, "came").await;
    nats.goes();
    first.api.community("nobody-was-told-either").await;
    nats.comes().await;
    is_told(&first, &mut there, "came-back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_say_in_a_nats_is_not_believed() {
    let nats = Nats::start().await;
    let (first, second) = two(&nats).await;
    let mut there = second.api.watch().await;
    is_told(&first, &mut there, "listens").await;
    let feeds: Vec<Uuid> = first.home().ask("SELECT feed_id FROM feed").await;
    let subject = format!("metagov.{}", feeds[0].simple());
    for lie in [&i64::MAX.to_string(), "-1", "", "all of it"] {
        nats.publish(&subject, lie);
    }
    // It is looked up, and what is then the end of the log is the end of the log.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut late = second.api.watch().await;
    first.api.community("true").await;
    // Who believed that the log is longer would wait for it.
    let shown = async {
        shows(&mut late, "true").await;
        shows(&mut there, "true").await;
    };
    let shown = tokio::time::timeout(PATIENCE, shown).await;
    shown.expect("a lie was believed");
}
