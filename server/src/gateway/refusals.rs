//! Hooks that were refused: counted, and said in the log once a minute at most, since
//! anybody may send as many as they like.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(60);

/// Those that the log has not told yet.
#[derive(Default)]
pub(super) struct Refusals {
    count: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl Refusals {
    /// Counts one. How many there are to tell of, if it is time to.
    fn count(&self) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_some_and(|at| at.elapsed() < PAUSE) {
            return None;
        }
        *said = Some(Instant::now());
        Some(self.count.swap(0, Ordering::Relaxed))
    }

    /// A hook of this plugin is refused, since its sender is not who it should be.
    pub(super) fn note(&self, plugin: &str, place: &str, why: &str) {
        if let Some(count) = self.count() {
            // The field is the counter's name where logs become metrics.
            tracing::warn!(
                monotonic_counter.hooks_refused = count,
                plugin,
                place,
                why,
                "hooks were refused; this is the last of them"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_said_once() {
        let refusals = Refusals::default();
        assert_eq!(refusals.count(), Some(1));
        for _ in 0..1000 {
            assert_eq!(refusals.count(), None);
        }
        let before = Instant::now().checked_sub(PAUSE);
        *refusals.said.lock().unwrap() = before;
        assert_eq!(refusals.count(), Some(1001));
    }
}
