//! What the API's listener answers to a plain GET, over the same connection and with the
//! same token as calls.

use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use metagov_client::Way;
use std::time::SystemTime;
use tonic::body::Body;
use tower::ServiceExt;

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) text: String,
    /// When it was given, by the gateway's clock.
    pub(super) date: Option<SystemTime>,
}

/// Asks for a path; nothing if there was no answer.
pub(super) async fn get(way: Way, path: &str) -> Option<Answer> {
    let request = Request::get(path).body(Body::empty()).ok()?;
    let answer = way.oneshot(request).await.ok()?;
    let status = answer.status();
    let date = answer.headers().get(header::DATE);
    let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    Some(Answer { status, text, date })
}
