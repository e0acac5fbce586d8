//! Traces: a collector gets spans of what was done, and never for whom.

use metagov_proto::v1::GetCommunityRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use serde_json::json;
use tonic::{Code, Request};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use super::collector::{Collector, attribute};
use crate::harness::{Binary, Home};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const GET: &str = "metagov.v1.CommunityService/GetCommunity";
const CREATE: &str = "metagov.v1.CommunityService/CreateCommunity";

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

// The gateway ends while the collector still takes what is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_calls_and_what_came_of_them() {
    let collector = Collector::default();
    let address = collector.serve().await;
    let home = Home::new();
    // What is logged does not decide what is traced.
    let args = ["--otlp-endpoint", &address, "--log", "info"];
    let gateway = Binary::serve(&home, &args);
    let api = gateway.api().await;
    let platform = MockServer::start().await;
    let answer = ResponseTemplate::new(500);
    let any = Mock::given(method("GET")).respond_with(answer);
    any.mount(&platform).await;
    api.community("a-secret-garden").await;
    let server = json!({ "server_url": format!("{}/a-private-path", platform.uri()) });
    _ = api
        .try_enable("a-secret-garden", "sourcecred", server)
        .await;
    let mut request = Request::new(GetCommunityRequest {
        community_id: "nowhere-to-be-seen".into(),
    });
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let headers = request.metadata_mut();
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("x-request-id", "known-in-the-log".parse().unwrap());
    let missing = api.communities().get_community(request).await;
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    let token = gateway.token.clone();
    // Its end sends what is left.
    assert_eq!(gateway.terminate(), Some(0));

    let spans = collector.spans();
    assert!(collector.services().iter().all(|name| name == "metagov"));
    let get = named(&spans, GET);
    assert_eq!(hex::encode(&get.trace_id), TRACE);
    assert_eq!(hex::encode(&get.parent_span_id), PARENT);
    assert_eq!(get.kind(), SpanKind::Server);
    let said = |key| attribute(get, key).unwrap_or_default();
    assert_eq!(said("rpc.system.name"), "grpc");
    assert_eq!(said("rpc.method"), GET);
    assert_eq!(said("rpc.response.status_code"), "NOT_FOUND");
    assert_eq!(said("request_id"), "known-in-the-log");
    // A mistake of the caller is none of the server's.
    assert_ne!(
        get.status.clone().unwrap_or_default().code(),
        StatusCode::Error
    );
    // What a call does is below it.
    let create = named(&spans, CREATE);
    assert!(create.parent_span_id.is_empty());
    let below = |span: &&Span| span.name == "write" && span.parent_span_id == create.span_id;
    assert!(spans.iter().any(|span| below(&span)), "{spans:#?}");
    let asked = named(&spans, "platform");
    assert_eq!(asked.kind(), SpanKind::Client);
    assert_eq!(attribute(asked, "plugin").as_deref(), Some("sourcecred"));
    // Nothing says for whom, and no line of the log goes along.
    let text = collector.text();
    for private in [
        "garden",
        "nowhere-to-be-seen",
        "a-private-path",
        platform.address().to_string().as_str(),
        &token,
        token.split('_').nth(1).unwrap(),
    ] {
        assert!(!text.contains(private), "{private} in {text}");
    }
    assert!(spans.iter().all(|span| span.events.is_empty()));
}

#[tokio::test]
async fn without_a_collector_at_the_address_calls_go_on() {
    let home = Home::new();
    // Nobody listens there.
    let gateway = Binary::serve(&home, &["--otlp-endpoint", "http://127.0.0.1:1"]);
    let api = gateway.api().await;
    for number in 0..20 {
        api.community(&format!("garden-{number}")).await;
    }
    assert_eq!(gateway.terminate(), Some(0));
}

#[test]
fn an_address_that_is_none_is_refused() {
    let args = ["serve", "--otlp-endpoint", "collector:4317"];
    let refused = Binary::command(&args).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("--otlp-endpoint (METAGOV_OTLP_ENDPOINT): "),
        "{said}"
    );
}
