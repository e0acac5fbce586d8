//! Platforms faked at the HTTP line: just enough of each for a plugin to be set up, to
//! act and to be told of what happened.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sha2::Sha256;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

/// The file of a SourceCred instance.
pub(crate) const ACCOUNTS: &str = "/output/accounts.json";

/// A client for the public listener.
pub(crate) fn http() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// A web server that so far knows nothing.
pub(crate) async fn server() -> MockServer {
    MockServer::start().await
}

/// While this lives, a server answers in another way.
#[must_use]
pub(crate) struct Otherwise(Arc<AtomicBool>);

impl Drop for Otherwise {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// While the guard lives, the server answers this request so.
pub(crate) async fn answers(
    server: &MockServer,
    verb: &str,
    at: &str,
    answer: ResponseTemplate,
) -> Otherwise {
    let holds = Arc::new(AtomicBool::new(true));
    let otherwise = Otherwise(holds.clone());
    // wiremock's own guards end the wrong mock where there are priorities.
    let mock = Mock::given(method(verb)).and(path(at));
    mock.and(move |_: &Request| holds.load(Ordering::SeqCst))
        .respond_with(answer)
        .with_priority(1)
        .mount(server)
        .await;
    otherwise
}

/// 200 with this body.
pub(crate) fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// How often this was asked.
pub(crate) async fn asked(server: &MockServer, verb: &str, at: &str) -> usize {
    let requests = server.received_requests().await.unwrap();
    let fits = requests
        .iter()
        .filter(|r| r.method.as_str() == verb && r.url.path() == at);
    fits.count()
}

/// A SourceCred instance with two accounts, as SourceCred writes them.
pub(crate) async fn cred() -> MockServer {
    let server = server().await;
    let file = json!({ "accounts": [
        account("miriam", 12.5, "140750062325202944"),
        account("ada", 30.0, "7"),
    ]});
    Mock::given(method("GET"))
        .and(path(ACCOUNTS))
        .respond_with(ok(&file))
        .mount(&server)
        .await;
    server
}

fn account(name: &str, cred: f64, discord: &str) -> Value {
    let address = format!("N\0sourcecred\0discord\0MEMBER\0user\0{discord}\0");
    let alias = json!({ "address": address, "description": "discord/@someone" });
    json!({
        "cred": [cred],
        "totalCred": cred,
        "account": { "identity": { "id": "x", "subtype": "USER", "name": name, "aliases": [alias] } },
    })
}

/// The key that a community configures for its [`Forum`].
pub(crate) const API_KEY: &str = "a-key-that-nobody-may-see";
/// The secret of its webhook.
pub(crate) const WEBHOOK_SECRET: &str = "a-secret-that-nobody-may-see";

/// A Discourse forum.
pub(crate) struct Forum {
    pub(crate) server: MockServer,
}

impl Forum {
    pub(crate) async fn start() -> Self {
        let server = server().await;
        let pages = [
            ("/about.json", json!({ "about": { "title": "The garden" } })),
            ("/admin/users/list/active.json", json!([])),
            ("/site.json", json!({ "user_fields": [] })),
            ("/directory_items.json", json!({ "directory_items": [] })),
        ];
        for (at, body) in pages {
            let page = Mock::given(method("GET")).and(path(at));
            page.respond_with(ok(&body)).mount(&server).await;
        }
        Self { server }
    }

    /// What a community configures to use it.
    pub(crate) fn config(&self) -> Value {
        json!({
            "server_url": self.server.uri(),
            "api_key": API_KEY,
            "webhook_secret": WEBHOOK_SECRET,
        })
    }

    /// A webhook of it, signed.
    pub(crate) fn hook(&self, to: &str, event: &str, body: &Value) -> RequestBuilder {
        let body = body.to_string();
        self.signed(to, event, &sign(WEBHOOK_SECRET, &body))
            .body(body)
    }

    /// A webhook of it without its body, and with this signature.
    pub(crate) fn signed(&self, to: &str, event: &str, signature: &str) -> RequestBuilder {
        http()
            .post(to)
            .header("Content-Type", "application/json")
            .header("X-Discourse-Instance", self.server.uri())
            .header("X-Discourse-Event", event)
            .header("X-Discourse-Event-Signature", signature)
    }
}

/// The signature of a body, as Discourse writes it.
pub(crate) fn sign(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// The body of the hook `post_created`.
pub(crate) fn post(id: i64, username: &str) -> Value {
    json!({ "post": {
        "id": id,
        "username": username,
        "created_at": "2026-03-04T05:06:07.891Z",
        "raw": "Let us *vote*.",
        "topic_id": 9,
        "topic_slug": "a-new-rule",
        "post_number": 2,
    }})
}
