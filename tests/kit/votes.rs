//! Votes that the gateway holds, and processes that end in their own way.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use metagov_proto::v1::{DeliveryState, Process, ProcessState, StartProcessRequest};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;
use wiremock::ResponseTemplate;

use super::hall::{Hall, instead, post, says, slow, votes};
use crate::harness::{PATIENCE, fault, object, plain};

fn vote(voter: &str, choice: &str, answer_url: Option<&str>) -> Value {
    json!({"kind": "vote", "motion": "m1", "voter": voter, "choice": choice,
        "answer_url": answer_url})
}

#[tokio::test]
async fn a_voter_is_answered_by_the_reply_of_the_hook() {
    let mut hall = Hall::open().await;
    let process = hall.motion().await;
    let reply = hall.hears(vote("ada", "yes", None)).await;
    assert_eq!(reply, json!({"text": "thank you", "to": "ada"}));
    let reply = hall.hears(vote("ada", "maybe", None)).await;
    assert_eq!(
        reply,
        json!({"text": "there is no such option", "to": "ada"})
    );
    let reply = hall.hears(vote("ada", "no", None)).await;
    assert_eq!(reply["text"], "thank you", "she may change her mind");
    for count in [[("no", 0), ("yes", 1)], [("no", 1), ("yes", 0)]] {
        let changed = hall.process_event(|p| p.revision > 1).await;
        assert_eq!(votes(&changed), BTreeMap::from(count));
    }
    let now = hall.gateway.api.process(&process.process_id).await.unwrap();
    let tally = now.tally.unwrap();
    assert_eq!(tally.options[1].user_ids, ["ada"]);
    assert_eq!(tally.leading_options, ["no"]);
}

#[tokio::test]
async fn an_action_answers_with_the_reply_to_its_ballot() {
    let hall = Hall::open().await;
    let process = hall.motion().await;
    let voting = async |choice: &str| {
        let voting = json!({"motion": "m1", "voter": "ada", "choice": choice});
        hall.gateway
            .api
            .perform("commons", "townhall.vote", voting)
            .await
    };
    let answer = voting("yes").await.unwrap();
    assert_eq!(answer, json!({"text": "thank you", "to": "ada"}));
    let refused = fault(voting("maybe").await);
    assert!(
        refused.is(Code::InvalidArgument, "INVALID_FIELD"),
        "{refused:?}"
    );
    assert_eq!(refused.fields, ["parameters/choice"]);
    let closed = hall.gateway.api.close(&process.process_id).await.unwrap();
    assert_eq!(votes(&closed), BTreeMap::from([("no", 0), ("yes", 1)]));
    let late = fault(voting("no").await);
    assert!(
        late.is(Code::FailedPrecondition, "PROCESS_DONE"),
        "{late:?}"
    );
}

#[tokio::test]
async fn a_voter_is_answered_by_a_request_of_its_own() {
    let hall = Hall::open().await;
    hall.motion().await;
    let answers = format!("{}/answers", hall.server.uri());
    for (choice, text) in [("yes", "thank you"), ("maybe", "there is no such option")] {
        let before = hall.asked("POST", "/answers").await.len();
        hall.hears(vote("ada", choice, Some(&answers))).await;
        let made = hall.until_asked("POST", "/answers", before + 1).await;
        let answer = made.last().unwrap();
        assert_eq!(answer.headers["x-reply"], "yes");
        let body: Value = answer.body_json().unwrap();
        assert_eq!(body, json!({"text": text, "to": "ada"}));
    }
}

#[tokio::test]
async fn a_voter_is_answered_only_after_the_vote_is_kept() {
    let hall = Hall::open().await;
    let process = hall.motion().await;
    let (slow, mut is_asked, go) = slow(ResponseTemplate::new(200));
    instead(&hall.server, ("POST", "/answers"), None, slow).await;
    let answers = format!("{}/answers", hall.server.uri());
    let cast = vote("ada", "yes", Some(&answers));
    let seen = async {
        is_asked.recv().await.unwrap();
        hall.gateway.api.process(&process.process_id).await.unwrap()
    };
    let (reply, now) = tokio::join!(hall.hears(cast), seen);
    assert_eq!(reply["text"], "thank you", "the hook does not wait for it");
    assert_eq!(votes(&now)["yes"], 1);
    go.send(()).unwrap();
}

