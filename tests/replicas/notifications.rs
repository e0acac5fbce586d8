//! What others are told of commits by Postgres itself: once each, however much is in them.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use sea_orm::{prelude::Uuid, sqlx::postgres::PgListener};

use crate::harness::{Gateway, Home, Kind, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_told_once_however_many_events_it_has() {
    const CHANGES: usize = 200;
    let gateway = Gateway::start_in(Home::on(Kind::Postgres), |_| (), Vec::new()).await;
    let home = gateway.home();
    let feeds: Vec<Uuid> = home.ask("SELECT feed_id FROM feed").await;
    let mut listener = PgListener::connect(home.database_url().unwrap())
        .await
        .unwrap();
    listener
        .listen(&format!("metagov_{}", feeds[0].simple()))
        .await
        .unwrap();
    let ids: Vec<String> = (0..CHANGES).map(|number| format!("c{number}")).collect();
    join_all(ids.iter().map(|id| gateway.api.community(id))).await;

    // Until silence: each names the position of the last event of its commit.
    let mut told = Vec::new();
    let mut patience = PATIENCE;
    while let Ok(notification) = tokio::time::timeout(patience, listener.recv()).await {
        told.push(notification.unwrap().payload().parse::<usize>().unwrap());
        if *told.last().unwrap() == CHANGES {
            patience = Duration::from_secs(1);
        }
    }
    let events = gateway.api.log().await;
    assert_eq!(events.len(), CHANGES);
    // What is committed together has one time.
    let times = events.iter().map(|event| event.record_time.unwrap());
    let commits: BTreeSet<_> = times.map(|time| (time.seconds, time.nanos)).collect();
    assert!(commits.len() < CHANGES, "no two changes shared a commit");
    assert_eq!(told.len(), commits.len());
    assert!(
        told.is_sorted() && told.last() == Some(&CHANGES),
        "{told:?}"
    );
}
