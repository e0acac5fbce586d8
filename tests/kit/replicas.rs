//! What a plugin asks for, with two gateways on one Postgres.

use std::time::Duration;

use metagov_proto::v1::{Delivery, DeliveryState, event::Payload};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    hall::{Hall, configured},
    signals::{gavel, spoke},
    townhall,
};
use crate::harness::{Home, Kind, PATIENCE, plain};

/// What waits is due at both at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_wait_are_done_once_by_two() {
    const COUNT: usize = 30;
    let mut hall = Hall::open_in(Home::on(Kind::Postgres), |_| ()).await;
    let _second = hall
        .gateway
        .replica(configured, vec![townhall::plugin()])
        .await;
    // Nobody has the gavel yet, so it cannot be passed on: all of these wait.
    for number in 0..COUNT {
        let told = [spoke(&number.to_string()), gavel(Some("ada"), "ada")];
        assert_eq!(hall.hear(&json!({ "told": told })).await.0, 200);
    }
    hall.hears(gavel(None, "ada")).await;
    let home = hall.gateway.home();
    home.run("UPDATE delivery SET next_attempt_time = 1 WHERE next_attempt_time IS NOT NULL")
        .await;
    let until = Instant::now() + PATIENCE;
    let waits = |delivery: &Delivery| delivery.state() != DeliveryState::Done;
    while hall.deliveries().await.iter().any(waits) {
        assert!(Instant::now() < until, "some still wait");
        sleep(Duration::from_millis(50)).await;
    }
    // The last that is told; whatever was told twice is before it.
    hall.hears(spoke("done")).await;
    let mut heard = Vec::new();
    loop {
        let Payload::Platform(event) = hall.watcher.payload().await else {
            continue;
        };
        if event.event_type == "townhall.spoke" {
            match plain(event.data)["text"].as_str().unwrap() {
                "done" => break,
                text => heard.push(text.parse::<usize>().unwrap()),
            }
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..COUNT).collect::<Vec<_>>());
}
