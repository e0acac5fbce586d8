//! The plugin `ballot`: votes that the gateway holds itself.

use std::time::Duration;

use metagov_proto::v1::{
    ListProcessesRequest, PerformActionRequest, Process, ProcessState, StartProcessRequest, Tally,
    event::Payload,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    harness::{Api, Fault, Gateway, fault, object, plain},
    stand::{self, Stand, after},
};

const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn with_ballot() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    gateway.api.enable("co-op", "ballot", json!({})).await;
    gateway
}

/// A vote on a, b and c, with what else is asked.
async fn try_start(api: &Api, more: Value) -> Result<Process, Status> {
    let mut question = json!({"title": "Which?", "options": ["a", "b", "c"]});
    json_merge(&mut question, more);
    api.start("co-op", "ballot.vote", question).await
}

async fn start(api: &Api, more: Value) -> String {
    try_start(api, more).await.unwrap().process_id
}

fn json_merge(into: &mut Value, more: Value) {
    let more = more.as_object().unwrap().clone();
    into.as_object_mut().unwrap().extend(more);
}

async fn cast(api: &Api, id: &str, voter: &str, choices: &[&str]) -> Result<Value, Status> {
    let ballot = json!({"process_id": id, "voter": voter, "choices": choices});
    api.perform("co-op", "ballot.cast", ballot).await
}

async fn cast_all(api: &Api, id: &str, ballots: &[(&str, &[&str])]) {
    for (voter, choices) in ballots {
        cast(api, id, voter, choices).await.unwrap();
    }
}

async fn tally(api: &Api, id: &str) -> Tally {
    api.process(id).await.unwrap().tally.unwrap()
}

/// The counts in the order of the offer.
fn counts(tally: &Tally) -> Vec<i64> {
    tally.options.iter().map(|option| option.count).collect()
}

fn names(tally: &Tally) -> Vec<Vec<String>> {
    let options = tally.options.iter();
    options.map(|option| option.user_ids.clone()).collect()
}

#[track_caller]
fn assert_done(done: &Fault, state: ProcessState) {
    assert!(
        done.is(Code::FailedPrecondition, "PROCESS_DONE"),
        "{done:?}"
    );
    assert_eq!(done.metadata["state"], state.as_str_name());
}

#[tokio::test]
async fn a_voter_may_change_the_ballot_until_the_close() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let id = start(api, json!({})).await;
    let first = cast(api, &id, "ada", &["a"]).await.unwrap();
    assert_eq!(
        first,
        json!({"voter": "ada", "choices": ["a"], "replaced": false})
    );
    let second = cast(api, &id, "ada", &["b"]).await.unwrap();
    assert_eq!(
        second,
        json!({"voter": "ada", "choices": ["b"], "replaced": true})
    );
    cast(api, &id, "Ada", &["c"]).await.unwrap();
    let now = tally(api, &id).await;
    assert_eq!((counts(&now), now.voter_count), (vec![0, 1, 1], Some(2)));
    assert_eq!(
        names(&now),
        [vec![], vec!["ada".to_owned()], vec!["Ada".to_owned()]]
    );

    let closed = api.close(&id).await.unwrap();
    assert_eq!(closed.tally, Some(now));
    let late = fault(cast(api, &id, "ada", &["a"]).await);
    assert_done(&late, ProcessState::Completed);
    assert_eq!(late.metadata["process_id"], id);
    assert_eq!(api.process(&id).await.unwrap(), closed);
    let id = start(api, json!({})).await;
    api.cancel(&id).await.unwrap();
    assert_done(
        &fault(cast(api, &id, "ada", &["a"]).await),
        ProcessState::Cancelled,
    );
}

#[tokio::test]
async fn approval_takes_any_number_of_options() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let id = start(api, json!({"method": "approval"})).await;
    let ballots: [(&str, &[&str]); 4] = [
        ("ada", &["a", "b", "c"]),
        ("bob", &["b"]),
        ("cyd", &[]),
        ("dan", &["c", "b"]),
    ];
    cast_all(api, &id, &ballots).await;
    let closed = api.close(&id).await.unwrap();
    let tally = closed.tally.unwrap();
    assert_eq!(
        (counts(&tally), tally.voter_count),
        (vec![1, 3, 2], Some(4))
    );
    assert_eq!(tally.leading_options, ["b"]);
    let leading: Vec<bool> = tally.options.iter().map(|option| option.leading).collect();
    assert_eq!(leading, [false, true, false]);
    assert!(
        tally
            .options
            .iter()
            .all(|option| option.score == option.count as f64)
    );
    let outcome = json!({
        "winners": ["b"], "tie": false, "turnout": {"voters": 4}, "quorum_met": true,
    });
    assert_eq!(plain(closed.outcome), outcome);
}

