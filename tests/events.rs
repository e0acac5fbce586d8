//! The feed: one log, read as a stream or in pages, resumed by cursors.

use std::time::Duration;

use metagov_proto::v1::{
    ChangeKind, CreateIdentityRequest, DeleteCommunityRequest, Event, EventFilter,
    LinkAccountRequest, ListEventsRequest, MergeIdentitiesRequest, StartAt, WatchEventsRequest,
    event::Payload, list_events_request, watch_events_request::Start,
};
use prost::Message;
use prost_types::Timestamp;
use serde_json::json;
use tonic::Code;

use crate::harness::{Api, Gateway, PATIENCE, fault, object};

/// From the oldest event on.
pub(crate) fn earliest() -> WatchEventsRequest {
    from(Start::StartAt(StartAt::Earliest.into()))
}

pub(crate) fn after(cursor: &str) -> WatchEventsRequest {
    from(Start::AfterCursor(cursor.to_owned()))
}

fn from(start: Start) -> WatchEventsRequest {
    WatchEventsRequest {
        start: Some(start),
        ..Default::default()
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn page(start: Option<Start>, page_size: i32) -> ListEventsRequest {
    use list_events_request::Start as Listed;
    let start = start.map(|start| match start {
        Start::AfterCursor(cursor) => Listed::AfterCursor(cursor),
        Start::StartTime(time) => Listed::StartTime(time),
        Start::StartAt(place) => Listed::StartAt(place),
        Start::SubscriptionId(id) => panic!("a page is of no subscription: {id}"),
    });
    ListEventsRequest {
        start,
        page_size,
        ..Default::default()
    }
}

/// Everything from a place to the end of the log, from a stream.
pub(crate) async fn read_on(api: &Api, request: WatchEventsRequest) -> Vec<Event> {
    let mut stream = api
        .events()
        .watch_events(request)
        .await
        .unwrap()
        .into_inner();
    let mut events = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, stream.message()).await;
        let message = message.unwrap().unwrap().unwrap();
        events.extend(message.events);
        if message.caught_up {
            return events;
        }
    }
}

async fn identity(api: &Api, community: &str) -> String {
    let request = CreateIdentityRequest {
        community_id: community.to_owned(),
        request_id: String::new(),
    };
    let answer = api.identities().create_identity(request).await.unwrap();
    answer.into_inner().identity.unwrap().identity_id
}

/// Links an account that carries this many bytes.
pub(crate) async fn link(api: &Api, identity: &str, user: &str, bytes: usize) {
    let account = metagov_proto::v1::Account {
        provider: "forum".into(),
        user_id: user.to_owned(),
        custom_data: object(json!({ "about": "x".repeat(bytes) })),
        ..Default::default()
    };
    let request = LinkAccountRequest {
        identity_id: identity.to_owned(),
        account: Some(account),
    };
    api.identities().link_account(request).await.unwrap();
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event_id.as_str()).collect()
}

fn time(event: &Event) -> (i64, i32) {
    let time = event.record_time.unwrap();
    (time.seconds, time.nanos)
}

#[tokio::test]
async fn a_stream_shows_what_happens_in_order() {
    let gateway = Gateway::start().await;
    let mut watcher = gateway.api.watch().await;
    let mut seen = Vec::new();
    for id in ["a", "b", "c"] {
        gateway.api.community(id).await;
    }
    gateway.api.enable("b", "ballot", json!({})).await;
    identity(&gateway.api, "c").await;
    for _ in 0..5 {
        seen.push(watcher.next().await);
    }
    let communities: Vec<_> = seen.iter().map(|e| e.community_id.as_str()).collect();
    assert_eq!(communities, ["a", "b", "c", "b", "c"]);
    assert!(matches!(
        seen[3].payload,
        Some(Payload::InstallationChanged(_))
    ));
    assert!(matches!(seen[4].payload, Some(Payload::IdentityChanged(_))));
    assert!(seen.is_sorted_by_key(time));
    assert_eq!(
        seen,
        gateway.api.log().await,
        "the page has the same events"
    );
}

#[tokio::test]
async fn silence_is_no_longer_than_the_heartbeat() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let request = WatchEventsRequest {
        heartbeat_interval: seconds(1),
        ..Default::default()
    };
    let mut watcher = gateway.api.watch_request(request).await.unwrap();
    let hello = watcher.cursor.clone();
    for _ in 0..4 {
        // Half of the default: a busy machine is late, but not by so much.
        let beat = tokio::time::timeout(Duration::from_millis(7500), watcher.message()).await;
        let beat = beat.expect("a heartbeat within its time").unwrap();
        assert!(beat.events.is_empty() && beat.caught_up);
        assert_eq!(beat.cursor, hello, "nothing happened");
    }
}

