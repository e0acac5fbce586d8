//! Cursors: refused for the right reason, and good for as long as they say, also under
//! load, over restarts, and after the server was killed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use metagov_proto::v1::{CreateIdentityRequest, Event, WatchEventsRequest};
use tokio::sync::watch;
use tonic::Code;

use crate::{
    events::{after, earliest, read_on},
    harness::{Api, Binary, Gateway, Home, PATIENCE, fault},
};

async fn refused(api: &Api, cursor: &str) -> crate::harness::Fault {
    fault(api.events().watch_events(after(cursor)).await)
}

#[tokio::test]
async fn a_cursor_survives_a_restart() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    gateway.api.community("b").await;
    let log = gateway.api.log().await;
    let gateway = gateway.restart(vec![]).await;
    assert_eq!(gateway.api.log().await, log, "the same events and cursors");
    gateway.api.community("c").await;
    let since = read_on(&gateway.api, after(&log[0].cursor)).await;
    assert_eq!(since.len(), 2);
    assert_eq!(since[0], log[1]);
    assert_eq!(since[1].community_id, "c");
}

#[tokio::test]
async fn a_cursor_of_another_feed_is_refused() {
    let (here, there) = (Gateway::start().await, Gateway::start().await);
    here.api.community("a").await;
    there.api.community("b").await;
    let foreign = there.api.log().await.remove(0).cursor;
    let refused = refused(&here.api, &foreign).await;
    assert!(
        refused.is(Code::FailedPrecondition, "CURSOR_FOREIGN"),
        "{refused:?}"
    );
    let earliest = after(&refused.metadata["earliest_cursor"]);
    let all = read_on(&here.api, earliest).await;
    assert_eq!(all, here.api.log().await);
}

