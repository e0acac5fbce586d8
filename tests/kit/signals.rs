//! Signals: what a plugin asks for is done, all of it or nothing.

use metagov_proto::v1::{
    ChangeKind, DeliveryState, LinkQuality, ProcessState, RetryDeliveryRequest, event::Payload,
};
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;

use super::hall::{Hall, config, instead, says, slow};
use crate::harness::{fault, plain};

pub(super) fn spoke(text: &str) -> Value {
    json!({"kind": "spoke", "user": "ada", "text": text})
}

pub(super) fn gavel(from: Option<&str>, to: &str) -> Value {
    json!({"kind": "gavel", "from": from, "to": to})
}

#[tokio::test]
async fn an_unsigned_hook_comes_by_its_secret_address_only() {
    let mut hall = Hall::open().await;
    let address = hall.installation.webhook_url.clone();
    let (short, slug) = address.rsplit_once('/').unwrap();
    let letter = json!({"told": [spoke("Hear me")]});
    let wrong = format!(
        "{short}/{}",
        slug.replace(|c: char| c.is_ascii_digit(), "x")
    );
    for to in [short, &wrong, &format!("{address}x")] {
        let (status, error) = super::post(to, &letter, None).await;
        assert_eq!(status, 404, "{to}");
        assert_eq!(error["error"]["reason"], "WEBHOOK_NOT_FOUND");
    }
    assert!(hall.deliveries().await.is_empty());
    assert_eq!(hall.hears(spoke("Order!")).await, json!({"heard": true}));
    let event = hall.platform_event().await;
    assert_eq!(plain(event.data), json!({"text": "Order!"}));
    assert_eq!(event.initiator.unwrap().user_id, "ada");
}

#[tokio::test]
async fn a_hook_finds_its_installation_among_more_than_a_hundred() {
    let mut hall = Hall::open().await;
    for n in 0..100 {
        let config = config(&hall.server, &format!("hall-{n}"));
        let last = hall.gateway.api.enable("commons", "townhall", config).await;
        hall.installation = last;
    }
    // Not what the set-ups of the others told.
    hall.watcher = hall.gateway.api.watch().await;
    assert_eq!(hall.hears(spoke("Here!")).await, json!({"heard": true}));
    let event = hall.platform_event().await;
    assert_eq!(event.installation_id, hall.installation.installation_id);
}

#[tokio::test]
async fn a_repeat_is_known_by_its_id_where_it_has_one() {
    let mut hall = Hall::open().await;
    let with_id = |id: &str, text: &str| json!({"id": id, "told": [spoke(text)]});
    let without = json!({"told": [spoke("again")]});
    for letter in [
        &with_id("1", "a"),
        &with_id("1", "b"),
        &with_id("2", "c"),
        &without,
        &without,
    ] {
        assert_eq!(hall.hear(letter).await, (200, json!({"heard": true})));
    }
    for text in ["a", "c", "again", "again"] {
        let event = hall.platform_event().await;
        assert_eq!(plain(event.data)["text"], text);
    }
}

#[tokio::test]
async fn an_event_that_is_too_large_is_kept_without_its_data() {
    const LIMIT: usize = 64 << 10;
    let mut hall = Hall::open_with(|config| config.limits.max_event_size = LIMIT).await;
    for (length, omitted) in [(1000, false), (63 << 10, false), (LIMIT, true)] {
        hall.hears(spoke(&"x".repeat(length))).await;
        let event = hall.platform_event().await;
        assert_eq!(event.data_omitted, omitted, "{length}");
        assert!(event.encoded_len() <= LIMIT);
        assert_eq!(plain(event.data).get("text").is_none(), omitted);
        assert_eq!(event.event_type, "townhall.spoke");
        assert_eq!(event.initiator.unwrap().user_id, "ada");
    }
    // The whole event counts, and what is too deep for readers is too large, too.
    let long = json!({"kind": "spoke", "user": "y".repeat(LIMIT), "text": "short"});
    hall.hears(long).await;
    assert!(hall.platform_event().await.data_omitted);
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let minutes = ("GET", "/minutes/1");
    instead(&hall.server, minutes, None, says(200, json!({ "a": deep }))).await;
    hall.hears(json!({"kind": "minutes", "page": "1"})).await;
    let event = hall.platform_event().await;
    assert_eq!(event.event_type, "townhall.minutes");
    assert!(event.data_omitted && plain(event.data) == json!({}));
}

#[tokio::test]
async fn an_event_is_never_larger_than_an_answer_may_be() {
    let set = |config: &mut metagov::config::Config| {
        config.limits.max_response_size = 128 << 10;
        config.limits.max_event_size = 64 << 10;
    };
    let mut hall = Hall::open_with(set).await;
    for (length, omitted) in [(60 << 10, false), (65 << 10, true)] {
        hall.hears(spoke(&"x".repeat(length))).await;
        let event = hall.platform_event().await;
        assert_eq!(event.data_omitted, omitted, "{length}");
    }
}