#[tokio::test]
async fn a_heartbeat_out_of_bounds_is_refused() {
    let gateway = Gateway::start().await;
    let short = prost_types::Duration {
        seconds: 0,
        nanos: 999_999_999,
    };
    for heartbeat_interval in [
        seconds(0),
        Some(short),
        seconds(301),
        seconds(-1),
        seconds(i64::MAX),
    ] {
        let request = WatchEventsRequest {
            heartbeat_interval,
            ..Default::default()
        };
        let refused = fault(gateway.api.events().watch_events(request).await);
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, ["heartbeat_interval"]);
    }
    for fits in [1, 300] {
        let request = WatchEventsRequest {
            heartbeat_interval: seconds(fits),
            ..Default::default()
        };
        gateway.api.watch_request(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_filter_selects_and_the_cursor_moves_on() {
    let gateway = Gateway::start().await;
    let nobody = EventFilter {
        community_ids: vec!["nobody".into()],
        ..Default::default()
    };
    let request = WatchEventsRequest {
        filter: Some(nobody),
        heartbeat_interval: seconds(1),
        ..Default::default()
    };
    let mut watcher = gateway.api.watch_request(request).await.unwrap();
    for id in ["a", "b", "c"] {
        gateway.api.community(id).await;
    }
    let last = gateway.api.log().await.pop().unwrap();
    while watcher.cursor != last.cursor {
        let bookmark = watcher.message().await.unwrap();
        assert!(bookmark.events.is_empty(), "nothing matches");
    }
    // Without the filter, what was skipped stays skipped.
    let mut resumed = gateway
        .api
        .watch_request(after(&watcher.cursor))
        .await
        .unwrap();
    gateway.api.community("d").await;
    assert_eq!(resumed.next().await.community_id, "d");
}

#[tokio::test]
async fn a_stream_starts_where_it_is_told() {
    let gateway = Gateway::start().await;
    for id in ["a", "b", "c"] {
        gateway.api.community(id).await;
    }
    let log = gateway.api.log().await;
    let [a, b, c] = log.as_slice() else {
        panic!("three events")
    };
    let since_b = Start::StartTime(b.record_time.unwrap());
    let places = [
        (Start::StartAt(StartAt::Earliest.into()), 0),
        (Start::StartAt(StartAt::Latest.into()), 3),
        (Start::StartAt(StartAt::Unspecified.into()), 3),
        (Start::AfterCursor(a.cursor.clone()), 1),
        (Start::AfterCursor(c.cursor.clone()), 3),
        (
            since_b,
            log.iter().position(|e| time(e) == time(b)).unwrap(),
        ),
    ];
    for (start, first) in places {
        let name = format!("{start:?}");
        assert_eq!(
            read_on(&gateway.api, from(start.clone())).await,
            log[first..],
            "{name}"
        );
        let listed = gateway.api.events().list_events(page(Some(start), 0)).await;
        assert_eq!(listed.unwrap().into_inner().events, log[first..], "{name}");
    }
    // Unset is LATEST for a stream and EARLIEST for a list.
    assert_eq!(
        read_on(&gateway.api, WatchEventsRequest::default()).await,
        []
    );
    let listed = gateway.api.events().list_events(page(None, 0)).await;
    assert_eq!(listed.unwrap().into_inner().events, log);
}

#[tokio::test]
async fn a_time_outside_of_the_log_is_refused() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let first = gateway.api.log().await.remove(0);
    let shifted = |seconds: i64| {
        let time = first.record_time.unwrap();
        Start::StartTime(Timestamp {
            seconds: time.seconds + seconds,
            ..time
        })
    };
    let future = fault(gateway.api.events().watch_events(from(shifted(3600))).await);
    assert!(
        future.is(Code::InvalidArgument, "INVALID_FIELD"),
        "{future:?}"
    );
    assert_eq!(future.fields, ["start_time"]);
    let listed = fault(
        gateway
            .api
            .events()
            .list_events(page(Some(shifted(3600)), 0))
            .await,
    );
    assert_eq!(listed, future);

    let past = fault(gateway.api.events().watch_events(from(shifted(-1))).await);
    assert!(past.is(Code::OutOfRange, "CURSOR_EXPIRED"), "{past:?}");
    let listed = fault(
        gateway
            .api
            .events()
            .list_events(page(Some(shifted(-1)), 0))
            .await,
    );
    assert_eq!(listed, past);
    let earliest = after(&past.metadata["earliest_cursor"]);
    assert_eq!(read_on(&gateway.api, earliest).await, [first]);
}

#[tokio::test]
async fn pages_and_streams_agree() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    for _ in 0..30 {
        identity(&gateway.api, "a").await;
    }
    let streamed = read_on(&gateway.api, earliest()).await;
    assert_eq!(streamed.len(), 31);
    for size in [1, 7, 30, 31, 32, 1000] {
        let (mut listed, mut start) = (Vec::new(), None);
        loop {
            let answer = gateway.api.events().list_events(page(start, size)).await;
            let answer = answer.unwrap().into_inner();
            assert!(answer.events.len() <= size as usize);
            listed.extend(answer.events);
            if answer.caught_up {
                break;
            }
            start = Some(Start::AfterCursor(answer.cursor));
        }
        assert_eq!(listed, streamed, "in pages of {size}");
    }
}

