//! Subscriptions: cursors that the gateway keeps. How far behind they are is in
//! `subscriptions/lag.rs`, what becomes of their streams in `subscriptions/streams.rs`.

mod lag;
mod streams;

use metagov_proto::v1::{
    AcknowledgeEventsRequest, CreateIdentityRequest, CreateSubscriptionRequest, CreateTokenRequest,
    DeleteCommunityRequest, DeleteSubscriptionRequest, Event, EventFilter, GetSubscriptionRequest,
    ListAuditEntriesRequest, ListEventsRequest, ListSubscriptionsRequest, RevokeTokenRequest, Role,
    SeekSubscriptionRequest, StartAt, Subscription, Token, WatchEventsRequest,
    create_subscription_request::Start as From_, list_events_request,
    seek_subscription_request::Start as To, watch_events_request::Start as Watched,
};
use tonic::{Code, Status};

use crate::harness::{Api, Binary, Gateway, Home, Watcher, fault};

fn new(id: &str, filter: EventFilter) -> CreateSubscriptionRequest {
    CreateSubscriptionRequest {
        subscription: Some(Subscription {
            subscription_id: id.to_owned(),
            filter: Some(filter),
            ..Subscription::default()
        }),
        start: Some(From_::StartAt(StartAt::Earliest.into())),
        request_id: String::new(),
    }
}

async fn try_create(api: &Api, request: CreateSubscriptionRequest) -> Result<Subscription, Status> {
    let answer = api.subscriptions().create_subscription(request).await?;
    Ok(answer.into_inner().subscription.unwrap())
}

/// One of everything, from the earliest event on.
async fn create(api: &Api, id: &str) -> Subscription {
    let all = new(id, EventFilter::default());
    try_create(api, all).await.unwrap()
}

async fn try_get(api: &Api, id: &str) -> Result<Subscription, Status> {
    let subscription_id = id.to_owned();
    let request = GetSubscriptionRequest { subscription_id };
    let answer = api.subscriptions().get_subscription(request).await?;
    Ok(answer.into_inner().subscription.unwrap())
}

async fn get(api: &Api, id: &str) -> Subscription {
    try_get(api, id).await.unwrap()
}

async fn acknowledge(api: &Api, id: &str, cursor: &str) -> Result<(), Status> {
    let request = AcknowledgeEventsRequest {
        subscription_id: id.to_owned(),
        cursor: cursor.to_owned(),
    };
    let answer = api.subscriptions().acknowledge_events(request).await;
    answer.map(drop)
}

async fn seek(api: &Api, id: &str, to: To) -> Result<Subscription, Status> {
    let request = SeekSubscriptionRequest {
        subscription_id: id.to_owned(),
        start: Some(to),
    };
    let answer = api.subscriptions().seek_subscription(request).await?;
    Ok(answer.into_inner().subscription.unwrap())
}

fn earliest() -> To {
    To::StartAt(StartAt::Earliest.into())
}

async fn delete(api: &Api, id: &str) -> Result<(), Status> {
    let subscription_id = id.to_owned();
    let request = DeleteSubscriptionRequest { subscription_id };
    let answer = api.subscriptions().delete_subscription(request).await;
    answer.map(drop)
}

async fn list(api: &Api) -> Vec<String> {
    let request = ListSubscriptionsRequest::default();
    let answer = api.subscriptions().list_subscriptions(request).await;
    let listed = answer.unwrap().into_inner().subscriptions.into_iter();
    listed.map(|one| one.subscription_id).collect()
}

async fn watch(api: &Api, id: &str) -> Result<Watcher, Status> {
    api.watch_request(WatchEventsRequest {
        start: Some(Watched::SubscriptionId(id.to_owned())),
        ..Default::default()
    })
    .await
}

async fn identity(api: &Api, community: &str) {
    let request = CreateIdentityRequest {
        community_id: community.to_owned(),
        request_id: String::new(),
    };
    api.identities().create_identity(request).await.unwrap();
}

async fn delete_community(api: &Api, id: &str) {
    let community_id = id.to_owned();
    let request = DeleteCommunityRequest {
        community_id,
        ..Default::default()
    };
    api.communities().delete_community(request).await.unwrap();
}

/// Somebody with a role in some communities, as this principal.
async fn token(api: &Api, role: Role, communities: &[&str], principal: &str) -> (String, String) {
    let token = Token {
        role: role.into(),
        community_ids: communities.iter().map(ToString::to_string).collect(),
        principal: principal.to_owned(),
        ..Token::default()
    };
    let request = CreateTokenRequest { token: Some(token) };
    let made = api.access().create_token(request).await.unwrap();
    let made = made.into_inner();
    (made.token.unwrap().token_id, made.secret)
}

