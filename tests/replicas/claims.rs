//! What is due is claimed: by one gateway at a time, and by another if that one is gone.

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use futures::future::join_all;
use metagov::config::Config;
use metagov_proto::v1::{Process, ProcessState};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use super::{completions, done, start_until, two_with_stand, two_with_stand_as};
use crate::{
    fakes::{Forum, asked, ok},
    harness::{Api, Binary, Gateway, Home, Kind, PATIENCE},
    stand::{self, shown},
};

/// How long after its close_time a process was closed.
fn late(process: &Process) -> Duration {
    let time = |time: Option<prost_types::Timestamp>| SystemTime::try_from(time.unwrap()).unwrap();
    let late = time(process.end_time).duration_since(time(process.close_time));
    late.expect("it was closed before its time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_fires_once_with_three_replicas() {
    let (first, second, stand) = two_with_stand().await;
    let third = first.replica(|_| (), vec![stand::plugin()]).await;
    let mut started = Vec::new();
    for api in [&first.api, &second.api, &third.api].repeat(8) {
        started.push(start_until(api, "stand.vote", Duration::from_secs(3)).await);
    }
    for process in &started {
        let closed = done(&second.api, &process.process_id).await;
        assert_eq!(closed.state(), ProcessState::Completed);
        assert_eq!(closed.end_reason, "its close_time has come");
        // Two seconds are promised of most; this machine may have much else to do.
        assert!(
            late(&closed) < Duration::from_secs(5),
            "{:?}",
            late(&closed)
        );
        assert_eq!(completions(&first.api, &process.process_id).await, 1);
    }
    assert_eq!(stand.heard("POST /close").await, started.len());
}

/// A gateway that is thought to be dead, and is not: its close hangs.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_under_a_claim_that_was_lost_is_not_written() {
    // Longer than it takes on a busy machine until another gateway looks.
    let hang = Duration::from_secs(12);
    let patient = |config: &mut Config| config.outgoing.call_timeout = 3 * hang;
    let (first, second, stand) = two_with_stand_as(patient).await;
    let slow = shown("closed", 1).set_delay(hang);
    stand.says("POST /close", slow);
    let process = start_until(&first.api, "stand.vote", Duration::from_secs(2)).await;
    stand.hears("POST /close", 1).await;
    stand.says("POST /close", shown("closed", 2));
    // Whoever has it has not said that it lives for a year.
    let home = first.home();
    let silenced = "UPDATE replica SET expire_time = 0 WHERE id =
        (SELECT claim_replica_id FROM process WHERE claim_replica_id IS NOT NULL)";
    assert_eq!(home.run(silenced).await, 1);
    let closed = done(&second.api, &process.process_id).await;
    assert_eq!(crate::harness::plain(closed.outcome)["yes"], json!(2));
    assert_eq!(stand.heard("POST /close").await, 2);
    // The first answer comes, and changes nothing.
    tokio::time::sleep(hang).await;
    let after = first.api.process(&process.process_id).await.unwrap();
    assert_eq!(crate::harness::plain(after.outcome)["yes"], json!(2));
    assert_eq!(completions(&first.api, &process.process_id).await, 1);
    assert_eq!(stand.heard("POST /close").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_hangs_holds_up_neither_other_replicas_nor_the_rest() {
    let (first, second, stand) = two_with_stand().await;
    first.api.enable("co-op", "ballot", json!({})).await;
    let never = shown("closed", 1).set_delay(Duration::from_secs(60));
    stand.says("POST /close", never);
    let soon = Duration::from_secs(2);
    let hanging = (0..150).map(|_| start_until(&first.api, "stand.vote", soon));
    join_all(hanging).await;
    let other = start_until(&second.api, "ballot.vote", Duration::from_secs(3)).await;
    let closed = done(&first.api, &other.process_id).await;
    assert!(
        late(&closed) < Duration::from_secs(5),
        "{:?}",
        late(&closed)
    );
}

/// A forum with a poll that can be asked for its votes.
async fn forum() -> Forum {
    let forum = Forum::start().await;
    let created = include_str!("../platforms/discourse/created.json");
    let created = ResponseTemplate::new(200).set_body_raw(created, "application/json");
    let posts = Mock::given(path("/posts.json")).respond_with(created);
    posts.mount(&forum.server).await;
    shows(&forum.server, ok(&post("open"))).await;
    forum
}

async fn shows(server: &MockServer, answer: ResponseTemplate) {
    let shown = Mock::given(path(POST)).respond_with(answer);
    shown.with_priority(9).mount(server).await;
}

const POST: &str = "/posts/31.json";

fn post(status: &str) -> Value {
    let options = ["Monday", "Tuesday"]
        .map(|html| json!({"id": format!("id-{html}"), "html": html, "votes": 3}));
    json!({"id": 31, "topic_id": 9, "deleted_at": null, "polls": [{"name": "poll",
        "type": "regular", "status": status, "options": options, "voters": 6}]})
}

/// The first answer is slow, and says that the poll is closed.
async fn dawdles(forum: &Forum, delay: Duration) {
    let slow = ok(&post("closed")).set_delay(delay);
    let once = Mock::given(path(POST)).respond_with(slow);
    let once = once.up_to_n_times(1).with_priority(1);
    once.mount(&forum.server).await;
}

const OFTEN: [&str; 2] = ["--poll-interval", "200ms"];

/// A real gateway that asks a forum, which does not answer it.
async fn hanging(home: &Home, forum: &Forum, delay: Duration) -> (Binary, Api, Process) {
    let first = Binary::serve(home, &OFTEN);
    let api = first.api().await;
    api.community("co-op").await;
    api.enable("co-op", "discourse", forum.config()).await;
    let poll = json!({"title": "Which day suits you?", "details": "We meet weekly.",
        "options": ["Monday", "Tuesday"]});
    let process = api.start("co-op", "discourse.poll", poll).await.unwrap();
    hears(forum, 1).await;
    dawdles(forum, delay).await;
    // Two more: the first of them may have come before.
    let heard = asked(&forum.server, "GET", POST).await;
    hears(forum, heard + 1).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    (first, api, process)
}

async fn hears(forum: &Forum, times: usize) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while asked(&forum.server, "GET", POST).await < times {
        assert!(
            tokio::time::Instant::now() < until,
            "not asked {times} times"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_replica_had_claimed_is_taken_over_within_seconds() {
    let (home, forum) = (Home::on(Kind::Postgres), forum().await);
    let (first, _, _) = hanging(&home, &forum, Duration::from_secs(50)).await;
    let second = Binary::replica(&home, &OFTEN, &[]);
    let heard = asked(&forum.server, "GET", POST).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let still = asked(&forum.server, "GET", POST).await;
    assert_eq!(still, heard, "it is the first one's while that lives");
    first.kill();
    let killed = std::time::Instant::now();
    hears(&forum, heard + 1).await;
    assert!(
        killed.elapsed() < Duration::from_secs(9),
        "{:?}",
        killed.elapsed()
    );
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_stopped_writes_nothing_once_it_wakes() {
    let (home, forum) = (Home::on(Kind::Postgres), forum().await);
    let (first, _, process) = hanging(&home, &forum, Duration::from_secs(9)).await;
    let second = Binary::replica(&home, &OFTEN, &[]);
    let heard = asked(&forum.server, "GET", POST).await;
    signal(&first, "-STOP");
    hears(&forum, heard + 1).await;
    // By now the answer that it waits for has come: the poll is closed, it says.
    tokio::time::sleep(Duration::from_secs(6)).await;
    signal(&first, "-CONT");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let api = Api::connect(&second.endpoint, &first.token).await;
    let now = api.process(&process.process_id).await.unwrap();
    assert_eq!(now.state(), ProcessState::Open);
    assert_eq!(completions(&api, &process.process_id).await, 0);
}

fn signal(server: &Binary, signal: &str) {
    let pid = server.pid().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_gives_back_what_it_has() {
    let (first, second, _stand) = two_with_stand().await;
    let home = first.home().database_url().unwrap().to_owned();
    assert_eq!(second.home().database_url(), Some(home.as_str()));
    let alive = "SELECT COUNT(*) FROM replica";
    assert_eq!(second.home().ask::<i64>(alive).await, [2]);
    let _home = first.stop().await;
    assert_eq!(second.home().ask::<i64>(alive).await, [1]);
}

/// It took the thing for lost, since it was late by its own clock; by the database's it was
/// not, and lives on.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_under_a_gateway_that_lives_and_does_not_do_it_is_done() {
    let (first, _second, stand) = two_with_stand().await;
    let process = start_until(&first.api, "stand.vote", Duration::from_secs(3)).await;
    let claimed = "UPDATE process SET claim_number = 7,
        claim_replica_id = (SELECT id FROM replica LIMIT 1)";
    first.home().run(claimed).await;
    let closed = done(&first.api, &process.process_id).await;
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(stand.heard("POST /close").await, 1);
}

/// On a database of its own one gateway needs no others to take over from itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_before_a_restart_is_done_after_it() {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    gateway.api.enable("co-op", "ballot", json!({})).await;
    let process = start_until(&gateway.api, "ballot.vote", Duration::from_secs(3)).await;
    let gateway = gateway
        .restart_after(async |home: &Home| {
            // As if it had been killed in the midst of it.
            let claimed = "UPDATE process SET claim_number = 7,
                claim_replica_id = (SELECT id FROM replica)";
            home.run(claimed).await;
        })
        .await;
    let closed = done(&gateway.api, &process.process_id).await;
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(completions(&gateway.api, &process.process_id).await, 1);
}
