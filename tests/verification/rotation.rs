//! Secrets and addresses are exchanged without losing a hook.

use metagov_proto::v1::{Installation, UpdateInstallationRequest};
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    fakes::{Forum, WEBHOOK_SECRET, post, sign},
    harness::{Gateway, fault, object, plain},
};

const NEW: &str = "the one that comes after";

async fn patch(
    gateway: &Gateway,
    made: &Installation,
    secret: Value,
) -> Result<Installation, Status> {
    let request = UpdateInstallationRequest {
        installation_id: made.installation_id.clone(),
        config_patch: object(json!({ "webhook_secret": secret })),
        etag: String::new(),
    };
    let answer = gateway.api.plugins().update_installation(request).await?;
    Ok(answer.into_inner().installation.unwrap())
}

#[tokio::test]
async fn two_secrets_hold_while_one_is_exchanged() {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    let made = gateway
        .api
        .enable("co-op", "discourse", forum.config())
        .await;
    let mut id = 0;
    let mut status = async |secret: &str| {
        id += 1;
        let body = post(id, "ada").to_string();
        let hook = forum.signed(&made.webhook_url, "post_created", &sign(secret, &body));
        hook.body(body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(
        (status(WEBHOOK_SECRET).await, status(NEW).await),
        (200, 401)
    );
    let both = patch(&gateway, &made, json!([NEW, WEBHOOK_SECRET]))
        .await
        .unwrap();
    assert_eq!(
        (status(WEBHOOK_SECRET).await, status(NEW).await),
        (200, 200)
    );
    let only = patch(&gateway, &made, json!(NEW)).await.unwrap();
    assert_eq!(
        (status(WEBHOOK_SECRET).await, status(NEW).await),
        (401, 200)
    );
    for shown in [both, only] {
        assert_eq!(shown.secret_names, ["api_key", "webhook_secret"]);
        let config = plain(shown.config);
        assert!(config.get("webhook_secret").is_none(), "{config}");
    }
    // Also after a restart, and not a third one, nor none.
    patch(&gateway, &made, json!([NEW, "spare"])).await.unwrap();
    for bad in [
        json!([]),
        json!([NEW, "b", "c"]),
        json!([""]),
        json!(null),
        json!([[NEW]]),
    ] {
        let refused = fault(patch(&gateway, &made, bad.clone()).await);
        assert_eq!(refused.reason, "SCHEMA_MISMATCH", "{bad}");
        assert!(!format!("{refused:?}").contains(NEW), "{refused:?}");
    }
    let gateway = gateway.restart(vec![]).await;
    let slug = made.webhook_url.rsplit('/').next().unwrap();
    let to = format!("{}/api/hooks/co-op/discourse/{slug}", gateway.public);
    let body = post(99, "ada").to_string();
    for secret in [NEW, "spare"] {
        let hook = forum.signed(&to, "post_created", &sign(secret, &body));
        let answer = hook.body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }
}
