//! What operators' machines ask: whether the gateway lives and is ready, and its metrics.
//! Traces are in `operations/traces.rs`, the files of `server/deploy/` in
//! `operations/deploy.rs`.

mod collector;
mod deploy;
mod traces;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use metagov::metrics::NAMES;
use metagov_proto::v1::{
    CreateSubscriptionRequest, DeleteSubscriptionRequest, GetCommunityRequest, ProcessState, Role,
    StartAt, Subscription, create_subscription_request,
};
use reqwest::{Client, Method, Response, StatusCode, header};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use serde_json::{Value, json};
use tonic::Code;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use crate::{
    harness::{Api, Binary, Gateway, Home, Kind, PATIENCE, object},
    stand::after,
};

/// Somebody who asks over HTTP.
fn client() -> Client {
    // reqwest is built without a default; only the first call counts.
    _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

async fn ask(endpoint: &str, path: &str, token: &str) -> Response {
    let mut request = client().get(format!("{endpoint}{path}"));
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap()
}

async fn said(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.text().await.unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

async fn ready(endpoint: &str) -> (StatusCode, Value) {
    said(ask(endpoint, "/readyz", "").await).await
}

/// Every sample: its name with its labels, and its value.
pub(crate) async fn scrape(endpoint: &str, token: &str) -> BTreeMap<String, f64> {
    let answer = ask(endpoint, "/metrics", token).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.text().await.unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let split = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(split).collect()
}

/// Scrapes until it is as wanted.
async fn scrape_until(
    endpoint: &str,
    token: &str,
    wanted: impl Fn(&BTreeMap<String, f64>) -> bool,
) -> BTreeMap<String, f64> {
    let until = Instant::now() + PATIENCE;
    loop {
        let samples = scrape(endpoint, token).await;
        if wanted(&samples) {
            return samples;
        }
        assert!(Instant::now() < until, "{samples:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn rename(database: &DatabaseConnection, from: &str, to: &str) {
    let rename = format!("ALTER TABLE {from} RENAME TO {to}");
    database.execute_unprepared(&rename).await.unwrap();
}

#[tokio::test]
async fn anybody_may_ask_whether_it_lives_and_is_ready() {
    let gateway = Gateway::start().await;
    let endpoint = gateway.endpoint();
    let lives = ask(&endpoint, "/healthz", "").await;
    assert_eq!(lives.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(said(lives).await, (StatusCode::OK, json!({"live": true})));
    assert_eq!(
        ready(&endpoint).await,
        (StatusCode::OK, json!({"ready": true}))
    );
    // The same over HTTP/2, as gRPC speaks it.
    let http2 = Client::builder().no_proxy().http2_prior_knowledge();
    let asked = http2.build().unwrap().get(format!("{endpoint}/readyz"));
    assert_eq!(asked.send().await.unwrap().status(), StatusCode::OK);
}

/// What cannot be written is told from what is slow; the process lives all the same.
#[tokio::test]
async fn who_is_not_ready_says_why_in_one_word() {
    let gateway = Gateway::start().await;
    let (endpoint, outside) = (gateway.endpoint(), gateway.home().database().await);
    let unready = |why: &str| {
        let said = json!({"ready": false, "reason": why});
        (StatusCode::SERVICE_UNAVAILABLE, said)
    };
    // Somebody else writes and does not end.
    let long = outside.begin().await.unwrap();
    let write = match gateway.home().kind() {
        Kind::Sqlite => "UPDATE feed SET record_time = record_time + 1",
        Kind::Postgres => "LOCK TABLE request",
    };
    long.execute_unprepared(write).await.unwrap();
    assert_eq!(ready(&endpoint).await, unready("slow"));
    let lives = ask(&endpoint, "/healthz", "").await;
    assert_eq!(lives.status(), StatusCode::OK);
    long.rollback().await.unwrap();
    until_ready(&endpoint).await;
    rename(&outside, "request", "away").await;
    until(&endpoint, unready("broken")).await;
    rename(&outside, "away", "request").await;
    until_ready(&endpoint).await;
}

async fn until_ready(endpoint: &str) {
    until(endpoint, (StatusCode::OK, json!({"ready": true}))).await;
}

pub(crate) async fn until(endpoint: &str, wanted: (StatusCode, Value)) {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = ready(endpoint).await;
        if said == wanted {
            return;
        }
        assert!(Instant::now() < until, "{said:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// However many ask, the database is tried once a second, and nothing is left in it.
#[tokio::test]
async fn asking_often_is_cheap_and_leaves_nothing() {
    let home = Home::new();
    let gateway = Binary::serve(&home, &[]);
    let (endpoint, token) = (gateway.endpoint.clone(), gateway.token.clone());
    let commits = async || scrape(&endpoint, &token).await["metagov_commit_changes_count"];
    let (before, began) = (commits().await, Instant::now());
    for _ in 0..20 {
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let endpoint = endpoint.clone();
            asked.spawn(async move { ready(&endpoint).await });
        }
        for (status, _) in asked.join_all().await {
            assert_eq!(status, StatusCode::OK);
        }
    }
    // A few are the chores' own.
    let most = began.elapsed().as_secs_f64() + 10.0;
    let made = commits().await - before;
    assert!(made < most, "{made} commits");
    let left: Vec<i64> = home.ask("SELECT count(*) FROM request").await;
    assert_eq!(left, [0]);
}

#[tokio::test]
async fn metrics_want_a_token_that_reads_all_communities() {
    let gateway = Gateway::start().await;
    gateway.api.community("garden").await;
    let endpoint = gateway.endpoint();
    let refused = async |token: &str| said(ask(&endpoint, "/metrics", token).await).await;
    for token in ["", "mg_nonsense"] {
        let answer = ask(&endpoint, "/metrics", token).await;
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let (status, body) = said(answer).await;
        let reason = &body["error"]["reason"];
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(reason, "ERROR_REASON_TOKEN_INVALID");
    }
    for role in [Role::Reader, Role::Admin] {
        let some = gateway.api.token(role, &["garden"]).await;
        let (status, body) = refused(&some).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(body["error"]["reason"], "ERROR_REASON_ROLE_TOO_SMALL");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("reader of all communities"), "{message}");
    }
    let reader = gateway.api.token(Role::Reader, &[]).await;
    let answer = ask(&endpoint, "/metrics", &reader).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.headers()[header::CONTENT_TYPE], kind);
}

#[tokio::test]
async fn what_operators_ask_comes_through_the_gate() {
    let gateway = Gateway::start().await;
    let endpoint = gateway.endpoint();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let url = format!("{endpoint}{path}");
        let asked = async |method: Method, name: &'static str, value: &str| {
            let request = client().request(method, &url).header(name, value);
            let request = request.bearer_auth(gateway.admin_token());
            request.send().await.unwrap().status()
        };
        let page = "https://evil.example";
        let get = Method::GET;
        assert_eq!(
            asked(get.clone(), "host", "evil.example").await,
            StatusCode::MISDIRECTED_REQUEST
        );
        assert_eq!(
            asked(get.clone(), "origin", page).await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            asked(get, "sec-fetch-site", "cross-site").await,
            StatusCode::FORBIDDEN
        );
        let post = asked(Method::POST, "content-type", "text/plain").await;
        assert_eq!(post, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let put = asked(Method::PUT, "accept", "*/*").await;
        assert_eq!(put, StatusCode::METHOD_NOT_ALLOWED);
    }
    // Nothing else is asked so, and the public listener has none of it.
    let other = ask(&endpoint, "/metrics/", "").await;
    assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED);
    let public = ask(&gateway.public, "/metrics", "").await;
    assert_eq!(public.status(), StatusCode::NOT_FOUND);
}

/// When it matters most the tokens cannot be read, either.
#[tokio::test]
async fn metrics_outlive_the_database_for_who_read_them_last() {
    let gateway = Gateway::start().await;
    let (endpoint, reader) = (
        gateway.endpoint(),
        gateway.api.token(Role::Reader, &[]).await,
    );
    let other = gateway.api.token(Role::Reader, &[]).await;
    scrape(&endpoint, &reader).await;
    let outside = gateway.home().database().await;
    rename(&outside, "token", "away").await;
    rename(&outside, "request", "gone").await;
    // What is in memory counts for two seconds.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let (status, body) = said(ask(&endpoint, "/metrics", &other).await).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(!body.to_string().contains("table"), "{body}");
    let samples = scrape(&endpoint, &reader).await;
    assert!(samples.contains_key("metagov_ready"));
    until(
        &endpoint,
        (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"ready": false, "reason": "broken"}),
        ),
    )
    .await;
}

