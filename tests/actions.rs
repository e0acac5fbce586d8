//! Actions: performed once, answered the same for ever.

use std::time::Duration;

use metagov_proto::v1::PerformActionRequest;
use serde_json::{Value, json};
use tonic::Code;
use wiremock::{MockServer, ResponseTemplate};

use crate::{
    fakes::{self, answers, asked},
    harness::{Api, Fault, Gateway, PATIENCE, fault, object},
    stage,
};

fn request(action: &str, parameters: Value, request_id: &str) -> PerformActionRequest {
    PerformActionRequest {
        community_id: "co-op".into(),
        action: action.into(),
        parameters: object(parameters),
        request_id: request_id.into(),
        ..Default::default()
    }
}

/// A gateway with a community that has enabled `randomness`.
async fn random() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    let range = json!({ "default_low": 1, "default_high": 2 });
    gateway.api.enable("co-op", "randomness", range).await;
    gateway
}

/// A gateway with a community that has enabled `stage`, and its platform.
async fn staged() -> (Gateway, MockServer) {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    let config = json!({ "url": theatre.uri() });
    gateway.api.enable("co-op", "stage", config).await;
    (gateway, theatre)
}

async fn bow(api: &Api, request_id: &str) -> Result<Value, tonic::Status> {
    api.perform_request(request("stage.bow", json!({}), request_id))
        .await
}

#[tokio::test]
async fn an_action_answers_with_its_result() {
    let gateway = random().await;
    let api = &gateway.api;
    let default = api.perform("co-op", "randomness.random-int", json!({}));
    assert_eq!(default.await.unwrap(), json!({ "value": 1 }));
    let range = json!({ "low": 9_007_199_254_740_000_i64, "high": 9_007_199_254_740_001_i64 });
    let large = api.perform("co-op", "randomness.random-int", range).await;
    let large = large.unwrap();
    assert_eq!(large["value"].as_i64(), Some(9_007_199_254_740_000));
    let lucky = json!({ "lucky_number": -7 });
    let answer = api.perform("co-op", "randomness.set-lucky-number", lucky.clone());
    assert_eq!(answer.await.unwrap(), lucky);
}