#[tokio::test]
async fn an_action_may_report_what_it_did() {
    let mut hall = Hall::open().await;
    let speech = json!({"text": "Order!"});
    let said = hall
        .gateway
        .api
        .perform("commons", "townhall.speak", speech);
    assert_eq!(said.await.unwrap(), json!({"greeting": "Hear, hear"}));
    let event = hall.platform_event().await;
    assert!(event.by_gateway);
    assert_eq!(plain(event.data), json!({"text": "Order!"}));
}

#[tokio::test]
async fn a_fold_changes_the_state_and_says_what_follows() {
    let mut hall = Hall::open().await;
    let letter = json!({"told": [gavel(None, "ada"), gavel(Some("ada"), "grace")]});
    assert_eq!(hall.hear(&letter).await.0, 200);
    hall.hears(gavel(Some("grace"), "ada")).await;
    for (from, to) in [
        (None, "ada"),
        (Some("ada"), "grace"),
        (Some("grace"), "ada"),
    ] {
        let event = hall.platform_event().await;
        assert_eq!(event.event_type, "townhall.gavel_passed");
        assert_eq!(plain(event.data), json!({"from": from, "to": to}));
    }
}

#[tokio::test]
async fn what_cannot_be_done_yet_is_kept_whole_and_done_by_a_retry() {
    let mut hall = Hall::open().await;
    hall.motion().await;
    let answer_url = format!("{}/answers", hall.server.uri());
    let vote = json!({"kind": "vote", "motion": "m1", "voter": "ada", "choice": "yes",
        "answer_url": answer_url});
    // Nobody has the gavel yet, so it cannot be passed on.
    let letter = json!({"id": "7", "told": [vote, spoke("Yes!"), gavel(Some("ada"), "grace")]});
    assert_eq!(
        hall.hear(&letter).await.0,
        200,
        "it is ours to deal with now"
    );
    let [kept] = &hall.deliveries().await[..] else {
        panic!("one delivery")
    };
    assert_eq!(kept.state(), DeliveryState::Pending);
    assert!(
        kept.problem.contains("somebody else has the gavel"),
        "{}",
        kept.problem
    );
    assert!(kept.next_attempt_time.is_some());
    let retry = || {
        let request = RetryDeliveryRequest {
            delivery_id: kept.delivery_id.clone(),
        };
        let mut plugins = hall.gateway.api.plugins();
        async move {
            plugins
                .retry_delivery(request)
                .await
                .unwrap()
                .into_inner()
                .delivery
                .unwrap()
        }
    };
    let still = retry().await;
    assert_eq!(still.state(), DeliveryState::Pending);
    assert!(still.attempt_count > kept.attempt_count);
    // A repeat of it is none.
    assert_eq!(hall.hear(&letter).await.0, 200);
    assert_eq!(hall.deliveries().await.len(), 1);

    hall.hears(gavel(None, "ada")).await;
    let done = retry().await;
    assert_eq!((done.state(), &*done.problem), (DeliveryState::Done, ""));
    assert_eq!(done.next_attempt_time, None);
    assert_eq!(retry().await, done, "what is done stays so");
    // Nothing of the first tries is there: all came at once, and once.
    let first = hall.platform_event().await;
    assert_eq!(plain(first.data), json!({"from": null, "to": "ada"}));
    let voted = hall.process_event(|_| true).await;
    assert_eq!((voted.state(), voted.revision), (ProcessState::Open, 2));
    assert_eq!(
        plain(hall.platform_event().await.data),
        json!({"text": "Yes!"})
    );
    let passed = hall.platform_event().await;
    assert_eq!(plain(passed.data), json!({"from": "ada", "to": "grace"}));
    assert_eq!(hall.until_asked("POST", "/answers", 1).await.len(), 1);
}

#[tokio::test]
async fn a_hook_that_makes_no_sense_is_not_taken() {
    let hall = Hall::open().await;
    let (status, error) = hall.hear(&json!({"told": [{"kind": "sang"}]})).await;
    assert_eq!(status, 400);
    assert_eq!(error["error"]["reason"], "ERROR_REASON_INVALID_FIELD");
    assert_eq!(error["error"]["fields"][0]["field"], "body");
    assert!(hall.deliveries().await.is_empty());
}

#[tokio::test]
async fn what_is_to_be_fetched_is_asked_until_it_is_answered() {
    let mut hall = Hall::open().await;
    let place = ("GET", "/minutes/12");
    instead(&hall.server, place, Some(1), says(500, json!({}))).await;
    instead(&hall.server, place, None, says(200, json!({"page": 12}))).await;
    let other = ("GET", "/minutes/13");
    instead(&hall.server, other, None, says(200, json!({"page": 13}))).await;
    for page in ["12", "13"] {
        let told = hall.hears(json!({"kind": "minutes", "page": page})).await;
        assert_eq!(told, json!({"heard": true}), "the hook does not wait");
    }
    // One that fails delays no other.
    for page in [13, 12] {
        let event = hall.platform_event().await;
        assert_eq!(event.event_type, "townhall.minutes");
        assert_eq!(plain(event.data), json!({ "page": page }));
    }
    assert_eq!(hall.asked("GET", "/minutes/12").await.len(), 2);
    assert_eq!(hall.asked("GET", "/minutes/13").await.len(), 1);
}

