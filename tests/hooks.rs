//! The public listener: webhooks and public actions, over plain HTTP.

use metagov_proto::v1::{
    Installation, ListDeliveriesRequest, PlatformEvent, RotateWebhookRequest, event::Payload,
};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

use crate::{
    fakes::{Forum, WEBHOOK_SECRET, http, post, sign},
    harness::{Gateway, Watcher, plain},
    stage,
};

/// What a request is answered with; an empty body is null.
async fn send(request: RequestBuilder) -> (u16, Value) {
    let (status, _, body) = whole(request).await;
    (status, body)
}

async fn whole(request: RequestBuilder) -> (u16, HeaderMap, Value) {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.text().await.unwrap();
    let body = match body.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}")),
    };
    (status, headers, body)
}

/// The reason of an error, once its shape is checked.
fn reason((status, body): (u16, Value)) -> (u16, String) {
    let error = body["error"].as_object().expect("an error");
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let known = ["fields", "message", "reason"];
    assert!(error.keys().all(|key| known.contains(&key.as_str())));
    assert!(!error["message"].as_str().unwrap().is_empty());
    for fault in error.get("fields").into_iter().flat_map(|f| f.as_array()) {
        for fault in fault {
            assert!(fault["field"].is_string() && fault["why"].is_string());
        }
    }
    (status, error["reason"].as_str().unwrap().to_owned())
}

/// Sends a request that must fail.
async fn refused(request: RequestBuilder) -> (u16, String) {
    reason(send(request).await)
}

fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

async fn event(watcher: &mut Watcher) -> PlatformEvent {
    match watcher.payload().await {
        Payload::Platform(event) => event,
        other => panic!("{other:?}"),
    }
}

/// A gateway with a forum and a stage, in the community `co-op`.
struct Scene {
    gateway: Gateway,
    forum: Forum,
    discourse: Installation,
    stage: Installation,
}

async fn scene() -> Scene {
    let forum = Forum::start().await;
    let set = |config: &mut metagov::config::Config| config.limits.max_hook_size = 4096;
    let gateway = Gateway::start_with(set, vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    let discourse = gateway.api.enable("co-op", "discourse", forum.config());
    let discourse = discourse.await;
    let config = json!({ "url": forum.server.uri() });
    let stage = gateway.api.enable("co-op", "stage", config).await;
    Scene {
        gateway,
        forum,
        discourse,
        stage,
    }
}

impl Scene {
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.public)
    }

    async fn last_scene(&self) -> Value {
        let last = self
            .gateway
            .api
            .perform("co-op", "stage.last-scene", json!({}));
        last.await.unwrap()["scene"].clone()
    }

    async fn deliveries(&self) -> usize {
        let request = ListDeliveriesRequest {
            community_id: "co-op".into(),
            ..Default::default()
        };
        let answer = self.gateway.api.plugins().list_deliveries(request).await;
        answer.unwrap().into_inner().deliveries.len()
    }
}

#[tokio::test]
async fn hooks_come_by_all_their_paths() {
    let scene = scene().await;
    let forum = &scene.forum;
    let mut watcher = scene.gateway.api.watch().await;
    // The secret address of the installation, and that of who signs.
    let signs = scene.at("/api/hooks/co-op/discourse");
    for (id, address) in [(1, &scene.discourse.webhook_url), (2, &signs)] {
        let hook = forum.hook(address, "post_created", &post(id, "ada"));
        assert_eq!(send(hook).await, (200, Value::Null));
        let event = event(&mut watcher).await;
        assert_eq!(event.installation_id, scene.discourse.installation_id);
        assert_eq!(plain(event.data)["id"], json!(id));
    }
    // The address of a platform, which says itself where it goes.
    let of_platform = || http().post(scene.at("/api/hooks/stage"));
    let to = json!({ "to": forum.server.uri(), "scene": 3 });
    let hook = of_platform().body(to.to_string());
    assert_eq!(send(hook).await, (200, Value::Null));
    assert_eq!(scene.last_scene().await, json!(3));
    let elsewhere = json!({ "to": "https://example.org", "scene": 4 });
    let hook = of_platform().body(elsewhere.to_string());
    assert_eq!(send(hook).await, (200, Value::Null));
    assert_eq!(scene.last_scene().await, json!(3), "it was for nobody");
    let hook = of_platform().body(json!({ "challenge": "abc" }).to_string());
    assert_eq!(send(hook).await, (200, json!("abc")));
}