#[tokio::test]
async fn all_faults_are_named_by_their_place() {
    let gateway = random().await;
    let api = &gateway.api;
    api.enable("co-op", "discourse", fakes::Forum::start().await.config())
        .await;
    let table = [
        (
            "randomness.random-int",
            json!({ "low": "x", "high": 2.5, "a~/b": 1 }),
            vec!["parameters/a~0~1b", "parameters/high", "parameters/low"],
        ),
        (
            "randomness.set-lucky-number",
            json!({}),
            vec!["parameters/lucky_number"],
        ),
        (
            "discourse.create-message",
            json!({ "raw": "", "target_usernames": ["ada", "a b", 5] }),
            vec![
                "parameters/raw",
                "parameters/target_usernames/1",
                "parameters/target_usernames/2",
            ],
        ),
    ];
    for (action, parameters, expected) in table {
        let refused = fault(api.perform("co-op", action, parameters).await);
        assert!(refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"));
        assert_eq!(refused.metadata["schema_of"], action);
        let mut fields = refused.fields;
        fields.sort();
        assert_eq!(fields, expected);
    }
    let empty = json!({ "low": 3, "high": 3 });
    let refused = fault(api.perform("co-op", "randomness.random-int", empty).await);
    assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(refused.fields, ["parameters/high"]);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let gateway = random().await;
    let api = &gateway.api;
    let perform = async |action: &str| fault(api.perform("co-op", action, json!({})).await);
    for unknown in ["nope.random-int", "randomness.nope", "randomness", "."] {
        let missing = perform(unknown).await;
        assert!(missing.is(Code::NotFound, "PLUGIN_NOT_FOUND"), "{unknown}");
        assert_eq!(missing.metadata["name"], unknown);
    }
    // A process is no action.
    let missing = perform("randomness.delayed-stochastic-vote").await;
    assert!(missing.is(Code::NotFound, "PLUGIN_NOT_FOUND"));
    for malformed in [String::new(), "a".repeat(201), "randomness.\n".into()] {
        let wrong = perform(&malformed).await;
        assert!(wrong.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(wrong.fields, ["action"]);
    }
    let off = perform("sourcecred.total-cred").await;
    assert!(off.is(Code::FailedPrecondition, "PLUGIN_NOT_ENABLED"));
    assert_eq!(off.metadata["plugin"], "sourcecred");
    assert_eq!(off.metadata["community_id"], "co-op");
    let nobody = api.perform("other", "randomness.random-int", json!({}));
    let nobody = fault(nobody.await);
    assert!(nobody.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
}

#[tokio::test]
async fn an_installation_must_be_of_this_community_and_plugin() {
    let gateway = random().await;
    let api = &gateway.api;
    api.community("other").await;
    let range = json!({ "default_low": 1, "default_high": 2 });
    let foreign = api.enable("other", "randomness", range).await;
    let ballot = api.enable("co-op", "ballot", json!({})).await;
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
    for id in [foreign.installation_id, ballot.installation_id, unknown] {
        let mut asked = request("randomness.random-int", json!({}), "");
        asked.installation_id = id.clone();
        let missing = fault(api.perform_request(asked).await);
        assert!(missing.is(Code::NotFound, "INSTALLATION_NOT_FOUND"));
        assert_eq!(missing.metadata["installation_id"], id);
    }
    let mut asked = request("randomness.random-int", json!({}), "");
    asked.installation_id = "5".into();
    let wrong = fault(api.perform_request(asked).await);
    assert!(wrong.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(wrong.fields, ["installation_id"]);
}

#[tokio::test]
async fn a_request_id_is_visible_ascii() {
    let gateway = random().await;
    let set = async |id: &str| {
        let lucky = json!({ "lucky_number": 7 });
        let asked = request("randomness.set-lucky-number", lucky, id);
        gateway.api.perform_request(asked).await
    };
    for id in ["a b", "\n", "\u{e4}", "\u{7f}", &"a".repeat(129)] {
        let wrong = fault(set(id).await);
        assert!(wrong.is(Code::InvalidArgument, "INVALID_FIELD"), "{id:?}");
        assert_eq!(wrong.fields, ["request_id"]);
    }
    set(&"~".repeat(128)).await.unwrap();
}

#[tokio::test]
async fn a_repeated_request_id_gets_the_stored_answer() {
    let (gateway, theatre) = staged().await;
    let first = bow(&gateway.api, "r1").await.unwrap();
    assert_eq!(bow(&gateway.api, "r1").await.unwrap(), first);
    assert_eq!(stage::told(&theatre).await, ["bow"]);
    let gateway = gateway.restart(vec![stage::plugin()]).await;
    assert_eq!(bow(&gateway.api, "r1").await.unwrap(), first);
    assert_eq!(stage::told(&theatre).await, ["bow"], "not after a restart");
    bow(&gateway.api, "r2").await.unwrap();
    bow(&gateway.api, "").await.unwrap();
    bow(&gateway.api, "").await.unwrap();
    assert_eq!(stage::told(&theatre).await, ["bow"; 4]);
}

#[tokio::test]
async fn a_request_id_is_of_one_request() {
    let gateway = random().await;
    let api = &gateway.api;
    let set = |n: i64| {
        let lucky = json!({ "lucky_number": n });
        request("randomness.set-lucky-number", lucky, "r1")
    };
    api.perform_request(set(7)).await.unwrap();
    let reused = fault(api.perform_request(set(8)).await);
    assert!(reused.is(Code::InvalidArgument, "REQUEST_ID_REUSED"));
    // Nor may another service's call take it.
    let taken = metagov_proto::v1::CreateIdentityRequest {
        community_id: "co-op".into(),
        request_id: "r1".into(),
    };
    let reused = fault(api.identities().create_identity(taken).await);
    assert!(reused.is(Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn a_refused_input_takes_no_request_id() {
    let gateway = random().await;
    let api = &gateway.api;
    let set = |n: Value| {
        let lucky = json!({ "lucky_number": n });
        request("randomness.set-lucky-number", lucky, "r1")
    };
    let wrong = fault(api.perform_request(set(json!("x"))).await);
    assert!(wrong.is(Code::InvalidArgument, "SCHEMA_MISMATCH"));
    api.perform_request(set(json!(7))).await.unwrap();
}

#[tokio::test]
async fn twins_run_once() {
    let (gateway, theatre) = staged().await;
    let slow = fakes::ok(&json!({})).set_delay(Duration::from_secs(1));
    let _slow = answers(&theatre, "POST", "/bow", slow).await;
    let twins: Vec<_> = (0..8)
        .map(|_| {
            let api = gateway.api.clone();
            tokio::spawn(async move { bow(&api, "r1").await })
        })
        .collect();
    let mut good = 0;
    for twin in twins {
        match twin.await.unwrap() {
            Ok(answer) => {
                assert_eq!(answer, json!({}));
                good += 1;
            }
            running => {
                let running: Fault = fault(running);
                assert!(running.is(Code::Aborted, "REQUEST_IN_PROGRESS"));
                assert!(running.retry.is_some(), "it says when to ask again");
            }
        }
    }
    assert!(good >= 1, "one of them did it");
    assert_eq!(stage::told(&theatre).await, ["bow"]);
    assert_eq!(bow(&gateway.api, "r1").await.unwrap(), json!({}));
    assert_eq!(stage::told(&theatre).await, ["bow"]);
}

#[tokio::test]
async fn a_client_that_goes_away_stops_nothing() {
    let (gateway, theatre) = staged().await;
    let slow = fakes::ok(&json!({})).set_delay(Duration::from_secs(2));
    let slow = answers(&theatre, "POST", "/bow", slow).await;
    let api = gateway.api.clone();
    let call = tokio::spawn(async move { bow(&api, "r1").await });
    let until = tokio::time::Instant::now() + PATIENCE;
    while asked(&theatre, "POST", "/bow").await == 0 {
        assert!(tokio::time::Instant::now() < until, "never performed");
        tokio::task::yield_now().await;
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled(), "it went away");
    drop(slow);
    // Still running, then done: never a second time.
    loop {
        assert!(tokio::time::Instant::now() < until, "never done");
        match bow(&gateway.api, "r1").await {
            Ok(answer) => break assert_eq!(answer, json!({})),
            running => {
                let running = fault(running);
                assert!(running.is(Code::Aborted, "REQUEST_IN_PROGRESS"));
                tokio::time::sleep(running.retry.unwrap() / 10).await;
            }
        }
    }
    assert_eq!(stage::told(&theatre).await, ["bow"]);
}

#[tokio::test]
async fn a_definite_refusal_is_kept() {
    let (gateway, theatre) = staged().await;
    for (status, reason) in [(422, "PLATFORM_REJECTED"), (403, "PLATFORM_UNAUTHORIZED")] {
        let refusal = ResponseTemplate::new(status).set_body_string("not tonight");
        let refusal = answers(&theatre, "POST", "/bow", refusal).await;
        let first = fault(bow(&gateway.api, reason).await);
        assert!(first.is(Code::FailedPrecondition, reason), "{first:?}");
        assert_eq!(first.metadata["plugin"], "stage");
        drop(refusal);
        assert_eq!(fault(bow(&gateway.api, reason).await), first);
    }
    assert_eq!(stage::told(&theatre).await, ["bow"; 2]);
}

#[tokio::test]
async fn an_unknown_outcome_is_kept() {
    let (gateway, theatre) = staged().await;
    let broken = ResponseTemplate::new(502);
    let broken = answers(&theatre, "POST", "/bow", broken).await;
    let first = fault(bow(&gateway.api, "r1").await);
    assert!(first.is(Code::Aborted, "OUTCOME_UNKNOWN"), "{first:?}");
    assert_eq!(first.retry, None, "it must not be repeated blindly");
    drop(broken);
    assert_eq!(fault(bow(&gateway.api, "r1").await), first);
    assert_eq!(stage::told(&theatre).await, ["bow"]);
    bow(&gateway.api, "r2").await.unwrap();
}

#[tokio::test]
async fn a_failure_that_reached_nobody_frees_the_request_id() {
    let (gateway, theatre) = staged().await;
    let limited = ResponseTemplate::new(429).insert_header("retry-after", "1");
    let limited = answers(&theatre, "POST", "/bow", limited).await;
    let wait = fault(bow(&gateway.api, "r1").await);
    assert!(wait.is(Code::ResourceExhausted, "PLATFORM_RATE_LIMITED"));
    assert_eq!(wait.retry, Some(Duration::from_secs(1)));
    drop(limited);
    // Before that the platform is not asked again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    bow(&gateway.api, "r1").await.unwrap();

    // Nobody listens on port 1.
    gateway.api.community("other").await;
    let config = json!({ "url": "http://127.0.0.1:1" });
    gateway.api.enable("other", "stage", config).await;
    let mut asked = request("stage.bow", json!({}), "r2");
    asked.community_id = "other".into();
    for _ in 0..2 {
        let down = fault(gateway.api.perform_request(asked.clone()).await);
        assert!(down.is(Code::Unavailable, "PLATFORM_UNAVAILABLE"));
        assert!(down.retry.is_some());
    }
}

#[tokio::test]
async fn what_only_reads_just_runs_again() {
    let cred = fakes::cred().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let config = json!({ "server_url": cred.uri() });
    api.enable("co-op", "sourcecred", config).await;
    let total = || request("sourcecred.total-cred", json!({}), "r1");
    let first = api.perform_request(total()).await.unwrap();
    assert_eq!(first, json!({ "value": 42.5 }));
    let nobody = fakes::ok(&json!({ "accounts": [] }));
    let _nobody = answers(&cred, "GET", fakes::ACCOUNTS, nobody).await;
    let second = api.perform_request(total()).await.unwrap();
    assert_eq!(second["value"].as_f64(), Some(0.0), "it read again");
}

#[tokio::test]
async fn state_is_folded_with_the_answer() {
    let (gateway, _theatre) = staged().await;
    let api = &gateway.api;
    let scene = |n: i64| request("stage.show", json!({ "scene": n }), "");
    // Refused inside the transaction: neither state nor answer is kept.
    let mut closed = scene(0);
    closed.request_id = "r1".into();
    let refused = fault(api.perform_request(closed.clone()).await);
    assert!(refused.is(Code::FailedPrecondition, "PLUGIN_REFUSED"));
    assert_eq!(refused.metadata["plugin"], "stage");
    assert_eq!(refused.metadata["why"], "the curtain is down");
    let last = api.perform("co-op", "stage.last-scene", json!({}));
    assert_eq!(last.await.unwrap(), json!({ "scene": null }));

    let mut third = scene(3);
    third.request_id = "r2".into();
    api.perform_request(third.clone()).await.unwrap();
    let last = api.perform("co-op", "stage.last-scene", json!({}));
    assert_eq!(last.await.unwrap(), json!({ "scene": 3 }));
    // Each retry is answered as before and folds nothing.
    assert_eq!(fault(api.perform_request(closed).await), refused);
    api.perform_request(scene(0)).await.unwrap();
    api.perform_request(third).await.unwrap();
    let last = api.perform("co-op", "stage.last-scene", json!({}));
    assert_eq!(last.await.unwrap(), json!({ "scene": 0 }));
}
