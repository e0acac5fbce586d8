//! How many connections are open at once.

use std::sync::{Arc, Once};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, Instant},
};

/// Files that are open beside connections: the database, logs, platforms.
const OTHERS: u64 = 256;
/// How often it is said that all places are taken.
const QUIET: Duration = Duration::from_secs(60);

/// Places for connections. Who finds none waits in the system's queue, where it costs
/// this process nothing: a short crowd is served late, not refused.
pub(super) struct Places {
    free: Arc<Semaphore>,
    warned: Option<Instant>,
}

/// A place that is taken as long as this is held.
pub(super) struct Place(#[expect(dead_code, reason = "only held")] OwnedSemaphorePermit);

impl Places {
    pub(super) fn new(wanted: u32) -> Self {
        let places = allowed(wanted.into(), open_files());
        if places < wanted.into() {
            // Once, not for each listener.
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                tracing::info!(
                    places,
                    "--max-connections ({wanted}) needs more open files than `ulimit -n` allows"
                );
            });
        }
        let places = usize::try_from(places).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            warned: None,
        }
    }

    /// The next place, once one is free.
    pub(super) async fn next(&mut self) -> Place {
        if self.free.available_permits() == 0 && self.warned.is_none_or(|at| at.elapsed() > QUIET) {
            tracing::warn!("all places for connections are taken (--max-connections)");
            self.warned = Some(Instant::now());
        }
        // It is never closed.
        match self.free.clone().acquire_owned().await {
            Ok(permit) => Place(permit),
            Err(_) => std::future::pending().await,
        }
    }
}

/// How many there are when so many files may be open: half for each of the two
/// listeners, and a connection is one file and perhaps another of what it asks for.
fn allowed(wanted: u64, files: Option<u64>) -> u64 {
    let half = |files: u64| files.saturating_sub(OTHERS).max(OTHERS) / 2;
    files.map_or(wanted, |files| wanted.min(half(files)))
}

/// How many files this process may open, once it has asked for as many as it can get;
/// none if there is no limit.
fn open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, all) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_places_than_files() {
        assert_eq!(allowed(20_000, None), 20_000);
        assert_eq!(allowed(20_000, Some(1 << 20)), 20_000);
        assert_eq!(allowed(20_000, Some(4096)), 1920);
        assert_eq!(allowed(20_000, Some(64)), 128);
        assert_eq!(allowed(1, Some(64)), 1);
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_until_one_is_free() {
        let mut places = Places::new(1);
        let first = places.next().await;
        let second = tokio::time::timeout(Duration::from_millis(20), places.next()).await;
        assert!(second.is_err());
        drop(first);
        places.next().await;
    }
}