#[tokio::test]
async fn a_wrong_slug_is_not_found() {
    let scene = scene().await;
    let last = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let (good, other) = (
        last(&scene.discourse.webhook_url),
        last(&scene.stage.webhook_url),
    );
    scene.gateway.api.enable("co-op", "ballot", json!({})).await;
    scene.gateway.api.community("other").await;
    let half = &good[..good.len() / 2];
    let upper = good.to_uppercase();
    let mut bodies = Vec::new();
    for path in [
        "co-op/discourse/0123".to_owned(),
        format!("co-op/discourse/{half}"),
        format!("co-op/discourse/{good}0"),
        format!("co-op/discourse/{other}"),
        format!("co-op/discourse/{upper}"),
        format!("co-op/nope/{good}"),
        format!("co-op/ballot/{good}"),
        format!("other/discourse/{good}"),
        format!("nowhere/discourse/{good}"),
        format!("NO%20ID/discourse/{good}"),
        "other/discourse".to_owned(),
        "nowhere/discourse".to_owned(),
        "co-op/nope".to_owned(),
        "co-op/ballot".to_owned(),
        "co-op/stage".to_owned(),
        "discourse".to_owned(),
        "nope".to_owned(),
    ] {
        let at = scene.at(&format!("/api/hooks/{path}"));
        let hook = scene.forum.hook(&at, "post_created", &post(1, "ada"));
        let answer = send(hook).await;
        let found = reason(answer.clone());
        assert_eq!(found, is(404, "WEBHOOK_NOT_FOUND"), "{path}");
        bodies.push(answer.1);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "what is wrong is not said: {bodies:?}");
    assert_eq!(scene.deliveries().await, 0);
    assert_eq!(scene.last_scene().await, Value::Null);
}

#[tokio::test]
async fn a_repeated_delivery_changes_nothing() {
    let scene = scene().await;
    let mut watcher = scene.gateway.api.watch().await;
    let url = &scene.discourse.webhook_url;
    for id in [1, 1, 2, 1] {
        let hook = scene.forum.hook(url, "post_created", &post(id, "ada"));
        assert_eq!(send(hook).await.0, 200, "a repeat is no error");
    }
    for id in [1, 2] {
        let data = plain(event(&mut watcher).await.data);
        assert_eq!(data["id"], json!(id));
    }
    assert_eq!(scene.deliveries().await, 2);
    // Not by another path, not after the address changed, not after a restart.
    let request = RotateWebhookRequest {
        installation_id: scene.discourse.installation_id.clone(),
        old_expire_time: None,
    };
    let mut plugins = scene.gateway.api.plugins();
    plugins.rotate_webhook(request).await.unwrap();
    let gateway = scene.gateway.restart(vec![stage::plugin()]).await;
    let mut watcher = gateway.api.watch().await;
    let signs = format!("{}/api/hooks/co-op/discourse", gateway.public);
    for id in [1, 3] {
        let hook = scene.forum.hook(&signs, "post_created", &post(id, "ada"));
        assert_eq!(send(hook).await.0, 200);
    }
    let data = plain(event(&mut watcher).await.data);
    assert_eq!(data["id"], json!(3), "the repeat made no event");
}

