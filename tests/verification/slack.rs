//! Hooks signed as Slack signs: events, and clicks as forms.

use metagov_proto::v1::{DeliveryState, RetryDeliveryRequest};
use serde_json::{Value, json};

use super::{Answer, Site, digest, now, plugins, unsigned};
use crate::harness::plain;

const SECRET: &str = "8f7422";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

async fn site() -> Site {
    Site::of(plugins::slack(), json!({ "secret": SECRET })).await
}

fn signature(timestamp: &str, body: &str) -> String {
    let signed = format!("v0:{timestamp}:{body}");
    format!("v0={}", digest(SECRET, signed.as_bytes()))
}

/// A hook whose signature is right for its time.
async fn signed(site: &Site, timestamp: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let signature = signature(timestamp, body);
    let own = [
        ("X-Slack-Signature", signature.as_str()),
        ("X-Slack-Request-Timestamp", timestamp),
    ];
    site.send(&[&own, more].concat(), body).await
}

fn event(id: &str) -> String {
    json!({ "type": "event_callback", "event_id": id, "text": "hello" }).to_string()
}

#[tokio::test]
async fn a_slack_hook_that_is_stale_ahead_or_without_a_time_is_refused() {
    let site = site().await;
    // A second may pass before it is looked at: what is ahead is so by a little more.
    let (old, ahead) = ((now() - 301).to_string(), (now() + 310).to_string());
    for timestamp in [&*old, &*ahead, "-1", "1e9", "", "0", "now", "+1"] {
        let answer = signed(&site, timestamp, &[], &event("Ev1")).await;
        assert_eq!(answer.fault(), unsigned(), "{timestamp:?}");
    }
    let (time, body) = (now().to_string(), event("Ev1"));
    let good = signature(&time, &body);
    let (by, at) = ("X-Slack-Signature", "X-Slack-Request-Timestamp");
    let later = (now() + 5).to_string();
    for headers in [
        vec![],
        vec![(by, good.as_str())],
        vec![(at, time.as_str())],
        vec![(by, good.as_str()), (at, &later)],
        vec![(by, good.as_str()), (at, &time), (at, &time)],
        vec![(by, good.as_str()), (by, &good), (at, &time)],
        vec![(by, &good["v0=".len()..]), (at, &time)],
        vec![("X-Slack-Signature-256", good.as_str()), (at, &time)],
    ] {
        assert_eq!(
            site.send(&headers, body.clone()).await.fault(),
            unsigned(),
            "{headers:?}"
        );
    }
    site.is_untouched().await;
    let nearly_old = (now() - 290).to_string();
    assert_eq!(
        signed(&site, &nearly_old, &[], &event("Ev1")).await.status,
        200
    );
    assert_eq!(site.reported().await.len(), 1);
}

#[tokio::test]
async fn a_challenge_is_answered_only_after_verification() {
    let site = site().await;
    let body = json!({ "type": "url_verification", "challenge": "abc" }).to_string();
    let answer = site.send(&[], body.clone()).await;
    assert_eq!(answer.fault(), unsigned());
    let answer = signed(&site, &now().to_string(), &[], &body).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "challenge": "abc" }))
    );
}

