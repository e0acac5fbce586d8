//! What happens by the clock: processes close at their time, and platforms that send no
//! hooks are asked.

use std::time::Duration;

use metagov::plugins::kit::Plugin;
use metagov_proto::v1::{
    ChangeKind, GetInstallationRequest, Installation, InstallationChanged, Process, ProcessState,
    WatchProcessRequest, event::Payload,
};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::{
    harness::{Api, Gateway, PATIENCE, Watcher, plain},
    stand::{self, Stand, shown, start_until},
};

const OFTEN: Duration = Duration::from_millis(100);

/// A gateway that asks platforms often, with the plugins of the tests.
async fn that_polls() -> Gateway {
    let plugins = vec![stand::plugin(), stand::crier()];
    Gateway::start_with(|config| config.poll_interval = OFTEN, plugins).await
}

/// A gateway that asks platforms so seldom that no test sees it.
async fn that_waits() -> Gateway {
    let seldom = Duration::from_secs(24 * 3600);
    let set = |config: &mut metagov::config::Config| config.poll_interval = seldom;
    Gateway::start_with(set, vec![stand::plugin()]).await
}

async fn start(api: &Api, community: &str) -> Process {
    api.start(community, "stand.vote", json!({})).await.unwrap()
}

/// The process once it is as wanted.
async fn once(api: &Api, id: &str, wanted: impl Fn(&Process) -> bool) -> Process {
    let request = WatchProcessRequest {
        process_id: id.to_owned(),
        heartbeat_interval: None,
    };
    let answer = api.processes().watch_process(request).await.unwrap();
    let mut stream = answer.into_inner();
    let found = async {
        while let Some(message) = stream.message().await.unwrap() {
            let process = message.process.unwrap();
            if wanted(&process) {
                return process;
            }
        }
        panic!("it is done and never was as wanted")
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.expect("it stays otherwise")
}

async fn once_done(api: &Api, id: &str) -> Process {
    once(api, id, |process| process.end_time.is_some()).await
}

/// The next change of a process in the feed.
async fn next_change(watcher: &mut Watcher) -> Process {
    let event = watcher.until(|p| matches!(p, Payload::ProcessChanged(_)));
    match event.await.payload {
        Some(Payload::ProcessChanged(changed)) => changed.process.unwrap(),
        _ => unreachable!(),
    }
}

/// The next change of an installation in the feed.
async fn next_installation(watcher: &mut Watcher) -> InstallationChanged {
    let event = watcher.until(|p| matches!(p, Payload::InstallationChanged(_)));
    match event.await.payload {
        Some(Payload::InstallationChanged(changed)) => changed,
        _ => unreachable!(),
    }
}

async fn installation(api: &Api, id: &str) -> Installation {
    let request = GetInstallationRequest {
        installation_id: id.to_owned(),
    };
    let answer = api.plugins().get_installation(request).await.unwrap();
    answer.into_inner().installation.unwrap()
}

/// Whether `later` is not before `earlier`.
fn not_before(
    later: Option<prost_types::Timestamp>,
    earlier: Option<prost_types::Timestamp>,
) -> bool {
    let parts = |time: Option<prost_types::Timestamp>| time.map(|t| (t.seconds, t.nanos));
    parts(later) >= parts(earlier)
}

#[tokio::test]
async fn close_time_closes_and_keeps_the_outcome() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.enable("co-op", "ballot", json!({})).await;
    let started = start_until(api, "ballot.vote", Duration::from_secs(5)).await;
    let ballot = json!({"process_id": started.process_id, "voter": "ada", "choices": ["soup"]});
    api.perform("co-op", "ballot.cast", ballot).await.unwrap();
    let closed = once_done(api, &started.process_id).await;
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(closed.close_time, started.close_time);
    assert!(not_before(closed.end_time, closed.close_time));
    assert_eq!(closed.end_reason, "its close_time has come");
    assert_eq!(plain(closed.outcome)["winners"], json!(["soup"]));
    assert_eq!(closed.revision, 3);
}

#[tokio::test]
async fn close_time_fires_after_a_restart() {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    gateway.api.enable("co-op", "ballot", json!({})).await;
    // One is due while nobody is there, the other after.
    let due = start_until(&gateway.api, "ballot.vote", Duration::from_secs(5)).await;
    let later = start_until(&gateway.api, "ballot.vote", Duration::from_secs(10)).await;
    let at = std::time::SystemTime::try_from(due.close_time.unwrap()).unwrap();
    assert_eq!(gateway.api.process(&due.process_id).await.unwrap(), due);
    let gateway = gateway.restart_after(async move |_| {
        let left = at.duration_since(std::time::SystemTime::now());
        tokio::time::sleep(left.unwrap_or_default()).await;
    });
    let gateway = gateway.await;
    for process in [due, later] {
        let closed = once_done(&gateway.api, &process.process_id).await;
        assert_eq!(closed.state(), ProcessState::Completed);
        assert_eq!(closed.revision, 2);
        assert!(not_before(closed.end_time, process.close_time));
    }
}

