//! Hooks signed as Discord signs, at the address of all communities.

use ed25519_dalek::{Signer, SigningKey};
use metagov::config::Config;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, matchers::path};

use super::{Answer, Site, now, plugins, send, unsigned};
use crate::fakes;

const OURS: &str = "1001";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(super) fn configured(config: &mut Config) {
    let public = hex::encode(key().verifying_key().as_bytes());
    let settings = json!({ "application_id": OURS, "public_key": public });
    let settings = settings.as_object().unwrap().clone();
    config
        .operator
        .insert("accord".to_owned(), settings.into_iter().collect());
}

/// A platform with two guilds, one of which has a second name.
pub(super) async fn platform() -> MockServer {
    let server = fakes::server().await;
    for (name, id) in [("north", "501"), ("501", "501"), ("502", "502")] {
        let guild = Mock::given(path(format!("/guilds/{name}")));
        let guild = guild.respond_with(fakes::ok(&json!({ "id": id })));
        guild.mount(&server).await;
    }
    server
}

async fn site() -> (Site, MockServer) {
    let server = platform().await;
    let config = json!({ "url": server.uri(), "guild": "501" });
    (
        Site::with(configured, plugins::discord(), config).await,
        server,
    )
}

fn signed(key: &SigningKey, timestamp: &str, body: &str) -> [(&'static str, String); 2] {
    let signature = key.sign(format!("{timestamp}{body}").as_bytes());
    [
        ("X-Signature-Ed25519", hex::encode(signature.to_bytes())),
        ("X-Signature-Timestamp", timestamp.to_owned()),
    ]
}

impl Site {
    async fn interacts(&self, headers: &[(&'static str, String)], body: &str) -> Answer {
        let to = format!("{}/api/hooks/accord", self.gateway.public);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        send(&to, &headers, body).await
    }

    async fn rightly(&self, body: &Value) -> Answer {
        let body = body.to_string();
        self.interacts(&signed(&key(), &now().to_string(), &body), &body)
            .await
    }
}

fn ping(application: &str) -> Value {
    json!({ "type": 1, "id": "1", "application_id": application })
}

fn said(id: &str, guild: &str) -> Value {
    json!({ "type": 2, "id": id, "application_id": OURS, "guild_id": guild, "text": "hello" })
}

#[tokio::test]
async fn a_ping_is_answered_only_after_verification() {
    let (site, _platform) = site().await;
    let (body, time) = (ping(OURS).to_string(), now().to_string());
    let good = signed(&key(), &time, &body);
    let other = SigningKey::from_bytes(&[8; 32]);
    let [by, at] = good.clone();
    let upper = (by.0, by.1.to_uppercase());
    let table = [
        ("none", vec![]),
        ("no time", vec![by.clone()]),
        ("no signature", vec![at.clone()]),
        ("another key", signed(&other, &time, &body).to_vec()),
        (
            "another time",
            vec![by.clone(), (at.0, (now() + 1).to_string())],
        ),
        (
            "another body",
            signed(&key(), &time, &body.replace('1', "2")).to_vec(),
        ),
        ("no digits", vec![(by.0, "nonsense".to_owned()), at.clone()]),
        ("all zero", vec![(by.0, "0".repeat(128)), at.clone()]),
        (
            "a digit less",
            vec![(by.0, by.1[1..].to_owned()), at.clone()],
        ),
        ("upper case", vec![upper, at.clone()]),
        ("twice", vec![by.clone(), by.clone(), at.clone()]),
        ("two times", vec![by.clone(), at.clone(), at.clone()]),
        (
            "a signed time that is none",
            signed(&key(), "soon", &body).to_vec(),
        ),
        (
            "a signed time that is empty",
            signed(&key(), "", &body).to_vec(),
        ),
    ];
    for (what, headers) in table {
        let answer = site.interacts(&headers, &body).await;
        assert_eq!(answer.fault(), unsigned(), "{what}");
    }
    site.is_untouched().await;
    let answer = site.interacts(&good, &body).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "type": 1 })));
    site.is_untouched().await;
}

#[tokio::test]
async fn the_right_signature_for_another_application_is_refused() {
    let (site, _platform) = site().await;
    let mut other = said("1", "501");
    other["application_id"] = json!("1002");
    for body in [ping("1002"), other.clone()] {
        assert_eq!(site.rightly(&body).await.fault(), unsigned());
    }
    // Nor by the address of the installation.
    let body = other.to_string();
    let headers = signed(&key(), &now().to_string(), &body);
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(site.send(&headers, body).await.fault(), unsigned());
    site.is_untouched().await;
}

#[tokio::test]
async fn an_interaction_goes_to_its_guild_once() {
    let (site, _platform) = site().await;
    for (id, guild) in [("1", "501"), ("1", "501"), ("2", "999")] {
        assert_eq!(site.rightly(&said(id, guild)).await.status, 200);
    }
    assert_eq!(site.reported().await, [json!({ "text": "hello" })]);
    assert_eq!(site.deliveries().await.len(), 1);
}

#[tokio::test]
async fn without_a_public_key_no_interaction_is_taken() {
    let server = platform().await;
    let set = |config: &mut Config| {
        configured(config);
        config
            .operator
            .get_mut("accord")
            .unwrap()
            .remove("public_key");
    };
    let config = json!({ "url": server.uri(), "guild": "501" });
    let site = Site::with(set, plugins::discord(), config).await;
    for body in [ping(OURS), said("1", "501")] {
        assert_eq!(site.rightly(&body).await.fault(), unsigned());
    }
    site.is_untouched().await;
}