#[tokio::test]
async fn a_damaged_cursor_is_invalid() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let good = gateway.api.log().await.remove(0).cursor;
    let mut damaged = vec![
        String::new(),
        "nonsense".to_owned(),
        good[1..].to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{good}A"),
        format!(" {good}"),
        "A".repeat(100_000),
        "\u{202e}\u{0}/../*".to_owned(),
    ];
    for at in 0..good.len() {
        let mut letters = good.clone().into_bytes();
        letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
        damaged.push(String::from_utf8(letters).unwrap());
    }
    for cursor in damaged {
        let refused = refused(&gateway.api, &cursor).await;
        assert!(
            refused.is(Code::InvalidArgument, "CURSOR_INVALID"),
            "{cursor}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_cursor_ahead_of_the_log_is_refused() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let gateway = gateway.restart_after(async |home| home.save()).await;
    gateway.api.community("b").await;
    let newer = gateway.api.log().await.pop().unwrap().cursor;
    // An older copy of the database comes back, without the feed being made anew.
    let gateway = gateway.restart_after(async |home| home.put_back()).await;
    let refused = refused(&gateway.api, &newer).await;
    assert!(
        refused.is(Code::FailedPrecondition, "CURSOR_AHEAD"),
        "{refused:?}"
    );
    assert_eq!(gateway.api.log().await.len(), 1);
}

#[tokio::test]
async fn streams_end_with_unavailable_when_the_server_drains() {
    let gateway = Gateway::start().await;
    let api = gateway.api.clone();
    let mut watcher = api.watch().await;
    api.community("a").await;
    assert_eq!(watcher.next().await.community_id, "a");
    let last = watcher.cursor.clone();
    let stopping = tokio::spawn(gateway.stop());
    let end = fault(watcher.try_next().await);
    assert!(end.is(Code::Unavailable, "DRAINING"), "{end:?}");
    assert!(end.retry.is_some());
    assert_eq!(watcher.cursor, last, "where to go on is known");
    stopping.await.unwrap();
}

/// Creates an identity; whether it was acknowledged.
async fn create(api: &Api) -> Option<String> {
    let request = CreateIdentityRequest {
        community_id: "a".into(),
        request_id: String::new(),
    };
    let answer = api.identities().create_identity(request).await.ok()?;
    Some(answer.into_inner().identity.unwrap().identity_id)
}

#[tokio::test]
async fn positions_have_no_holes_under_load() {
    const WRITERS: usize = 16;
    const EACH: usize = 40;
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let first = gateway.api.log().await;
    let (done, is_done) = watch::channel(false);
    let watchers: Vec<_> = (1..=4)
        .map(|seed| {
            let (api, from) = (gateway.api.clone(), first[0].cursor.clone());
            tokio::spawn(cut_and_resume(api, from, seed, is_done.clone()))
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let api = gateway.api.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    create(&api).await.expect("it is created");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.send_replace(true);
    let log = gateway.api.log().await;
    assert_eq!(log.len(), 1 + WRITERS * EACH, "one event for each change");
    let times = log.iter().map(|event| event.record_time.unwrap());
    assert!(times.is_sorted_by_key(|time| (time.seconds, time.nanos)));
    let distinct: BTreeSet<_> = log.iter().map(|event| &event.event_id).collect();
    assert_eq!(distinct.len(), log.len());
    for watcher in watchers {
        let seen = watcher.await.unwrap();
        assert!(seen == log[1..], "a hole, a repeat, or another order");
    }
}

/// Reads a few events at a time, drops the stream, and resumes with the last event's
/// cursor or the message's.
async fn cut_and_resume(
    api: Api,
    mut cursor: String,
    seed: u64,
    mut done: watch::Receiver<bool>,
) -> Vec<Event> {
    let (mut seen, mut random) = (Vec::new(), seed);
    loop {
        let over = *done.borrow_and_update();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let messages = 1 + (random >> 33) % 5;
        let by_event = random >> 40 & 1 == 0;
        let request = WatchEventsRequest {
            heartbeat_interval: Some(Duration::from_secs(1).try_into().unwrap()),
            ..after(&cursor)
        };
        let stream = api.events().watch_events(request).await;
        let mut stream = stream.unwrap().into_inner();
        for _ in 0..messages {
            let next = tokio::time::timeout(PATIENCE, stream.message()).await;
            let mut message = next.unwrap().unwrap().unwrap();
            if by_event && message.events.len() > 8 {
                // As a driver does that stops in the midst of a message.
                message.events.truncate(8);
                message.cursor.clone_from(&message.events[7].cursor);
                message.caught_up = false;
            }
            cursor = message.cursor;
            seen.extend(message.events);
            if over && message.caught_up {
                return seen;
            }
            if by_event {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_sigkill() {
    let home = Home::new();
    let server = Binary::serve(&home, &[]);
    let api = server.api().await;
    api.community("a").await;
    let before = api.log().await.remove(0);
    let (count, mut counted) = watch::channel(0);
    let count = Arc::new(count);
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (api, count) = (api.clone(), count.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                while let Some(id) = create(&api).await {
                    acknowledged.push(id);
                    count.send_modify(|count| *count += 1);
                }
                acknowledged
            })
        })
        .collect();
    counted.wait_for(|count| *count > 100).await.unwrap();
    server.kill();
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let server = Binary::serve(&home, &[]);
    let api = server.api().await;
    let since = read_on(&api, after(&before.cursor)).await;
    let kept: BTreeSet<_> = since.iter().map(identity_id).collect();
    assert!(
        acknowledged.is_subset(&kept),
        "an acknowledged change is gone"
    );
    assert_eq!(kept.len(), since.len(), "nothing is there twice");
    create(&api).await.expect("it serves as before");
}

fn identity_id(event: &Event) -> String {
    use metagov_proto::v1::event::Payload;
    let Some(Payload::IdentityChanged(changed)) = &event.payload else {
        panic!("only identities: {event:?}")
    };
    changed.identity.clone().unwrap().identity_id
}

#[tokio::test]
async fn many_streams_read_the_same() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let mut watchers = Vec::new();
    for _ in 0..50 {
        let request = WatchEventsRequest {
            heartbeat_interval: Some(Duration::from_secs(1).try_into().unwrap()),
            ..earliest()
        };
        watchers.push(gateway.api.watch_request(request).await.unwrap());
    }
    for _ in 0..20 {
        create(&gateway.api).await.unwrap();
    }
    let log = gateway.api.log().await;
    for watcher in &mut watchers {
        for event in &log {
            assert_eq!(watcher.next().await, *event);
        }
    }
}
