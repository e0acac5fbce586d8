//! An answer that is too large. tonic finds out only while it sends: its own status
//! there, in the trailers, is the one of an expired cursor.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::TryFutureExt;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::status;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct SizeLayer {
    /// The most bytes of an answer.
    pub max_response_size: usize,
}

impl<S> Layer<S> for SizeLayer {
    type Service = Size<S>;

    fn layer(&self, inner: S) -> Size<S> {
        Size {
            inner,
            layer: *self,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Size<S> {
    inner: S,
    layer: SizeLayer,
}

impl<S> Service<Request<Body>> for Size<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let layer = self.layer;
        let watched = move |body: Body| {
            Body::new(body.map_frame(move |frame| match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(layer.corrected(trailers)),
                Err(frame) => frame,
            }))
        };
        let answer = self.inner.call(request);
        Box::pin(answer.map_ok(move |answer| answer.map(watched)))
    }
}

impl SizeLayer {
    /// tonic's own errors have no details; ours always have.
    fn corrected(&self, trailers: HeaderMap) -> HeaderMap {
        let Some(said) = Status::from_header_map(&trailers) else {
            return trailers;
        };
        if said.code() != Code::OutOfRange || !said.details().is_empty() {
            return trailers;
        }
        let status = status::answer_too_large(self.max_response_size);
        let mut headers = HeaderMap::new();
        match status.add_header(&mut headers) {
            Ok(()) => headers,
            Err(_) => trailers,
        }
    }
}
