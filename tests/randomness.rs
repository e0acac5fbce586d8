//! The plugin `randomness`: numbers, and the vote that chance decides.

use std::collections::BTreeSet;

use metagov_proto::v1::{Event, Process, ProcessState, StartProcessRequest, event::Payload};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    harness::{Api, Gateway, Watcher, fault, object, plain},
    stand::after,
};

const VOTE: &str = "randomness.delayed-stochastic-vote";

/// A gateway whose community draws from `low..high` if nothing else is asked.
async fn with_range(low: i64, high: i64) -> Gateway {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    let config = json!({"default_low": low, "default_high": high});
    gateway.api.enable("co-op", "randomness", config).await;
    gateway
}

async fn draw(api: &Api, range: Value) -> i64 {
    let drawn = api.perform("co-op", "randomness.random-int", range).await;
    drawn.unwrap()["value"].as_i64().unwrap()
}

/// Reads on until the vote is done; all its states.
async fn until_done(watcher: &mut Watcher) -> Vec<Process> {
    let mut states: Vec<Process> = Vec::new();
    loop {
        let Event { payload, .. } = watcher.next().await;
        if let Some(Payload::ProcessChanged(changed)) = payload {
            states.extend(changed.process);
        }
        let last = states.last().map(Process::state);
        if !matches!(last, None | Some(ProcessState::Open)) {
            return states;
        }
    }
}

#[tokio::test]
async fn high_is_excluded() {
    let gateway = with_range(0, 2).await;
    let api = &gateway.api;
    assert_eq!(draw(api, json!({"low": 7, "high": 8})).await, 7);
    let lowest = json!({"low": i64::from(i32::MIN), "high": i64::from(i32::MIN) + 1});
    assert_eq!(draw(api, lowest).await, i64::from(i32::MIN));
    let mut drawn = BTreeSet::new();
    for _ in 0..100 {
        drawn.insert(draw(api, json!({"low": -1, "high": 2})).await);
    }
    assert_eq!(
        drawn,
        BTreeSet::from([-1, 0, 1]),
        "all of them, and no other"
    );
}

#[tokio::test]
async fn what_is_not_asked_is_taken_from_the_configuration() {
    let gateway = with_range(5, 6).await;
    let api = &gateway.api;
    assert_eq!(draw(api, json!({})).await, 5);
    assert!((5..1000).contains(&draw(api, json!({"high": 1000})).await));
    assert!((-1000..6).contains(&draw(api, json!({"low": -1000})).await));
}

#[tokio::test]
async fn an_empty_range_is_refused() {
    let gateway = with_range(0, 10).await;
    let api = &gateway.api;
    let ask = async |range| api.perform("co-op", "randomness.random-int", range).await;
    for range in [
        json!({"low": 3, "high": 3}),
        json!({"low": 4, "high": 3}),
        json!({"low": 10}),
        json!({"high": 0}),
    ] {
        let empty = fault(ask(range).await);
        assert!(
            empty.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{empty:?}"
        );
        assert_eq!(empty.fields, ["parameters/high"]);
    }
    for range in [
        json!({"low": 0.5}),
        json!({"low": "1"}),
        json!({"least": 1}),
    ] {
        let wrong = fault(ask(range).await);
        assert!(
            wrong.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
            "{wrong:?}"
        );
        assert_eq!(wrong.metadata["schema_of"], "randomness.random-int");
    }
    api.community("other").await;
    let config = json!({"default_low": 1, "default_high": 1});
    let empty = fault(api.try_enable("other", "randomness", config).await);
    assert!(
        empty.is(Code::InvalidArgument, "INVALID_FIELD"),
        "{empty:?}"
    );
    assert_eq!(empty.fields, ["config/default_high"]);
}

#[tokio::test]
async fn a_delayed_vote_ends_with_one_winner() {
    let gateway = with_range(0, 10).await;
    let mut watcher = gateway.api.watch().await;
    let options = ["red", "green", "blue"];
    let parameters = json!({"options": options, "delay": 0});
    let started = gateway.api.start("co-op", VOTE, parameters).await.unwrap();
    let states = until_done(&mut watcher).await;
    let revisions: Vec<i64> = states.iter().map(|state| state.revision).collect();
    assert_eq!(
        revisions,
        [1, 2],
        "one event when it starts, one when it ends"
    );
    assert_eq!(states[0].state(), ProcessState::Open);
    assert_eq!(
        states[0].outcome.clone().unwrap_or_default().fields.len(),
        0
    );
    let ended = gateway.api.process(&started.process_id).await.unwrap();
    assert_eq!(ended.state(), ProcessState::Completed);
    assert_eq!(ended.outcome, states[1].outcome);
    let outcome = plain(ended.outcome);
    let winner = outcome["winner"].as_str().unwrap();
    assert!(options.contains(&winner), "{winner}");
    assert_eq!(outcome.as_object().unwrap().len(), 1);
    assert_eq!(ended.tally, None, "nobody votes");
    // Nothing follows: the next event is what is done now.
    gateway.api.community("next").await;
    assert!(matches!(
        watcher.payload().await,
        Payload::CommunityChanged(_)
    ));
}

#[tokio::test]
async fn a_delayed_vote_waits_and_may_be_closed_early() {
    let gateway = with_range(0, 10).await;
    let api = &gateway.api;
    let parameters = json!({"options": ["only"], "delay": 60});
    let started = api.start("co-op", VOTE, parameters).await.unwrap();
    assert_eq!(started.state(), ProcessState::Open);
    let wait = started.close_time.unwrap().seconds - started.create_time.unwrap().seconds;
    assert!((3599..=3601).contains(&wait), "an hour, not {wait} s");
    let closed = api.close(&started.process_id).await.unwrap();
    assert_eq!(plain(closed.outcome.clone()), json!({"winner": "only"}));
    assert_eq!(
        api.close(&started.process_id).await.unwrap(),
        closed,
        "drawn once"
    );
}

#[tokio::test]
async fn a_delayed_vote_needs_options_and_a_delay() {
    let gateway = with_range(0, 10).await;
    let api = &gateway.api;
    for (parameters, field) in [
        (json!({"options": [], "delay": 0}), "parameters/options"),
        (
            json!({"options": ["a", 1], "delay": 0}),
            "parameters/options/1",
        ),
        (json!({"options": ["a"], "delay": -1}), "parameters/delay"),
        (json!({"options": ["a"], "delay": 0.5}), "parameters/delay"),
        (
            json!({"options": ["a"], "delay": 527_041}),
            "parameters/delay",
        ),
        (json!({"options": "a", "delay": 0}), "parameters/options"),
    ] {
        let wrong = fault(api.start("co-op", VOTE, parameters).await);
        assert!(
            wrong.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
            "{wrong:?}"
        );
        assert_eq!(wrong.fields, [field]);
    }
    let request = StartProcessRequest {
        community_id: "co-op".into(),
        process_type: VOTE.into(),
        parameters: object(json!({"options": ["a"], "delay": 1})),
        close_time: Some(after(std::time::Duration::from_secs(60))),
        ..Default::default()
    };
    let twice = fault(api.start_request(request).await);
    assert_eq!(twice.fields, ["close_time"], "its delay says when");
}

#[tokio::test]
async fn a_lucky_number_is_remembered() {
    let gateway = with_range(0, 10).await;
    let number = json!({"lucky_number": 13});
    let set = gateway
        .api
        .perform("co-op", "randomness.set-lucky-number", number.clone());
    assert_eq!(set.await.unwrap(), number);
}
