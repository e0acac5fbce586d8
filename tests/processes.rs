//! Processes: started, read, listed, closed, cancelled.

use metagov_proto::v1::{
    CancelProcessRequest, ListProcessesRequest, Process, ProcessState, StartProcessRequest,
    event::Payload,
};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::Code;
use wiremock::ResponseTemplate;

use crate::{
    harness::{Api, Gateway, fault, object, plain},
    stand::{self, Stand, shown},
};

const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn question() -> Value {
    json!({"title": "Lunch?", "options": ["soup", "bread"]})
}

/// A gateway with the plugin of a platform that a test controls.
async fn with_stand() -> (Gateway, Stand) {
    let gateway = Gateway::start_with(|_| (), vec![stand::plugin()]).await;
    let stand = Stand::open().await;
    stand.enable(&gateway.api, "co-op").await;
    (gateway, stand)
}

/// The process in all the changes of it that the log has.
async fn changes(api: &Api, id: &str) -> Vec<Process> {
    let events = api.log().await.into_iter();
    let changes = events.filter_map(|event| match event.payload {
        Some(Payload::ProcessChanged(changed)) => changed.process,
        _ => None,
    });
    changes.filter(|process| process.process_id == id).collect()
}

async fn list(api: &Api, request: ListProcessesRequest) -> Vec<Process> {
    let answer = api.processes().list_processes(request).await.unwrap();
    answer.into_inner().processes
}

#[tokio::test]
async fn a_process_lives_from_start_to_close() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let installation = api.enable("co-op", "ballot", json!({})).await;
    let started = api.start("co-op", "ballot.vote", question()).await.unwrap();
    assert_eq!(started.state(), ProcessState::Open);
    assert_eq!((started.revision, started.title.as_str()), (1, "Lunch?"));
    assert_eq!(started.installation_id, installation.installation_id);
    assert_eq!(plain(started.parameters.clone()), question());
    assert_eq!((started.end_time, &started.error), (None, &None));
    assert_eq!(api.process(&started.process_id).await.unwrap(), started);

    let closed = api.close(&started.process_id).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(closed.revision, 2);
    assert!(closed.end_time.is_some() && !closed.end_reason.is_empty());
    assert_eq!(closed.update_time, closed.end_time);
    assert_eq!(api.process(&started.process_id).await.unwrap(), closed);

    let seen = changes(api, &started.process_id).await;
    let revisions: Vec<i64> = seen.iter().map(|process| process.revision).collect();
    assert_eq!(revisions, [1, 2]);
    for (mut process, answer) in seen.into_iter().zip([started, closed]) {
        assert_eq!(process.parameters, None, "an event has no parameters");
        process.parameters.clone_from(&answer.parameters);
        assert_eq!(process, answer);
    }
}

#[tokio::test]
async fn a_process_only_goes_forward() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    let start = || async {
        let started = api.start("co-op", "stand.vote", json!({})).await;
        started.unwrap().process_id
    };
    let (closed, cancelled, failed) = (start().await, start().await, start().await);
    let closed = api.close(&closed).await.unwrap();
    let cancelled = api.cancel(&cancelled).await.unwrap();
    assert_eq!(cancelled.state(), ProcessState::Cancelled);
    assert_eq!(cancelled.end_reason, "a test");
    stand.says("POST /close", shown("broken", 0));
    let refused = fault(api.close(&failed).await);
    assert!(
        refused.is(Code::FailedPrecondition, "PROCESS_DONE"),
        "{refused:?}"
    );
    let failed = api.process(&failed).await.unwrap();
    assert_eq!(failed.state(), ProcessState::Failed);
    let error = failed.error.clone().unwrap();
    assert_eq!(error.reason, "ERROR_REASON_PLATFORM_REJECTED");
    assert_eq!(error.message, "the stand broke down");

    // Again is not an error, and changes nothing.
    assert_eq!(api.close(&closed.process_id).await.unwrap(), closed);
    assert_eq!(api.cancel(&cancelled.process_id).await.unwrap(), cancelled);
    // Anything else is.
    for (answer, process) in [
        (api.cancel(&closed.process_id).await, &closed),
        (api.close(&cancelled.process_id).await, &cancelled),
        (api.close(&failed.process_id).await, &failed),
        (api.cancel(&failed.process_id).await, &failed),
    ] {
        let done = fault(answer);
        assert!(
            done.is(Code::FailedPrecondition, "PROCESS_DONE"),
            "{done:?}"
        );
        assert_eq!(done.metadata["process_id"], process.process_id);
        assert_eq!(done.metadata["state"], process.state().as_str_name());
        assert_eq!(done.retry, None);
    }
    for process in [closed, cancelled, failed] {
        let seen = changes(api, &process.process_id).await;
        let revisions: Vec<i64> = seen.iter().map(|process| process.revision).collect();
        assert_eq!(revisions, [1, 2], "one event for each transition");
        assert_eq!(api.process(&process.process_id).await.unwrap(), process);
    }
}