#[tokio::test]
async fn a_page_has_its_bounds() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    for _ in 0..60 {
        identity(&gateway.api, "a").await;
    }
    for bad in [-1, 1001, i32::MIN, i32::MAX] {
        let refused = fault(gateway.api.events().list_events(page(None, bad)).await);
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, ["page_size"]);
    }
    for (size, expected) in [(0, 50), (1, 1), (1000, 61)] {
        let answer = gateway.api.events().list_events(page(None, size)).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(answer.events.len(), expected);
        assert_eq!(answer.caught_up, expected == 61);
        assert_eq!(answer.cursor, answer.events.last().unwrap().cursor);
    }
}

#[tokio::test]
async fn a_message_ends_at_about_half_a_mebibyte() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    for user in 0..30 {
        let id = identity(&gateway.api, "a").await;
        link(&gateway.api, &id, &user.to_string(), 60_000).await;
    }
    let request = gateway.api.events().watch_events(earliest()).await;
    let mut stream = request.unwrap().into_inner();
    let (mut sizes, mut events) = (Vec::new(), Vec::new());
    loop {
        let message = stream.message().await.unwrap().unwrap();
        sizes.push(message.encoded_len());
        events.extend(message.events);
        if message.caught_up {
            break;
        }
    }
    assert_eq!(events.len(), 61);
    let largest = *sizes.iter().max().unwrap();
    assert!(largest < (512 << 10) + (64 << 10) && largest > 256 << 10);
    // Over a line that breaks again and again a reader gets on all the same.
    assert!(
        sizes[0] < 4 << 10,
        "a stream begins with {} bytes",
        sizes[0]
    );
    assert!(sizes.len() < 20, "{sizes:?}");
    let listed = gateway.api.events().list_events(page(None, 1000)).await;
    let listed = listed.unwrap().into_inner();
    assert!(!listed.caught_up && listed.encoded_len() < (512 << 10) + (64 << 10));
    assert_eq!(gateway.api.log().await, events);
}

#[tokio::test]
async fn events_of_one_change_arrive_in_one_message() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let mut identities = Vec::new();
    for _ in 0..1000 {
        identities.push(identity(&gateway.api, "a").await);
    }
    // Then pairs of events.
    for pair in identities[..600].chunks(2) {
        let request = MergeIdentitiesRequest {
            primary_identity_id: pair[0].clone(),
            secondary_identity_id: pair[1].clone(),
        };
        let merged = gateway.api.identities().merge_identities(request).await;
        merged.unwrap();
    }
    let first = gateway.api.log().await.swap_remove(0).cursor;
    // From one place or from the other, the 500th event of a message is half of a pair.
    let one = longest_message(&gateway.api, earliest()).await;
    let other = longest_message(&gateway.api, after(&first)).await;
    assert_eq!((one.min(other), one.max(other)), (499, 500));
}

/// How many events the longest message has up to the end of the log; no pair is torn.
async fn longest_message(api: &Api, request: WatchEventsRequest) -> usize {
    let request = api.events().watch_events(request).await;
    let mut stream = request.unwrap().into_inner();
    let mut longest = 0;
    loop {
        let message = stream.message().await.unwrap().unwrap();
        let kinds = message.events.iter().map(|event| match &event.payload {
            Some(Payload::IdentityChanged(changed)) => changed.change_kind(),
            _ => ChangeKind::Created,
        });
        let kinds: Vec<_> = kinds.filter(|kind| *kind != ChangeKind::Created).collect();
        for pair in kinds.chunks(2) {
            assert_eq!(pair, [ChangeKind::Deleted, ChangeKind::Updated]);
        }
        longest = longest.max(message.events.len());
        if message.caught_up {
            return longest;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_hurts_nobody() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    // On a connection of its own, and it never reads on.
    let slow = gateway.connect().await;
    let mut slow = slow.watch_request(earliest()).await.unwrap();
    let mut quick = gateway.api.watch().await;
    let (mut seen, id) = (Vec::new(), identity(&gateway.api, "a").await);
    seen.push(quick.next().await);
    for user in 0..24 {
        link(&gateway.api, &id, &user.to_string(), 30_000).await;
        seen.push(quick.next().await);
    }
    // Later it gets everything all the same, in order.
    slow.next().await;
    for event in &seen {
        assert_eq!(slow.next().await, *event);
    }
}

#[tokio::test]
async fn a_deleted_community_leaves_only_the_word_that_it_is_gone() {
    let gateway = Gateway::start().await;
    for id in ["a", "b"] {
        gateway.api.community(id).await;
        identity(&gateway.api, id).await;
    }
    let request = DeleteCommunityRequest {
        community_id: "a".into(),
        etag: String::new(),
    };
    gateway
        .api
        .communities()
        .delete_community(request)
        .await
        .unwrap();
    let streamed = read_on(&gateway.api, earliest()).await;
    let communities: Vec<_> = streamed.iter().map(|e| e.community_id.as_str()).collect();
    assert_eq!(communities, ["b", "b", "a"]);
    assert_eq!(ids(&gateway.api.log().await), ids(&streamed));
}
