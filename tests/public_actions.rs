//! Actions that anyone may perform, over plain HTTP, and the shape of all errors there.

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use wiremock::{MockServer, ResponseTemplate};

use crate::{
    fakes::{self, Forum, answers, asked, http},
    harness::Gateway,
};

const COMMUNITY: &str = "X-Metagov-Community";

/// A gateway whose community has a SourceCred instance.
async fn credited() -> (Gateway, MockServer) {
    let cred = fakes::cred().await;
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    let config = json!({ "server_url": cred.uri() });
    gateway.api.enable("co-op", "sourcecred", config).await;
    (gateway, cred)
}

fn action(gateway: &Gateway, name: &str) -> RequestBuilder {
    http().post(format!("{}/api/action/{name}", gateway.public))
}

/// The same for the community, with this body.
fn asking(gateway: &Gateway, name: &str, body: &Value) -> RequestBuilder {
    let request = action(gateway, name).header(COMMUNITY, "co-op");
    request.body(body.to_string())
}

async fn send(request: RequestBuilder) -> (u16, Value) {
    read(request.send().await.unwrap()).await
}

async fn read(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "application/json");
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

/// Status, reason and fields of an error.
async fn refused(request: RequestBuilder) -> (u16, String, Vec<String>) {
    let (status, body) = send(request).await;
    let error = &body["error"];
    assert!(error["message"].is_string(), "{body}");
    let fields = error["fields"].as_array().cloned().unwrap_or_default();
    let fields = fields
        .iter()
        .map(|f| f["field"].as_str().unwrap().to_owned());
    let reason = error["reason"].as_str().expect("a reason");
    let reason = reason.trim_start_matches("ERROR_REASON_").to_owned();
    (status, reason, fields.collect())
}

fn is(status: u16, reason: &str, fields: &[&str]) -> (u16, String, Vec<String>) {
    let fields = fields.iter().map(ToString::to_string).collect();
    (status, reason.to_owned(), fields)
}

#[tokio::test]
async fn only_public_actions_are_public() {
    let (gateway, _cred) = credited().await;
    let range = json!({ "default_low": 1, "default_high": 2 });
    gateway.api.enable("co-op", "randomness", range).await;
    let user = json!({ "parameters": { "username": "miriam" } });
    let answer = send(asking(&gateway, "sourcecred.user-cred", &user)).await;
    assert_eq!(answer, (200, json!({ "value": 12.5 })));
    let total = asking(&gateway, "sourcecred.total-cred", &json!({}));
    assert_eq!(send(total).await, (200, json!({ "value": 42.5 })));
    let empty = action(&gateway, "sourcecred.total-cred").header(COMMUNITY, "co-op");
    assert_eq!(send(empty).await, (200, json!({ "value": 42.5 })));
    for name in [
        "randomness.random-int",
        "randomness.set-lucky-number",
        "sourcecred.list-cred",
        "sourcecred.nope",
        "nope.nope",
        "sourcecred",
        "randomness.delayed-stochastic-vote",
    ] {
        let answer = refused(asking(&gateway, name, &json!({}))).await;
        assert_eq!(answer, is(404, "PLUGIN_NOT_FOUND", &[]), "{name}");
    }
}

#[tokio::test]
async fn a_public_action_is_of_a_community() {
    let (gateway, _cred) = credited().await;
    gateway.api.community("other").await;
    let total = || action(&gateway, "sourcecred.total-cred");
    let header = is(400, "INVALID_FIELD", &["X-Metagov-Community"]);
    assert_eq!(refused(total()).await, header, "missing");
    for malformed in ["", "Co-Op", "a b", "a/b"] {
        let request = total().header(COMMUNITY, malformed);
        assert_eq!(refused(request).await, header, "{malformed}");
    }
    let bytes = reqwest::header::HeaderValue::from_bytes(b"\xff").unwrap();
    assert_eq!(refused(total().header(COMMUNITY, bytes)).await, header);
    let unknown = refused(total().header(COMMUNITY, "nowhere")).await;
    assert_eq!(unknown, is(404, "COMMUNITY_NOT_FOUND", &[]));
    let off = refused(total().header(COMMUNITY, "other")).await;
    assert_eq!(off, is(400, "PLUGIN_NOT_ENABLED", &[]));
}