#[tokio::test]
async fn what_cannot_be_closed_says_so_and_can_be_cancelled() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    let started = api
        .start("co-op", "stand.sitting", json!({}))
        .await
        .unwrap();
    assert_eq!(
        started.title, "Ends by itself.",
        "its description, without a title"
    );
    let refused = fault(api.close(&started.process_id).await);
    assert!(
        refused.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"),
        "{refused:?}"
    );
    assert_eq!(refused.metadata["plugin"], "stand");
    assert_eq!(api.process(&started.process_id).await.unwrap(), started);
    let cancelled = api.cancel(&started.process_id).await.unwrap();
    assert_eq!(cancelled.state(), ProcessState::Cancelled);
    assert_eq!(stand.heard("POST /cancel").await, 0);
}

#[tokio::test]
async fn cancelling_tells_the_platform_and_needs_no_answer_of_it() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    for (answer, heard) in [(shown("closed", 0), 1), (ResponseTemplate::new(500), 2)] {
        stand.says("POST /cancel", answer);
        let started = api.start("co-op", "stand.vote", json!({})).await.unwrap();
        let cancelled = api.cancel(&started.process_id).await.unwrap();
        assert_eq!(cancelled.state(), ProcessState::Cancelled);
        assert_eq!(stand.heard("POST /cancel").await, heard);
    }
}

#[tokio::test]
async fn a_close_that_the_platform_refuses_changes_nothing() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    let started = api.start("co-op", "stand.vote", json!({})).await.unwrap();
    for (answer, code, reason) in [
        (
            ResponseTemplate::new(422),
            Code::FailedPrecondition,
            "PLATFORM_REJECTED",
        ),
        (
            shown("open", 7),
            Code::FailedPrecondition,
            "PLATFORM_REJECTED",
        ),
        (
            ResponseTemplate::new(401),
            Code::FailedPrecondition,
            "PLATFORM_UNAUTHORIZED",
        ),
        (
            ResponseTemplate::new(429),
            Code::ResourceExhausted,
            "PLATFORM_RATE_LIMITED",
        ),
        (ResponseTemplate::new(500), Code::Aborted, "OUTCOME_UNKNOWN"),
    ] {
        stand.says("POST /close", answer);
        let refused = fault(api.close(&started.process_id).await);
        assert!(refused.is(code, reason), "{refused:?}");
        assert_eq!(refused.metadata["plugin"], "stand");
        assert_eq!(api.process(&started.process_id).await.unwrap(), started);
    }
    assert_eq!(changes(api, &started.process_id).await.len(), 1);
    stand.says("POST /close", shown("closed", 3));
    let closed = api.close(&started.process_id).await.unwrap();
    assert_eq!(plain(closed.outcome), json!({"yes": 3}));
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
async fn ids_of_processes_that_are_wrong_are_named() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    for id in ["", "x", "../..", "0", &"9".repeat(10_000)] {
        for answer in [
            api.process(id).await,
            api.close(id).await,
            api.cancel(id).await,
        ] {
            let wrong = fault(answer);
            assert!(
                wrong.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{wrong:?}"
            );
            assert_eq!(wrong.fields, ["process_id"]);
        }
    }
    for answer in [
        api.process(NOWHERE).await,
        api.close(NOWHERE).await,
        api.cancel(NOWHERE).await,
    ] {
        let unknown = fault(answer);
        assert!(
            unknown.is(Code::NotFound, "PROCESS_NOT_FOUND"),
            "{unknown:?}"
        );
        assert_eq!(unknown.metadata["process_id"], NOWHERE);
    }
    let long = CancelProcessRequest {
        process_id: NOWHERE.into(),
        reason: "x".repeat(1001),
    };
    let long = fault(api.processes().cancel_process(long).await);
    assert!(long.is(Code::InvalidArgument, "INVALID_FIELD"), "{long:?}");
    assert_eq!(long.fields, ["reason"]);
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
    let disable = metagov_proto::v1::DisablePluginRequest {
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
