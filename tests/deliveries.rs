//! Webhook addresses, and what became of what was delivered there.

use std::time::{Duration, SystemTime};

use metagov_proto::v1::{
    Delivery, DeliveryState, Installation, ListDeliveriesRequest, ListDeliveriesResponse,
    ProcessState, RetryDeliveryRequest, RotateWebhookRequest, event::Payload,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use wiremock::MockServer;

use crate::{
    fakes::{self, Forum, answers, asked, http},
    harness::{Api, Gateway, PATIENCE, fault},
    stage,
};

async fn rotate(api: &Api, id: &str, old_for: Option<Duration>) -> Result<Installation, Status> {
    let request = RotateWebhookRequest {
        installation_id: id.into(),
        old_expire_time: old_for.map(|time| (SystemTime::now() + time).into()),
    };
    let answer = api.plugins().rotate_webhook(request).await?;
    Ok(answer.into_inner().installation.unwrap())
}

async fn list(api: &Api, request: ListDeliveriesRequest) -> Result<ListDeliveriesResponse, Status> {
    let answer = api.plugins().list_deliveries(request).await?;
    Ok(answer.into_inner())
}

fn all() -> ListDeliveriesRequest {
    ListDeliveriesRequest {
        community_id: "co-op".into(),
        ..Default::default()
    }
}

async fn retry(api: &Api, id: &str) -> Result<Delivery, Status> {
    let request = RetryDeliveryRequest {
        delivery_id: id.into(),
    };
    let answer = api.plugins().retry_delivery(request).await?;
    Ok(answer.into_inner().delivery.unwrap())
}

/// The forum's hook about a post: the status that it gets.
async fn posted(forum: &Forum, to: &str, id: i64) -> u16 {
    let hook = forum.hook(to, "post_created", &fakes::post(id, "ada"));
    hook.send().await.unwrap().status().as_u16()
}

/// A gateway whose community uses a forum.
async fn with_forum() -> (Gateway, Forum, Installation) {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    let made = gateway.api.enable("co-op", "discourse", forum.config());
    let made = made.await;
    (gateway, forum, made)
}

/// A gateway whose community has a stage.
async fn with_stage() -> (Gateway, MockServer, Installation) {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    let config = json!({ "url": theatre.uri() });
    let made = gateway.api.enable("co-op", "stage", config).await;
    (gateway, theatre, made)
}

/// A hook of the stage: the status that it gets.
async fn staged(to: &Installation, body: &Value) -> u16 {
    let hook = http().post(&to.webhook_url).body(body.to_string());
    hook.send().await.unwrap().status().as_u16()
}

/// The only delivery, once it is in this state.
async fn only(api: &Api, state: DeliveryState) -> Delivery {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = list(api, all()).await.unwrap().deliveries;
        let [delivery] = found.as_slice() else {
            panic!("{found:?}")
        };
        if delivery.state() == state {
            return delivery.clone();
        }
        assert!(tokio::time::Instant::now() < until, "{delivery:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_rotated_address_ends_at_once() {
    let (gateway, forum, made) = with_forum().await;
    let mut watcher = gateway.api.watch().await;
    let new = rotate(&gateway.api, &made.installation_id, None).await;
    let new = new.unwrap();
    assert_ne!(new.webhook_url, made.webhook_url);
    assert_ne!(new.etag, made.etag);
    let Payload::InstallationChanged(event) = watcher.payload().await else {
        panic!()
    };
    let shown = event.installation.unwrap();
    assert_eq!((shown.etag, shown.webhook_url), (new.etag, String::new()));
    assert_eq!(posted(&forum, &made.webhook_url, 1).await, 404);
    assert_eq!(posted(&forum, &new.webhook_url, 1).await, 200);
}

#[tokio::test]
async fn a_rotated_address_works_for_as_long_as_asked() {
    let (gateway, forum, made) = with_forum().await;
    let id = &made.installation_id;
    let hour = Duration::from_secs(3600);
    let second = rotate(&gateway.api, id, Some(hour)).await.unwrap();
    assert_eq!(posted(&forum, &made.webhook_url, 1).await, 200);
    assert_eq!(posted(&forum, &second.webhook_url, 2).await, 200);
    // The address before the last is not kept, however long it was to be.
    let soon = Duration::from_secs(1);
    let third = rotate(&gateway.api, id, Some(soon)).await.unwrap();
    assert_eq!(posted(&forum, &made.webhook_url, 3).await, 404);
    let until = tokio::time::Instant::now() + PATIENCE;
    while posted(&forum, &second.webhook_url, 4).await != 404 {
        assert!(tokio::time::Instant::now() < until, "the old one goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(posted(&forum, &third.webhook_url, 5).await, 200);
}

#[tokio::test]
async fn only_what_takes_webhooks_has_an_address_to_rotate() {
    let (gateway, _forum, made) = with_forum().await;
    let api = &gateway.api;
    let ballot = api.enable("co-op", "ballot", json!({})).await;
    let refused = fault(rotate(api, &ballot.installation_id, None).await);
    assert!(refused.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"));
    assert_eq!(refused.metadata["plugin"], "ballot");
    let request = RotateWebhookRequest {
        installation_id: made.installation_id.clone(),
        old_expire_time: Some(SystemTime::UNIX_EPOCH.into()),
    };
    let past = fault(api.plugins().rotate_webhook(request).await);
    assert!(past.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(past.fields, ["old_expire_time"]);
    let wrong = fault(rotate(api, "5", None).await);
    assert_eq!(wrong.fields, ["installation_id"]);
}

#[tokio::test]
async fn deliveries_are_listed_newest_first() {
    let (gateway, forum, made) = with_forum().await;
    let api = &gateway.api;
    for id in 1..=3 {
        assert_eq!(posted(&forum, &made.webhook_url, id).await, 200);
    }
    let first = ListDeliveriesRequest {
        page_size: 2,
        ..all()
    };
    let first = list(api, first).await.unwrap();
    let rest = ListDeliveriesRequest {
        page_token: first.next_page_token.clone(),
        ..all()
    };
    let rest = list(api, rest).await.unwrap();
    assert_eq!((first.deliveries.len(), rest.deliveries.len()), (2, 1));
    assert_eq!(rest.next_page_token, "");
    let found = [first.deliveries, rest.deliveries].concat();
    let newest = found.windows(2).all(|two| {
        let time = |it: &Delivery| {
            let time = it.receive_time.unwrap();
            (time.seconds, time.nanos)
        };
        time(&two[0]) >= time(&two[1])
    });
    assert!(newest, "{found:?}");
    for delivery in &found {
        assert_eq!(delivery.installation_id, made.installation_id);
        assert_eq!(delivery.state(), DeliveryState::Done);
        assert_eq!(delivery.attempt_count, 1);
        assert_eq!(delivery.next_attempt_time, None);
        assert_eq!(delivery.problem, "");
        let again = retry(api, &delivery.delivery_id).await.unwrap();
        assert_eq!(&again, delivery, "what is done stays so");
    }
}

#[tokio::test]
async fn deliveries_are_filtered() {
    let (gateway, forum, made) = with_forum().await;
    let api = &gateway.api;
    let ballot = api.enable("co-op", "ballot", json!({})).await;
    api.community("other").await;
    posted(&forum, &made.webhook_url, 1).await;
    let count = async |request| list(api, request).await.unwrap().deliveries.len();
    let of = |installation_id: &str, states: &[DeliveryState]| ListDeliveriesRequest {
        installation_id: installation_id.into(),
        states: states.iter().map(|state| (*state).into()).collect(),
        ..all()
    };
    use DeliveryState::{Done, Parked, Pending};
    assert_eq!(count(of("", &[])).await, 1);
    assert_eq!(count(of(&made.installation_id, &[Done])).await, 1);
    assert_eq!(count(of(&ballot.installation_id, &[])).await, 0);
    assert_eq!(count(of("", &[Pending, Parked])).await, 0);
    let other = ListDeliveriesRequest {
        community_id: "other".into(),
        ..all()
    };
    assert_eq!(count(other.clone()).await, 0);
    let foreign = ListDeliveriesRequest {
        installation_id: made.installation_id.clone(),
        ..other
    };
    let foreign = fault(list(api, foreign).await);
    assert!(foreign.is(Code::NotFound, "INSTALLATION_NOT_FOUND"));
    let wrong = ListDeliveriesRequest {
        states: vec![0],
        ..all()
    };
    assert_eq!(fault(list(api, wrong).await).fields, ["states"]);
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let missing = fault(retry(api, unknown).await);
    assert!(missing.is(Code::NotFound, "DELIVERY_NOT_FOUND"));
    assert_eq!(missing.metadata["delivery_id"], unknown);
    assert_eq!(fault(retry(api, "5").await).fields, ["delivery_id"]);
}

#[tokio::test]
async fn a_delivery_that_fails_is_kept_and_can_be_retried() {
    let (gateway, _theatre, made) = with_stage().await;
    let api = &gateway.api;
    // Taken: the platform need not send it again.
    assert_eq!(staged(&made, &json!({ "scene": 0 })).await, 200);
    let kept = only(api, DeliveryState::Pending).await;
    assert_eq!(kept.attempt_count, 1);
    assert!(kept.problem.contains("the curtain is down"), "{kept:?}");
    assert!(kept.next_attempt_time.is_some());
    let mut tried = kept;
    while tried.state() == DeliveryState::Pending {
        let count = tried.attempt_count;
        tried = retry(api, &tried.delivery_id).await.unwrap();
        assert!(tried.attempt_count > count);
    }
    assert_eq!(tried.state(), DeliveryState::Parked);
    assert_eq!(tried.next_attempt_time, None, "it is given up");
    assert_eq!(tried.attempt_count, 10);
    let parked = ListDeliveriesRequest {
        states: vec![DeliveryState::Parked.into()],
        ..all()
    };
    assert_eq!(list(api, parked).await.unwrap().deliveries, [tried.clone()]);

    // Once the cause is mended, it can still be done.
    let show = json!({ "scene": 3 });
    api.perform("co-op", "stage.show", show).await.unwrap();
    let done = retry(api, &tried.delivery_id).await.unwrap();
    assert_eq!(done.state(), DeliveryState::Done);
    assert_eq!(done.problem, "");
    let last = api.perform("co-op", "stage.last-scene", json!({})).await;
    assert_eq!(last.unwrap(), json!({ "scene": 0 }));
}

#[tokio::test]
async fn a_delivery_that_fails_for_the_tenth_time_is_parked_and_waits_for_a_person() {
    let (gateway, _theatre, made) = with_stage().await;
    let api = &gateway.api;
    assert_eq!(staged(&made, &json!({ "scene": 0 })).await, 200);
    let kept = only(api, DeliveryState::Pending).await;
    // As if an hour of tries had passed: the tenth is due.
    let late = "UPDATE delivery SET attempt_count = 9, next_attempt_time = 1";
    gateway.home().run(late).await;
    let parked = only(api, DeliveryState::Parked).await;
    assert_eq!(parked.delivery_id, kept.delivery_id);
    assert_eq!((parked.attempt_count, parked.next_attempt_time), (10, None));
    assert!(parked.problem.contains("the curtain is down"), "{parked:?}");
    // It stays so over a restart, until somebody has mended the cause and says so.
    let gateway = gateway.restart(vec![stage::plugin()]).await;
    let api = &gateway.api;
    let still = list(api, all()).await.unwrap().deliveries;
    assert_eq!(still, std::slice::from_ref(&parked));
    let again = retry(api, &parked.delivery_id).await.unwrap();
    assert_eq!(
        (again.state(), again.attempt_count),
        (DeliveryState::Parked, 11)
    );
    let show = json!({ "scene": 3 });
    api.perform("co-op", "stage.show", show).await.unwrap();
    let done = retry(api, &parked.delivery_id).await.unwrap();
    assert_eq!((done.state(), &*done.problem), (DeliveryState::Done, ""));
}

#[tokio::test]
async fn a_hook_waits_for_the_process_that_is_just_starting() {
    let (gateway, theatre, made) = with_stage().await;
    let slow = fakes::ok(&json!({})).set_delay(Duration::from_secs(4));
    let slow = answers(&theatre, "POST", "/start", slow).await;
    let api = gateway.api.clone();
    let play = json!({ "title": "Hamlet" });
    let starting = tokio::spawn(async move { api.start("co-op", "stage.play", play).await });
    let until = tokio::time::Instant::now() + PATIENCE;
    while asked(&theatre, "POST", "/start").await == 0 {
        assert!(tokio::time::Instant::now() < until, "never started");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(slow);
    // The platform tells of the process before it has answered.
    assert_eq!(staged(&made, &json!({ "play": "Hamlet" })).await, 200);
    only(&gateway.api, DeliveryState::Pending).await;
    let process = starting.await.unwrap().unwrap();
    only(&gateway.api, DeliveryState::Done).await;
    let mut watched = gateway.api.processes();
    let request = metagov_proto::v1::WatchProcessRequest {
        process_id: process.process_id,
        ..Default::default()
    };
    let mut stream = watched.watch_process(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("it ends")
        .unwrap()
    {
        last = message.process;
    }
    assert_eq!(last.unwrap().state(), ProcessState::Completed);
    assert_eq!(stage::told(&theatre).await, ["start", "refresh"]);
}