#[tokio::test]
async fn a_ballot_that_makes_no_sense_is_refused_by_its_place() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let single = start(api, json!({})).await;
    let approval = start(api, json!({"method": "approval"})).await;
    cast(api, &single, "ada", &["a"]).await.unwrap();
    cast(api, &approval, "ada", &["a"]).await.unwrap();
    let (one, two) = (api.process(&single).await, api.process(&approval).await);
    for (id, choices, reason, field) in [
        (&single, &["d"][..], "INVALID_FIELD", "parameters/choices/0"),
        (&single, &["A"], "INVALID_FIELD", "parameters/choices/0"),
        (&single, &[], "INVALID_FIELD", "parameters/choices"),
        (&single, &["a", "b"], "INVALID_FIELD", "parameters/choices"),
        (
            &approval,
            &["b", "d"],
            "INVALID_FIELD",
            "parameters/choices/1",
        ),
        (
            &approval,
            &["b", "b"],
            "SCHEMA_MISMATCH",
            "parameters/choices",
        ),
    ] {
        let wrong = fault(cast(api, id, "ada", choices).await);
        assert!(
            wrong.is(Code::InvalidArgument, reason),
            "{choices:?}: {wrong:?}"
        );
        assert_eq!(wrong.fields, [field]);
    }
    for (wrong, field) in [
        (
            json!({"process_id": single, "voter": "", "choices": ["a"]}),
            "parameters/voter",
        ),
        (
            json!({"process_id": single, "voter": "x".repeat(301), "choices": ["a"]}),
            "parameters/voter",
        ),
        (
            json!({"process_id": single, "voter": "v", "choices": "a"}),
            "parameters/choices",
        ),
        (
            json!({"process_id": 7, "voter": "v", "choices": ["a"]}),
            "parameters/process_id",
        ),
        (
            json!({"process_id": "x", "voter": "v", "choices": ["a"]}),
            "parameters/process_id",
        ),
    ] {
        let refused = fault(api.perform("co-op", "ballot.cast", wrong).await);
        assert_eq!(
            (refused.code, &*refused.fields),
            (Code::InvalidArgument, &[field.to_owned()][..])
        );
    }
    assert_eq!(
        api.process(&single).await.unwrap(),
        one.unwrap(),
        "nothing of it counts"
    );
    assert_eq!(api.process(&approval).await.unwrap(), two.unwrap());
}

#[tokio::test]
async fn a_vote_that_makes_no_sense_is_refused_by_its_place() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let none: [&str; 0] = [];
    for (more, reason, field) in [
        (
            json!({"options": none}),
            "SCHEMA_MISMATCH",
            "parameters/options",
        ),
        (
            json!({"options": ["a"]}),
            "SCHEMA_MISMATCH",
            "parameters/options",
        ),
        (
            json!({"options": ["a", "a"]}),
            "SCHEMA_MISMATCH",
            "parameters/options",
        ),
        (
            json!({"options": ["a", " a "]}),
            "INVALID_FIELD",
            "parameters/options/1",
        ),
        (
            json!({"options": ["a", "b", " "]}),
            "INVALID_FIELD",
            "parameters/options/2",
        ),
        (
            json!({"options": ["a", ""]}),
            "SCHEMA_MISMATCH",
            "parameters/options/1",
        ),
        (json!({"title": " "}), "INVALID_FIELD", "parameters/title"),
        (json!({"title": ""}), "SCHEMA_MISMATCH", "parameters/title"),
        (
            json!({"method": "ranked"}),
            "SCHEMA_MISMATCH",
            "parameters/method",
        ),
        (json!({"quorum": 0}), "SCHEMA_MISMATCH", "parameters/quorum"),
        (
            json!({"quorum": 2, "eligible_voters": ["ada"]}),
            "INVALID_FIELD",
            "parameters/quorum",
        ),
        (
            json!({"eligible_voters": none}),
            "SCHEMA_MISMATCH",
            "parameters/eligible_voters",
        ),
        (
            json!({"eligible_voters": ["a", "a"]}),
            "SCHEMA_MISMATCH",
            "parameters/eligible_voters",
        ),
        (
            json!({"secret": "yes"}),
            "SCHEMA_MISMATCH",
            "parameters/secret",
        ),
    ] {
        let wrong = fault(try_start(api, more.clone()).await);
        assert!(wrong.is(Code::InvalidArgument, reason), "{more}: {wrong:?}");
        assert_eq!(wrong.fields, [field], "{more}");
    }
    let all = ListProcessesRequest::default();
    let found = api.processes().list_processes(all).await.unwrap();
    assert_eq!(found.into_inner().processes, []);
}

