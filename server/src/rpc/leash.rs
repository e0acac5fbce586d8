//! An answer that ends when its caller's token is no longer valid.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use crate::error::Error;

/// A body that ends with UNAUTHENTICATED when `over` resolves.
pub(super) struct Leash {
    inner: Body,
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Leash {
    pub(super) fn new(inner: Body, over: impl Future<Output = ()> + Send + 'static) -> Self {
        let over = Some(Box::pin(over) as Pin<Box<_>>);
        Self { inner, over }
    }
}

impl HttpBody for Leash {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(over) = &mut self.over else {
            return Poll::Ready(None);
        };
        if over.as_mut().poll(cx).is_ready() {
            // What is not sent yet is not theirs any more.
            self.over = None;
            self.inner = Body::empty();
            let status = Status::from(Error::TokenInvalid);
            let mut trailers = http::HeaderMap::new();
            return Poll::Ready(match status.add_header(&mut trailers) {
                Ok(()) => Some(Ok(Frame::trailers(trailers))),
                Err(status) => Some(Err(status)),
            });
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.over.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