/// What a reader finds that reads the log itself.
async fn found(api: &Api, filter: &EventFilter, after: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut cursor = after.to_owned();
    loop {
        let request = ListEventsRequest {
            filter: Some(filter.clone()),
            page_size: 1000,
            start: Some(list_events_request::Start::AfterCursor(cursor)),
        };
        let page = api.events().list_events(request).await.unwrap();
        let page = page.into_inner();
        events.extend(page.events);
        if page.caught_up {
            return events;
        }
        cursor = page.cursor;
    }
}

/// That a subscription is as far behind as a reader finds.
async fn is_exact(api: &Api, id: &str) {
    let said = get(api, id).await;
    let filter = said.filter.clone().unwrap();
    let real = found(api, &filter, &said.acknowledged_cursor).await;
    assert_eq!(said.lag_count, real.len() as i64, "{id}");
    let oldest = real.first().and_then(|event| event.record_time);
    assert_eq!(said.lag_since, oldest, "{id}");
}

#[tokio::test]
async fn a_stream_goes_on_after_what_was_acknowledged() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let made = create(api, "mine").await;
    assert_eq!(made.lag_count, 0);
    assert_eq!(made.lag_since, None);
    for id in ["a", "b", "c"] {
        api.community(id).await;
    }
    let mut watcher = watch(api, "mine").await.unwrap();
    let first = watcher.next().await;
    assert_eq!(first.community_id, "a");
    let said = get(api, "mine").await;
    assert_eq!((said.lag_count, said.lag_since), (3, first.record_time));
    // What is read and not acknowledged comes again.
    let mut again = watch(api, "mine").await.unwrap();
    assert_eq!(again.next().await, first);
    acknowledge(api, "mine", &first.cursor).await.unwrap();
    let mut rest = watch(api, "mine").await.unwrap();
    assert_eq!(rest.next().await.community_id, "b");
    let said = get(api, "mine").await;
    assert_eq!(said.acknowledged_cursor, first.cursor);
    assert_eq!(said.lag_count, 2);
    // The bookmark of a message will do as well.
    acknowledge(api, "mine", &rest.cursor).await.unwrap();
    assert_eq!(get(api, "mine").await.lag_since, None);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let home = Home::new();
    let mut server = Binary::serve(&home, &[]);
    let api = server.api().await;
    create(&api, "mine").await;
    for id in ["a", "b", "c", "d", "e"] {
        api.community(id).await;
    }
    let log = api.log().await;
    for event in &log[..4] {
        let api = server.api().await;
        acknowledge(&api, "mine", &event.cursor).await.unwrap();
        server.kill();
        server = Binary::serve(&home, &[]);
        let said = get(&server.api().await, "mine").await;
        assert_eq!(said.acknowledged_cursor, event.cursor);
    }
    let api = server.api().await;
    assert_eq!(get(&api, "mine").await.lag_count, 1);
    let mut watcher = watch(&api, "mine").await.unwrap();
    assert_eq!(watcher.next().await, log[4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_is_cumulative_and_never_goes_back() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    create(api, "mine").await;
    for number in 0..20 {
        api.community(&format!("c{number}")).await;
    }
    let log = api.log().await;
    acknowledge(api, "mine", &log[9].cursor).await.unwrap();
    acknowledge(api, "mine", &log[3].cursor).await.unwrap();
    assert_eq!(
        get(api, "mine").await.acknowledged_cursor,
        log[9].cursor,
        "one before it changes nothing"
    );
    // In any order at once, the last one counts.
    let calls: Vec<_> = (0..20)
        .map(|at| {
            let (api, cursor) = (api.clone(), log[(at * 7) % 20].cursor.clone());
            tokio::spawn(async move { acknowledge(&api, "mine", &cursor).await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let said = get(api, "mine").await;
    assert_eq!(said.acknowledged_cursor, log[19].cursor);
    assert_eq!(said.lag_count, 0);
}

#[tokio::test]
async fn cursors_are_refused_as_by_a_stream() {
    let (gateway, other) = (Gateway::start().await, Gateway::start().await);
    let api = &gateway.api;
    create(api, "mine").await;
    api.community("a").await;
    other.api.community("a").await;
    let foreign = other.api.log().await.remove(0).cursor;
    for (cursor, code, reason) in [
        ("nonsense", Code::InvalidArgument, "CURSOR_INVALID"),
        (&foreign, Code::FailedPrecondition, "CURSOR_FOREIGN"),
        ("", Code::InvalidArgument, "CURSOR_INVALID"),
    ] {
        let refused = fault(acknowledge(api, "mine", cursor).await);
        assert!(refused.is(code, reason), "{cursor}: {refused:?}");
    }
    let start = From_::AfterCursor(foreign.clone());
    let request = CreateSubscriptionRequest {
        start: Some(start),
        ..new("other", EventFilter::default())
    };
    let refused = fault(try_create(api, request).await);
    assert!(refused.is(Code::FailedPrecondition, "CURSOR_FOREIGN"));
    let refused = fault(seek(api, "mine", To::AfterCursor(foreign)).await);
    assert!(refused.is(Code::FailedPrecondition, "CURSOR_FOREIGN"));
    let future = prost_types::Timestamp {
        seconds: 253_402_300_799,
        nanos: 0,
    };
    let refused = fault(seek(api, "mine", To::StartTime(future)).await);
    assert_eq!(refused.fields, ["start_time"]);
    assert_eq!(get(api, "mine").await.lag_count, 1, "nothing has changed");
    assert_eq!(list(api).await, ["mine"]);
}

#[tokio::test]
async fn two_gateways_keep_one_place() {
    let (first, second) = Gateway::start_two().await;
    create(&first.api, "mine").await;
    for id in ["a", "b", "c"] {
        first.api.community(id).await;
    }
    let log = first.api.log().await;
    acknowledge(&first.api, "mine", &log[1].cursor)
        .await
        .unwrap();
    acknowledge(&second.api, "mine", &log[0].cursor)
        .await
        .unwrap();
    let said = get(&second.api, "mine").await;
    assert_eq!(said.acknowledged_cursor, log[1].cursor);
    assert_eq!((said.lag_count, said.lag_since), (1, log[2].record_time));
    let mut stream = watch(&second.api, "mine").await.unwrap();
    assert_eq!(stream.next().await, log[2]);
    seek(&first.api, "mine", earliest()).await.unwrap();
    let end = fault(stream.try_next().await);
    assert!(end.is(Code::Unavailable, "SUBSCRIPTION_MOVED"), "{end:?}");
    let mut stream = watch(&second.api, "mine").await.unwrap();
    for event in &log {
        assert_eq!(stream.next().await, *event);
    }
    delete(&first.api, "mine").await.unwrap();
    let end = fault(stream.try_next().await);
    assert!(end.is(Code::NotFound, "SUBSCRIPTION_NOT_FOUND"), "{end:?}");
}

#[tokio::test]
async fn a_subscription_is_its_principals_alone() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("a").await;
    let (old, secret) = token(api, Role::Reader, &["a"], "bot").await;
    let bot = gateway.connect_with(&secret).await;
    create(&bot, "mine").await;
    // Not even an admin sees it, whose ids are its own.
    assert_eq!(list(api).await, Vec::<String>::new());
    for refused in [
        fault(try_get(api, "mine").await),
        fault(watch(api, "mine").await.map(drop)),
        fault(acknowledge(api, "mine", "nonsense").await),
        fault(seek(api, "mine", earliest()).await),
        fault(delete(api, "mine").await),
    ] {
        let is_absent = refused.is(Code::NotFound, "SUBSCRIPTION_NOT_FOUND");
        assert!(is_absent, "{refused:?}");
    }
    create(api, "mine").await;
    let log = api.log().await;
    acknowledge(api, "mine", &log[0].cursor).await.unwrap();
    assert_eq!(get(&bot, "mine").await.lag_count, 1);
    // Another token of the same principal goes on with it.
    let (_, secret) = token(api, Role::Reader, &["a"], "bot").await;
    let request = RevokeTokenRequest { token_id: old };
    api.access().revoke_token(request).await.unwrap();
    let bot = gateway.connect_with(&secret).await;
    assert_eq!(list(&bot).await, ["mine"]);
    acknowledge(&bot, "mine", &log[0].cursor).await.unwrap();
    assert_eq!(get(&bot, "mine").await.lag_count, 0);
}

#[tokio::test]
async fn it_shows_and_counts_what_the_token_may_read() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    for id in ["a", "b", "a2"] {
        api.community(id).await;
    }
    let (_, wide) = token(api, Role::Driver, &["a", "b"], "bot").await;
    let (_, narrow) = token(api, Role::Reader, &["b"], "bot").await;
    let wide = gateway.connect_with(&wide).await;
    let narrow = gateway.connect_with(&narrow).await;
    assert_eq!(create(&wide, "mine").await.lag_count, 2);
    let said = get(&narrow, "mine").await;
    let log = api.log().await;
    assert_eq!((said.lag_count, said.lag_since), (1, log[1].record_time));
    let mut watcher = watch(&narrow, "mine").await.unwrap();
    assert_eq!(watcher.next().await, log[1]);
    let filter = EventFilter {
        community_ids: vec!["a".into(), "a2".into()],
        ..EventFilter::default()
    };
    let made = try_create(&wide, new("filtered", filter)).await.unwrap();
    assert_eq!(made.lag_count, 1, "a2 is not theirs");
    assert_eq!(get(&narrow, "filtered").await.lag_count, 0);
}

#[tokio::test]
async fn a_filter_and_an_id_that_are_wrong_are_named() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let long = "x".repeat(64);
    for id in ["", "-a", "A", "a_b", "a/b", "..", "ä", &long] {
        let refused = fault(try_create(api, new(id, EventFilter::default())).await);
        let is_named = refused.is(Code::InvalidArgument, "INVALID_FIELD");
        assert!(is_named, "{id}: {refused:?}");
        assert_eq!(refused.fields, ["subscription.subscription_id"], "{id}");
        let refused = fault(try_get(api, id).await);
        assert_eq!(refused.fields, ["subscription_id"], "{id}");
        let refused = fault(watch(api, id).await.map(drop));
        assert_eq!(refused.fields, ["subscription_id"], "{id}");
    }
    let wrong = EventFilter {
        event_types: vec!["nonsense".into()],
        ..EventFilter::default()
    };
    let refused = fault(try_create(api, new("mine", wrong)).await);
    assert_eq!(refused.fields, ["subscription.filter.event_types"]);
    create(api, "mine").await;
    let both = WatchEventsRequest {
        filter: Some(EventFilter::default()),
        start: Some(Watched::SubscriptionId("mine".into())),
        ..Default::default()
    };
    let refused = fault(api.watch_request(both).await.map(drop));
    assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(refused.fields, ["filter"]);
    let nowhere = SeekSubscriptionRequest {
        subscription_id: "mine".into(),
        start: None,
    };
    let refused = fault(api.subscriptions().seek_subscription(nowhere).await);
    assert_eq!(refused.fields, ["start"]);
}

#[tokio::test]
async fn creating_it_again_is_refused_unless_it_is_the_same_request() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let request = CreateSubscriptionRequest {
        request_id: "r1".into(),
        ..new("mine", EventFilter::default())
    };
    let made = try_create(api, request.clone()).await.unwrap();
    assert_eq!(try_create(api, request.clone()).await.unwrap(), made);
    let refused = fault(try_create(api, new("mine", EventFilter::default())).await);
    let exists = refused.is(Code::AlreadyExists, "SUBSCRIPTION_EXISTS");
    assert!(exists, "{refused:?}");
    assert_eq!(refused.metadata["subscription_id"], "mine");
    let other = CreateSubscriptionRequest {
        start: None,
        ..request
    };
    let refused = fault(try_create(api, other).await);
    assert!(refused.is(Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_has_at_most_a_thousand_listed_in_pages() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let creators: Vec<_> = (0..10)
        .map(|creator| {
            let api = api.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    create(&api, &format!("s{creator}{number:02}")).await;
                }
            })
        })
        .collect();
    for creator in creators {
        creator.await.unwrap();
    }
    let refused = fault(try_create(api, new("more", EventFilter::default())).await);
    let is_full = refused.is(Code::ResourceExhausted, "SUBSCRIPTIONS_EXHAUSTED");
    assert!(is_full, "{refused:?}");
    assert_eq!(refused.metadata["limit"], "1000");
    let mut request = ListSubscriptionsRequest {
        page_size: 300,
        page_token: String::new(),
    };
    let mut ids = Vec::new();
    loop {
        let mut client = api.subscriptions();
        let page = client.list_subscriptions(request.clone()).await;
        let page = page.unwrap().into_inner();
        ids.extend(
            page.subscriptions
                .into_iter()
                .map(|one| one.subscription_id),
        );
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids.len(), 1000);
    assert!(ids.is_sorted());
    delete(api, "s000").await.unwrap();
    create(api, "more").await;
}

#[tokio::test]
async fn all_but_acknowledging_is_an_entry_of_the_audit() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("a").await;
    create(api, "mine").await;
    let cursor = api.log().await.remove(0).cursor;
    acknowledge(api, "mine", &cursor).await.unwrap();
    get(api, "mine").await;
    seek(api, "mine", earliest()).await.unwrap();
    delete(api, "mine").await.unwrap();
    let request = ListAuditEntriesRequest::default();
    let found = api.access().list_audit_entries(request).await.unwrap();
    let said: Vec<String> = found
        .into_inner()
        .entries
        .iter()
        .rev()
        .map(|entry| {
            let rpc = entry.rpc.rsplit('/').next().unwrap_or_default();
            format!("{rpc} {} {}", entry.subject, entry.code)
        })
        .collect();
    assert_eq!(
        said,
        [
            "CreateCommunity a OK",
            "CreateSubscription mine OK",
            "SeekSubscription mine OK",
            "DeleteSubscription mine OK",
        ]
    );
}
