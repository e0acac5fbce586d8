//! What a platform's faults mean: whether it surely did nothing, said no, or may have
//! done it. Each fault for an action that reads, for one that does not, for a start,
//! and for enabling.

mod platform;

use std::time::Duration;

use metagov::config::Config;
use metagov_proto::v1::{
    ListInstallationsRequest, ListProcessesRequest, PerformActionRequest, Process, ProcessState,
    StartProcessRequest, event::Payload,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::harness::{Fault, Gateway, PATIENCE, fault, object};
use platform::{Behaviour, Platform};

/// What a driver is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    /// UNAVAILABLE: surely nothing was done.
    Unavailable,
    /// UNAVAILABLE, to be repeated after so many seconds.
    Busy(u64),
    /// ABORTED: it may have happened.
    Unknown,
    /// RESOURCE_EXHAUSTED, to be repeated after so many seconds.
    Limited(u64),
    /// FAILED_PRECONDITION: the credentials.
    Unauthorized,
    /// FAILED_PRECONDITION: the request, with this status.
    Rejected(&'static str),
}

impl Said {
    #[track_caller]
    fn check(self, said: &Fault, plugin: &str, what: &str) {
        let (code, reason, retry) = match self {
            Self::Unavailable => (Code::Unavailable, "PLATFORM_UNAVAILABLE", Some(1)),
            Self::Busy(wait) => (Code::Unavailable, "PLATFORM_UNAVAILABLE", Some(wait)),
            Self::Unknown => (Code::Aborted, "OUTCOME_UNKNOWN", None),
            Self::Limited(wait) => (Code::ResourceExhausted, "PLATFORM_RATE_LIMITED", Some(wait)),
            Self::Unauthorized => (Code::FailedPrecondition, "PLATFORM_UNAUTHORIZED", None),
            Self::Rejected(_) => (Code::FailedPrecondition, "PLATFORM_REJECTED", None),
        };
        assert!(said.is(code, reason), "{what}: {said:?}");
        assert_eq!(
            said.retry,
            retry.map(Duration::from_secs),
            "{what}: {said:?}"
        );
        let mut metadata = vec![("plugin", plugin)];
        if let Self::Rejected(status) = self {
            metadata.push(("platform_status", status));
        }
        metadata.sort_unstable();
        let told = said.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        assert_eq!(told.collect::<Vec<_>>(), metadata, "{what}");
        assert!(!said.message.contains('<'), "{what}: {}", said.message);
    }
}

/// Which limit of the gateway is short.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Short {
    None,
    Call,
    Step,
}

/// A fault, the short limit, what it means to what reads, and to the rest.
type Row = (Behaviour, Short, Said, Said);

const HTML: &str = "<!doctype html><html><body>Please log in</body></html>";

/// Those of which nobody can know whether the platform did it.
const UNCLEAR: [Row; 13] = [
    unclear(Behaviour::Silent, Short::Call),
    unclear(Behaviour::Silent, Short::Step),
    unclear(Behaviour::Trickle, Short::Call),
    unclear(Behaviour::Trickle, Short::Step),
    unclear(Behaviour::Reset, Short::None),
    unclear(Behaviour::Cut, Short::None),
    unclear(Behaviour::ResetInBody, Short::None),
    unclear(Behaviour::Endless, Short::None),
    unclear(Behaviour::Garbage, Short::None),
    unclear(says("500 Internal Server Error", "", "oops"), Short::None),
    unclear(says("503 Service Unavailable", "", HTML), Short::None),
    (
        says("503 Service Unavailable", "retry-after: 9\r\n", HTML),
        Short::None,
        Said::Busy(9),
        Said::Unknown,
    ),
    unclear(
        says("200 OK", "content-type: text/html\r\n", HTML),
        Short::None,
    ),
];

/// Those that are an answer.
const CLEAR: [Row; 9] = [
    clear(
        says("429 Too Many Requests", "retry-after: 7\r\n", ""),
        Said::Limited(7),
    ),
    clear(says("429 Too Many Requests", "", HTML), Said::Limited(1)),
    clear(says("401 Unauthorized", "", HTML), Said::Unauthorized),
    clear(says("403 Forbidden", "", ""), Said::Unauthorized),
    clear(says("404 Not Found", "", HTML), Said::Rejected("404")),
    clear(says("410 Gone", "", "{}"), Said::Rejected("410")),
    clear(
        says("302 Found", "location: http://elsewhere.invalid/\r\n", ""),
        Said::Rejected("302"),
    ),
    clear(
        says(
            "307 Temporary Redirect",
            "location: http://elsewhere.invalid/\r\n",
            "",
        ),
        Said::Rejected("307"),
    ),
    // Last, since it does not come back.
    clear(Behaviour::Gone, Said::Unavailable),
];

const fn says(status: &'static str, headers: &'static str, body: &'static str) -> Behaviour {
    Behaviour::Says(status, headers, body)
}

