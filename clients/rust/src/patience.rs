//! Which faults pass, and how long to wait until the next try.

use std::time::Duration;

use metagov_proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::tls;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Is told of an error that a retry may cure, and how long it waits until then.
pub(crate) type OnRetry = Box<dyn FnMut(&Status, Duration) + Send>;

/// Waits between tries: 0.1 s, doubled up to 10 s, each times a random 0.5 to 1.0, and no
/// less than the gateway asks for.
pub(crate) struct Patience {
    next: Duration,
    pub(crate) on_retry: OnRetry,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            next: FIRST,
            on_retry: Box::new(|_, _| {}),
        }
    }

    /// It works again.
    pub(crate) fn restore(&mut self) {
        self.next = FIRST;
    }

    /// Waits, or returns an error that waiting does not cure.
    pub(crate) async fn bear(&mut self, error: Status) -> Result<(), Status> {
        if !passes(&error) {
            return Err(error);
        }
        let delay = self.delay(&error);
        (self.on_retry)(&error, delay);
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn delay(&mut self, error: &Status) -> Duration {
        let asked = error.get_details_retry_info();
        let asked = asked.and_then(|info| info.retry_delay).unwrap_or_default();
        let delay = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        delay.max(asked)
    }
}

/// Whether a later try may fare better.
pub(crate) fn passes(error: &Status) -> bool {
    if tls::fault(error).is_some() {
        return false;
    }
    let info = error.get_details_error_info();
    let info = info.filter(|info| info.domain == ERROR_DOMAIN);
    match error.code() {
        Code::Unavailable | Code::Aborted | Code::DeadlineExceeded => true,
        Code::ResourceExhausted => {
            info.is_none_or(|info| info.reason != "ERROR_REASON_MESSAGE_TOO_LARGE")
        }
        // Without a word of the gateway it was the connection, or a proxy on the way.
        Code::Cancelled | Code::Internal | Code::Unknown => info.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn says(code: Code, reason: &str) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, ERROR_DOMAIN, []);
        Status::with_error_details(code, "", details)
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for code in [
            Code::Unavailable,
            Code::Internal,
            Code::Unknown,
            Code::Cancelled,
        ] {
            assert!(passes(&Status::new(code, "")), "{code:?}");
        }
        assert!(passes(&says(
            Code::ResourceExhausted,
            "ERROR_REASON_RATE_LIMITED"
        )));
        assert!(!passes(&says(
            Code::ResourceExhausted,
            "ERROR_REASON_MESSAGE_TOO_LARGE"
        )));
        assert!(!passes(&says(Code::Internal, "ERROR_REASON_INTERNAL")));
        for code in [Code::NotFound, Code::OutOfRange, Code::Unimplemented] {
            assert!(!passes(&Status::new(code, "")), "{code:?}");
        }
    }

    #[test]
    fn waits_grow_to_ten_seconds_and_no_further() {
        let (mut patience, error) = (Patience::new(), Status::unavailable(""));
        let mut most: f64 = 0.1;
        for _ in 0..10 {
            let delay = patience.delay(&error).as_secs_f64();
            assert!((most / 2.0..=most).contains(&delay), "{delay} of {most}");
            most = (most * 2.0).min(10.0);
        }
        patience.restore();
        assert!(patience.delay(&error) <= FIRST);
    }

    #[test]
    fn no_wait_is_shorter_than_the_gateway_asks_for() {
        let asked = Duration::from_secs(42);
        let details = ErrorDetails::with_retry_info(Some(asked));
        let error = Status::with_error_details(Code::Unavailable, "", details);
        assert_eq!(Patience::new().delay(&error), asked);
    }
}
