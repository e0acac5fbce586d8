//! What every call goes through: it gets an id, a caller and a log line, a panic stays
//! in it, its deadline ends it, tonic's own errors get the codes and reasons of the
//! contract, and what it did is written into the audit before it is answered.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures::{Future, FutureExt};
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use metagov_proto::code;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{
    counted::{self, Counted},
    deadline,
    leash::Leash,
    methods::{self, Method, method},
    needs::Entry,
    status::{self, CALL_ID},
};
use crate::{
    error::Error,
    gateway::{Ended, Gateway},
    model::Caller,
    proof::{Point, answering},
    traces,
};

const ID_HEADER: &str = "x-request-id";

/// See the module.
#[derive(Clone)]
pub struct CallLayer {
    pub(super) gateway: Arc<Gateway>,
    /// The most bytes of a request, to be told to who sends more.
    pub(super) max_request_size: usize,
    /// Whether reflection answers without a token.
    pub(super) open_reflection: bool,
}

impl<S> Layer<S> for CallLayer {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        let layer = self.clone();
        Call { inner, layer }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Call<S> {
    inner: S,
    layer: CallLayer,
}

impl<S> Service<Request<Body>> for Call<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
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
        let path = request.uri().path();
        let name = methods::label(path);
        let trace = traces::call(name, &id, request.headers());
        let method = path.trim_start_matches('/').to_owned();
        let span = tracing::info_span!(parent: &trace, "call", request_id = id, method);
        // The service that is ready, not its clone.
        let fresh = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, fresh);
        let (layer, started) = (self.layer.clone(), Instant::now());
        let (counted, traced) = (Counted::begin(name), trace.clone());
        let header = HeaderValue::from_str(&id);
        let run = async move {
            let mut response = layer.answer(inner, request).await?;
            if let Ok(header) = header {
                response.headers_mut().insert(ID_HEADER, header);
            }
            answering(Point::BeforeCallAnswer, Point::AfterCallAnswer);
            let code = code(&response);
            let micros = started.elapsed().as_micros();
            tracing::info!(?code, micros, "answered");
            counted.end(code);
            traces::answered(&traced, code::name(code));
            Ok(response)
        };
        Box::pin(CALL_ID.scope(id, run).instrument(span).instrument(trace))
    }
}

impl CallLayer {
    async fn answer<S>(
        self,
        mut inner: S,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Service<Request<Body>, Response = Response<Body>>,
    {
        let path = request.uri().path().to_owned();
        let of_contract = method(&path);
        let header = request.headers_mut().remove(AUTHORIZATION);
        let caller = match self.admit(header, &path, of_contract).await {
            Ok(caller) => caller,
            Err(error) => return Ok(Status::from(error).into_http()),
        };
        let limit = match deadline::of(request.headers()) {
            Ok(limit) => limit,
            Err(malformed) => return Ok(Status::from(malformed).into_http()),
        };
        let entry = Arc::new(Entry::new(caller));
        request.extensions_mut().insert(entry.clone());
        let open = Open::new(&self.gateway, &entry, &path, of_contract);
        let answered = AssertUnwindSafe(async { inner.call(request).await }).catch_unwind();
        let response = outcome(deadline::within(limit, answered).await)?;
        let response = corrected(response, self.max_request_size);
        let response = authorised(response, &entry, of_contract);
        open.end(code(&response)).await;
        Ok(match of_contract {
            Some(Method { streams: true, .. }) if code(&response) == Code::Ok => {
                counted::open(methods::label(&path), self.leashed(response, &entry.caller))
            }
            _ => response,
        })
    }

    /// Who calls, if they may call at all.
    async fn admit(
        &self,
        header: Option<HeaderValue>,
        path: &str,
        of_contract: Option<Method>,
    ) -> Result<Caller, Error> {
        let is_health = path.starts_with("/grpc.health.");
        if is_health {
            return Ok(Caller::Nobody);
        }
        let header = header.as_ref().map(HeaderValue::as_bytes);
        let caller = self.gateway.authenticate(header).await;
        let is_open = match of_contract {
            Some(method) => method.admits_nobody,
            None => self.open_reflection && path.starts_with("/grpc.reflection."),
        };
        let caller = match caller {
            Ok(Caller::Nobody) if !is_open => Err(Error::TokenInvalid),
            other => other,
        };
        if matches!(caller, Err(Error::TokenInvalid) | Ok(Caller::Nobody)) {
            self.gateway.count_refused();
        }
        caller
    }

    fn leashed(&self, response: Response<Body>, caller: &Caller) -> Response<Body> {
        if !matches!(caller, Caller::Holder(_)) {
            return response;
        }
        let over = self.gateway.clone().until_invalid(caller.clone());
        response.map(|body| Body::new(Leash::new(body, over)))
    }
}

/// A call that is to be written down when it ends, also if its caller goes away.
struct Open {
    gateway: Arc<Gateway>,
    entry: Arc<Entry>,
    rpc: String,
    every_call: bool,
    ended: bool,
}

impl Open {
    fn new(
        gateway: &Arc<Gateway>,
        entry: &Arc<Entry>,
        path: &str,
        of_contract: Option<Method>,
    ) -> Self {
        Self {
            gateway: gateway.clone(),
            entry: entry.clone(),
            rpc: path.trim_start_matches('/').to_owned(),
            every_call: of_contract.is_some_and(|method| method.is_kept),
            ended: false,
        }
    }

    async fn end(mut self, code: Code) {
        self.ended = true;
        if self.is_kept() {
            let ended = self.said(code);
            self.gateway.audit(&self.entry.caller, ended).await;
        }
    }

    /// Every call of the methods that are kept and every refused one; not those without a
    /// token, which are counted only.
    fn is_kept(&self) -> bool {
        let is_somebody = !matches!(self.entry.caller, Caller::Nobody);
        is_somebody && (self.every_call || self.entry.is_refused())
    }

    fn said(&self, code: Code) -> Ended {
        Ended {
            rpc: self.rpc.clone(),
            community_id: self.entry.community(),
            subject: self.entry.subject(),
            code: code::name(code).to_owned(),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended && self.is_kept() {
            let ended = self.said(Code::Cancelled);
            self.gateway.audit_later(self.entry.caller.clone(), ended);
        }
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

/// The code that stands in the headers; a stream that began well has none there.
fn code(response: &Response<Body>) -> Code {
    let value = response.headers().get(Status::GRPC_STATUS);
    value.map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

/// tonic's own errors have no details; ours always have. Its two that mislead:
/// a request over the limit is OUT_OF_RANGE, one that cannot be decoded is INTERNAL.
fn corrected(response: Response<Body>, max_request_size: usize) -> Response<Body> {
    let ours = response.headers().contains_key("grpc-status-details-bin");
    match code(&response) {
        Code::OutOfRange if !ours => status::too_large(max_request_size).into_http(),
        Code::Internal if !ours => status::undecodable().into_http(),
        _ => response,
    }
}

/// The net below every handler: no answer of the contract leaves that nobody authorised.
fn authorised(
    response: Response<Body>,
    entry: &Entry,
    of_contract: Option<Method>,
) -> Response<Body> {
    let passes = of_contract.is_none() || code(&response) != Code::Ok || entry.is_authorised();
    match passes {
        true => response,
        false => Status::from(Error::internal(
            "a handler answered without asking whether it may",
        ))
        .into_http(),
    }
}
