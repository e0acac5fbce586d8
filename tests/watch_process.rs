//! WatchProcess: the process as it stands, then its changes, until it is done.

use std::time::Duration;

use metagov_proto::v1::{
    DeleteCommunityRequest, Process, ProcessState, WatchProcessRequest, WatchProcessResponse,
};
use serde_json::json;
use tonic::{Code, Status, Streaming};

use crate::harness::{Api, Gateway, PATIENCE, fault};

type Stream = Streaming<WatchProcessResponse>;

async fn watch(api: &Api, id: &str, heartbeat: Option<Duration>) -> Result<Stream, Status> {
    let request = WatchProcessRequest {
        process_id: id.to_owned(),
        heartbeat_interval: heartbeat.map(|wanted| wanted.try_into().unwrap()),
    };
    let answer = api.processes().watch_process(request).await?;
    Ok(answer.into_inner())
}

/// The next message; none at the end.
async fn next(stream: &mut Stream) -> Result<Option<Process>, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await;
    let message = message.expect("silence longer than the time of patience")?;
    Ok(message.map(|message| message.process.unwrap()))
}

/// A gateway with a vote that is open.
async fn with_vote() -> (Gateway, Process) {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    gateway.api.enable("co-op", "ballot", json!({})).await;
    let question = json!({"title": "Lunch?", "options": ["soup", "bread"]});
    let vote = gateway.api.start("co-op", "ballot.vote", question).await;
    (gateway, vote.unwrap())
}

async fn cast(api: &Api, id: &str, voter: &str) {
    let ballot = json!({"process_id": id, "voter": voter, "choices": ["soup"]});
    api.perform("co-op", "ballot.cast", ballot).await.unwrap();
}

#[tokio::test]
async fn watch_process_ends_when_it_is_done() {
    let (gateway, vote) = with_vote().await;
    let (api, id) = (&gateway.api, &vote.process_id);
    let mut stream = watch(api, id, None).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Some(vote.clone()));
    cast(api, id, "ada").await;
    let counted = next(&mut stream).await.unwrap().unwrap();
    assert_eq!(counted.revision, 2);
    assert_eq!(
        counted,
        api.process(id).await.unwrap(),
        "as GetProcess has it"
    );
    let closed = api.close(id).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Some(closed));
    assert_eq!(next(&mut stream).await.unwrap(), None, "it ends with OK");
}

#[tokio::test]
async fn a_process_that_is_done_is_one_message() {
    let (gateway, vote) = with_vote().await;
    let cancelled = gateway.api.cancel(&vote.process_id).await.unwrap();
    let mut stream = watch(&gateway.api, &vote.process_id, None).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Some(cancelled));
    assert_eq!(next(&mut stream).await.unwrap(), None);
}

#[tokio::test]
async fn quick_changes_may_be_folded_and_the_last_is_never_missed() {
    let (gateway, vote) = with_vote().await;
    let (api, id) = (&gateway.api, &vote.process_id);
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(watch(api, id, None).await.unwrap());
    }
    let voters = (0..50).map(|voter| {
        let (api, id) = (api.clone(), id.clone());
        tokio::spawn(async move { cast(&api, &id, &format!("voter {voter}")).await })
    });
    for voter in voters.collect::<Vec<_>>() {
        voter.await.unwrap();
    }
    let closed = api.close(id).await.unwrap();
    for mut stream in streams {
        let mut last = None::<Process>;
        while let Some(process) = next(&mut stream).await.unwrap() {
            let before = last.as_ref().map_or(0, |last| last.revision);
            assert!(process.revision > before, "only forward");
            last = Some(process);
        }
        assert_eq!(last.as_ref(), Some(&closed));
    }
}

#[tokio::test]
async fn silence_is_filled_with_the_same_state() {
    let (gateway, vote) = with_vote().await;
    let second = Some(Duration::from_secs(1));
    let mut stream = watch(&gateway.api, &vote.process_id, second).await.unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut stream).await.unwrap(), Some(vote.clone()));
    }
}

#[tokio::test]
async fn a_heartbeat_has_bounds() {
    let (gateway, vote) = with_vote().await;
    let ask = |seconds, nanos| WatchProcessRequest {
        process_id: vote.process_id.clone(),
        heartbeat_interval: Some(prost_types::Duration { seconds, nanos }),
    };
    let mut processes = gateway.api.processes();
    for (seconds, nanos) in [
        (0, 0),
        (0, 999_999_999),
        (300, 1),
        (-1, 0),
        (i64::MAX, 0),
        (i64::MIN, i32::MIN),
    ] {
        let wrong = fault(processes.watch_process(ask(seconds, nanos)).await);
        assert!(
            wrong.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{wrong:?}"
        );
        assert_eq!(wrong.fields, ["heartbeat_interval"]);
    }
    for seconds in [1, 300] {
        let answer = processes.watch_process(ask(seconds, 0)).await.unwrap();
        let first = next(&mut answer.into_inner()).await.unwrap();
        assert_eq!(first.as_ref(), Some(&vote));
    }
}

#[tokio::test]
async fn what_is_not_there_cannot_be_watched() {
    let gateway = Gateway::start().await;
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let gone = fault(watch(&gateway.api, unknown, None).await);
    assert!(gone.is(Code::NotFound, "PROCESS_NOT_FOUND"), "{gone:?}");
    assert_eq!(gone.metadata["process_id"], unknown);
    for id in ["", "x"] {
        let wrong = fault(watch(&gateway.api, id, None).await);
        assert!(
            wrong.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{wrong:?}"
        );
        assert_eq!(wrong.fields, ["process_id"]);
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_community() {
    let (gateway, vote) = with_vote().await;
    let second = Some(Duration::from_secs(1));
    let mut stream = watch(&gateway.api, &vote.process_id, second).await.unwrap();
    next(&mut stream).await.unwrap();
    let request = DeleteCommunityRequest {
        community_id: "co-op".into(),
        etag: String::new(),
    };
    let mut communities = gateway.api.communities();
    communities.delete_community(request).await.unwrap();
    // It is cancelled first, which a stream may or may not be in time to see.
    let mut last = vote;
    let end = loop {
        match next(&mut stream).await {
            Ok(Some(process)) => last = process,
            Ok(None) => break None,
            Err(status) => break Some(fault(Err::<(), _>(status))),
        }
    };
    match end {
        None => assert_eq!(last.state(), ProcessState::Cancelled),
        Some(gone) => assert!(gone.is(Code::NotFound, "PROCESS_NOT_FOUND"), "{gone:?}"),
    }
    let gone = fault(watch(&gateway.api, &last.process_id, None).await);
    assert!(gone.is(Code::NotFound, "PROCESS_NOT_FOUND"), "{gone:?}");
}

#[tokio::test]
async fn a_server_that_shuts_down_says_so() {
    let (gateway, vote) = with_vote().await;
    let mut stream = watch(&gateway.api, &vote.process_id, None).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Some(vote));
    let _folder = gateway.stop().await;
    let ended = fault(next(&mut stream).await);
    assert!(ended.is(Code::Unavailable, "DRAINING"), "{ended:?}");
    assert!(ended.retry.is_some());
}