/// A story with a bit of everything, in a process of its own: counters are a process's.
#[tokio::test]
async fn every_metric_is_there_after_a_story_and_counts_right() {
    let home = Home::new();
    let gateway = Binary::serve(&home, &[]);
    let (endpoint, token) = (gateway.endpoint.clone(), gateway.token.clone());
    let api = gateway.api().await;
    api.community("garden").await;
    for id in ["nowhere", "elsewhere"] {
        let community_id = id.to_owned();
        let request = GetCommunityRequest { community_id };
        let missing = api.communities().get_community(request).await;
        assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    }
    let stream = api.watch().await;
    // A platform that answers twice, and not the third time.
    let platform = MockServer::start().await;
    let answer = Mock::given(method("GET")).respond_with(
        ResponseTemplate::new(200)
            .set_body_json(json!([{"type": "sourcecred/cli/accounts"}, {"accounts": []}])),
    );
    answer.up_to_n_times(2).mount(&platform).await;
    let server = json!({ "server_url": platform.uri() });
    _ = api.try_enable("garden", "sourcecred", server).await;
    subscribe(&api, "archive").await;
    // A vote that ends by the clock.
    api.enable("garden", "ballot", json!({})).await;
    let vote = metagov_proto::v1::StartProcessRequest {
        community_id: "garden".into(),
        process_type: "ballot.vote".into(),
        parameters: object(json!({"title": "Lunch?", "options": ["soup", "bread"]})),
        close_time: Some(after(Duration::from_millis(300))),
        ..Default::default()
    };
    let vote = api.start_request(vote).await.unwrap();
    let until = Instant::now() + PATIENCE;
    while api.process(&vote.process_id).await.unwrap().state() == ProcessState::Open {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        ask(&endpoint, "/metrics", "").await.status(),
        StatusCode::UNAUTHORIZED
    );
    let hook = format!("{}/api/hooks/garden/made-up/slug", gateway.public);
    let answer = client().post(hook).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);

    let samples = scrape(&endpoint, &token).await;
    for name in NAMES {
        let there = samples.keys().any(|sample| is_of(sample, name));
        assert!(there, "{name} is not in {samples:#?}");
    }
    let expected = [
        (
            "metagov_calls_total{method=\"metagov.v1.CommunityService/CreateCommunity\",code=\"OK\"}",
            1.0,
        ),
        (
            "metagov_calls_total{method=\"metagov.v1.CommunityService/GetCommunity\",code=\"NOT_FOUND\"}",
            2.0,
        ),
        (
            "metagov_call_duration_seconds_count{method=\"metagov.v1.CommunityService/GetCommunity\"}",
            2.0,
        ),
        (
            "metagov_streams_open{method=\"metagov.v1.EventService/WatchEvents\"}",
            1.0,
        ),
        ("metagov_calls_unauthenticated_total", 1.0),
        (
            "metagov_hooks_total{plugin=\"unknown\",result=\"unknown_address\"}",
            1.0,
        ),
        ("metagov_timer_delay_seconds_count", 1.0),
        ("metagov_timers_overdue", 0.0),
        ("metagov_deliveries{state=\"parked\"}", 0.0),
        ("metagov_ready", 1.0),
        ("metagov_database_connections_max", 8.0),
    ];
    for (sample, value) in expected {
        assert_eq!(
            samples.get(sample),
            Some(&value),
            "{sample} in {samples:#?}"
        );
    }
    // The log is this process's alone, and it has read all of it.
    let head = samples["metagov_feed_head_position"];
    assert_eq!(samples["metagov_events_appended_total"], head);
    let log = api.log().await;
    assert_eq!(log.len() as f64, head);
    let delay = samples["metagov_timer_delay_seconds_sum"];
    assert!(delay < 5.0, "{delay}");
    let platform_calls = "metagov_platform_calls_total{plugin=\"sourcecred\",result=\"2xx\"}";
    assert!(samples[platform_calls] >= 1.0);

    drop(stream);
    let open = "metagov_streams_open{method=\"metagov.v1.EventService/WatchEvents\"}";
    scrape_until(&endpoint, &token, |samples| samples[open] == 0.0).await;
}