#[tokio::test]
async fn a_bad_signature_is_refused() {
    let scene = scene().await;
    let body = post(1, "ada").to_string();
    let good = sign(WEBHOOK_SECRET, &body);
    let signs = scene.at("/api/hooks/co-op/discourse");
    for signature in [
        sign("another secret", &body),
        sign(WEBHOOK_SECRET, &format!("{body} ")),
        good.replace("sha256=", "sha1="),
        good.replace("sha256=", ""),
        good[..good.len() - 2].to_owned(),
        format!("{good}00"),
        "sha256=".to_owned(),
        String::new(),
    ] {
        for url in [&scene.discourse.webhook_url, &signs] {
            let hook = scene.forum.signed(url, "post_created", &signature);
            let answer = refused(hook.body(body.clone())).await;
            assert_eq!(answer, is(401, "SIGNATURE_INVALID"), "{signature}");
        }
    }
    let unsigned = http().post(&signs).body(body.clone());
    assert_eq!(refused(unsigned).await, is(401, "SIGNATURE_INVALID"));
    assert_eq!(scene.deliveries().await, 0);
    // What was refused does not count as seen.
    let hook = scene.forum.signed(&signs, "post_created", &good);
    assert_eq!(send(hook.body(body)).await, (200, Value::Null));
    assert_eq!(scene.deliveries().await, 1);
}

#[tokio::test]
async fn a_signed_body_that_makes_no_sense_is_refused() {
    let scene = scene().await;
    let url = &scene.discourse.webhook_url;
    let ping = scene.forum.hook(url, "ping", &json!({ "ping": "OK" }));
    assert_eq!(send(ping).await.0, 200, "what nobody needs is taken");
    let before = scene.deliveries().await;
    for body in ["", "no JSON", "[]", "{}", r#"{"post": {"id": "x"}}"#] {
        let signature = sign(WEBHOOK_SECRET, body);
        let hook = scene.forum.signed(url, "post_created", &signature);
        let answer = refused(hook.body(body)).await;
        assert_eq!(answer, is(400, "ERROR_REASON_INVALID_FIELD"), "{body}");
    }
    assert_eq!(scene.deliveries().await, before);
}

#[tokio::test]
async fn a_body_is_bounded_and_not_compressed() {
    let scene = scene().await;
    let large = "x".repeat(4097);
    let chunks = || {
        let bytes = large.clone().into_bytes();
        let chunks = bytes
            .chunks(1000)
            .map(|c| Ok::<_, std::io::Error>(c.to_vec()));
        reqwest::Body::wrap_stream(tokio_stream::iter(chunks.collect::<Vec<_>>()))
    };
    for url in [
        scene.discourse.webhook_url.clone(),
        scene.at("/api/hooks/stage"),
        scene.at("/api/action/sourcecred.total-cred"),
    ] {
        let to = || http().post(&url).header("X-Metagov-Community", "co-op");
        let too_large = is(413, "ERROR_REASON_MESSAGE_TOO_LARGE");
        assert_eq!(refused(to().body(large.clone())).await, too_large);
        assert_eq!(refused(to().body(chunks())).await, too_large);
        for encoding in ["gzip", "br", "identity, gzip"] {
            let zipped = to().header("Content-Encoding", encoding).body("x");
            let answer = refused(zipped).await;
            assert_eq!(answer, is(415, "UNSUPPORTED_MEDIA_TYPE"), "{encoding}");
        }
    }
    let plain = scene
        .forum
        .hook(&scene.discourse.webhook_url, "ping", &json!({}));
    let plain = plain.header("Content-Encoding", "identity");
    assert_eq!(send(plain).await.0, 200);
}

#[tokio::test]
async fn only_posts_to_what_is_there_are_taken() {
    let scene = scene().await;
    let url = &scene.discourse.webhook_url;
    let action = scene.at("/api/action/sourcecred.total-cred");
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        for at in [url, &action, &scene.at("/api/hooks/stage")] {
            let wrong = http().request(method.clone(), at);
            let answer = refused(wrong).await;
            assert_eq!(answer, is(405, "METHOD_NOT_ALLOWED"), "{method} {at}");
        }
    }
    let head = http().head(url).send().await.unwrap();
    assert_eq!(head.status().as_u16(), 405);
    for path in [
        "/",
        "/api",
        "/api/hooks",
        "/api/hooks/",
        "/api/hooks/co-op/discourse/a/b",
        "/api/hooks/co-op/discourse/",
        "/api/action/",
        "/api/internal/community",
        "/metagov.v1.CommunityService/ListCommunities",
    ] {
        let answer = refused(http().post(scene.at(path))).await;
        assert_eq!(answer.0, 404, "{path}");
    }
}
