//! Several gateways on one Postgres: what one of them does the others do not, what one
//! leaves undone the others do, and at every one the same holds.

mod claims;
mod identities;
mod moves;
mod nats;
mod notifications;
mod writes;

use std::time::Duration;

use metagov::config::Config;
use metagov_proto::v1::{Process, ProcessState};

use crate::{
    harness::{Api, Gateway, Home, Kind, PATIENCE},
    stand::{self, Stand, start_until},
};

/// Two gateways with the plugins of the tests, which ask platforms so seldom that no test
/// sees it, and a stand that a community has enabled.
async fn two_with_stand() -> (Gateway, Gateway, Stand) {
    two_with_stand_as(|_| ()).await
}

/// The same, with more settings.
async fn two_with_stand_as(set: impl Fn(&mut Config)) -> (Gateway, Gateway, Stand) {
    let seldom = |config: &mut Config| {
        config.poll_interval = Duration::from_secs(24 * 3600);
        set(config);
    };
    let home = Home::on(Kind::Postgres);
    let first = Gateway::start_in(home, seldom, vec![stand::plugin()]).await;
    let second = first.replica(seldom, vec![stand::plugin()]).await;
    let stand = Stand::open().await;
    stand.enable(&first.api, "co-op").await;
    (first, second, stand)
}

/// The process once it is done.
async fn done(api: &Api, id: &str) -> Process {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let process = api.process(id).await.unwrap();
        if process.end_time.is_some() {
            return process;
        }
        assert!(tokio::time::Instant::now() < until, "it stays open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often it was completed in the log.
async fn completions(api: &Api, id: &str) -> usize {
    let changes = stand::changes(api, id).await.into_iter();
    let ends = changes.filter(|process| process.state() == ProcessState::Completed);
    ends.count()
}
