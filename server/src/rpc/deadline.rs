//! The time that a caller gives a call, in the header `grpc-timeout`: when it is over,
//! the call is. What was begun and must not be left half done runs in a task of its own,
//! and goes on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

const TIMEOUT: &str = "grpc-timeout";

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(given) = given(request.headers()) else {
            return Box::pin(self.inner.call(request));
        };
        let call = tokio::time::timeout(given, self.inner.call(request));
        Box::pin(async move {
            let over = |_| {
                let status = Status::deadline_exceeded("the deadline of the call has passed");
                Ok(status.into_http())
            };
            call.await.unwrap_or_else(over)
        })
    }
}

/// At most eight digits and a unit. What is malformed is no deadline.
fn given(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if digits > 8 {
        return None;
    }
    let number = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 60 * 60)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let headers = [(TIMEOUT.parse().unwrap(), text.parse().unwrap())];
        given(&HeaderMap::from_iter(headers))
    }

    #[test]
    fn a_deadline_is_a_number_and_a_unit() {
        for (text, ms) in [
            ("1H", 3_600_000),
            ("2M", 120_000),
            ("3S", 3000),
            ("200m", 200),
            ("5000u", 5),
            ("99999999n", 99),
        ] {
            assert_eq!(read(text).unwrap().as_millis(), ms, "{text}");
        }
        assert!(read("99999999H").is_some());
        for text in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "1.5S",
            "1 S",
            "999999999S",
            "1SS",
            "S1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