#[tokio::test]
async fn a_malformed_body_is_named() {
    let (gateway, cred) = credited().await;
    let before = asked(&cred, "GET", fakes::ACCOUNTS).await;
    let send = async |body: &'static [u8]| {
        let request = action(&gateway, "sourcecred.user-cred").header(COMMUNITY, "co-op");
        refused(request.body(body)).await
    };
    let malformed: [&[u8]; 7] = [
        b"{",
        b"[]",
        b"\"x\"",
        b"{\"parameters\": 5}",
        b"{\"parameters\": {}, \"more\": 1}",
        b"parameters=1",
        b"{\"parameters\": {\"id\": \"\xff\"}}",
    ];
    for body in malformed {
        let answer = send(body).await;
        let text = String::from_utf8_lossy(body);
        assert_eq!(answer, is(400, "INVALID_FIELD", &["body"]), "{text}");
    }
    let neither = send(b"{}").await;
    assert_eq!(neither, is(400, "INVALID_FIELD", &["parameters"]));
    let (status, reason, mut fields) = send(br#"{"parameters": {"id": 5, "a": 1}}"#).await;
    fields.sort();
    let places = ["parameters/a", "parameters/id"];
    assert_eq!(
        (status, reason, fields),
        is(400, "SCHEMA_MISMATCH", &places)
    );
    assert_eq!(asked(&cred, "GET", fakes::ACCOUNTS).await, before);
}

#[tokio::test]
async fn limits_of_a_platform_are_passed_on() {
    let (gateway, cred) = credited().await;
    // What the platform says, what the caller hears, and when to come again.
    let table = [
        (
            ResponseTemplate::new(500),
            is(503, "PLATFORM_UNAVAILABLE", &[]),
            Some("1"),
        ),
        (
            ResponseTemplate::new(404),
            is(400, "PLATFORM_REJECTED", &[]),
            None,
        ),
        (
            ResponseTemplate::new(401),
            is(400, "PLATFORM_UNAUTHORIZED", &[]),
            None,
        ),
        // The last one: until then it is not asked again.
        (
            ResponseTemplate::new(429).insert_header("retry-after", "7"),
            is(429, "PLATFORM_RATE_LIMITED", &[]),
            Some("7"),
        ),
    ];
    for (said, expected, wait) in table {
        let _said = answers(&cred, "GET", fakes::ACCOUNTS, said).await;
        let request = || asking(&gateway, "sourcecred.total-cred", &json!({}));
        assert_eq!(refused(request()).await, expected);
        let answer = request().send().await.unwrap();
        let after = answer.headers().get("retry-after");
        assert_eq!(after.map(|value| value.to_str().unwrap()), wait);
    }
}

#[tokio::test]
async fn a_public_action_of_several_installations_is_ambiguous() {
    let (gateway, _cred) = credited().await;
    let second = fakes::cred().await;
    let config = json!({ "server_url": second.uri() });
    gateway.api.enable("co-op", "sourcecred", config).await;
    let unclear = refused(asking(&gateway, "sourcecred.total-cred", &json!({}))).await;
    assert_eq!(unclear, is(400, "INSTALLATION_AMBIGUOUS", &[]));
}

#[tokio::test]
async fn errors_have_one_shape() {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    gateway
        .api
        .enable("co-op", "discourse", forum.config())
        .await;
    let at = |path: &str| format!("{}{path}", gateway.public);
    let requests = [
        (http().get(at("/")), 404),
        (http().get(at("/api/hooks/discourse")), 405),
        (http().post(at("/api/hooks/co-op/nope/x")), 404),
        (http().post(at("/api/hooks/co-op/discourse")), 401),
        (http().post(at("/api/hooks/%FF")), 404),
        (http().post(at("/api/hooks/%FF/discourse")), 404),
        (http().post(at("/api/hooks/co-op/%FF/x")), 404),
        (http().post(at("/api/hooks/co-op/discourse/%FF")), 404),
        (http().post(at("/api/action/%FF")), 404),
        (http().post(at("/api/action/sourcecred.user-cred")), 400),
        (http().post(at("/api/action/nope")), 404),
        (
            http()
                .post(at("/api/hooks/discourse"))
                .header("Content-Encoding", "gzip"),
            415,
        ),
    ];
    for (request, expected) in requests {
        let shown = format!("{request:?}");
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        assert_eq!(status, expected, "{shown}");
        let text = answer.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{shown}: {text}"));
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        let error = body["error"].as_object().unwrap();
        assert!(error["reason"].is_string() && error["message"].is_string());
        let known = ["fields", "message", "reason"];
        assert!(error.keys().all(|key| known.contains(&key.as_str())));
    }
}
