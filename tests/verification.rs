//! Who may tell us things: every way of signing hooks, through the real server, with a
//! small plugin for each as its author would write it; and what unsigned, stale,
//! repeated, malformed and oversize hooks get. What they get leaves nothing behind.

mod discord;
mod github;
mod json;
mod log;
mod operators;
mod plugins;
mod rotation;
mod secret_address;
mod slack;
mod standard;
mod store;

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use metagov::{config::Config, plugins::kit::Plugin};
use metagov_proto::v1::{Delivery, Installation, ListDeliveriesRequest, event::Payload};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    fakes::http,
    harness::{Gateway, plain},
};

/// A gateway with a community `commons` that has one installation of a plugin.
struct Site {
    gateway: Gateway,
    installation: Installation,
}

/// What a hook is answered with.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    body: Vec<u8>,
    retry_after: Option<String>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status and reason.
    fn fault(&self) -> (u16, String) {
        let reason = self.json()["error"]["reason"].clone();
        (self.status, reason.as_str().unwrap_or_default().to_owned())
    }
}

fn unsigned() -> (u16, String) {
    (401, "SIGNATURE_INVALID".to_owned())
}

fn invalid() -> (u16, String) {
    (400, "ERROR_REASON_INVALID_FIELD".to_owned())
}

impl Site {
    async fn of(plugin: Plugin, config: Value) -> Self {
        Self::with(|_| (), plugin, config).await
    }

    async fn with(set: impl FnOnce(&mut Config), plugin: Plugin, config: Value) -> Self {
        let name = plugin.descriptor.name.clone();
        let gateway = Gateway::start_with(set, vec![plugin]).await;
        gateway.api.community("commons").await;
        let installation = gateway.api.enable("commons", &name, config).await;
        Self {
            gateway,
            installation,
        }
    }

    /// The address of the installation without its secret part.
    fn short(&self) -> String {
        format!(
            "{}/api/hooks/commons/{}",
            self.gateway.public, self.installation.plugin
        )
    }

    /// Both addresses at which a hook that is signed may come.
    fn addresses(&self) -> [String; 2] {
        [self.installation.webhook_url.clone(), self.short()]
    }

    async fn send(&self, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        send(&self.installation.webhook_url, headers, body).await
    }

    /// What platforms reported, as the feed has it.
    async fn reported(&self) -> Vec<Value> {
        let log = self.gateway.api.log().await.into_iter();
        let data = log.filter_map(|event| match event.payload {
            Some(Payload::Platform(event)) => Some(plain(event.data)),
            _ => None,
        });
        data.collect()
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        let request = ListDeliveriesRequest {
            community_id: "commons".into(),
            ..Default::default()
        };
        let answer = self.gateway.api.plugins().list_deliveries(request).await;
        answer.unwrap().into_inner().deliveries
    }

    /// The process lives, and what was sent so far left nothing.
    async fn is_untouched(&self) {
        assert_eq!(self.deliveries().await, []);
        assert_eq!(self.reported().await, Vec::<Value>::new());
    }
}

/// Posts a body with headers, which may be there twice.
async fn send(to: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
    let mut request = http().post(to).body(body.into());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let retry_after = answer.headers().get("retry-after");
    Answer {
        status: answer.status().as_u16(),
        retry_after: retry_after.map(|value| value.to_str().unwrap().to_owned()),
        body: answer.bytes().await.unwrap().to_vec(),
    }
}

fn mac(key: &[u8], signed: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(signed);
    mac.finalize().into_bytes().to_vec()
}

/// A body's HMAC in hex.
fn digest(key: &str, body: &[u8]) -> String {
    hex::encode(mac(key.as_bytes(), body))
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

/// Bodies that are no object to read, each with what is wrong with it.
fn bad_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("100,000 lists deep", "[".repeat(100_000).into_bytes()),
        (
            "100,000 objects deep",
            r#"{"a":"#.repeat(100_000).into_bytes(),
        ),
        (
            "25 deep",
            json!({ "text": (0..24).fold(json!(1), |inner, _| json!([inner])) })
                .to_string()
                .into_bytes(),
        ),
        ("a key twice", text(r#"{"id":"1","text":"a","text":"b"}"#)),
        (
            "a key twice, further in",
            text(r#"{"id":"1","text":"a","x":[{"y":1,"\u0079":2}]}"#),
        ),
        ("no UTF-8", b"{\"id\":\"1\",\"text\":\"\xff\"}".to_vec()),
        ("a lone surrogate", text(r#"{"id":"1","text":"\ud800"}"#)),
        (
            "a number that is none",
            text(r#"{"id":"1","text":"a","x":1e999}"#),
        ),
        (
            "a number less than all",
            text(r#"{"id":"1","text":"a","x":-1e999}"#),
        ),
        ("null", text("null")),
        ("a list", text("[]")),
        ("a text", text("\"{}\"")),
        ("nothing", Vec::new()),
        ("two objects", text(r#"{"id":"1","text":"a"}{}"#)),
        ("a comma too many", text(r#"{"id":"1","text":"a",}"#)),
        (
            "a mark before it",
            b"\xef\xbb\xbf{\"id\":\"1\",\"text\":\"a\"}".to_vec(),
        ),
        (
            "10,001 values",
            json!({ "text": vec![0; 10_000] }).to_string().into_bytes(),
        ),
        ("another type", text(r#"{"id":"1","text":{"a":1}}"#)),
    ]
}
