//! What every call goes through: it gets an id and a log line, a panic stays in it, its
//! deadline ends it, and tonic's own errors get the codes and reasons of the contract.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use futures::{Future, FutureExt};
use http::{HeaderValue, Request, Response};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{
    deadline,
    status::{self, CALL_ID},
};
use crate::error::Error;

const ID_HEADER: &str = "x-request-id";

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct CallLayer {
    /// The most bytes of a request, to be told to who sends more.
    pub max_request_size: usize,
}

impl<S> Layer<S> for CallLayer {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        let max_request_size = self.max_request_size;
        Call {
            inner,
            max_request_size,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Call<S> {
    inner: S,
    max_request_size: usize,
}

impl<S> Service<Request<Body>> for Call<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let id = wanted_id(&request).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let span = tracing::info_span!("call", request_id = id, method);
        let (max, started) = (self.max_request_size, Instant::now());
        let limit = deadline::of(request.headers());
        let inner = CALL_ID.sync_scope(id.clone(), || self.inner.call(request));
        let answer =
            limit.map(|limit| deadline::within(limit, AssertUnwindSafe(inner).catch_unwind()));
        let header = HeaderValue::from_str(&id);
        let run = async move {
            let response = match answer {
                Ok(answer) => outcome(answer.await)?,
                Err(malformed) => Status::from(malformed).into_http(),
            };
            let mut response = corrected(response, max);
            if let Ok(header) = header {
                response.headers_mut().insert(ID_HEADER, header);
            }
            let code = code(&response).unwrap_or(Code::Ok);
            let micros = started.elapsed().as_micros();
            tracing::info!(?code, micros, "answered");
            Ok(response)
        };
        Box::pin(CALL_ID.scope(id, run).instrument(span))
    }
}

/// What comes of a handler that answered, panicked, or took too long.
fn outcome<E>(
    answered: Option<std::thread::Result<Result<Response<Body>, E>>>,
) -> Result<Response<Body>, E> {
    match answered {
        Some(Ok(answer)) => answer,
        Some(Err(_)) => Ok(Status::from(Error::internal("a handler panicked")).into_http()),
        None => Ok(status::deadline_exceeded().into_http()),
    }
}

/// The caller's own id for the call, if it is fit for a log.
fn wanted_id(request: &Request<Body>) -> Option<String> {
    let id = request.headers().get(ID_HEADER)?.to_str().ok()?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let fit = (1..=64).contains(&id.len()) && id.bytes().all(plain);
    fit.then(|| id.to_owned())
}

fn code(response: &Response<Body>) -> Option<Code> {
    let value = response.headers().get(Status::GRPC_STATUS)?;
    Some(Code::from_bytes(value.as_bytes()))
}

/// tonic's own errors have no details; ours always have. Its two that mislead:
/// a request over the limit is OUT_OF_RANGE, one that cannot be decoded is INTERNAL.
fn corrected(response: Response<Body>, max_request_size: usize) -> Response<Body> {
    let ours = response.headers().contains_key("grpc-status-details-bin");
    match code(&response) {
        Some(Code::OutOfRange) if !ours => status::too_large(max_request_size).into_http(),
        Some(Code::Internal) if !ours => status::undecodable().into_http(),
        _ => response,
    }
}