/// Whether a sample is one of the metric's.
fn is_of(sample: &str, name: &str) -> bool {
    let bare = sample.split('{').next().unwrap();
    let suffix = bare.strip_prefix(name);
    suffix.is_some_and(|rest| ["", "_total", "_count", "_sum", "_bucket"].contains(&rest))
}

/// Whoever calls what there is not cannot fill the memory with names.
#[tokio::test]
async fn callers_add_no_series() {
    let home = Home::new();
    let gateway = Binary::serve(&home, &[]);
    let api = gateway.api().await;
    api.community("garden").await;
    let (endpoint, token) = (gateway.endpoint.clone(), gateway.token.clone());
    let first = async |round: usize| {
        for number in 0..20 {
            let name = format!("made-up-{round}-{number}");
            let hook = format!("{}/api/hooks/{name}/{name}/{name}", gateway.public);
            client().post(hook).body("{}").send().await.unwrap();
            let http2 = Client::builder().no_proxy().http2_prior_knowledge();
            let call = http2
                .build()
                .unwrap()
                .post(format!("{endpoint}/{name}/{name}"));
            let call = call
                .header("content-type", "application/grpc")
                .bearer_auth(&token);
            call.send().await.unwrap();
        }
        scrape(&endpoint, &token).await
    };
    let (before, after) = (first(1).await, first(2).await);
    let names = |samples: &BTreeMap<String, f64>| samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    let made_up = "metagov_calls_total{method=\"other\",code=\"UNIMPLEMENTED\"}";
    assert_eq!(after[made_up], 40.0);
    assert!(
        !names(&after)
            .iter()
            .any(|name| name.contains("garden") || name.contains("made-up"))
    );
}