const fn unclear(behaviour: Behaviour, short: Short) -> Row {
    (behaviour, short, Said::Unavailable, Said::Unknown)
}

const fn clear(behaviour: Behaviour, said: Said) -> Row {
    (behaviour, Short::None, said, said)
}

/// A gateway with such limits, whose community `commons` has both plugins.
async fn commons(short: Short) -> (Gateway, Platform) {
    let (gateway, platform) = (limited(short).await, Platform::start().await);
    gateway.api.community("commons").await;
    let until = tokio::time::Instant::now() + PATIENCE;
    for plugin in ["sourcecred", "discourse"] {
        // With such a limit a busy machine may need several tries.
        while let Err(error) = enable(&gateway, plugin, &platform.url).await {
            assert!(tokio::time::Instant::now() < until, "{plugin}: {error}");
        }
    }
    (gateway, platform)
}

async fn limited(short: Short) -> Gateway {
    let limit = Duration::from_millis(500);
    let set = |config: &mut Config| match short {
        Short::None => {}
        Short::Call => config.outgoing.call_timeout = limit,
        Short::Step => config.step_timeout = limit,
    };
    Gateway::start_with(set, vec![]).await
}

async fn enable(gateway: &Gateway, plugin: &str, url: &str) -> Result<(), Status> {
    let config = match plugin {
        "discourse" => json!({"server_url": url, "api_key": "k", "webhook_secret": "s"}),
        _ => json!({ "server_url": url }),
    };
    let enabled = gateway.api.try_enable("commons", plugin, config).await;
    enabled.map(drop)
}

fn post() -> Value {
    json!({"raw": "I agree", "topic_id": 9})
}

fn poll() -> Value {
    json!({"title": "Which day?", "options": ["Monday", "Tuesday"]})
}

/// Breaks the platform in each of these ways.
async fn each(rows: &[Row], short: Short, check: impl AsyncFn(&Gateway, &Platform, &Row)) {
    let (mut gateway, mut platform) = commons(short).await;
    for row in rows.iter().filter(|row| row.1 == short) {
        platform.set(row.0).await;
        let before = platform.heard().len();
        let asks_to_wait =
            matches!(row.0, Behaviour::Says(_, headers, _) if headers.starts_with("retry-after"));
        check(&gateway, &platform, row).await;
        let heard = platform.heard().len() - before;
        assert!(heard <= 1, "{row:?}: it is asked once, and never again");
        // On a busy machine a short limit may end before anything is sent.
        let expected = short == Short::None && row.0 != Behaviour::Gone;
        assert!(!expected || heard == 1, "{row:?}: it is asked");
        if asks_to_wait {
            // It is not asked again by the same installation.
            (gateway, platform) = commons(short).await;
        }
    }
}

async fn check_read(gateway: &Gateway, _: &Platform, row: &Row) {
    let read = gateway
        .api
        .perform("commons", "sourcecred.total-cred", json!({}));
    let said = fault(read.await);
    row.2.check(&said, "sourcecred", &format!("read, {row:?}"));
}

async fn check_write(gateway: &Gateway, _: &Platform, row: &Row) {
    let write = gateway
        .api
        .perform("commons", "discourse.create-post", post());
    let said = fault(write.await);
    row.3.check(&said, "discourse", &format!("write, {row:?}"));
}

async fn processes(gateway: &Gateway) -> Vec<Process> {
    let all = ListProcessesRequest {
        page_size: 1000,
        ..Default::default()
    };
    let all = gateway.api.processes().list_processes(all).await.unwrap();
    all.into_inner().processes
}

/// A start whose outcome is unknown stays as failed; any other leaves nothing.
async fn check_start(gateway: &Gateway, _: &Platform, row: &Row) {
    let before = processes(gateway).await.len();
    let started = gateway.api.start("commons", "discourse.poll", poll());
    let said = fault(started.await);
    row.3.check(&said, "discourse", &format!("start, {row:?}"));
    let now = processes(gateway).await;
    assert_eq!(
        now.len() - before,
        usize::from(row.3 == Said::Unknown),
        "{row:?}"
    );
    let newest = now.first().filter(|_| now.len() > before);
    if let Some(process) = newest {
        assert_eq!(process.state(), ProcessState::Failed);
        let error = process.error.as_ref().unwrap();
        assert_eq!(error.reason, "ERROR_REASON_OUTCOME_UNKNOWN");
        assert!(process.end_time.is_some());
    }
}

#[tokio::test]
async fn platform_faults_map_for_reads_and_writes() {
    for short in [Short::None, Short::Call, Short::Step] {
        each(&UNCLEAR, short, check_read).await;
        each(&UNCLEAR, short, check_write).await;
    }
    each(&CLEAR, Short::None, check_read).await;
    each(&CLEAR, Short::None, check_write).await;
}

