//! How long a public request may take, and how many of them a webhook gets.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use hyper::body::Frame;

use super::status::Failure;
use crate::error::Error;

/// Addresses share this many counters: so many that two that are in use hardly ever
/// share one, and so few that nobody fills the memory with addresses made up.
const COUNTERS: u64 = 1 << 20;
/// After how many requests the counters of silent addresses are dropped. One of them
/// says nothing that a new one would not.
const SWEEP: u64 = 4096;

/// How many requests a second each webhook gets.
pub(super) struct Rate {
    limiter: DefaultKeyedRateLimiter<u64>,
    /// Nobody outside can tell which addresses share a counter.
    hasher: RandomState,
    asked: AtomicU64,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        let quota = Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
        Self {
            limiter: RateLimiter::keyed(quota),
            hasher: RandomState::new(),
            asked: AtomicU64::new(0),
        }
    }

    /// Counts a request to a webhook, which is named by the parts of its address, or
    /// says how long to wait. Addresses that lead nowhere are counted like others: to
    /// find out would be more work than to refuse.
    pub(super) fn admit(&self, webhook: &[&str]) -> Result<(), Error> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let counter = self.hasher.hash_one(webhook) % COUNTERS;
        self.limiter.check_key(&counter).map_err(|full| {
            let wait = full.wait_time_from(self.limiter.clock().now());
            Error::RateLimited(wait)
        })
    }
}

/// Ends a request whose time is over: the caller's fault until all of it has come.
pub(super) async fn in_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let arrived = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let request = request.map(|body| {
        Body::new(Arriving {
            body,
            arrived: arrived.clone(),
        })
    });
    let over = |_| match arrived.load(Ordering::Relaxed) {
        true => Failure::TooLong.into_response(),
        false => Failure::TooSlow.into_response(),
    };
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    answer.unwrap_or_else(over)
}

/// A body that tells when all of it has come.
struct Arriving {
    body: Body,
    arrived: Arc<AtomicBool>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.arrived.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_webhook_has_its_own_rate() {
        let rate = Rate::new(2);
        let hook = ["co-op", "stage", "slug"];
        assert!(rate.admit(&hook).is_ok() && rate.admit(&hook).is_ok());
        let Err(Error::RateLimited(wait)) = rate.admit(&hook) else {
            panic!("the third is too many");
        };
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500));
        // Parts are parts: no two addresses are the same by where their slashes are.
        for other in [
            &["co-op", "stage", "other"][..],
            &["co-op", "stage"],
            &["stage"],
        ] {
            assert!(rate.admit(other).is_ok(), "{other:?}");
        }
    }

    #[test]
    fn addresses_made_up_do_not_fill_the_memory() {
        let rate = Rate::new(100_000);
        for n in 0..1_000_000 {
            rate.admit(&["a", "b", &n.to_string()]).unwrap();
        }
        // At this rate a counter is dropped after 10 µs.
        let kept = u64::try_from(rate.limiter.len()).unwrap();
        assert!(kept <= SWEEP, "{kept}");
    }
}
