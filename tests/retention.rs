//! Retention: what is old goes, from the oldest end, and whoever needed it is told.

use std::time::Duration;

use metagov_proto::v1::{
    Community, CreateIdentityRequest, Event, ListEventsRequest, UpdateCommunityRequest,
    WatchEventsRequest, event::Payload, list_events_request::Start,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use crate::{
    events::{after, earliest, link, read_on},
    harness::{Api, Fault, Gateway, PATIENCE, fault},
};

async fn keeping(retention: Duration) -> Gateway {
    Gateway::start_with(|config| config.event_retention = retention, vec![]).await
}

async fn list(api: &Api, cursor: &str) -> Result<Vec<Event>, Status> {
    let request = ListEventsRequest {
        start: Some(Start::AfterCursor(cursor.to_owned())),
        page_size: 1000,
        ..Default::default()
    };
    Ok(api.events().list_events(request).await?.into_inner().events)
}

/// Waits until the log no longer reaches back to a cursor.
async fn expired(api: &Api, cursor: &str) -> Fault {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match list(api, cursor).await {
            Ok(_) => sleep(Duration::from_millis(100)).await,
            answer => return fault(answer),
        }
    }
    panic!("nothing was removed")
}

#[tokio::test]
async fn an_expired_cursor_names_the_earliest() {
    let gateway = keeping(Duration::from_secs(2)).await;
    let api = &gateway.api;
    for id in ["a", "b", "c"] {
        api.community(id).await;
    }
    let log = api.log().await;
    let listed = expired(api, &log[0].cursor).await;
    assert!(listed.is(Code::OutOfRange, "CURSOR_EXPIRED"), "{listed:?}");
    let watched = fault(api.events().watch_events(after(&log[0].cursor)).await);
    assert!(
        watched.is(Code::OutOfRange, "CURSOR_EXPIRED"),
        "{watched:?}"
    );
    for refused in [listed, watched] {
        let earliest = &refused.metadata["earliest_cursor"];
        let rest = list(api, earliest).await.unwrap();
        assert_eq!(rest, log[2..], "the last event is never removed");
        assert_eq!(read_on(api, after(earliest)).await, rest);
    }
    // A reader at the end lost nothing, however old its cursor is.
    assert_eq!(list(api, &log[2].cursor).await.unwrap(), []);
    api.community("d").await;
    assert_eq!(list(api, &log[2].cursor).await.unwrap().len(), 1);
}

#[tokio::test]
async fn positions_go_on_after_everything_was_removed() {
    let gateway = keeping(Duration::from_secs(2)).await;
    gateway.api.community("a").await;
    gateway.api.community("b").await;
    let log = gateway.api.log().await;
    // The place before the first event, which nobody but EARLIEST names.
    let start = fault(gateway.api.events().watch_events(at_the_epoch()).await);
    expired(&gateway.api, &start.metadata["earliest_cursor"]).await;
    let gateway = gateway.restart(vec![]).await;
    gateway.api.community("c").await;
    let since = list(&gateway.api, &log[1].cursor).await.unwrap();
    let [c] = since.as_slice() else {
        panic!("one event, not {since:?}")
    };
    assert_eq!(c.community_id, "c");
    assert!(log.iter().all(|old| old.cursor != c.cursor));
}

