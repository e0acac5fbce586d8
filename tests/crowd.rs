//! Many voters at once: every ballot that was acknowledged counts, exactly once.

use std::{collections::BTreeMap, time::Duration};

use metagov_proto::v1::{
    Event, EventFilter, Process, ProcessState, StartProcessRequest, WatchEventsRequest,
    event::Payload,
};
use prost::Message;
use serde_json::json;
use tonic::Code;

use crate::{
    harness::{Api, Fault, Gateway, Watcher, fault, object, plain},
    stand::after,
};

const VOTERS: usize = 1000;
const CONNECTIONS: usize = 16;
const OPTIONS: [&str; 4] = ["meadow", "orchard", "pond", "playground"];
/// The most bytes that a vote of a thousand may write to the log.
const LOG_LIMIT: usize = 2_000_000;

/// What each voter chose last, as far as it was acknowledged, and how often that was.
type Acknowledged = (BTreeMap<String, Vec<&'static str>>, usize);

fn name(voter: usize) -> String {
    format!("voter-{voter:04}@example.org")
}

/// One to three options; another set in each round.
fn choices(voter: usize, round: usize) -> Vec<&'static str> {
    let first = (voter + round) % OPTIONS.len();
    let many = 1 + voter % 3;
    let chosen = (first..first + many).map(|place| OPTIONS[place % OPTIONS.len()]);
    chosen.collect()
}

async fn cast(api: &Api, id: &str, voter: &str, choices: &[&str]) -> Result<bool, Fault> {
    let ballot = json!({"process_id": id, "voter": voter, "choices": choices});
    match api.perform("co-op", "ballot.cast", ballot).await {
        Ok(receipt) => Ok(receipt["replaced"].as_bool().unwrap()),
        refused => Err(fault(refused)),
    }
}

