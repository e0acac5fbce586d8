//! StartProcess: what it refuses, what the platform refuses, and what is under way.

use std::time::Duration;

use metagov_proto::v1::{
    DisablePluginRequest, ListProcessesRequest, Process, ProcessState, StartProcessRequest,
};
use prost_types::Timestamp;
use serde_json::json;
use tonic::Code;
use wiremock::ResponseTemplate;

use crate::{
    harness::{Api, Gateway, Kind, PATIENCE, fault, object, plain},
    stand::{Stand, changes, shown, with_stand},
};

const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn list(api: &Api, request: ListProcessesRequest) -> Vec<Process> {
    let answer = api.processes().list_processes(request).await.unwrap();
    answer.into_inner().processes
}

#[tokio::test]
async fn a_start_that_the_platform_refuses_leaves_no_process() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    let before = api.log().await.len();
    for (answer, code, reason) in [
        (
            ResponseTemplate::new(422),
            Code::FailedPrecondition,
            "PLATFORM_REJECTED",
        ),
        (
            ResponseTemplate::new(403),
            Code::FailedPrecondition,
            "PLATFORM_UNAUTHORIZED",
        ),
        (
            ResponseTemplate::new(429),
            Code::ResourceExhausted,
            "PLATFORM_RATE_LIMITED",
        ),
        (
            shown("refused", 0),
            Code::FailedPrecondition,
            "PLUGIN_REFUSED",
        ),
    ] {
        stand.says("POST /start", answer);
        let refused = fault(api.start("co-op", "stand.vote", json!({})).await);
        assert!(refused.is(code, reason), "{refused:?}");
        assert_eq!(refused.metadata["plugin"], "stand");
        assert_eq!(list(api, ListProcessesRequest::default()).await, []);
    }
    assert_eq!(api.log().await.len(), before, "and no event");
}

#[tokio::test]
async fn a_start_whose_outcome_is_unknown_stays_as_failed() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_string("<html>"),
        shown("monstrous", 0),
    ] {
        stand.says("POST /start", answer);
        let unknown = fault(api.start("co-op", "stand.vote", json!({})).await);
        assert!(unknown.is(Code::Aborted, "OUTCOME_UNKNOWN"), "{unknown:?}");
        assert_eq!(
            (&*unknown.metadata["plugin"], unknown.retry),
            ("stand", None)
        );
        let process = list(api, ListProcessesRequest::default()).await.remove(0);
        assert_eq!(process.state(), ProcessState::Failed);
        assert!(process.end_time.is_some());
        let error = process.error.clone().unwrap();
        assert_eq!(error.reason, "ERROR_REASON_OUTCOME_UNKNOWN");
        let seen = changes(api, &process.process_id).await;
        assert_eq!((seen.len(), process.revision), (1, 1));
        assert_eq!(seen[0].error, process.error);
    }
    assert_eq!(list(api, ListProcessesRequest::default()).await.len(), 3);
}

#[tokio::test]
async fn what_is_decided_at_once_is_one_event() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    stand.says("POST /start", shown("closed", 5));
    let done = api.start("co-op", "stand.vote", json!({})).await.unwrap();
    assert_eq!((done.state(), done.revision), (ProcessState::Completed, 1));
    assert_eq!(plain(done.outcome), json!({"yes": 5}));
    assert!(done.url.starts_with("https://stand.example.org/"));
    assert_eq!(changes(api, &done.process_id).await.len(), 1);
}

#[tokio::test]
async fn what_is_starting_can_be_neither_closed_nor_cancelled() {
    let (gateway, stand) = with_stand().await;
    let api = gateway.api.clone();
    let slow = shown("open", 0).set_delay(std::time::Duration::from_secs(3));
    stand.says("POST /start", slow);
    let starting = tokio::spawn(async move { api.start("co-op", "stand.vote", json!({})).await });
    stand.hears("POST /start", 1).await;
    let api = &gateway.api;
    let wanted = ListProcessesRequest {
        states: vec![ProcessState::Starting.into()],
        ..Default::default()
    };
    let found = list(api, wanted).await.remove(0);
    assert_eq!((found.state(), found.revision), (ProcessState::Starting, 0));
    for answer in [
        api.close(&found.process_id).await,
        api.cancel(&found.process_id).await,
    ] {
        let early = fault(answer);
        assert!(early.is(Code::Aborted, "REQUEST_IN_PROGRESS"), "{early:?}");
        assert!(early.retry.is_some());
    }
    assert_eq!(
        changes(api, &found.process_id).await,
        [],
        "nothing happened yet"
    );
    let started = starting.await.unwrap().unwrap();
    assert_eq!(started.process_id, found.process_id);
    assert_eq!((started.state(), started.revision), (ProcessState::Open, 1));
    assert_eq!(changes(api, &found.process_id).await.len(), 1);
}