#[tokio::test]
async fn a_click_without_a_signature_leaves_the_vote_unchanged() {
    let site = site().await;
    let api = &site.gateway.api;
    let question = json!({ "title": "q1", "options": ["yes", "no"] });
    let vote = api.start("commons", "slick.vote", question).await.unwrap();
    let outcome = async || {
        let process = api.process(&vote.process_id).await.unwrap();
        (process.revision, plain(process.outcome))
    };
    let before = outcome().await;
    let click = |user: &str, value: &str| {
        let payload =
            json!({ "type": "block_actions", "vote": "q1", "user": user, "value": value });
        let payload: String =
            url::form_urlencoded::byte_serialize(payload.to_string().as_bytes()).collect();
        format!("payload={payload}")
    };
    let (forged, time) = (click("eve", "no"), now().to_string());
    let of_another = signature(&time, &click("ada", "yes"));
    for headers in [
        vec![],
        vec![("X-Slack-Request-Timestamp", time.as_str())],
        vec![
            ("X-Slack-Request-Timestamp", &time),
            ("X-Slack-Signature", "v0="),
        ],
        vec![
            ("X-Slack-Request-Timestamp", &time),
            ("X-Slack-Signature", &of_another),
        ],
    ] {
        let answer = site
            .send(&[&headers[..], &[FORM]].concat(), forged.clone())
            .await;
        assert_eq!(answer.fault(), unsigned());
    }
    assert_eq!(outcome().await, before, "the vote is unchanged");
    assert_eq!(site.deliveries().await, []);
    // An honest one counts; sent again, it counts no second time.
    for _ in 0..2 {
        assert_eq!(
            signed(&site, &time, &[FORM], &click("ada", "yes"))
                .await
                .status,
            200
        );
        let (revision, votes) = outcome().await;
        assert_eq!(
            (revision, votes),
            (before.0 + 1, json!({ "yes": 1, "no": 0 }))
        );
    }
    // The form itself is read as strictly as JSON is.
    let twice = format!("{}&payload=%7B%7D", click("ada", "no"));
    let in_json = r#"payload={"vote":"q1","user":"ada","value":"no","value":"yes"}"#;
    for body in [&*twice, in_json, "payload=%ff", "payload", "other=1", ""] {
        let answer = signed(&site, &time, &[FORM], body).await;
        assert_eq!(answer.fault(), super::invalid(), "{body}");
    }
    assert_eq!(outcome().await.1, json!({ "yes": 1, "no": 0 }));
}

#[tokio::test]
async fn an_exact_replay_and_a_retry_make_no_second_event() {
    let site = site().await;
    let time = now().to_string();
    for timestamp in [&time, &time, &(now() - 60).to_string()] {
        assert_eq!(
            signed(&site, timestamp, &[], &event("Ev1")).await.status,
            200
        );
    }
    assert_eq!(site.deliveries().await.len(), 1);
    assert_eq!(site.reported().await.len(), 1);
    assert_eq!(signed(&site, &time, &[], &event("Ev2")).await.status, 200);
    assert_eq!(site.reported().await.len(), 2);
}

#[tokio::test]
async fn a_delivery_that_waits_is_fresh_by_when_it_came() {
    let site = site().await;
    let time = now().to_string();
    // What cannot be done yet waits.
    let body = json!({ "fold": "locked", "event_id": "Ev1" }).to_string();
    assert_eq!(signed(&site, &time, &[], &body).await.status, 200);
    let kept = site.deliveries().await.remove(0);
    assert!(
        kept.problem.contains("nobody has a key"),
        "{}",
        kept.problem
    );
    let retry = async || {
        let delivery_id = kept.delivery_id.clone();
        let request = RetryDeliveryRequest { delivery_id };
        let answer = site.gateway.api.plugins().retry_delivery(request).await;
        answer.unwrap().into_inner().delivery.unwrap()
    };
    let came = async |seconds: i64| {
        let update = format!(
            "UPDATE delivery SET receive_time = receive_time + {}",
            seconds * 1_000_000
        );
        site.gateway.home().run(&update).await;
    };
    // As if it had come an hour after it was signed.
    came(3600).await;
    let stale = retry().await;
    assert!(stale.problem.contains("300 s"), "{}", stale.problem);
    came(-3600).await;
    let key = json!({ "fold": "key", "event_id": "Ev2" }).to_string();
    assert_eq!(signed(&site, &time, &[], &key).await.status, 200);
    let done = retry().await;
    assert_eq!((done.state(), &*done.problem), (DeliveryState::Done, ""));
    assert_eq!(site.reported().await, Vec::<Value>::new());
}