/// Every sixteenth voter votes, then every second of them changes their mind, then the
/// first of them does so again and again until it is too late.
async fn vote(api: Api, id: String, connection: usize) -> Acknowledged {
    let (mut last, mut count) = (BTreeMap::new(), 0);
    let mine = || (connection..VOTERS).step_by(CONNECTIONS);
    let once = mine().map(|voter| (voter, 0));
    let twice = mine()
        .filter(|voter| (voter / CONNECTIONS).is_multiple_of(2))
        .map(|voter| (voter, 1));
    for (voter, round) in once.chain(twice) {
        let choices = choices(voter, round);
        let replaced = cast(&api, &id, &name(voter), &choices).await;
        assert_eq!(replaced, Ok(round > 0), "a ballot before the close");
        last.insert(name(voter), choices);
        count += 1;
    }
    for round in 2.. {
        let choices = choices(connection, round);
        match cast(&api, &id, &name(connection), &choices).await {
            Ok(_) => last.insert(name(connection), choices),
            Err(late) => {
                assert!(
                    late.is(Code::FailedPrecondition, "PROCESS_DONE"),
                    "{late:?}"
                );
                break;
            }
        };
        count += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    (last, count)
}

/// Everyone votes, each connection for its share; what was acknowledged.
async fn vote_all(gateway: &Gateway, id: &str) -> Acknowledged {
    let mut crowd = Vec::new();
    for connection in 0..CONNECTIONS {
        let api = gateway.connect().await;
        crowd.push(tokio::spawn(vote(api, id.to_owned(), connection)));
    }
    let (mut last, mut count) = (BTreeMap::new(), 0);
    for voter in crowd {
        let (more, acknowledged) = voter.await.unwrap();
        last.extend(more);
        count += acknowledged;
    }
    (last, count)
}

/// Reads on until the process is done: every state of it, with what that takes in the
/// feed.
async fn read_all(mut watcher: Watcher) -> (Vec<Process>, usize) {
    let (mut states, mut bytes) = (Vec::new(), 0);
    loop {
        let event = watcher.next().await;
        bytes += event.encoded_len();
        let Some(Payload::ProcessChanged(changed)) = event.payload else {
            panic!("the filter lets changes of the process pass, not {event:?}")
        };
        let process = changed.process.unwrap();
        let done = process.state() == ProcessState::Completed;
        states.push(process);
        if done {
            return (states, bytes);
        }
    }
}

async fn start(api: &Api, open_for: Duration) -> Process {
    let everyone: Vec<String> = (0..VOTERS).map(name).collect();
    let parameters = json!({
        "title": "What becomes of the field behind the school?",
        "details": "The council keeps whatever is decided for ten years.",
        "options": OPTIONS,
        "method": "approval",
        "eligible_voters": everyone,
        "quorum": 500,
    });
    let request = StartProcessRequest {
        community_id: "co-op".into(),
        process_type: "ballot.vote".into(),
        parameters: object(parameters),
        close_time: Some(after(open_for)),
        ..Default::default()
    };
    api.start_request(request).await.unwrap()
}

/// The tally says what was acknowledged, and nothing else.
fn assert_exact(process: &Process, last: &BTreeMap<String, Vec<&str>>) {
    let tally = process.tally.as_ref().unwrap();
    assert_eq!(tally.voter_count, Some(last.len() as i64));
    assert_eq!(tally.eligible_count, Some(VOTERS as i64));
    for (option, expected) in tally.options.iter().zip(OPTIONS) {
        assert_eq!(option.option, expected);
        let chose = last
            .iter()
            .filter(|(_, choices)| choices.contains(&expected));
        let chose: Vec<&String> = chose.map(|(voter, _)| voter).collect();
        assert_eq!(option.count, chose.len() as i64, "{expected}");
        let named: Vec<&String> = option.user_ids.iter().collect();
        assert_eq!(named, chose, "{expected}");
    }
    let most = tally.options.iter().map(|option| option.count).max();
    let lead = tally
        .options
        .iter()
        .filter(|option| Some(option.count) == most);
    let lead: Vec<&str> = lead.map(|option| option.option.as_str()).collect();
    assert_eq!(plain(process.outcome.clone())["winners"], json!(lead));
}

/// What the payloads of all events take in the database.
async fn stored(gateway: &Gateway) -> usize {
    let bytes = "SELECT CAST(SUM(OCTET_LENGTH(payload)) AS BIGINT) FROM event";
    let bytes: Vec<i64> = gateway.home().ask(bytes).await;
    usize::try_from(bytes[0]).unwrap()
}

fn bytes(events: &[Event]) -> usize {
    events.iter().map(Message::encoded_len).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_voters_are_counted_exactly() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.enable("co-op", "ballot", json!({})).await;
    let before = bytes(&api.log().await);
    let started = start(api, Duration::from_secs(60)).await;
    let id = started.process_id.clone();
    let request = WatchEventsRequest {
        filter: Some(EventFilter {
            process_ids: vec![id.clone()],
            ..Default::default()
        }),
        start: Some(metagov_proto::v1::watch_events_request::Start::StartAt(
            metagov_proto::v1::StartAt::Earliest.into(),
        )),
        ..Default::default()
    };
    let watcher = api.watch_request(request).await.unwrap();
    let reader = tokio::spawn(read_all(watcher));

    let (last, acknowledged) = vote_all(&gateway, &id).await;
    let (states, streamed) = reader.await.unwrap();
    assert_eq!(last.len(), VOTERS);
    let closed = api.process(&id).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(closed.end_reason, "its close_time has come");
    assert!(closed.end_time.unwrap().seconds >= started.close_time.unwrap().seconds);
    assert_exact(&closed, &last);

    // Every ballot moved the tally; the first event is the start, the last the close.
    let revisions: Vec<i64> = states.iter().map(|state| state.revision).collect();
    let expected: Vec<i64> = (1..=closed.revision).collect();
    assert_eq!(
        revisions, expected,
        "every revision in order, without a hole"
    );
    assert_eq!(revisions.len(), acknowledged + 2);
    let seen = states.last().unwrap();
    assert_eq!(
        (seen.revision, &seen.outcome),
        (closed.revision, &closed.outcome)
    );

    let logged = bytes(&api.log().await) - before;
    assert_eq!(
        logged, streamed,
        "the log has the same events as the stream"
    );
    let stored = stored(&gateway).await;
    println!(
        "{VOTERS} voters, {acknowledged} ballots, {} revisions: {logged} bytes of events, \
         stored as {stored}",
        closed.revision
    );
    assert!(
        logged < LOG_LIMIT && stored < LOG_LIMIT,
        "{logged}, {stored}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_than_a_thousand_voters_are_counted_and_not_named() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.enable("co-op", "ballot", json!({})).await;
    let question = json!({"title": "All?", "options": ["yes", "no"]});
    let started = api.start("co-op", "ballot.vote", question).await.unwrap();
    let id = started.process_id;
    let crowd = (0..CONNECTIONS).map(|connection| {
        let (api, id) = (api.clone(), id.clone());
        tokio::spawn(async move {
            for voter in (connection..VOTERS).step_by(CONNECTIONS) {
                cast(&api, &id, &name(voter), &["yes"]).await.unwrap();
            }
        })
    });
    for voter in crowd.collect::<Vec<_>>() {
        voter.await.unwrap();
    }
    let tally = api.process(&id).await.unwrap().tally.unwrap();
    let named: Vec<String> = (0..VOTERS).map(name).collect();
    assert_eq!(tally.options[0].user_ids, named);
    cast(api, &id, "one more", &["yes"]).await.unwrap();
    let tally = api.process(&id).await.unwrap().tally.unwrap();
    assert_eq!(
        (tally.options[0].count, tally.voter_count),
        (1001, Some(1001))
    );
    assert_eq!(tally.options[0].user_ids, Vec::<String>::new());
}