#[tokio::test]
async fn a_close_time_that_cannot_be_is_refused() {
    let (gateway, _stand) = with_stand().await;
    let api = &gateway.api;
    let ask = |process_type: &str, close_time: Option<Timestamp>| StartProcessRequest {
        community_id: "co-op".into(),
        process_type: process_type.into(),
        close_time,
        ..Default::default()
    };
    let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
    for (process_type, close_time) in [
        ("stand.vote", at(1_600_000_000, 0)),
        ("stand.vote", at(0, 0)),
        ("stand.vote", at(-1, 0)),
        ("stand.vote", at(253_402_300_800, 0)),
        ("stand.vote", at(i64::MAX, 0)),
        ("stand.vote", at(4_000_000_000, -1)),
        ("stand.vote", at(4_000_000_000, 1_000_000_000)),
        ("stand.sitting", at(4_000_000_000, 0)),
        ("stand.session", None),
    ] {
        let refused = fault(api.start_request(ask(process_type, close_time)).await);
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{refused:?}"
        );
        assert_eq!(
            refused.fields,
            ["close_time"],
            "{process_type} {close_time:?}"
        );
    }
    assert_eq!(list(api, ListProcessesRequest::default()).await, []);
    let latest = at(253_402_300_799, 999_999_000);
    for process_type in ["stand.vote", "stand.session"] {
        let started = api.start_request(ask(process_type, latest)).await.unwrap();
        assert_eq!(started.close_time, latest);
    }
}

#[tokio::test]
async fn every_fault_of_the_parameters_is_named() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.enable("co-op", "ballot", json!({})).await;
    let wrong = json!({"title": 7, "options": ["a", 1], "method": "dice", "colour": "red"});
    let refused = fault(api.start("co-op", "ballot.vote", wrong).await);
    assert!(
        refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
        "{refused:?}"
    );
    assert_eq!(refused.metadata["schema_of"], "ballot.vote");
    for field in [
        "parameters/title",
        "parameters/options/1",
        "parameters/method",
    ] {
        assert!(
            refused.fields.iter().any(|f| f == field),
            "{field}: {refused:?}"
        );
    }
    assert_eq!(refused.fields.len(), 4, "{refused:?}");
    let missing = fault(
        api.start("co-op", "ballot.vote", json!({"title": "t"}))
            .await,
    );
    assert!(
        missing.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
        "{missing:?}"
    );
    assert_eq!(list(api, ListProcessesRequest::default()).await, []);
}

#[tokio::test]
async fn what_a_start_names_must_be_there() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    let other = stand.enable(api, "elsewhere").await;
    let second = Stand::open().await;
    let config = json!({"url": second.url()});
    let ask = |community: &str, process_type: &str, installation: &str| StartProcessRequest {
        community_id: community.into(),
        process_type: process_type.into(),
        installation_id: installation.into(),
        ..Default::default()
    };
    for (request, code, reason) in [
        (
            ask("", "stand.sitting", ""),
            Code::InvalidArgument,
            "INVALID_FIELD",
        ),
        (ask("co-op", "", ""), Code::InvalidArgument, "INVALID_FIELD"),
        (
            ask("co-op", "stand.sitting", "x"),
            Code::InvalidArgument,
            "INVALID_FIELD",
        ),
        (
            ask("nowhere", "stand.sitting", ""),
            Code::NotFound,
            "COMMUNITY_NOT_FOUND",
        ),
        (
            ask("co-op", "sitting", ""),
            Code::NotFound,
            "PLUGIN_NOT_FOUND",
        ),
        (
            ask("co-op", "stand.cast", ""),
            Code::NotFound,
            "PLUGIN_NOT_FOUND",
        ),
        (
            ask("co-op", "nobody.vote", ""),
            Code::NotFound,
            "PLUGIN_NOT_FOUND",
        ),
        (
            ask("co-op", "ballot.vote", ""),
            Code::FailedPrecondition,
            "PLUGIN_NOT_ENABLED",
        ),
        (
            ask("co-op", "stand.sitting", NOWHERE),
            Code::NotFound,
            "INSTALLATION_NOT_FOUND",
        ),
        (
            ask("co-op", "stand.sitting", &other),
            Code::NotFound,
            "INSTALLATION_NOT_FOUND",
        ),
    ] {
        let refused = fault(api.start_request(request.clone()).await);
        assert!(refused.is(code, reason), "{request:?}: {refused:?}");
    }
    let second = api.enable("co-op", "stand", config).await.installation_id;
    let ambiguous = fault(api.start("co-op", "stand.sitting", json!({})).await);
    assert!(
        ambiguous.is(Code::FailedPrecondition, "INSTALLATION_AMBIGUOUS"),
        "{ambiguous:?}"
    );
    assert!(ambiguous.metadata["installation_ids"].contains(&second));
    assert_eq!(list(api, ListProcessesRequest::default()).await, []);
    let named = api
        .start_request(ask("co-op", "stand.sitting", &second))
        .await;
    assert_eq!(named.unwrap().installation_id, second);
}