#[tokio::test]
async fn a_failed_start_leaves_what_its_outcome_says() {
    for short in [Short::None, Short::Call, Short::Step] {
        each(&UNCLEAR, short, check_start).await;
    }
    each(&CLEAR, Short::None, check_start).await;
}

#[tokio::test]
async fn a_failed_enable_leaves_nothing_whatever_the_fault() {
    for (short, rows) in [
        (Short::None, [&UNCLEAR[..], &CLEAR[..]].concat()),
        (Short::Call, UNCLEAR.to_vec()),
        (Short::Step, UNCLEAR.to_vec()),
    ] {
        let (gateway, mut platform) = (limited(short).await, Platform::start().await);
        gateway.api.community("commons").await;
        for row in rows.iter().filter(|row| row.1 == short) {
            platform.set(row.0).await;
            for plugin in ["sourcecred", "discourse"] {
                // Enabling only reads.
                let said = fault(enable(&gateway, plugin, &platform.url).await);
                row.2.check(&said, plugin, &format!("enable, {row:?}"));
            }
        }
        let community = ListInstallationsRequest {
            community_id: "commons".into(),
            ..Default::default()
        };
        let left = gateway.api.plugins().list_installations(community).await;
        assert!(left.unwrap().into_inner().installations.is_empty());
        let log = gateway.api.log().await;
        let only = log.iter().map(|event| event.payload.as_ref());
        let only: Vec<_> = only.collect();
        assert!(
            matches!(only[..], [Some(Payload::CommunityChanged(_))]),
            "{only:?}"
        );
    }
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_unavailable() {
    let (gateway, platform) = (Gateway::start().await, Platform::start().await);
    gateway.api.community("commons").await;
    let no_tls = platform.url.replace("http:", "https:");
    for (plugin, url) in [
        ("sourcecred", "http://nowhere.invalid"),
        ("sourcecred", &no_tls),
        ("discourse", &no_tls),
    ] {
        let said = fault(enable(&gateway, plugin, url).await);
        Said::Unavailable.check(&said, plugin, url);
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off_by_its_size() {
    let (gateway, mut platform) = commons(Short::None).await;
    platform.set(Behaviour::Endless).await;
    for (action, parameters) in [
        ("sourcecred.total-cred", json!({})),
        ("discourse.create-post", post()),
    ] {
        let said = fault(gateway.api.perform("commons", action, parameters).await);
        assert!(said.message.contains("larger than"), "{said:?}");
    }
}

#[tokio::test]
async fn a_request_id_keeps_what_may_have_happened_and_frees_what_did_not() {
    let (gateway, mut platform) = commons(Short::None).await;
    let say = |request_id: &str| {
        let request = PerformActionRequest {
            community_id: "commons".into(),
            action: "discourse.create-post".into(),
            parameters: object(post()),
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        gateway.api.perform_request(request)
    };
    let kept = [
        ("reset", Behaviour::Reset, Said::Unknown),
        ("error", says("500 Oops", "", ""), Said::Unknown),
        ("page", says("200 OK", "", HTML), Said::Unknown),
        ("refused", says("422 No", "", "{}"), Said::Rejected("422")),
        ("key", says("403 No", "", ""), Said::Unauthorized),
    ];
    for (id, behaviour, said) in kept {
        platform.set(behaviour).await;
        said.check(&fault(say(id).await), "discourse", id);
        platform.set(Behaviour::Healthy).await;
        let before = platform.posts();
        said.check(&fault(say(id).await), "discourse", id);
        assert_eq!(platform.posts(), before, "{id}: no silent second call");
    }
    platform.set(says("429 Slow down", "", "")).await;
    Said::Limited(1).check(&fault(say("limited").await), "discourse", "limited");
    platform.set(Behaviour::Healthy).await;
    let done = say("limited").await.unwrap();
    assert_eq!(done["post_id"], 31);
    let before = platform.posts();
    assert_eq!(say("limited").await.unwrap(), done);
    assert_eq!(platform.posts(), before);

    platform.set(Behaviour::Gone).await;
    for _ in 0..2 {
        Said::Unavailable.check(&fault(say("gone").await), "discourse", "gone");
    }
}

#[tokio::test]
async fn a_start_that_may_have_happened_is_not_repeated() {
    let (gateway, mut platform) = commons(Short::None).await;
    let start = || {
        let request = StartProcessRequest {
            community_id: "commons".into(),
            process_type: "discourse.poll".into(),
            parameters: object(poll()),
            request_id: "once".into(),
            ..Default::default()
        };
        gateway.api.start_request(request)
    };
    platform.set(Behaviour::Reset).await;
    Said::Unknown.check(&fault(start().await), "discourse", "first");
    platform.set(Behaviour::Healthy).await;
    Said::Unknown.check(&fault(start().await), "discourse", "again");
    assert_eq!(platform.posts(), 1);
    assert_eq!(processes(&gateway).await.len(), 1);
}
