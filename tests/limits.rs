//! How much the gateway takes, from connections and requests: each limit by its name.
//! Those of HTTP/2 need a client that breaks its rules: `python/test_http2.py`.

use std::time::Duration;

use metagov::plugins::kit::{Context, Nothing, Plugin, Result};
use metagov_proto::v1::{ListPluginsRequest, WatchEventsRequest};
use prost::Message;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::{
    fakes::http,
    harness::{Gateway, PATIENCE, fault},
    stage,
    web::Web,
};

const SHORT: Duration = Duration::from_millis(300);
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A connection that says what no client would.
struct Line(TcpStream);

impl Line {
    /// To an address such as `http://127.0.0.1:1234`.
    async fn to(url: &str) -> Self {
        let address = url.trim_start_matches("http://");
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn says(mut self, bytes: &[u8]) -> Self {
        self.0.write_all(bytes).await.unwrap();
        self
    }

    /// All that comes until the other side closes.
    async fn hears(&mut self) -> String {
        let mut heard = Vec::new();
        let all = timeout(PATIENCE, self.0.read_to_end(&mut heard)).await;
        // A reset is an end, too.
        _ = all.expect("the other side ends it");
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// Somebody else is served meanwhile.
async fn serves(gateway: &Gateway) {
    gateway.api.clone().log().await;
    let answer = http().post(&gateway.public).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn max_connections_bounds_each_listener_and_further_ones_wait() {
    let gateway = Gateway::start_with(|config| config.limits.max_connections = 2, vec![]).await;
    // The API's client has one already.
    let held = Line::to(&gateway.endpoint()).await;
    let held_too = [
        Line::to(&gateway.public).await,
        Line::to(&gateway.public).await,
    ];
    // They are accepted in order: these come after those.
    let ask = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut waiting = [
        Line::to(&gateway.endpoint()).await.says(ask).await,
        Line::to(&gateway.public).await.says(ask).await,
    ];
    for line in &mut waiting {
        let answer = timeout(SHORT, line.0.read_u8()).await;
        assert!(answer.is_err(), "nobody reads it yet");
    }
    drop((held, held_too));
    for mut line in waiting {
        assert!(line.hears().await.starts_with("HTTP/1.1 "));
    }
}

#[tokio::test]
async fn head_timeout_ends_who_does_not_speak_to_the_api() {
    let set = |config: &mut metagov::config::Config| config.limits.head_timeout = SHORT;
    let gateway = Gateway::start_with(set, vec![]).await;
    for begun in [
        &b""[..],
        b"PRI * HTTP/2.0\r\n",
        b"P",
        b"POST /a HTTP/1.1\r\nhost: a\r\nx-slow: ",
    ] {
        let mut line = Line::to(&gateway.endpoint()).await.says(begun).await;
        assert_eq!(line.hears().await, "", "{begun:?}");
    }
    serves(&gateway).await;
}

#[tokio::test]
async fn head_timeout_leaves_streams_alone() {
    let set = |config: &mut metagov::config::Config| config.limits.head_timeout = SHORT;
    let gateway = Gateway::start_with(set, vec![]).await;
    let mut watcher = gateway.api.watch().await;
    let web = Web::new(&gateway);
    let watch = WatchEventsRequest::default().encode_to_vec();
    let path = "/metagov.v1.EventService/WatchEvents";
    let mut page = web.post(path, &watch, &[]).await;
    page.chunk().await.unwrap().expect("the hello");
    tokio::time::sleep(3 * SHORT).await;
    gateway.api.community("a").await;
    assert_eq!(watcher.next().await.community_id, "a");
    page.chunk().await.unwrap().expect("the event");
}

#[tokio::test]
async fn hook_head_timeout_ends_who_does_not_ask_the_public_listener() {
    let set = |config: &mut metagov::config::Config| config.limits.hook_head_timeout = SHORT;
    let gateway = Gateway::start_with(set, vec![]).await;
    for begun in [
        &b""[..],
        b"POST /api/hooks/a/b HTTP/1.1\r\nhost: a\r\nx-slow: ",
    ] {
        let mut line = Line::to(&gateway.public).await.says(begun).await;
        assert_eq!(line.hears().await, "", "{begun:?}");
    }
    serves(&gateway).await;
}

#[tokio::test]
async fn max_hook_head_bounds_the_head() {
    let gateway = Gateway::start().await;
    let send = |size: usize| {
        let value = "x".repeat(size);
        http().post(&gateway.public).header("x-large", value).send()
    };
    assert_eq!(send(15 << 10).await.unwrap().status(), 404);
    assert_eq!(send(16 << 10).await.unwrap().status(), 431);
    let set = |config: &mut metagov::config::Config| config.limits.max_hook_head = 32 << 10;
    let wide = Gateway::start_with(set, vec![]).await;
    let large = http().post(&wide.public).header("x", "x".repeat(20 << 10));
    assert_eq!(large.send().await.unwrap().status(), 404);
    // An address is part of the head, and lines without an end are no way around.
    let line = Line::to(&gateway.public).await;
    let mut line = line
        .says(&[&b"POST /"[..], &[b'a'; 64 << 10]].concat())
        .await;
    assert!(line.hears().await.starts_with("HTTP/1.1 431 "));
    serves(&gateway).await;
}

#[tokio::test]
async fn http2_header_list_bounds_a_head_over_http1_too() {
    let gateway = Gateway::start().await;
    let line = Line::to(&gateway.endpoint()).await;
    let head = [&b"POST /a HTTP/1.1\r\nx: "[..], &[b'a'; 64 << 10]].concat();
    assert!(
        line.says(&head)
            .await
            .hears()
            .await
            .starts_with("HTTP/1.1 431 ")
    );
}

/// Actions that anyone may perform: one never ends, one does at once.
fn sloth() -> Plugin {
    Plugin::new::<Nothing, Nothing>("sloth", "Is slow.")
        .action("sleep", "Sleep for an hour.", sleep)
        .anonymous()
        .build()
}

async fn sleep(_: &Context<Nothing>, _: Nothing) -> Result<Nothing> {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(Nothing::default())
}

#[tokio::test]
async fn hook_timeout_ends_a_request() {
    let set = |config: &mut metagov::config::Config| config.limits.hook_timeout = SHORT;
    let gateway = Gateway::start_with(set, vec![sloth()]).await;
    gateway.api.community("a").await;
    gateway.api.enable("a", "sloth", json!({})).await;
    // What has not come is the caller's fault: with a length, and in chunks.
    for body in [
        "content-length: 9\r\n\r\n{",
        "transfer-encoding: chunked\r\n\r\n2\r\n{ \r\n",
    ] {
        let head = "POST /api/hooks/a/sloth HTTP/1.1\r\nhost: a\r\n";
        let line = Line::to(&gateway.public).await;
        let said = line
            .says(format!("{head}{body}").as_bytes())
            .await
            .hears()
            .await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
        assert!(said.contains("REQUEST_TIMEOUT"), "{said}");
    }
    // What is not done is not.
    let slow = http().post(format!("{}/api/action/sloth.sleep", gateway.public));
    let answer = slow
        .header("x-metagov-community", "a")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    serves(&gateway).await;
}

#[tokio::test]
async fn max_hook_size_is_said_before_a_body_is_sent() {
    let gateway = Gateway::start().await;
    for wants in ["", "expect: 100-continue\r\n"] {
        let head = format!(
            "POST /api/hooks/a/discourse HTTP/1.1\r\nhost: a\r\n{wants}content-length: 10737418240\r\n\r\n"
        );
        let line = Line::to(&gateway.public).await;
        let said = line.says(head.as_bytes()).await.hears().await;
        assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    }
}

async fn statuses(times: usize, request: impl Fn() -> RequestBuilder) -> Vec<Response> {
    let mut answers = Vec::new();
    for _ in 0..times {
        answers.push(request().send().await.unwrap());
    }
    answers
}

#[tokio::test]
async fn hook_rate_bounds_the_requests_of_each_webhook() {
    // So few that no loaded machine gives one back in between.
    let set = |config: &mut metagov::config::Config| config.limits.hook_rate = 1;
    let gateway = Gateway::start_with(set, vec![stage::plugin()]).await;
    let platform = stage::theatre().await;
    let mut hooks = Vec::new();
    for community in ["a", "b"] {
        gateway.api.community(community).await;
        let config = json!({"url": platform.uri()});
        let stage = gateway.api.enable(community, "stage", config).await;
        hooks.push(stage.webhook_url);
    }
    let client = http();
    let to = |url: &str| client.post(url).body(r#"{"scene": 1}"#);
    let refused = loop {
        let two = statuses(2, || to(&hooks[0])).await;
        if let Some(refused) = two.into_iter().find(|answer| answer.status() == 429) {
            break refused;
        }
    };
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(wait, 1);
    let said: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(said["error"]["reason"], "ERROR_REASON_RATE_LIMITED");
    // Another spelling is the same address.
    let (start, slug) = hooks[0].rsplit_once('/').unwrap();
    let spelled = format!("{start}/%{:02x}{}", slug.as_bytes()[0], &slug[1..]);
    let two = statuses(2, || to(&spelled)).await;
    assert!(two.iter().any(|answer| answer.status() == 429), "{spelled}");
    // Others are not slowed: of another community, and of all.
    assert_eq!(to(&hooks[1]).send().await.unwrap().status(), 200);
    let of_all = format!("{}/api/hooks/stage", gateway.public);
    assert_eq!(to(&of_all).send().await.unwrap().status(), 200);
    // And once its time has come it is served again.
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(to(&hooks[0]).send().await.unwrap().status(), 200);
}

/// A message by hand, with whatever length is said of it.
async fn framed(gateway: &Gateway, path: &str, kind: &str, frame: Vec<u8>) -> Response {
    let client = Client::builder().no_proxy();
    let client = match kind {
        "application/grpc" => client.http2_prior_knowledge(),
        _ => client.http1_only(),
    };
    let url = format!("{}{path}", gateway.endpoint());
    let post = client.build().unwrap().post(url).body(frame);
    let post = post.header("content-type", kind).header("te", "trailers");
    let post = post.bearer_auth(gateway.admin_token());
    post.send().await.unwrap()
}

#[tokio::test]
async fn max_request_size_holds_for_what_a_prefix_says() {
    let gateway = Gateway::start().await;
    let frame = [&[0, 0xff, 0xff, 0xff, 0xff][..], b"12345"].concat();
    let get = "/metagov.v1.CommunityService/GetCommunity";
    for path in [get, HEALTH] {
        for kind in ["application/grpc", "application/grpc-web+proto"] {
            let answer = framed(&gateway, path, kind, frame.clone()).await;
            let headers = answer.headers().clone();
            let body = answer.bytes().await.unwrap();
            let said = format!("{headers:?} {}", String::from_utf8_lossy(&body));
            let code = headers
                .get("grpc-status")
                .map(|code| code.as_bytes() == b"8");
            assert!(code.unwrap_or(said.contains("grpc-status:8")), "{said}");
            assert!(said.contains("1048576"), "{said}");
        }
    }
}

#[tokio::test]
async fn max_request_size_holds_within_a_stream() {
    let gateway = Gateway::start_with(|config| config.limits.max_request_size = 1024, vec![]).await;
    let asks = |size: usize| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices("x".repeat(size))),
    };
    let mut client = ServerReflectionClient::new(gateway.api.channel.clone());
    let requests = tokio_stream::iter([asks(1), asks(2048)]);
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    answers
        .message()
        .await
        .unwrap()
        .expect("the first is answered");
    // The library ends the stream, and says no more.
    assert_eq!(answers.message().await.unwrap_or(None), None);
}

#[tokio::test]
async fn max_response_size_bounds_an_answer() {
    let set = |config: &mut metagov::config::Config| {
        config.limits.max_response_size = 4096;
        config.limits.max_event_size = 2048;
    };
    let gateway = Gateway::start_with(set, vec![]).await;
    let mut plugins = gateway.api.plugins();
    let refused = fault(plugins.list_plugins(ListPluginsRequest::default()).await);
    assert!(
        refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        "{refused:?}"
    );
    assert_eq!(refused.metadata["limit"], "4096");
    let path = "/metagov.v1.PluginService/ListPlugins";
    for web in [Web::new(&gateway), Web::http2(&gateway)] {
        let refused = web.call(path, &[], &[]).await.fault();
        assert!(
            refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
            "{refused:?}"
        );
    }
    // Events come in so many answers as it takes.
    let mut watcher = gateway.api.watch().await;
    for n in 0..30 {
        gateway.api.community(&format!("c{n}")).await;
    }
    assert_eq!(gateway.api.log().await.len(), 30);
    for n in 0..30 {
        assert_eq!(watcher.next().await.community_id, format!("c{n}"));
    }
}

#[tokio::test]
async fn silent_connections_do_not_hold_the_drain() {
    let hour = Duration::from_secs(3600);
    let set = |config: &mut metagov::config::Config| {
        config.drain_timeout = hour;
        config.limits.head_timeout = Duration::from_secs(300);
        config.limits.hook_head_timeout = Duration::from_secs(300);
    };
    let gateway = Gateway::start_with(set, vec![]).await;
    let (endpoint, public) = (gateway.endpoint(), gateway.public.clone());
    let lines = [
        Line::to(&endpoint).await,
        Line::to(&public).await,
        Line::to(&endpoint).await.says(b"PRI").await,
    ];
    serves(&gateway).await;
    timeout(PATIENCE, gateway.stop()).await.expect("it ends");
    for mut line in lines {
        line.hears().await;
    }
}

#[tokio::test]
async fn drain_timeout_cuts_off_what_is_left() {
    let set = |config: &mut metagov::config::Config| config.drain_timeout = SHORT;
    let gateway = Gateway::start_with(set, vec![]).await;
    let head = b"POST /api/hooks/a/discourse HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{";
    let mut line = Line::to(&gateway.public).await.says(head).await;
    serves(&gateway).await;
    let folder = timeout(PATIENCE, gateway.stop()).await.expect("it ends");
    assert_eq!(line.hears().await, "");
    drop(folder);
}
