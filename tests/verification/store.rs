//! A hook is never taken while it cannot be kept.

use metagov_proto::v1::{DeliveryState, RetryDeliveryRequest};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::json;

use super::{Answer, Site, digest, plugins};
use crate::harness::Kind;

const SECRET: &str = "it stays between us";
const BODY: &str = r#"{"text":"hello"}"#;

async fn site() -> (Site, DatabaseConnection) {
    let site = Site::of(plugins::github(), json!({ "secret": SECRET })).await;
    let outside = site.gateway.home().database().await;
    (site, outside)
}

async fn signed(site: &Site) -> Answer {
    let signature = format!("sha256={}", digest(SECRET, BODY.as_bytes()));
    site.send(&[("X-Hub-Signature-256", &signature)], BODY)
        .await
}

async fn rename(database: &DatabaseConnection, from: &str, to: &str) {
    let rename = format!("ALTER TABLE {from} RENAME TO {to}");
    database.execute_unprepared(&rename).await.unwrap();
}

/// 503, and when to come again.
fn is_refused(answer: &Answer) {
    let unavailable = (503, "ERROR_REASON_STORE_UNAVAILABLE".to_owned());
    assert_eq!(answer.fault(), unavailable, "{answer:?}");
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_hook_that_cannot_be_kept_is_refused_until_it_can() {
    let (site, outside) = site().await;
    for table in ["delivery", "installation"] {
        rename(&outside, table, "away").await;
        is_refused(&signed(&site).await);
        rename(&outside, "away", table).await;
    }
    site.is_untouched().await;
    // What was refused is taken when the platform sends it again.
    assert_eq!(signed(&site).await.status, 200);
    assert_eq!(site.reported().await.len(), 1);
}

#[tokio::test]
async fn a_hook_whose_event_cannot_be_kept_is_kept_itself() {
    let (site, outside) = site().await;
    rename(&outside, "event", "away").await;
    assert_eq!(signed(&site).await.status, 200);
    rename(&outside, "away", "event").await;
    let kept = site.deliveries().await.remove(0);
    assert_eq!(kept.state(), DeliveryState::Pending);
    assert_eq!(site.reported().await, Vec::<serde_json::Value>::new());
    let request = RetryDeliveryRequest {
        delivery_id: kept.delivery_id,
    };
    let answer = site.gateway.api.plugins().retry_delivery(request).await;
    let done = answer.unwrap().into_inner().delivery.unwrap();
    assert_eq!(done.state(), DeliveryState::Done);
    // The platform's own repeat makes no second event.
    assert_eq!(signed(&site).await.status, 200);
    assert_eq!(site.reported().await.len(), 1);
}

#[tokio::test]
async fn a_hook_that_meets_a_locked_store_is_refused() {
    let (site, outside) = site().await;
    let locked = match site.gateway.home().kind() {
        Kind::Sqlite => "BEGIN IMMEDIATE",
        Kind::Postgres => "BEGIN; LOCK TABLE delivery IN ACCESS EXCLUSIVE MODE",
    };
    outside.execute_unprepared(locked).await.unwrap();
    match site.gateway.home().kind() {
        Kind::Sqlite => is_refused(&signed(&site).await),
        // A lock is waited for as long as a hook may take.
        Kind::Postgres => {
            let answer = signed(&site).await;
            assert_eq!(answer.status, 503, "{answer:?}");
            assert_eq!(answer.retry_after.as_deref(), Some("1"));
        }
    }
    outside.execute_unprepared("ROLLBACK").await.unwrap();
    if site.gateway.home().kind() == Kind::Sqlite {
        site.is_untouched().await;
    }
    // Where it waited it may have been kept since; then this is its repeat.
    assert_eq!(signed(&site).await.status, 200);
}