/// A subscription to all events; how many that is.
async fn subscribe(api: &Api, id: &str) -> i64 {
    let request = CreateSubscriptionRequest {
        subscription: Some(Subscription {
            subscription_id: id.to_owned(),
            ..Subscription::default()
        }),
        start: Some(create_subscription_request::Start::StartAt(
            StartAt::Earliest.into(),
        )),
        ..CreateSubscriptionRequest::default()
    };
    let made = api.subscriptions().create_subscription(request).await;
    made.unwrap().into_inner().subscription.unwrap().lag_count
}

/// The one metric that names what drivers made: it goes when that goes.
#[tokio::test]
async fn what_a_subscription_lags_behind_is_a_metric_as_long_as_it_is_there() {
    let home = Home::new();
    let gateway = Binary::serve(&home, &[]);
    let (endpoint, token) = (gateway.endpoint.clone(), gateway.token.clone());
    let api = gateway.api().await;
    api.community("co-op").await;
    api.enable("co-op", "ballot", json!({})).await;
    let lag = subscribe(&api, "archive").await;
    let of = |samples: &BTreeMap<String, f64>, name: &str| {
        let name = format!("metagov_subscription_{name}{{");
        let mut found = samples.iter().filter(|(key, _)| key.starts_with(&name));
        let shown = found.next().map(|(key, value)| (key.clone(), *value));
        assert_eq!(found.next(), None);
        shown
    };
    let samples = scrape(&endpoint, &token).await;
    eprintln!(
        "{:?}",
        samples
            .keys()
            .filter(|k| k.contains("subscr") || k.contains("overdue"))
            .collect::<Vec<_>>()
    );
    let (name, shown) = of(&samples, "lag_events").unwrap();
    assert!(lag > 1);
    assert_eq!(shown, lag as f64);
    assert!(name.contains("subscription=\"archive\""), "{name}");
    let (_, age) = of(&samples, "lag_age_seconds").unwrap();
    assert!(age > 0.0 && age < 600.0, "{age}");
    let delete = DeleteSubscriptionRequest {
        subscription_id: "archive".to_owned(),
    };
    let deleted = api.subscriptions().delete_subscription(delete).await;
    deleted.unwrap();
    scrape_until(&endpoint, &token, |samples| {
        of(samples, "lag_events").is_none() && of(samples, "lag_age_seconds").is_none()
    })
    .await;
}
