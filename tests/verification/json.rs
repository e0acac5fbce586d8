//! What a body may hold, where it is signed: limits are the operator's, and hold for
//! hooks, public actions and gRPC alike.

use metagov::config::Config;
use serde_json::{Value, json};
use tonic::Code;

use super::{Site, bad_bodies, digest, invalid, plugins, send};
use crate::{
    fakes::{self, http},
    harness::fault,
};

const SECRET: &str = "it stays between us";

async fn site(set: impl FnOnce(&mut Config)) -> Site {
    Site::with(set, plugins::github(), json!({ "secret": SECRET })).await
}

async fn signed(site: &Site, body: &[u8]) -> super::Answer {
    let signature = format!("sha256={}", digest(SECRET, body));
    site.send(&[("X-Hub-Signature-256", &signature)], body)
        .await
}

#[tokio::test]
async fn a_signed_body_that_is_deep_ambiguous_or_no_json_is_refused() {
    let site = site(|_| ()).await;
    for (what, body) in bad_bodies() {
        let answer = signed(&site, &body).await;
        assert_eq!(answer.fault(), invalid(), "{what}");
        assert_eq!(
            answer.json()["error"]["fields"][0]["field"],
            "body",
            "{what}"
        );
    }
    site.is_untouched().await;
    // The process lives, and a long post is none of these.
    let long = json!({ "text": "x".repeat(500_000) }).to_string();
    assert_eq!(signed(&site, long.as_bytes()).await.status, 200);
    assert_eq!(site.reported().await.len(), 1);
}

#[tokio::test]
async fn what_is_not_signed_is_refused_before_it_is_parsed() {
    let site = site(|_| ()).await;
    for (what, body) in bad_bodies() {
        let answer = site.send(&[], body).await;
        assert_eq!(answer.status, 401, "{what}");
    }
    site.is_untouched().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_or_compressed_is_refused_before_it_is_verified() {
    let site = site(|config| config.limits.max_hook_size = 4096).await;
    let large = json!({ "text": "x".repeat(4096) }).to_string().into_bytes();
    assert_eq!(signed(&site, &large).await.status, 413, "with its length");
    let signature = format!("sha256={}", digest(SECRET, &large));
    let parts: Vec<_> = large
        .chunks(1000)
        .map(|part| Ok::<_, std::io::Error>(part.to_vec()))
        .collect();
    let parts = reqwest::Body::wrap_stream(tokio_stream::iter(parts));
    let unsized_body = http().post(&site.installation.webhook_url).body(parts);
    let answer = unsized_body
        .header("X-Hub-Signature-256", signature)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 413, "without its length");
    let body = br#"{"text":"a"}"#;
    let signature = format!("sha256={}", digest(SECRET, body));
    for encoding in [
        "gzip",
        "GZIP",
        "x-gzip",
        "deflate",
        "br",
        "zstd",
        "gzip, identity",
    ] {
        let headers = [
            ("X-Hub-Signature-256", &*signature),
            ("Content-Encoding", encoding),
        ];
        let answer = site.send(&headers, &body[..]).await;
        assert_eq!(
            answer.fault(),
            (415, "UNSUPPORTED_MEDIA_TYPE".to_owned()),
            "{encoding}"
        );
    }
    site.is_untouched().await;
}

#[tokio::test]
async fn a_public_action_reads_its_body_as_strictly() {
    let cred = fakes::cred().await;
    let config = json!({ "url": cred.uri() });
    let site = Site::of(plugins::treasury(), config).await;
    let source = json!({ "server_url": cred.uri() });
    site.gateway
        .api
        .enable("commons", "sourcecred", source)
        .await;
    let to = format!("{}/api/action/sourcecred.user-cred", site.gateway.public);
    let community = [("X-Metagov-Community", "commons")];
    for (what, body) in bad_bodies() {
        if body.is_empty() {
            continue;
        }
        let answer = send(&to, &community, body).await;
        assert_eq!(answer.fault(), invalid(), "{what}");
    }
    for body in [
        r#"{"parameters":{"username":"ada","username":"miriam"}}"#.to_owned(),
        r#"{"parameters":{},"parameters":{"username":"ada"}}"#.to_owned(),
        json!({ "parameters": { "username": "x".repeat(65_537) } }).to_string(),
    ] {
        assert_eq!(send(&to, &community, body).await.fault(), invalid());
    }
    let good = r#"{"parameters":{"username":"ada"}}"#;
    assert_eq!(
        send(&to, &community, good).await.json(),
        json!({ "value": 30.0 })
    );
}

#[tokio::test]
async fn the_limits_of_json_are_settings() {
    let site = site(|config| {
        config.limits.max_json_depth = 3;
        config.limits.max_json_values = 5;
        config.limits.max_json_string = 1024;
    });
    let site = site.await;
    let hook = async |body: Value| signed(&site, body.to_string().as_bytes()).await.status;
    assert_eq!(hook(json!({ "text": "a", "b": [[1]] })).await, 200);
    assert_eq!(hook(json!({ "text": "a", "b": [[[]]] })).await, 400);
    assert_eq!(hook(json!({ "text": "b", "b": [1, 2, 3] })).await, 200);
    assert_eq!(hook(json!({ "text": "b", "b": [1, 2, 3, 4] })).await, 400);
    assert_eq!(
        hook(json!({ "text": "x".repeat(2000) })).await,
        200,
        "the body's limit is enough"
    );
    let api = &site.gateway.api;
    for (config, why) in [
        (json!({ "a": { "b": { "c": {} } } }), "3 levels"),
        (json!({ "a": [1, 2, 3, 4, 5] }), "5 values"),
        (json!({ "a": "x".repeat(1025) }), "1024 bytes"),
    ] {
        let refused = fault(api.try_enable("commons", "octo", config).await);
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{refused:?}"
        );
        assert_eq!(refused.fields, ["config"]);
        assert!(refused.message.contains(why), "{refused:?}");
    }
    // Within the limits, it is the schema that says no.
    let known = fault(
        api.try_enable("commons", "octo", json!({ "a": [[1]] }))
            .await,
    );
    assert!(
        known.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
        "{known:?}"
    );
}
