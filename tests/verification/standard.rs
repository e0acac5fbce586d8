//! Hooks as Standard Webhooks are, with a secret and with a public key.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::{Answer, Site, mac, now, plugins, unsigned};

const SECRET: [u8; 32] = [5; 32];
const BODY: &str = r#"{"text":"hello"}"#;

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(SECRET))
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn public() -> String {
    format!("whpk_{}", STANDARD.encode(key().verifying_key().as_bytes()))
}

fn v1(id: &str, time: &str, body: &str) -> String {
    let signed = format!("{id}.{time}.{body}");
    format!("v1,{}", STANDARD.encode(mac(&SECRET, signed.as_bytes())))
}

fn v1a(id: &str, time: &str, body: &str) -> String {
    let signed = format!("{id}.{time}.{body}");
    format!(
        "v1a,{}",
        STANDARD.encode(key().sign(signed.as_bytes()).to_bytes())
    )
}

async fn site(secret: Value) -> Site {
    Site::of(plugins::standard(), json!({ "secret": secret })).await
}

async fn sent(site: &Site, id: &str, time: &str, signatures: &str) -> Answer {
    let headers = [
        ("webhook-id", id),
        ("webhook-timestamp", time),
        ("webhook-signature", signatures),
    ];
    site.send(&headers, BODY).await
}

#[tokio::test]
async fn a_standard_webhook_is_taken_with_either_signature_of_a_list() {
    let site = site(json!([secret(), public()])).await;
    let time = now().to_string();
    let (first, second) = (v1("a", &time, BODY), v1a("b", &time, BODY));
    for (id, signatures) in [
        ("a", first.clone()),
        ("b", second),
        ("c", format!("v1,AAAA v9,x {}", v1a("c", &time, BODY))),
        // The same id again, whatever it is signed with.
        ("a", v1a("a", &time, BODY)),
        ("a", first.clone()),
    ] {
        assert_eq!(
            sent(&site, id, &time, &signatures).await.status,
            200,
            "{id}"
        );
    }
    assert_eq!(site.reported().await.len(), 3);
    assert_eq!(site.deliveries().await.len(), 3);
}

#[tokio::test]
async fn a_standard_webhook_that_is_forged_or_stale_is_refused() {
    for secret in [json!(secret()), json!(public())] {
        let site = site(secret.clone()).await;
        let time = now().to_string();
        let good = match secret == json!(public()) {
            true => v1a,
            false => v1,
        };
        let (old, ahead) = ((now() - 301).to_string(), (now() + 310).to_string());
        let wrong_key = format!("v1,{}", STANDARD.encode(mac(&[6; 32], BODY.as_bytes())));
        let public_as_secret = {
            let signed = format!("a.{time}.{BODY}");
            let mac = mac(key().verifying_key().as_bytes(), signed.as_bytes());
            format!("v1,{}", STANDARD.encode(mac))
        };
        for (id, time, signatures) in [
            ("a", &*time, good("b", &time, BODY)),
            ("a", &time, good("a", &time, "{}")),
            ("a", &time, good("a", &old, BODY)),
            ("a", &old, good("a", &old, BODY)),
            ("a", &ahead, good("a", &ahead, BODY)),
            ("a", "-1", good("a", "-1", BODY)),
            ("a", "1e9", good("a", "1e9", BODY)),
            ("a", "", good("a", "", BODY)),
            ("", &time, good("", &time, BODY)),
            ("a.b", &time, good("a.b", &time, BODY)),
            ("a", &time, wrong_key),
            ("a", &time, public_as_secret),
            ("a", &time, String::new()),
            ("a", &time, good("a", &time, BODY).replace(',', ";")),
            ("a", &time, format!("v2,{}", &good("a", &time, BODY)[3..])),
        ] {
            let answer = sent(&site, id, time, &signatures).await;
            assert_eq!(answer.fault(), unsigned(), "{id} {time} {signatures}");
        }
        site.is_untouched().await;
    }
}

#[tokio::test]
async fn a_secret_that_is_neither_kind_takes_nothing() {
    for odd in [
        "whsk_AAAA",
        "whsec_",
        "a password",
        &secret()["whsec_".len()..],
    ] {
        let site = site(json!(odd)).await;
        let time = now().to_string();
        let answer = sent(&site, "a", &time, &v1("a", &time, BODY)).await;
        assert_eq!(answer.fault(), unsigned(), "{odd}");
    }
}
