//! Processes: from their start to their end.

use metagov_proto::v1::{CancelProcessRequest, ProcessState};
use serde_json::{Value, json};
use tonic::Code;
use wiremock::ResponseTemplate;

use crate::{
    harness::{Gateway, fault, plain},
    stand::{changes, shown, with_stand},
};

const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn question() -> Value {
    json!({"title": "Lunch?", "options": ["soup", "bread"]})
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
