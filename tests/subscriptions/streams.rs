//! Streams of a subscription that is moved or deleted, here or at another gateway.

use std::time::Duration;

use metagov_proto::v1::{EventFilter, EventKind, StartAt};
use tonic::Code;

use super::{To, acknowledge, create, delete, earliest, new, seek, try_create, try_get, watch};
use crate::harness::{Gateway, fault};
#[tokio::test]
async fn streams_end_when_the_subscription_is_moved_and_go_on_there() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    create(api, "mine").await;
    for id in ["a", "b", "c"] {
        api.community(id).await;
    }
    let log = api.log().await;
    acknowledge(api, "mine", &log[2].cursor).await.unwrap();
    let mut streams = [
        watch(api, "mine").await.unwrap(),
        watch(api, "mine").await.unwrap(),
    ];
    create(api, "other").await;
    let mut other = watch(api, "other").await.unwrap();
    let moved = seek(api, "mine", To::AfterCursor(log[0].cursor.clone()))
        .await
        .unwrap();
    assert_eq!(moved.acknowledged_cursor, log[0].cursor);
    assert_eq!((moved.lag_count, moved.lag_since), (2, log[1].record_time));
    for stream in &mut streams {
        let end = fault(stream.try_next().await);
        assert!(end.is(Code::Unavailable, "SUBSCRIPTION_MOVED"), "{end:?}");
        assert!(end.retry.is_some());
        assert_eq!(end.metadata["subscription_id"], "mine");
    }
    let mut again = watch(api, "mine").await.unwrap();
    assert_eq!(again.next().await, log[1]);
    assert_eq!(other.next().await, log[0], "others' streams go on");
    let skipped = seek(api, "mine", To::StartAt(StartAt::Latest.into())).await;
    assert_eq!(skipped.unwrap().lag_count, 0);
    let by_time = To::StartTime(log[1].record_time.unwrap());
    let by_time = seek(api, "mine", by_time).await.unwrap();
    assert_eq!(by_time.lag_since, log[1].record_time);
}

#[tokio::test]
async fn streams_of_a_deleted_subscription_end_with_not_found() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    create(api, "mine").await;
    let mut stream = watch(api, "mine").await.unwrap();
    delete(api, "mine").await.unwrap();
    let end = fault(stream.try_next().await);
    assert!(end.is(Code::NotFound, "SUBSCRIPTION_NOT_FOUND"), "{end:?}");
    for refused in [
        fault(watch(api, "mine").await.map(drop)),
        fault(try_get(api, "mine").await),
        fault(acknowledge(api, "mine", "nonsense").await),
        fault(seek(api, "mine", earliest()).await),
        fault(delete(api, "mine").await),
    ] {
        let is_gone = refused.is(Code::NotFound, "SUBSCRIPTION_NOT_FOUND");
        assert!(is_gone, "{refused:?}");
        assert_eq!(refused.metadata["subscription_id"], "mine");
    }
    // The same id is another subscription, with another filter.
    api.community("a").await;
    let nothing = EventFilter {
        kinds: vec![EventKind::Platform.into()],
        ..EventFilter::default()
    };
    let anew = try_create(api, new("mine", nothing)).await.unwrap();
    assert_eq!(anew.lag_count, 0);
    assert!(watch(api, "mine").await.is_ok());
}

/// Moves or deletes in the database alone, as another gateway would.
async fn elsewhere(gateway: &Gateway, statements: &[&str]) {
    for statement in statements {
        gateway.home().run(statement).await;
    }
}

#[tokio::test]
async fn what_another_gateway_moves_or_deletes_ends_streams_without_a_heartbeat() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    for id in ["moved", "deleted", "left"] {
        create(api, id).await;
    }
    let mut moved = watch(api, "moved").await.unwrap();
    let mut deleted = watch(api, "deleted").await.unwrap();
    let mut left = watch(api, "left").await.unwrap();
    let began = tokio::time::Instant::now();
    elsewhere(
        &gateway,
        &[
            "UPDATE subscription SET epoch = (SELECT number + 1 FROM subscription_epoch) \
             WHERE subscription_id = 'moved'",
            "DELETE FROM subscription WHERE subscription_id = 'deleted'",
            // Last, since these are three transactions.
            "UPDATE subscription_epoch SET number = number + 2",
        ],
    )
    .await;
    let end = fault(moved.try_next().await);
    assert!(end.is(Code::Unavailable, "SUBSCRIPTION_MOVED"), "{end:?}");
    let end = fault(deleted.try_next().await);
    assert!(end.is(Code::NotFound, "SUBSCRIPTION_NOT_FOUND"), "{end:?}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "not the heartbeat"
    );
    api.community("a").await;
    assert_eq!(left.next().await.community_id, "a");
}