#[tokio::test]
async fn only_who_is_eligible_votes() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let id = start(api, json!({"eligible_voters": ["ada", "bob"]})).await;
    cast(api, &id, "ada", &["a"]).await.unwrap();
    for stranger in ["eve", "Ada", "ada "] {
        let refused = fault(cast(api, &id, stranger, &["b"]).await);
        assert!(
            refused.is(Code::FailedPrecondition, "PLUGIN_REFUSED"),
            "{refused:?}"
        );
        assert_eq!(refused.metadata["plugin"], "ballot");
        assert!(refused.metadata["why"].contains(stranger), "{refused:?}");
    }
    let closed = api.close(&id).await.unwrap();
    let tally = closed.tally.unwrap();
    assert_eq!(
        (tally.voter_count, tally.eligible_count),
        (Some(1), Some(2))
    );
    assert_eq!(counts(&tally), [1, 0, 0]);
    assert_eq!(
        plain(closed.outcome)["turnout"],
        json!({"voters": 1, "share": 0.5})
    );
}

#[tokio::test]
async fn who_chose_what_is_told_unless_it_is_secret_and_never_in_events() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let open = start(api, json!({})).await;
    let secret = start(api, json!({"secret": true})).await;
    let ballots: [(&str, &[&str]); 2] = [("ada", &["a"]), ("bob", &["b"])];
    cast_all(api, &open, &ballots).await;
    cast_all(api, &secret, &ballots).await;
    let named = [vec!["ada".to_owned()], vec!["bob".to_owned()], vec![]];
    let nobody: [Vec<String>; 3] = [vec![], vec![], vec![]];
    let all = ListProcessesRequest::default();
    let listed = api
        .processes()
        .list_processes(all)
        .await
        .unwrap()
        .into_inner();
    for process in listed.processes {
        let expected = if process.process_id == open {
            &named
        } else {
            &nobody
        };
        assert_eq!(names(&process.tally.unwrap()), expected, "listed");
    }
    for (id, expected) in [(&open, &named), (&secret, &nobody)] {
        assert_eq!(names(&tally(api, id).await), expected, "read");
        let closed = api.close(id).await.unwrap();
        assert_eq!(names(&closed.tally.clone().unwrap()), expected, "closed");
        assert_eq!(counts(&closed.tally.unwrap()), [1, 1, 0]);
    }
    for event in api.log().await {
        if let Some(Payload::ProcessChanged(changed)) = event.payload {
            let tally = changed.process.unwrap().tally.unwrap();
            assert_eq!(names(&tally), nobody, "in an event");
        }
    }
}

#[tokio::test]
async fn the_outcome_says_ties_turnout_and_quorum() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let id = start(api, json!({"quorum": 3})).await;
    let before = api.process(&id).await.unwrap();
    let nothing =
        json!({"winners": [], "tie": false, "turnout": {"voters": 0}, "quorum_met": false});
    assert_eq!(plain(before.outcome), nothing);
    assert_eq!(before.tally.unwrap().leading_options, Vec::<String>::new());
    cast_all(api, &id, &[("ada", &["c"]), ("bob", &["a"])]).await;
    let tied = api.process(&id).await.unwrap();
    let tie =
        json!({"winners": ["a", "c"], "tie": true, "turnout": {"voters": 2}, "quorum_met": false});
    assert_eq!(plain(tied.outcome), tie, "in the order of the offer");
    assert_eq!(tied.tally.unwrap().leading_options, ["a", "c"]);
    cast(api, &id, "cyd", &["c"]).await.unwrap();
    let closed = api.close(&id).await.unwrap();
    let won = json!({"winners": ["c"], "tie": false, "turnout": {"voters": 3}, "quorum_met": true});
    assert_eq!(plain(closed.outcome), won);
}

