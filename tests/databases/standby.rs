//! A server that follows another one and cannot be written: a real one in recovery, which is
//! promoted when the other is given up.

use std::{thread, time::Instant};

use super::{SECOND, create, is_only_read, until_done};
use crate::harness::{Binary, Cluster, Home};

/// From its next start on, until it is promoted.
fn follow(cluster: &Cluster) {
    cluster.stop("fast");
    cluster.give("data/standby.signal", "");
    cluster.start_again(&[]);
}

async fn promote(home: &Home) {
    let promoted: Vec<bool> = home.ask("SELECT pg_promote()").await;
    assert_eq!(promoted, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_read_and_written_once_it_is_promoted() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    let gateway = Binary::serve(&home, &[]);
    let api = gateway.api().await;
    create(&api, "a").await.unwrap();
    follow(&cluster);
    is_only_read(&gateway, &api).await;
    promote(&home).await;
    until_done(&api, "c").await;
    // Whoever listens for other gateways does so again: a stream goes on at once.
    let mut watcher = api.watch().await;
    create(&api, "d").await.unwrap();
    assert_eq!(watcher.next().await.community_id, "d");
    assert_eq!(gateway.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_standby_to_be_promoted() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    let before = Binary::serve(&home, &[]);
    create(&before.api().await, "a").await.unwrap();
    assert_eq!(before.terminate(), Some(0));
    follow(&cluster);
    let begun = Instant::now();
    let gateway = thread::scope(|scope| {
        let start = scope.spawn(|| Binary::serve(&home, &[]));
        thread::sleep(3 * SECOND);
        assert!(!start.is_finished(), "it does not wait");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let promoting = scope.spawn(|| runtime.unwrap().block_on(promote(&home)));
        promoting.join().unwrap();
        start.join().unwrap()
    });
    assert!(begun.elapsed() >= 3 * SECOND);
    create(&gateway.api().await, "b").await.unwrap();
}
