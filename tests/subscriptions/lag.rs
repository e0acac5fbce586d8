//! How far behind a subscription is: exactly, whatever was done.

use std::{collections::BTreeMap, time::Duration};

use metagov_proto::v1::{EventFilter, EventKind};
use tonic::Code;

use super::{
    To, acknowledge, create, delete_community, get, identity, is_exact, new, seek, try_create,
    watch,
};
use crate::harness::{Gateway, PATIENCE, fault};
#[tokio::test]
async fn what_the_log_has_no_more_does_not_count_and_seeking_mends_it() {
    let keep = Duration::from_secs(2);
    let gateway = Gateway::start_with(|config| config.event_retention = keep, vec![]).await;
    let api = &gateway.api;
    for id in ["a", "b", "c"] {
        api.community(id).await;
    }
    create(api, "mine").await;
    let log = api.log().await;
    assert_eq!(get(api, "mine").await.lag_count, 3);
    let until = tokio::time::Instant::now() + PATIENCE;
    // The last event always stays.
    while get(api, "mine").await.lag_count > 1 {
        assert!(tokio::time::Instant::now() < until, "nothing was removed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(get(api, "mine").await.lag_since, log[2].record_time);
    let refused = fault(watch(api, "mine").await.map(drop));
    let is_expired = refused.is(Code::OutOfRange, "CURSOR_EXPIRED");
    assert!(is_expired, "{refused:?}");
    let old = fault(acknowledge(api, "mine", &log[0].cursor).await);
    assert!(old.is(Code::OutOfRange, "CURSOR_EXPIRED"), "{old:?}");
    let to = To::AfterCursor(refused.metadata["earliest_cursor"].clone());
    seek(api, "mine", to).await.unwrap();
    let mut watcher = watch(api, "mine").await.unwrap();
    assert_eq!(watcher.next().await, log[2]);
}

#[tokio::test]
async fn a_deleted_community_leaves_subscriptions_and_their_lag() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    create(api, "mine").await;
    for id in ["a", "b"] {
        api.community(id).await;
        identity(api, id).await;
    }
    assert_eq!(get(api, "mine").await.lag_count, 4);
    delete_community(api, "a").await;
    let said = get(api, "mine").await;
    assert_eq!(said.lag_count, 3, "two of b, and that a was deleted");
    is_exact(api, "mine").await;
    api.community("a").await;
    identity(api, "a").await;
    assert_eq!(get(api, "mine").await.lag_count, 5);
    delete_community(api, "a").await;
    is_exact(api, "mine").await;
}

/// The filters of the subscriptions that are compared.
fn filters() -> Vec<(&'static str, EventFilter)> {
    let identities = EventFilter {
        kinds: vec![EventKind::IdentityChanged.into()],
        ..EventFilter::default()
    };
    let some = EventFilter {
        community_ids: vec!["c1".into(), "c3".into()],
        ..EventFilter::default()
    };
    let nothing = EventFilter {
        event_types: vec!["stage.*".into()],
        ..EventFilter::default()
    };
    vec![
        ("all", EventFilter::default()),
        ("identities", identities),
        ("some", some),
        ("nothing", nothing),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_what_a_reader_finds_whatever_was_done() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    for (id, filter) in filters() {
        try_create(api, new(id, filter)).await.unwrap();
    }
    let mut random = 0x5eed_u64;
    let mut below = |limit: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let mut there: BTreeMap<String, ()> = BTreeMap::new();
    for _ in 0..250 {
        let community = format!("c{}", below(5));
        let (id, _) = filters().swap_remove(below(4) as usize);
        match below(10) {
            _ if !there.contains_key(&community) => {
                api.community(&community).await;
                there.insert(community, ());
            }
            0 => {
                delete_community(api, &community).await;
                there.remove(&community);
            }
            1 | 2 => {
                let log = api.log().await;
                let cursor = &log[below(log.len() as u64) as usize].cursor;
                acknowledge(api, id, cursor).await.unwrap();
            }
            3 => {
                let log = api.log().await;
                let cursor = log[below(log.len() as u64) as usize].cursor.clone();
                seek(api, id, To::AfterCursor(cursor)).await.unwrap();
            }
            4 => is_exact(api, id).await,
            _ => identity(api, &community).await,
        }
    }
    for (id, _) in filters() {
        is_exact(api, id).await;
    }
    // A gateway that counts anew says the same.
    let mut before = Vec::new();
    for (id, _) in filters() {
        before.push(get(api, id).await);
    }
    let gateway = gateway.restart(vec![]).await;
    for (at, (id, _)) in filters().into_iter().enumerate() {
        assert_eq!(get(&gateway.api, id).await, before[at]);
    }
}

/// More than are counted as one, and than the memory of the feed holds at once.
#[tokio::test(flavor = "multi_thread")]
async fn lag_is_exact_over_thousands_of_events() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    for id in ["c0", "c1", "c2"] {
        api.community(id).await;
    }
    for (id, filter) in filters() {
        try_create(api, new(id, filter)).await.unwrap();
    }
    let writers: Vec<_> = (0..32)
        .map(|writer| {
            let api = api.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    identity(&api, &format!("c{}", (writer + number) % 3)).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let log = api.log().await;
    assert_eq!(log.len(), 3 + 3200);
    for place in [0, 1, 998, 999, 1000, 1001, 1500, 2500, 2999, 3201] {
        for (id, _) in filters() {
            is_exact(api, id).await;
            acknowledge(api, id, &log[place].cursor).await.unwrap();
            is_exact(api, id).await;
        }
        if place == 1500 {
            delete_community(api, "c1").await;
        }
    }
}