#[tokio::test]
async fn disabling_in_the_midst_of_a_start_cancels_it() {
    let (gateway, stand) = with_stand().await;
    let api = gateway.api.clone();
    let slow = shown("open", 0).set_delay(std::time::Duration::from_secs(2));
    stand.says("POST /start", slow);
    let starting = tokio::spawn(async move {
        let request = StartProcessRequest {
            community_id: "co-op".into(),
            process_type: "stand.vote".into(),
            parameters: object(json!({})),
            ..Default::default()
        };
        api.start_request(request).await
    });
    stand.hears("POST /start", 1).await;
    let api = &gateway.api;
    let found = list(api, ListProcessesRequest::default()).await.remove(0);
    let disable = DisablePluginRequest {
        installation_id: found.installation_id.clone(),
        etag: String::new(),
    };
    api.plugins().disable_plugin(disable).await.unwrap();
    let unknown = fault(starting.await.unwrap());
    assert!(unknown.is(Code::Aborted, "OUTCOME_UNKNOWN"), "{unknown:?}");
    let process = api.process(&found.process_id).await.unwrap();
    assert_eq!(process.state(), ProcessState::Cancelled);
    assert_eq!(changes(api, &found.process_id).await.len(), 1);
}

/// The platform is slow to hear that the first is cancelled; others are started meanwhile,
/// and the last one is not answered before all is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_starts_while_its_plugin_is_disabled_is_cancelled_too() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    let vote = async |api: &Api| api.start("co-op", "stand.vote", json!({})).await;
    let first = vote(api).await.unwrap();
    let slow = shown("closed", 0).set_delay(Duration::from_secs(4));
    stand.says("POST /cancel", slow);
    let disable = DisablePluginRequest {
        installation_id: first.installation_id.clone(),
        etag: String::new(),
    };
    let disabler = api.clone();
    let disabling =
        tokio::spawn(async move { disabler.plugins().disable_plugin(disable).await.map(drop) });
    stand.hears("POST /cancel", 1).await;
    let second = vote(api).await.unwrap();
    assert_eq!(second.state(), ProcessState::Open);
    let slower = shown("open", 0).set_delay(Duration::from_secs(8));
    stand.says("POST /start", slower);
    let starter = api.clone();
    let starting = tokio::spawn(async move { vote(&starter).await });
    stand.hears("POST /start", 3).await;
    disabling.await.unwrap().unwrap();
    let all = list(api, ListProcessesRequest::default()).await;
    assert_eq!(all.len(), 3);
    for process in &all {
        assert_eq!(process.state(), ProcessState::Cancelled, "{process:?}");
        assert_eq!(process.end_reason, "the plugin stand was disabled");
    }
    let log = api.log().await.len();
    let unknown = fault(starting.await.unwrap());
    assert!(unknown.is(Code::Aborted, "OUTCOME_UNKNOWN"), "{unknown:?}");
    assert_eq!(list(api, ListProcessesRequest::default()).await, all);
    assert_eq!(api.log().await.len(), log, "and no event");
}

/// What the gateway that starts it does as soon as another has claimed it as lost.
fn opens_when_claimed(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => {
            "CREATE TRIGGER late AFTER UPDATE OF claim_replica_id ON process
             WHEN NEW.claim_replica_id IS NOT NULL BEGIN
                UPDATE process SET state = 'open', revision = 1, lease_time = NULL;
             END"
        }
        Kind::Postgres => {
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
                UPDATE process SET state = ''open'', revision = 1, lease_time = NULL;
                RETURN NULL;
             END';
             CREATE TRIGGER late AFTER UPDATE OF claim_replica_id ON process FOR EACH ROW
                WHEN (NEW.claim_replica_id IS NOT NULL) EXECUTE FUNCTION late()"
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_kept_after_all_is_not_lost() {
    let (gateway, stand) = with_stand().await;
    let (api, home) = (gateway.api.clone(), gateway.home());
    let never = shown("open", 0).set_delay(Duration::from_secs(600));
    stand.says("POST /start", never);
    let starting = tokio::spawn(async move { api.start("co-op", "stand.vote", json!({})).await });
    stand.hears("POST /start", 1).await;
    home.run(opens_when_claimed(home.kind())).await;
    assert_eq!(home.run("UPDATE process SET lease_time = 1").await, 1);
    let given_back = "SELECT state FROM process WHERE claim_number > 0
        AND claim_replica_id IS NULL";
    let until = tokio::time::Instant::now() + PATIENCE;
    let state = loop {
        if let Some(state) = home.ask::<String>(given_back).await.pop() {
            break state;
        }
        assert!(tokio::time::Instant::now() < until, "nobody looks for it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(state, "open");
    starting.abort();
}
