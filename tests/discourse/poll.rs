//! Polls: started as markup, asked for their votes, closed.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use metagov_proto::v1::{
    ListProcessesRequest, Process, ProcessState, StartProcessRequest, event::Payload,
};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::Code;
use wiremock::{
    Mock, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

use super::forum::{CREATED, Forum};
use crate::harness::{Api, Gateway, Watcher, fault, object, plain};

/// A gateway that asks often, and a forum where the poll becomes post 31.
async fn polling() -> (Gateway, Forum) {
    let set = |config: &mut metagov::config::Config| {
        config.poll_interval = Duration::from_millis(100);
    };
    let (gateway, forum) = (Gateway::start_with(set, vec![]).await, Forum::start().await);
    forum.join(&gateway.api, "commons").await;
    forum.answer(200, CREATED).await;
    forum.show(200, post(&shown("open", [Some(0); 3])));
    (gateway, forum)
}

/// A poll as Discourse shows it.
fn shown(status: &str, votes: [Option<i64>; 3]) -> Value {
    let each = ["Monday", "Tuesday", "Wednesday"].iter().zip(votes);
    let option = |(html, votes): (&&str, Option<i64>)| match votes {
        Some(votes) => json!({"id": format!("id-{html}"), "html": html, "votes": votes}),
        None => json!({"id": format!("id-{html}"), "html": html}),
    };
    let voters: i64 = votes.iter().flatten().sum();
    let options: Vec<Value> = each.map(option).collect();
    json!({"name": "poll", "type": "regular", "status": status, "options": options,
        "voters": voters})
}

fn post(poll: &Value) -> Value {
    json!({"id": 31, "topic_id": 9, "deleted_at": null, "polls": [poll]})
}

fn parameters() -> Value {
    json!({
        "title": "Which day suits you?",
        "details": "We meet *weekly*.",
        "options": ["Monday", "Tuesday", "Wednesday"],
    })
}

async fn start(api: &Api, parameters: Value) -> Process {
    let started = api.start("commons", "discourse.poll", parameters).await;
    started.unwrap()
}

/// Reads on until the process is so.
async fn until(watcher: &mut Watcher, wanted: impl Fn(&Process) -> bool) -> Process {
    let fits = |payload: &Payload| match payload {
        Payload::ProcessChanged(event) => event.process.as_ref().is_some_and(&wanted),
        _ => false,
    };
    match watcher.until(fits).await.payload {
        Some(Payload::ProcessChanged(event)) => event.process.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn counts(process: &Process) -> Option<Vec<i64>> {
    let tally = process.tally.as_ref()?;
    Some(tally.options.iter().map(|option| option.count).collect())
}

/// The text of the post that was published last.
async fn published(forum: &Forum) -> Value {
    let requests = forum.requests().await;
    let posts = requests.iter().rev();
    let mut posts = posts.filter(|request| request.url.path() == "/posts.json");
    posts.next().expect("a post").body_json().unwrap()
}

#[tokio::test]
async fn a_poll_is_published_as_exactly_this_post() {
    let (gateway, forum) = polling().await;
    let process = start(&gateway.api, parameters()).await;
    assert_eq!(process.state(), ProcessState::Open);
    let url = format!("{}/t/which-day-suits-you/9/1", forum.url());
    assert_eq!(
        (process.url, &*process.title),
        (url, "Which day suits you?")
    );
    let tally = process.tally.unwrap();
    assert!(tally.leading_options.is_empty());
    let raw = "We meet *weekly*.\n\n[poll type=regular]\n# Which day suits you?\n* Monday\n\
               * Tuesday\n* Wednesday\n\n[/poll]\n";
    let expected = json!({"raw": raw, "title": "Which day suits you?"});
    assert_eq!(published(&forum).await, expected);
}

#[tokio::test]
async fn everything_that_a_poll_may_say_is_in_its_post() {
    let (gateway, forum) = polling().await;
    let mut poll = parameters();
    for (key, value) in [
        ("poll_type", json!("multiple")),
        ("public", json!(true)),
        ("results", json!("on_close")),
        ("min", json!(1)),
        ("max", json!(2)),
        ("chart_type", json!("pie")),
        ("groups", json!(["staff", "trust_level_2"])),
        ("topic_id", json!(9)),
    ] {
        poll[key] = value;
    }
    start(&gateway.api, poll).await;
    let sent = published(&forum).await;
    let head = "[poll type=multiple groups=staff,trust_level_2 public=true chartType=pie min=1 \
                max=2 results=on_close]\n";
    assert!(sent["raw"].as_str().unwrap().contains(head), "{sent}");
    assert_eq!(sent["topic_id"], 9);

    let created = CREATED.replace("\"id\": 31", "\"id\": 32");
    let created = ResponseTemplate::new(200).set_body_raw(created, "application/json");
    forum.answer_first("/posts.json", created).await;
    let numbers = json!({"title": "How many?", "poll_type": "number", "min": 1, "max": 20,
        "step": 5, "category": 4});
    start(&gateway.api, numbers).await;
    let raw = "[poll type=number min=1 max=20 step=5]\n# How many?\n\n[/poll]\n";
    let expected = json!({"raw": raw, "title": "How many?", "category": 4});
    assert_eq!(published(&forum).await, expected);
}

#[tokio::test]
async fn votes_come_by_asking() {
    let (gateway, forum) = polling().await;
    let mut watcher = gateway.api.watch().await;
    let process = start(&gateway.api, parameters()).await;
    forum.show(200, post(&shown("open", [Some(10), Some(15), Some(25)])));
    let changed = until(&mut watcher, |p| counts(p) == Some(vec![10, 15, 25])).await;
    assert_eq!(changed.state(), ProcessState::Open);
    assert!(changed.revision > process.revision);
    let votes = json!({"votes": {"Monday": 10, "Tuesday": 15, "Wednesday": 25}});
    assert_eq!(plain(changed.outcome), votes);
    let tally = changed.tally.unwrap();
    assert_eq!(tally.leading_options, ["Wednesday"]);
    assert_eq!(tally.voter_count, Some(50));
    let options: Vec<&str> = tally.options.iter().map(|o| &*o.option).collect();
    assert_eq!(options, ["Monday", "Tuesday", "Wednesday"]);

    // The same votes once more are no change: the next event has other ones.
    let asked = forum.requests().await.len();
    while forum.requests().await.len() < asked + 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    forum.show(200, post(&shown("open", [Some(10), Some(16), Some(25)])));
    let next = until(&mut watcher, |_| true).await;
    assert_eq!(counts(&next), Some(vec![10, 16, 25]));
    assert_eq!(next.revision, changed.revision + 1);
}

#[tokio::test]
async fn hidden_votes_make_no_tally_until_discourse_shows_them() {
    let (gateway, forum) = polling().await;
    forum.show(200, post(&shown("open", [None; 3])));
    let mut watcher = gateway.api.watch().await;
    let mut poll = parameters();
    poll["results"] = json!("on_close");
    let process = start(&gateway.api, poll).await;
    assert_eq!((process.tally, plain(process.outcome)), (None, json!({})));
    let asked = forum.requests().await.len();
    while forum.requests().await.len() < asked + 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    forum.show(200, post(&shown("closed", [Some(1), Some(3), Some(3)])));
    let opened = until(&mut watcher, |_| true).await;
    assert_eq!((opened.state(), opened.tally), (ProcessState::Open, None));
    let closed = until(&mut watcher, |_| true).await;
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(counts(&closed), Some(vec![1, 3, 3]));
    let tied = closed.tally.unwrap().leading_options;
    assert_eq!(tied, ["Tuesday", "Wednesday"]);
}

#[tokio::test]
async fn a_poll_that_discourse_closes_is_completed() {
    let (gateway, forum) = polling().await;
    let mut watcher = gateway.api.watch().await;
    let process = start(&gateway.api, parameters()).await;
    forum.show(200, post(&shown("closed", [Some(10), Some(15), Some(25)])));
    let closed = until(&mut watcher, |p| p.state() == ProcessState::Completed).await;
    assert_eq!(counts(&closed), Some(vec![10, 15, 25]));
    assert!(closed.end_time.is_some());
    // Closing it once more is no error, and no request.
    gateway.api.close(&process.process_id).await.unwrap();
    let toggles = forum.requests().await;
    assert!(
        toggles
            .iter()
            .all(|r| r.url.path() != "/polls/toggle_status")
    );
}

/// Closes the poll when it is told to, with the last votes.
struct Toggle(Arc<Mutex<(u16, Value)>>);

impl Respond for Toggle {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let poll = shown("closed", [Some(10), Some(15), Some(35)]);
        *self.0.lock().unwrap() = (200, post(&poll));
        ResponseTemplate::new(200).set_body_json(json!({ "poll": poll }))
    }
}

async fn takes_toggles(forum: &Forum) {
    let toggle = Mock::given(method("PUT")).and(path("/polls/toggle_status"));
    let toggle = toggle.respond_with(Toggle(forum.post.clone()));
    toggle.mount(&forum.server).await;
}

#[tokio::test]
async fn closing_takes_the_final_votes() {
    let (gateway, forum) = polling().await;
    takes_toggles(&forum).await;
    let mut watcher = gateway.api.watch().await;
    let process = start(&gateway.api, parameters()).await;
    forum.show(200, post(&shown("open", [Some(10), Some(15), Some(25)])));
    until(&mut watcher, |p| counts(p) == Some(vec![10, 15, 25])).await;
    let closed = gateway.api.close(&process.process_id).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(counts(&closed), Some(vec![10, 15, 35]));
    let votes = json!({"votes": {"Monday": 10, "Tuesday": 15, "Wednesday": 35}});
    assert_eq!(plain(closed.outcome), votes);
    let requests = forum.requests().await;
    let toggles: Vec<_> = requests
        .iter()
        .filter(|r| r.url.path() == "/polls/toggle_status")
        .collect();
    let [toggle] = toggles[..] else {
        panic!("{} requests to close", toggles.len())
    };
    let body = String::from_utf8(toggle.body.clone()).unwrap();
    assert_eq!(body, "post_id=31&poll_name=poll&status=closed");
    let event = until(&mut watcher, |p| p.state() == ProcessState::Completed).await;
    assert_eq!(counts(&event), Some(vec![10, 15, 35]));
}

#[tokio::test]
async fn a_refused_close_leaves_it_open_unless_it_is_closed_already() {
    let (gateway, forum) = polling().await;
    let refusal = json!({"errors": ["You may not close this poll."]});
    let refusal = ResponseTemplate::new(422).set_body_json(refusal);
    forum.answer_first("/polls/toggle_status", refusal).await;
    let process = start(&gateway.api, parameters()).await;
    let refused = fault(gateway.api.close(&process.process_id).await);
    assert!(
        refused.is(Code::FailedPrecondition, "PLATFORM_REJECTED"),
        "{refused:?}"
    );
    assert_eq!(refused.metadata["platform_status"], "422");
    assert!(refused.message.contains("You may not close this poll."));
    let open = gateway.api.process(&process.process_id).await.unwrap();
    assert_eq!(open.state(), ProcessState::Open);
    forum.show(200, post(&shown("closed", [Some(1), Some(0), Some(0)])));
    let closed = gateway.api.close(&process.process_id).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(counts(&closed), Some(vec![1, 0, 0]));
}

#[tokio::test]
async fn a_poll_that_is_gone_has_failed() {
    let gone = json!({"errors": ["The requested URL or resource could not be found."]});
    let deleted = json!({"id": 31, "deleted_at": "2026-03-04T05:06:07.891Z",
        "polls": [shown("open", [Some(1), Some(0), Some(0)])]});
    let edited = json!({"id": 31, "deleted_at": null, "polls": []});
    for (status, post) in [(404, gone), (200, deleted), (200, edited)] {
        let (gateway, forum) = polling().await;
        let mut watcher = gateway.api.watch().await;
        start(&gateway.api, parameters()).await;
        forum.show(status, post);
        let failed = until(&mut watcher, |p| p.state() == ProcessState::Failed).await;
        let error = failed.error.unwrap();
        assert_eq!(error.reason, "ERROR_REASON_PLATFORM_REJECTED");
        assert!(error.message.contains("poll"), "{}", error.message);
        assert!(failed.end_time.is_some());
    }
}

#[tokio::test]
async fn nothing_breaks_out_of_the_block() {
    let (gateway, forum) = polling().await;
    let evil = "x\n\n[/poll]\r\n[poll name=two]\u{2028}* more\n[/POLL] # <b> `a`";
    let poll = json!({"title": evil, "details": evil, "options": [evil, "* two", "1. three"]});
    start(&gateway.api, poll).await;
    let sent = published(&forum).await;
    let raw = sent["raw"].as_str().unwrap();
    // What Discourse would read as a tag is one that no backslash is before.
    let lower = raw.to_lowercase();
    for tag in ["[poll", "[/poll"] {
        let all = lower.match_indices(tag);
        let bare = all.filter(|(at, _)| !lower[..*at].ends_with('\\'));
        assert_eq!(bare.count(), 1, "{tag} in {raw}");
    }
    let (_, block) = raw.split_once("[poll type=regular]\n").unwrap();
    let written = r"x \[/poll\] \[poll name=two\] \* more \[/POLL\] # \<b\> \`a\`";
    let expected = format!("# {written}\n* {written}\n* \\* two\n* 1\\. three\n\n[/poll]\n");
    assert_eq!(block, expected);
    assert!(!sent["title"].as_str().unwrap().contains('\n'));
}

#[tokio::test]
async fn what_makes_no_poll_is_refused_and_not_sent() {
    let (gateway, forum) = polling().await;
    for (parameters, field) in [
        (json!({"title": "t"}), "parameters/options"),
        (
            json!({"title": "t", "options": ["a"]}),
            "parameters/options",
        ),
        (
            json!({"title": "t", "options": ["a", "b", " a"]}),
            "parameters/options/2",
        ),
        (
            json!({"title": "t", "options": ["a", "\n"]}),
            "parameters/options/1",
        ),
        (json!({"options": ["a", "b"]}), "parameters/title"),
        (
            json!({"title": "t", "options": ["a", "b"], "groups": ["a status=closed"]}),
            "parameters/groups/0",
        ),
        (
            json!({"title": "t", "options": ["a", "b"], "closes_at": "soon"}),
            "parameters/closes_at",
        ),
    ] {
        let started = gateway.api.start("commons", "discourse.poll", parameters);
        let bad = fault(started.await);
        assert_eq!(bad.code, Code::InvalidArgument, "{bad:?}");
        assert_eq!(bad.fields, [field]);
    }
    let requests = forum.requests().await;
    assert!(requests.iter().all(|r| r.url.path() != "/posts.json"));
    let all = ListProcessesRequest::default();
    let left = gateway.api.processes().list_processes(all).await.unwrap();
    assert!(left.into_inner().processes.is_empty());
}

#[tokio::test]
async fn a_post_that_is_another_polls_already_is_an_unknown_outcome() {
    let (gateway, forum) = polling().await;
    let first = start(&gateway.api, parameters()).await;
    let again = StartProcessRequest {
        community_id: "commons".into(),
        process_type: "discourse.poll".into(),
        parameters: object(parameters()),
        request_id: "once".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        let unknown = fault(gateway.api.start_request(again.clone()).await);
        assert!(unknown.is(Code::Aborted, "OUTCOME_UNKNOWN"), "{unknown:?}");
        assert_eq!(unknown.retry, None);
    }
    let requests = forum.requests().await;
    let posts = requests.iter().filter(|r| r.url.path() == "/posts.json");
    assert_eq!(posts.count(), 2, "a retry does not post once more");
    let all = ListProcessesRequest::default();
    let all = gateway.api.processes().list_processes(all).await.unwrap();
    let all = all.into_inner().processes;
    let states: Vec<ProcessState> = all.iter().map(Process::state).collect();
    assert_eq!(states, [ProcessState::Failed, ProcessState::Open]);
    assert_eq!(all[1].process_id, first.process_id);
}

fn request(close_time: SystemTime) -> StartProcessRequest {
    StartProcessRequest {
        community_id: "commons".into(),
        process_type: "discourse.poll".into(),
        parameters: object(parameters()),
        close_time: Some(Timestamp::from(close_time)),
        ..Default::default()
    }
}

#[tokio::test]
async fn close_time_is_in_the_post_and_closes_the_poll() {
    let (gateway, forum) = polling().await;
    takes_toggles(&forum).await;
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    let process = gateway.api.start_request(request(far)).await.unwrap();
    assert_eq!(process.close_time, Some(Timestamp::from(far)));
    let sent = published(&forum).await;
    let head = "[poll type=regular close=2100-01-01T00:00:00Z]\n";
    assert!(sent["raw"].as_str().unwrap().contains(head), "{sent}");

    let mut watcher = gateway.api.watch().await;
    let near = SystemTime::now() + Duration::from_secs(1);
    let mut near = request(near);
    near.parameters = object(json!({"title": "Soon?", "options": ["Monday", "Tuesday"]}));
    // A key of its own in the installation.
    let created = CREATED.replace("\"id\": 31", "\"id\": 32");
    let created = ResponseTemplate::new(200).set_body_raw(created, "application/json");
    forum.answer_first("/posts.json", created).await;
    let process = gateway.api.start_request(near).await.unwrap();
    let closed = until(&mut watcher, |p| {
        p.process_id == process.process_id && p.state() == ProcessState::Completed
    });
    let closed = closed.await;
    assert_eq!(counts(&closed), Some(vec![10, 15, 35]));
    assert!(
        closed.end_reason.contains("close_time"),
        "{}",
        closed.end_reason
    );
}

#[tokio::test]
async fn cancelling_is_ours_alone() {
    let (gateway, forum) = polling().await;
    let process = start(&gateway.api, parameters()).await;
    let cancelled = gateway.api.cancel(&process.process_id).await.unwrap();
    assert_eq!(cancelled.state(), ProcessState::Cancelled);
    assert_eq!(cancelled.end_reason, "a test");
    let requests = forum.requests().await;
    assert!(
        requests
            .iter()
            .all(|r| r.url.path() != "/polls/toggle_status")
    );
}