#[tokio::test]
async fn closing_is_tried_until_the_platform_is_back() {
    let gateway = that_waits().await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    stand.enable(api, "co-op").await;
    stand.says("POST /close", ResponseTemplate::new(503));
    let started = start_until(api, "stand.vote", Duration::from_secs(2)).await;
    stand.hears("POST /close", 2).await;
    assert_eq!(api.process(&started.process_id).await.unwrap(), started);
    stand.says("POST /close", shown("closed", 9));
    let closed = once_done(api, &started.process_id).await;
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(plain(closed.outcome), json!({"yes": 9}));
    assert_eq!(closed.revision, 2, "the tries that failed are no change");
    let tries = stand.heard("POST /close").await;
    api.cancel(&start(api, "co-op").await.process_id)
        .await
        .unwrap();
    assert_eq!(
        stand.heard("POST /close").await,
        tries,
        "it is not closed again"
    );
}

/// The same gateway with these plugins of the tests, as if it had been away for more than
/// a day, and something more had happened to its processes.
async fn a_day_later(gateway: Gateway, plugins: Vec<Plugin>, more: &str) -> Gateway {
    let config = gateway.config();
    let home = gateway.stop().await;
    let long_ago = "close_time = close_time - 90000000000, timer_time = timer_time - 90000000000";
    home.run(&format!("UPDATE process SET {long_ago} {more}"))
        .await;
    Gateway::open(home, config, plugins).await
}

/// A vote that cannot be closed, and is due long after this.
async fn that_is_not_closed(gateway: &Gateway) -> (Stand, Process) {
    let stand = Stand::open().await;
    stand.enable(&gateway.api, "co-op").await;
    stand.says("POST /close", ResponseTemplate::new(503));
    let open_for = Duration::from_secs(600);
    let started = start_until(&gateway.api, "stand.vote", open_for).await;
    (stand, started)
}

#[tokio::test]
async fn closing_is_tried_more_than_once_by_who_comes_a_day_late() {
    let gateway = that_waits().await;
    let (stand, started) = that_is_not_closed(&gateway).await;
    let gateway = a_day_later(gateway, vec![stand::plugin()], "").await;
    stand.hears("POST /close", 3).await;
    stand.says("POST /close", shown("closed", 9));
    let closed = once_done(&gateway.api, &started.process_id).await;
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(plain(closed.outcome), json!({"yes": 9}));
}

#[tokio::test]
async fn what_could_not_be_closed_in_a_day_of_tries_has_failed() {
    let gateway = that_waits().await;
    let (_stand, started) = that_is_not_closed(&gateway).await;
    let tried = ", claim_number = 150";
    let gateway = a_day_later(gateway, vec![stand::plugin()], tried).await;
    let failed = once_done(&gateway.api, &started.process_id).await;
    assert_eq!(failed.state(), ProcessState::Failed);
    let error = failed.error.unwrap();
    assert!(
        error.message.starts_with("it could not be closed"),
        "{error:?}"
    );
}

/// It is not looked for again and again at once, and done when the plugin is there again.
#[tokio::test]
async fn a_process_whose_plugin_is_gone_stays_due_and_is_tried_ever_less() {
    let gateway = that_waits().await;
    let (stand, started) = that_is_not_closed(&gateway).await;
    let gateway = a_day_later(gateway, vec![], ", refresh_time = 1").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let claims = "SELECT claim_number + refresh_claim_number FROM process";
    let claims = gateway.home().ask::<i64>(claims).await[0];
    assert!((2..10).contains(&claims), "claimed {claims} times");
    stand.says("POST /close", shown("closed", 1));
    let gateway = gateway.restart(vec![stand::plugin()]).await;
    let closed = once_done(&gateway.api, &started.process_id).await;
    assert_eq!(closed.state(), ProcessState::Completed);
}