fn at_the_epoch() -> WatchEventsRequest {
    let epoch = prost_types::Timestamp::default();
    WatchEventsRequest {
        start: Some(metagov_proto::v1::watch_events_request::Start::StartTime(
            epoch,
        )),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_stream_that_the_trimming_overtakes_ends_with_the_error() {
    let gateway = keeping(Duration::from_secs(3)).await;
    let api = &gateway.api;
    api.community("a").await;
    // A connection of its own, so that it alone is held up.
    let slow = gateway.connect().await;
    let slow = slow.events().watch_events(earliest()).await;
    let mut slow = slow.unwrap().into_inner();
    let mut seen = slow.message().await.unwrap().unwrap().events;
    let log = fill(api).await;
    // Only the last event is kept; the slow reader is far from there.
    expired(api, &log[log.len() - 3].cursor).await;
    let end = loop {
        match timeout(PATIENCE, slow.message()).await.expect("a message") {
            Ok(message) => seen.extend(message.expect("no end without an error").events),
            Err(status) => break fault(Err::<(), _>(status)),
        }
    };
    assert_eq!(seen, log[..seen.len()], "no hole before the end");
    assert!(end.is(Code::OutOfRange, "CURSOR_EXPIRED"), "{end:?}");
    let rest = list(api, &end.metadata["earliest_cursor"]).await.unwrap();
    assert_eq!(rest, log[log.len() - 1..]);
}

/// Writes 12 MB, which is more than the memory that readers share; what a quick reader
/// saw of it, and of what was before.
async fn fill(api: &Api) -> Vec<Event> {
    let mut quick = api.watch_request(earliest()).await.unwrap();
    let mut log = vec![quick.next().await];
    let request = CreateIdentityRequest {
        community_id: "a".into(),
        request_id: String::new(),
    };
    for user in 0..200 {
        let created = api.identities().create_identity(request.clone()).await;
        let id = created.unwrap().into_inner().identity.unwrap().identity_id;
        link(api, &id, &user.to_string(), 60_000).await;
        log.extend([quick.next().await, quick.next().await]);
    }
    log
}

/// The number that an event carries as the name of its community.
fn number(event: &Event) -> u64 {
    let Some(Payload::CommunityChanged(changed)) = &event.payload else {
        panic!("only changes of the community: {event:?}")
    };
    let name = &changed.community.as_ref().unwrap().display_name;
    name.parse().unwrap_or(0)
}

#[tokio::test]
async fn readers_get_every_event_or_the_error_while_old_ones_go() {
    let gateway = keeping(Duration::from_secs(1)).await;
    let api = gateway.api.clone();
    api.community("a").await;
    let first = api.log().await.remove(0).cursor;
    let writing = tokio::spawn(count_up(api.clone()));
    let mut stream = api.watch_request(after(&first)).await.unwrap();
    let (mut cursor, mut listed, mut losses) = (first.clone(), 0, 0);
    let until = Instant::now() + PATIENCE;
    // A reader in pages that is too slow on purpose, beside a stream that is not.
    while losses < 2 {
        assert!(Instant::now() < until, "nothing was removed");
        tokio::time::sleep(Duration::from_millis(50)).await;
        match list_one(&api, &cursor).await {
            Ok((events, next)) => {
                for event in events {
                    assert_eq!(number(&event), listed + 1, "a hole");
                    listed += 1;
                }
                cursor = next;
            }
            Err(status) => {
                let lost = fault(Err::<(), _>(status));
                assert!(lost.is(Code::OutOfRange, "CURSOR_EXPIRED"), "{lost:?}");
                cursor.clone_from(&lost.metadata["earliest_cursor"]);
                let rest = list(&api, &cursor).await;
                // Where it goes on is told, and it is later than where it was.
                if let Some(event) = rest.ok().and_then(|rest| rest.into_iter().next()) {
                    assert!(number(&event) > listed);
                    listed = number(&event) - 1;
                }
                losses += 1;
            }
        }
    }
    writing.abort();
    let mut streamed = 0;
    while streamed < listed {
        streamed += 1;
        assert_eq!(number(&stream.next().await), streamed, "a hole");
    }
}

async fn count_up(api: Api) {
    for number in 1_u64.. {
        let request = UpdateCommunityRequest {
            community: Some(Community {
                community_id: "a".into(),
                display_name: number.to_string(),
                ..Default::default()
            }),
            ..Default::default()
        };
        api.communities().update_community(request).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
}

/// A page of one event, and some time for thinking about it.
async fn list_one(api: &Api, cursor: &str) -> Result<(Vec<Event>, String), Status> {
    let request = ListEventsRequest {
        start: Some(Start::AfterCursor(cursor.to_owned())),
        page_size: 1,
        ..Default::default()
    };
    let page = api.events().list_events(request).await?.into_inner();
    sleep(Duration::from_millis(20)).await;
    Ok((page.events, page.cursor))
}