#[tokio::test]
async fn a_link_makes_an_identity_whose_quality_never_falls() {
    let mut hall = Hall::open().await;
    let member = |sure: bool| json!({"kind": "member", "user": "ada", "sure": sure});
    let told = json!({"told": [member(false), member(true), member(false), spoke("!")]});
    assert_eq!(hall.hear(&told).await.0, 200);
    let mut known = String::new();
    for (change, quality) in [
        (ChangeKind::Created, LinkQuality::Weak),
        (ChangeKind::Updated, LinkQuality::Strong),
    ] {
        let Payload::IdentityChanged(event) = hall.watcher.payload().await else {
            panic!()
        };
        assert_eq!(event.change_kind(), change);
        let identity = event.identity.unwrap();
        let [account] = &identity.accounts[..] else {
            panic!("{identity:?}")
        };
        assert_eq!((&*account.provider, &*account.user_id), ("townhall", "ada"));
        assert_eq!(account.link_quality(), quality);
        known = identity.identity_id;
    }
    // What the account does is done by the identity.
    let event = hall.platform_event().await;
    assert_eq!(event.initiator.unwrap().identity_id, known);
}

#[tokio::test]
async fn progress_of_a_process_may_come_by_a_hook() {
    let mut hall = Hall::open().await;
    let started = hall
        .gateway
        .api
        .start("commons", "townhall.assembly", json!({}));
    let process = started.await.unwrap();
    let decided = |motion: &str| json!({"kind": "decided", "motion": motion, "winner": "yes"});
    // Of one that nobody knows, that is nothing.
    hall.hears(decided("a2")).await;
    hall.hears(decided("a1")).await;
    let ended = hall
        .process_event(|p| p.state() == ProcessState::Completed)
        .await;
    assert_eq!(ended.process_id, process.process_id);
    assert_eq!(plain(ended.outcome), json!({"winner": "yes"}));
    let revision = ended.revision;
    hall.hears(decided("a1")).await;
    let now = hall.gateway.api.process(&process.process_id).await.unwrap();
    assert_eq!(now.revision, revision, "what is done stays so");
    let close = fault(hall.gateway.api.cancel(&process.process_id).await);
    assert!(
        close.is(Code::FailedPrecondition, "PROCESS_DONE"),
        "{close:?}"
    );
}

#[tokio::test]
async fn a_refresh_asks_the_platform_again_until_it_answers() {
    let mut hall = Hall::open().await;
    let started = hall
        .gateway
        .api
        .start("commons", "townhall.assembly", json!({}));
    started.await.unwrap();
    let place = ("GET", "/assemblies/a1");
    let over = says(200, json!({"id": "a1", "winner": "no"}));
    instead(&hall.server, place, Some(1), says(503, json!({}))).await;
    instead(&hall.server, place, None, over).await;
    hall.hears(json!({"kind": "counted", "motion": "a1"})).await;
    let ended = hall
        .process_event(|p| p.state() == ProcessState::Completed)
        .await;
    assert_eq!(plain(ended.outcome), json!({"winner": "no"}));
    assert_eq!(hall.asked("GET", "/assemblies/a1").await.len(), 2);
}

#[tokio::test]
async fn a_hint_that_comes_while_the_platform_is_asked_is_not_lost() {
    let mut hall = Hall::open().await;
    let api = &hall.gateway.api;
    let started = api.start("commons", "townhall.assembly", json!({}));
    started.await.unwrap();
    let place = ("GET", "/assemblies/a1");
    let (still_open, mut is_asked, go) = slow(says(200, json!({"id": "a1"})));
    instead(&hall.server, place, Some(1), still_open).await;
    let over = says(200, json!({"id": "a1", "winner": "no"}));
    instead(&hall.server, place, None, over).await;
    let hint = json!({"kind": "counted", "motion": "a1"});
    hall.hears(hint.clone()).await;
    is_asked.recv().await.unwrap();
    // It is over now, and says so; the answer under way does not know it yet.
    hall.hears(hint).await;
    go.send(()).unwrap();
    let ended = hall
        .process_event(|p| p.state() == ProcessState::Completed)
        .await;
    assert_eq!(plain(ended.outcome), json!({"winner": "no"}));
}

#[tokio::test]
async fn a_hint_is_not_lost_by_a_change_that_comes_with_it() {
    let hall = Hall::open().await;
    hall.motion().await;
    let hint = json!({"kind": "counted", "motion": "m1"});
    let vote = json!({"kind": "vote", "motion": "m1", "voter": "ada", "choice": "yes"});
    let letter = json!({"told": [hint, vote]});
    assert_eq!(hall.hear(&letter).await.0, 200);
    hall.until_asked("GET", "/motions/m1", 1).await;
}
