//! The public HTTP edge: what platforms and people reach from outside.
//!
//! Hooks of platforms, people whom platforms send back, and actions that anyone may
//! perform, on a listener of its own: no route of the API is here. Bodies are bounded; errors have one shape (`status.rs`).
//! Speaks HTTP, decides nothing. Read `hooks.rs`.

mod actions;
mod hooks;
mod limits;
mod oauth;
mod status;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{FromRequestParts, Path},
    http::{HeaderMap, header, request::Parts},
    middleware,
    routing::{get, post},
};
use serde::de::DeserializeOwned;
use tower_http::catch_panic::CatchPanicLayer;

use crate::gateway::Gateway;
use limits::Rate;
use status::Failure;

/// What the operator may set of this edge.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most bytes of a body.
    pub max_body: usize,
    /// The longest that a request may take.
    pub timeout: Duration,
    /// How many requests a second one webhook may get.
    pub rate: u32,
}

/// What is common to all routes.
#[derive(Clone)]
struct Public {
    gateway: Arc<Gateway>,
    /// The most bytes of a body.
    max_body: usize,
    rate: Arc<Rate>,
}

/// Every route.
pub fn routes(gateway: Arc<Gateway>, settings: &Settings) -> Router {
    let public = Public {
        gateway,
        max_body: settings.max_body,
        rate: Arc::new(Rate::new(settings.rate)),
    };
    Router::new()
        .route("/api/hooks/{plugin}", post(hooks::of_platform))
        .route("/api/hooks/{community}/{plugin}", post(hooks::of_community))
        .route(
            "/api/hooks/{community}/{plugin}/{slug}",
            post(hooks::of_installation),
        )
        .route("/api/action/{action}", post(actions::perform))
        .route("/auth/{plugin}/callback", get(oauth::callback))
        .fallback(async || Failure::NoRoute)
        .method_not_allowed_fallback(async || Failure::NoMethod)
        .layer(CatchPanicLayer::custom(|_| {
            status::answer(Failure::Error(crate::error::Error::internal(
                "a handler panicked",
            )))
        }))
        .layer(middleware::from_fn_with_state(
            settings.timeout,
            limits::in_time,
        ))
        .with_state(public)
}

impl Public {
    /// The raw body, if it is not too large and not compressed.
    async fn body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
        let encoding = headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(Failure::Encoded);
        }
        let said = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|said| said.to_str().ok()?.parse().ok());
        if said.is_some_and(|said: u64| said > self.max_body as u64) {
            return Err(Failure::TooLarge(self.max_body));
        }
        axum::body::to_bytes(body, self.max_body)
            .await
            .map_err(|_| Failure::TooLarge(self.max_body))
    }
}

/// The parts of an address. What is no text in it, such as `%FF`, is nowhere.
struct Place<T>(T);

impl<T: DeserializeOwned + Send> FromRequestParts<Public> for Place<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, public: &Public) -> Result<Self, Failure> {
        let path = Path::from_request_parts(parts, public).await;
        path.map(|Path(place)| Self(place))
            .map_err(|_| Failure::NoRoute)
    }
}