#[tokio::test]
async fn many_ballots_are_few_redraws_and_the_last_shows_the_newest() {
    let set = |config: &mut metagov::config::Config| config.limits.hook_rate = 10_000;
    let hall = Hall::open_with(set).await;
    let process = hall.motion().await;
    // The first redraw fails; it is tried again.
    let place = ("PUT", "/motions/m1");
    instead(&hall.server, place, Some(1), says(500, json!({}))).await;
    let begun = Instant::now();
    let mut voters = JoinSet::new();
    for number in 0..100 {
        let choice = if number % 5 < 3 { "yes" } else { "no" };
        let letter = json!({"told": [vote(&format!("voter {number}"), choice, None)]});
        let to = hall.installation.webhook_url.clone();
        voters.spawn(async move { post(&to, &letter, None).await.0 });
    }
    assert!(voters.join_all().await.iter().all(|status| *status == 200));
    let newest = json!({"id": "m1", "votes": [["yes", 60], ["no", 40]]});
    let until = Instant::now() + PATIENCE;
    let redraws = loop {
        let redraws = hall.asked("PUT", "/motions/m1").await;
        let last = redraws.last().map(|r| r.body_json::<Value>().unwrap());
        if redraws.len() > 1 && last.as_ref() == Some(&newest) {
            break redraws.len();
        }
        assert!(Instant::now() < until, "the last redraw shows {last:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // They are gathered for 200 ms each.
    let most = begun.elapsed().as_millis() / 200 + 2;
    assert!(
        redraws as u128 <= most && redraws < 100,
        "{redraws} redraws"
    );
    let now = hall.gateway.api.process(&process.process_id).await.unwrap();
    assert_eq!(votes(&now), BTreeMap::from([("no", 40), ("yes", 60)]));
    assert_eq!(now.tally.unwrap().voter_count, Some(100));
}

/// A hook comes while the platform is still answering the start with this.
async fn early(hall: &mut Hall, answer: ResponseTemplate) -> Result<Process, tonic::Status> {
    let (slow, mut is_asked, go) = slow(answer);
    instead(&hall.server, ("POST", "/motions"), None, slow).await;
    let api = hall.gateway.api.clone();
    let starting = tokio::spawn(async move {
        let motion = json!({"title": "A new roof?", "options": ["yes", "no"]});
        api.start("commons", "townhall.motion", motion).await
    });
    is_asked.recv().await.unwrap();
    let reply = hall.hears(vote("ada", "yes", None)).await;
    assert_eq!(reply, json!({"heard": true}), "the vote is not known yet");
    let [waiting] = &hall.deliveries().await[..] else {
        panic!("one delivery")
    };
    assert_eq!(
        (waiting.state(), &*waiting.problem),
        (DeliveryState::Pending, "")
    );
    go.send(()).unwrap();
    starting.await.unwrap()
}

#[tokio::test]
async fn a_hook_that_comes_before_the_start_is_done_waits_for_it() {
    let mut hall = Hall::open().await;
    let process = early(&mut hall, says(200, json!({"id": "m1"})))
        .await
        .unwrap();
    let voted = hall
        .process_event(|p| votes(p).get("yes") == Some(&1))
        .await;
    assert_eq!(voted.process_id, process.process_id);
    let done = hall.deliveries().await;
    let states: Vec<_> = done.iter().map(|delivery| delivery.state()).collect();
    assert_eq!(states, [DeliveryState::Done]);
}

#[tokio::test]
async fn a_hook_that_waited_for_a_start_that_is_refused_is_done_with() {
    let mut hall = Hall::open().await;
    let refused = fault(early(&mut hall, says(422, json!({}))).await);
    assert!(
        refused.is(Code::FailedPrecondition, "PLATFORM_REJECTED"),
        "{refused:?}"
    );
    let until = Instant::now() + PATIENCE;
    while hall.deliveries().await[0].state() != DeliveryState::Done {
        assert!(Instant::now() < until, "{:?}", hall.deliveries().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_platform_is_told_of_a_cancel_and_cannot_prevent_it() {
    for status in [200, 500] {
        let hall = Hall::open().await;
        let process = hall.motion().await;
        let place = ("DELETE", "/motions/m1");
        instead(&hall.server, place, None, says(status, json!({}))).await;
        let cancelled = hall.gateway.api.cancel(&process.process_id).await.unwrap();
        assert_eq!(cancelled.state(), ProcessState::Cancelled);
        assert_eq!(cancelled.end_reason, "a test");
        assert_eq!(hall.asked("DELETE", "/motions/m1").await.len(), 1);
        let again = hall.gateway.api.cancel(&process.process_id).await.unwrap();
        assert_eq!(again, cancelled);
        assert_eq!(hall.asked("DELETE", "/motions/m1").await.len(), 1);
        let reply = hall.hears(vote("ada", "yes", None)).await;
        assert_eq!(reply, json!({"heard": true}), "no vote counts any more");
    }
}

#[tokio::test]
async fn a_process_that_its_platform_ends_is_awaited_at_its_close_time() {
    let mut hall = Hall::open().await;
    let soon = SystemTime::now() + Duration::from_secs(1);
    let request = StartProcessRequest {
        community_id: "commons".into(),
        process_type: "townhall.assembly".into(),
        parameters: object(json!({})),
        close_time: Some(Timestamp::from(soon)),
        ..Default::default()
    };
    let process = hall.gateway.api.start_request(request).await.unwrap();
    let by_hand = fault(hall.gateway.api.close(&process.process_id).await);
    let unsupported = by_hand.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN");
    assert!(unsupported, "{by_hand:?}");
    assert_eq!(by_hand.metadata["plugin"], "townhall");
    // Its time has come, and the platform has not ended it yet.
    hall.until_asked("GET", "/assemblies/a1", 1).await;
    let now = hall.gateway.api.process(&process.process_id).await.unwrap();
    assert_eq!(now.state(), ProcessState::Open);
    let over = says(200, json!({"id": "a1", "winner": "yes"}));
    instead(&hall.server, ("GET", "/assemblies/a1"), None, over).await;
    let ended = hall
        .process_event(|p| p.state() == ProcessState::Completed)
        .await;
    assert_eq!(plain(ended.outcome), json!({"winner": "yes"}));
    assert!(SystemTime::now() >= soon);
}

#[tokio::test]
async fn a_vote_that_comes_while_the_platform_is_asked_counts() {
    let hall = Hall::open().await;
    let process = hall.motion().await;
    let place = ("GET", "/motions/m1");
    let (shown, mut is_asked, go) = slow(says(200, json!({"id": "m1"})));
    instead(&hall.server, place, Some(1), shown).await;
    let hint = json!({"kind": "counted", "motion": "m1"});
    hall.hears(hint.clone()).await;
    is_asked.recv().await.unwrap();
    hall.hears(vote("ada", "yes", None)).await;
    go.send(()).unwrap();
    // Asked once more, so the first answer was dealt with.
    hall.hears(hint).await;
    hall.until_asked("GET", "/motions/m1", 2).await;
    let now = hall.gateway.api.process(&process.process_id).await.unwrap();
    assert_eq!(votes(&now), BTreeMap::from([("no", 0), ("yes", 1)]));
}