#[tokio::test]
async fn to_cast_the_same_again_changes_nothing() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let id = start(api, json!({"method": "approval"})).await;
    cast(api, &id, "ada", &["a", "b"]).await.unwrap();
    let (before, events) = (api.process(&id).await.unwrap(), api.log().await.len());
    let again = cast(api, &id, "ada", &["b", "a"]).await.unwrap();
    assert_eq!(again["replaced"], json!(true));
    assert_eq!(api.process(&id).await.unwrap(), before);
    assert_eq!(api.log().await.len(), events);
}

#[tokio::test]
async fn a_ballot_with_one_request_id_counts_once() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let id = start(api, json!({})).await;
    let request = |choice: &str| PerformActionRequest {
        community_id: "co-op".into(),
        action: "ballot.cast".into(),
        parameters: object(json!({"process_id": id, "voter": "ada", "choices": [choice]})),
        request_id: "r1".into(),
        ..Default::default()
    };
    let first = api.perform_request(request("a")).await.unwrap();
    cast(api, &id, "ada", &["b"]).await.unwrap();
    let retry = api.perform_request(request("a")).await.unwrap();
    assert_eq!(retry, first, "the stored answer");
    assert_eq!(counts(&tally(api, &id).await), [0, 1, 0], "and no ballot");
    let other = fault(api.perform_request(request("c")).await);
    assert!(
        other.is(Code::InvalidArgument, "REQUEST_ID_REUSED"),
        "{other:?}"
    );
}

#[tokio::test]
async fn a_vote_takes_ballots_of_its_own_community_only() {
    let gateway = with_ballot().await;
    let api = &gateway.api;
    let id = start(api, json!({})).await;
    api.community("other").await;
    api.enable("other", "ballot", json!({})).await;
    let range = json!({"default_low": 0, "default_high": 2});
    api.enable("co-op", "randomness", range).await;
    let draw = json!({"options": ["a"], "delay": 60});
    let draw = api.start("co-op", "randomness.delayed-stochastic-vote", draw);
    let draw = draw.await.unwrap().process_id;
    for (community, id) in [("other", &*id), ("co-op", NOWHERE), ("co-op", &draw)] {
        let ballot = json!({"process_id": id, "voter": "eve", "choices": ["a"]});
        let unknown = fault(api.perform(community, "ballot.cast", ballot).await);
        assert!(
            unknown.is(Code::NotFound, "PROCESS_NOT_FOUND"),
            "{unknown:?}"
        );
        assert_eq!(unknown.metadata["process_id"], id);
    }
    assert_eq!(tally(api, &id).await.voter_count, Some(0));
}

#[tokio::test]
async fn no_ballot_counts_after_the_close_time_even_while_it_is_open() {
    let gateway = Gateway::start_with(|_| (), vec![stand::plugin()]).await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    stand.enable(api, "co-op").await;
    stand.says("POST /close", wiremock::ResponseTemplate::new(503));
    let request = StartProcessRequest {
        community_id: "co-op".into(),
        process_type: "stand.count".into(),
        close_time: Some(after(Duration::from_secs(5))),
        ..Default::default()
    };
    let id = api.start_request(request).await.unwrap().process_id;
    let ballot = |voter: &str| json!({"process_id": id, "voter": voter});
    let counted = api.perform("co-op", "stand.cast", ballot("ada")).await;
    assert_eq!(counted.unwrap(), json!({"yes": 1}));
    stand.hears("POST /close", 1).await;
    assert_eq!(api.process(&id).await.unwrap().state(), ProcessState::Open);
    let late = fault(api.perform("co-op", "stand.cast", ballot("bob")).await);
    assert_done(&late, ProcessState::Open);
    assert!(late.message.contains("voting ended at"), "{late:?}");
    assert_eq!(
        plain(api.process(&id).await.unwrap().outcome),
        json!({"yes": 1})
    );
}