/// Else the next one that fails would be waited for as long as after an outage.
#[tokio::test]
async fn an_answer_that_changes_nothing_ends_the_failures_before_it() {
    let gateway = that_waits().await;
    let (_stand, _) = that_is_not_closed(&gateway).await;
    let config = gateway.config();
    let home = gateway.stop().await;
    home.run("UPDATE process SET refresh_failures = 9, refresh_time = 1")
        .await;
    let gateway = Gateway::open(home, config, vec![stand::plugin()]).await;
    let until = tokio::time::Instant::now() + PATIENCE;
    let asked = "SELECT refresh_failures FROM process WHERE refresh_time IS NULL";
    let failures = loop {
        if let [failures] = gateway.home().ask::<i32>(asked).await[..] {
            break failures;
        }
        assert!(tokio::time::Instant::now() < until, "it is not asked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(failures, 0);
}

#[tokio::test]
async fn what_closes_by_itself_is_asked_at_its_close_time() {
    let gateway = that_waits().await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    stand.enable(api, "co-op").await;
    let started = start_until(api, "stand.session", Duration::from_secs(2)).await;
    stand.hears("GET /vote", 1).await;
    stand.says("GET /vote", shown("closed", 4));
    let closed = once_done(api, &started.process_id).await;
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(plain(closed.outcome), json!({"yes": 4}));
    assert_eq!(stand.heard("POST /close").await, 0);
}

#[tokio::test]
async fn a_process_that_is_done_is_not_closed_at_its_close_time() {
    let gateway = that_waits().await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    stand.enable(api, "co-op").await;
    let cancelled = start_until(api, "stand.vote", Duration::from_secs(4)).await;
    let cancelled = api.cancel(&cancelled.process_id).await.unwrap();
    // This one is due later: once it is closed, the other's time is over.
    let other = start_until(api, "stand.vote", Duration::from_secs(5)).await;
    once_done(api, &other.process_id).await;
    assert_eq!(stand.heard("POST /close").await, 1);
    assert_eq!(api.process(&cancelled.process_id).await.unwrap(), cancelled);
}

#[tokio::test]
async fn a_platform_without_hooks_is_asked_until_it_is_decided() {
    let gateway = that_polls().await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    stand.enable(api, "co-op").await;
    let mut watcher = api.watch().await;
    let started = start(api, "co-op").await;
    stand.hears("GET /vote", 3).await;
    stand.says("GET /vote", shown("open", 1));
    once(api, &started.process_id, |process| process.revision == 2).await;
    let heard = stand.heard("GET /vote").await;
    stand.hears("GET /vote", heard + 3).await;
    stand.says("GET /vote", shown("closed", 2));
    let closed = once_done(api, &started.process_id).await;
    assert_eq!(closed.state(), ProcessState::Completed);
    // What looks the same makes no event.
    for (revision, yes) in [(1, 0), (2, 1), (3, 2)] {
        let change = next_change(&mut watcher).await;
        assert_eq!(change.revision, revision);
        assert_eq!(plain(change.outcome), json!({"yes": yes}));
    }
    let heard = stand.heard("GET /vote").await;
    // Asking would have come before what a second process has heard.
    let second = start(api, "co-op").await;
    stand.says("GET /vote", shown("broken", 0));
    let failed = once_done(api, &second.process_id).await;
    assert_eq!(failed.state(), ProcessState::Failed);
    assert_eq!(failed.error.unwrap().message, "the stand broke down");
    let more = stand.heard("GET /vote").await - heard;
    assert!(more <= 2, "{more}: what is done is asked about no more");
}

#[tokio::test]
async fn polling_goes_on_after_a_restart() {
    let gateway = that_polls().await;
    let stand = Stand::open().await;
    stand.enable(&gateway.api, "co-op").await;
    let started = start(&gateway.api, "co-op").await;
    let gateway = gateway.restart(vec![stand::plugin(), stand::crier()]).await;
    stand.says("GET /vote", shown("closed", 6));
    let closed = once_done(&gateway.api, &started.process_id).await;
    assert_eq!(plain(closed.outcome), json!({"yes": 6}));
}

#[tokio::test]
async fn a_failing_installation_delays_no_other() {
    let set = |config: &mut metagov::config::Config| {
        config.poll_interval = OFTEN;
        config.outgoing.call_timeout = Duration::from_secs(600);
        config.step_timeout = Duration::from_secs(600);
    };
    let gateway = Gateway::start_with(set, vec![stand::plugin()]).await;
    let api = &gateway.api;
    let (hanging, well) = (Stand::open().await, Stand::open().await);
    let never = ResponseTemplate::new(200).set_delay(Duration::from_secs(600));
    hanging.says("GET /vote", never);
    hanging.enable(api, "stuck").await;
    well.enable(api, "co-op").await;
    let stuck = start(api, "stuck").await;
    hanging.hears("GET /vote", 1).await;
    let started = start(api, "co-op").await;
    well.hears("GET /vote", 5).await;
    well.says("GET /vote", shown("closed", 1));
    once_done(api, &started.process_id).await;
    assert_eq!(
        hanging.heard("GET /vote").await,
        1,
        "the first is still waited for"
    );
    assert_eq!(api.process(&stuck.process_id).await.unwrap(), stuck);
}

#[tokio::test]
async fn a_platform_that_hangs_is_asked_again_later() {
    let set = |config: &mut metagov::config::Config| {
        config.poll_interval = OFTEN;
        config.outgoing.call_timeout = Duration::from_millis(500);
    };
    let gateway = Gateway::start_with(set, vec![stand::plugin()]).await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    stand.says(
        "GET /vote",
        shown("open", 5).set_delay(Duration::from_secs(600)),
    );
    stand.enable(api, "co-op").await;
    let started = start(api, "co-op").await;
    stand.hears("GET /vote", 2).await;
    assert_eq!(api.process(&started.process_id).await.unwrap(), started);
    stand.says("GET /vote", shown("closed", 5));
    let closed = once_done(api, &started.process_id).await;
    assert_eq!(plain(closed.outcome), json!({"yes": 5}));
}

#[tokio::test]
async fn a_platform_that_fails_is_asked_ever_less() {
    let gateway = that_polls().await;
    let api = &gateway.api;
    let (failing, well) = (Stand::open().await, Stand::open().await);
    failing.says("GET /vote", ResponseTemplate::new(503));
    failing.enable(api, "stuck").await;
    well.enable(api, "co-op").await;
    start(api, "stuck").await;
    start(api, "co-op").await;
    failing.hears("GET /vote", 2).await;
    let before = well.heard("GET /vote").await;
    well.hears("GET /vote", before + 30).await;
    // Doubled each time, 30 intervals are five more tries, and a slow machine's few more.
    let asked = failing.heard("GET /vote").await;
    assert!(asked <= 12, "asked {asked} times");
    failing.says("GET /vote", shown("open", 3));
    failing.hears("GET /vote", asked + 3).await;
}

#[tokio::test]
async fn refused_credentials_are_a_problem_until_they_are_taken() {
    let gateway = that_polls().await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    let id = stand.enable(api, "co-op").await;
    assert_eq!(installation(api, &id).await.problem, "");
    let mut watcher = api.watch().await;
    let refusal = ResponseTemplate::new(401).set_body_string("this key was revoked");
    stand.says("GET /vote", refusal);
    let started = start(api, "co-op").await;
    let changed = next_installation(&mut watcher).await;
    assert_eq!(changed.change_kind(), ChangeKind::Updated);
    let noted = changed.installation.unwrap();
    assert!(
        noted.problem.contains("this key was revoked"),
        "{}",
        noted.problem
    );
    assert!(noted.problem_time.is_some());
    stand.hears("GET /vote", 3).await;
    assert_eq!(installation(api, &id).await.etag, noted.etag, "noted once");
    assert_eq!(api.process(&started.process_id).await.unwrap(), started);

    stand.says("GET /vote", shown("open", 1));
    let changed = next_installation(&mut watcher).await;
    let noted = changed.installation.unwrap();
    assert_eq!((&*noted.problem, noted.problem_time), ("", None));
}

#[tokio::test]
async fn a_plugin_may_ask_for_news() {
    let gateway = that_polls().await;
    let (api, stand) = (&gateway.api, Stand::open().await);
    api.community("co-op").await;
    let mut watcher = api.watch().await;
    let none = ResponseTemplate::new(200).set_body_json(json!([]));
    stand.says("GET /news", none);
    let config = json!({"url": stand.url()});
    let crier = api.enable("co-op", "crier", config).await;
    stand.hears("GET /news", 3).await;
    let news = json!([{"what": "rain"}, {"what": "shine"}]);
    stand.says("GET /news", ResponseTemplate::new(200).set_body_json(news));
    next_installation(&mut watcher).await;
    for what in ["rain", "shine"] {
        let event = watcher.next().await;
        assert_eq!(event.community_id, "co-op");
        let Some(Payload::Platform(cried)) = event.payload else {
            panic!("without news there is no event: {event:?}")
        };
        assert_eq!(cried.event_type, "crier.cried");
        assert_eq!(cried.installation_id, crier.installation_id);
        assert_eq!(plain(cried.data), json!({"what": what}));
        let initiator = cried.initiator.unwrap();
        assert_eq!(
            (&*initiator.user_id, &*initiator.provider),
            ("crier", "crier")
        );
    }
}
