//! What operators' machines ask over plain HTTP, on the API's listener and behind its gate:
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200: the process lives |
//! | `/readyz` | 200 if the database can be written and the gateway is not draining; else 503 and why, in one word |
//! | `/metrics` | the metrics, for a token that reads all communities, as every call wants one |
//!
//! gRPC's own health does not follow `/readyz`: it says NOT_SERVING only while draining.
//! A database that cannot be written takes no changes from any replica, while streams and
//! reads may go on, and each refused change says why and when to come again. A balancer
//! that took all replicas away would end those, too, and say nothing.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::{error::Error, gateway::Gateway};

const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Lives,
    Ready,
    Metrics,
}

/// Whether a request is one of these, and no call.
pub(super) fn is_asked<B>(request: &Request<B>) -> bool {
    question(request).is_some()
}

fn question<B>(request: &Request<B>) -> Option<Question> {
    let asked = match request.uri().path() {
        "/healthz" => Question::Lives,
        "/readyz" => Question::Ready,
        "/metrics" => Question::Metrics,
        _ => return None,
    };
    (*request.method() == Method::GET).then_some(asked)
}

/// See the module.
#[derive(Clone)]
pub struct OperationsLayer {
    pub(super) gateway: Arc<Gateway>,
}

impl<S> Layer<S> for OperationsLayer {
    type Service = Operations<S>;

    fn layer(&self, inner: S) -> Operations<S> {
        let gateway = self.gateway.clone();
        Operations { inner, gateway }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Operations<S> {
    inner: S,
    gateway: Arc<Gateway>,
}

impl<S> Service<Request<Body>> for Operations<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        Either<S::Future, Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(asked) = question(&request) else {
            return Either::Left(self.inner.call(request));
        };
        let gateway = self.gateway.clone();
        let token = request.headers().get(header::AUTHORIZATION).cloned();
        Either::Right(Box::pin(async move {
            Ok(match asked {
                Question::Lives => answer(StatusCode::OK, JSON, r#"{"live":true}"#),
                Question::Ready => ready(&gateway).await,
                Question::Metrics => metrics(&gateway, token).await,
            })
        }))
    }
}

async fn ready(gateway: &Gateway) -> Response<Body> {
    match gateway.readiness().await {
        Ok(()) => answer(StatusCode::OK, JSON, r#"{"ready":true}"#),
        Err(unready) => {
            let why = json!({ "ready": false, "reason": unready.word() });
            answer(StatusCode::SERVICE_UNAVAILABLE, JSON, why.to_string())
        }
    }
}

async fn metrics(gateway: &Gateway, token: Option<HeaderValue>) -> Response<Body> {
    let header = token.as_ref().map(HeaderValue::as_bytes);
    match gateway.read_metrics(header).await {
        Ok(text) => answer(StatusCode::OK, PROMETHEUS, text),
        Err(error) => refused(&error),
    }
}

/// In the shape that the public listener has for errors.
fn refused(error: &Error) -> Response<Body> {
    let (status, reason) = match error {
        Error::TokenInvalid => (StatusCode::UNAUTHORIZED, "ERROR_REASON_TOKEN_INVALID"),
        Error::RoleTooSmall { .. } => (StatusCode::FORBIDDEN, "ERROR_REASON_ROLE_TOO_SMALL"),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ERROR_REASON_STORE_UNAVAILABLE",
        ),
    };
    let message = match error {
        Error::Internal(what) => {
            tracing::error!(what, "a token cannot be looked up");
            "the token cannot be looked up now".to_owned()
        }
        error => error.to_string(),
    };
    let body = json!({ "error": { "reason": reason, "message": message } });
    let mut response = answer(status, JSON, body.to_string());
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // What was so a moment ago is of no use.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
