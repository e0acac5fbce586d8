//! Turns at servers: how many requests run there at once, and who was told to wait.
//!
//! A server's turns are shared by all communities, so that the gateway as a whole is a
//! polite client. A server that answers 429 or 503 with `Retry-After` is not asked again
//! by the same installation until that time has come: the answer would be the same, and
//! many platforms lengthen the wait of those who go on. Other installations, whose keys
//! have limits of their own, go on. All of this is in memory: a restart forgets it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use url::Origin;

use crate::{error::Trouble, model::InstallationId};

/// From this many servers or waits on, those that are idle or over are forgotten.
const MANY: usize = 4096;
/// The longest that a server is not asked because it said so. It is told as it was said.
const MAX_REST: Duration = Duration::from_secs(60 * 60);

/// Turns at all servers.
pub(super) struct Turns {
    at_once: usize,
    servers: Mutex<HashMap<Origin, Arc<Semaphore>>>,
    rests: Mutex<HashMap<Who, Rest>>,
}

/// Who waits for whom.
pub(super) type Who = (InstallationId, Origin);

#[derive(Clone, Copy)]
struct Rest {
    until: Instant,
    why: Why,
}

/// Why a server wants to be left alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Why {
    /// 429: we ask too much.
    Limited,
    /// 503: it can do nothing.
    Busy,
}

impl Why {
    /// What a driver is told.
    pub(super) fn trouble(self, wait: Duration) -> Trouble {
        match self {
            Self::Limited => Trouble::RateLimited(Some(wait)),
            Self::Busy => Trouble::Busy(wait),
        }
    }
}

impl Turns {
    /// So many at once at each server.
    pub(super) fn new(at_once: u16) -> Self {
        Self {
            at_once: at_once.into(),
            servers: Mutex::default(),
            rests: Mutex::default(),
        }
    }

    /// Waits for a turn at a server, which ends when it is dropped. First come, first
    /// served.
    pub(super) async fn take(&self, server: &Origin) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut servers = lock(&self.servers);
            if servers.len() >= MANY {
                // One that is used or waited for is held elsewhere, too.
                servers.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            let new = || Arc::new(Semaphore::new(self.at_once));
            servers.entry(server.clone()).or_insert_with(new).clone()
        };
        turns.acquire_owned().await.ok()
    }

    /// What an installation is told while a server wants to be left alone by it.
    pub(super) fn rest(&self, who: &Who, now: Instant) -> Option<Trouble> {
        let rest = *lock(&self.rests).get(who)?;
        let left = rest.until.checked_duration_since(now)?;
        (!left.is_zero()).then(|| rest.why.trouble(whole_seconds(left)))
    }

    /// A server wants to be left alone by an installation.
    pub(super) fn let_rest(&self, who: Who, (why, wait): (Why, Duration), now: Instant) {
        let mut rests = lock(&self.rests);
        if rests.len() >= MANY {
            rests.retain(|_, rest| rest.until > now);
        }
        // Still as many: somebody makes them. What is not kept is merely asked again.
        if rests.len() < MANY {
            let until = now + wait.min(MAX_REST);
            rests.insert(who, Rest { until, why });
        }
    }
}

/// What drivers are told is whole seconds, and never too few.
pub(super) fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

fn lock<K: Eq + Hash, V>(map: &Mutex<HashMap<K, V>>) -> MutexGuard<'_, HashMap<K, V>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(n: usize) -> Origin {
        let url = format!("https://{n}.example").parse::<url::Url>();
        url.unwrap().origin()
    }

    #[tokio::test]
    async fn a_server_has_so_many_turns_and_another_its_own() {
        let turns = Turns::new(2);
        let (one, _two) = (turns.take(&server(1)).await, turns.take(&server(1)).await);
        let first = server(1);
        let mut third = Box::pin(turns.take(&first));
        assert!(futures::poll!(&mut third).is_pending());
        assert!(futures::poll!(Box::pin(turns.take(&server(2)))).is_ready());
        drop(one);
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn idle_servers_are_forgotten_and_busy_ones_are_not() {
        let turns = Turns::new(1);
        let busy = turns.take(&server(0)).await;
        for n in 1..=2 * MANY {
            turns.take(&server(n)).await;
        }
        assert!(lock(&turns.servers).len() <= MANY);
        let first = server(0);
        let again = Box::pin(turns.take(&first));
        assert!(futures::poll!(again).is_pending());
        drop(busy);
    }

    #[test]
    fn who_was_told_to_wait_waits_until_then() {
        let (turns, ours, now) = (Turns::new(1), InstallationId::new(), Instant::now());
        let wait = (Why::Limited, Duration::from_secs(30));
        turns.let_rest((ours, server(1)), wait, now);
        let told = |of, n, millis| {
            let then = now + Duration::from_millis(millis);
            turns.rest(&(of, server(n)), then)
        };
        let seconds = |wait| Some(Trouble::RateLimited(Some(Duration::from_secs(wait))));
        assert_eq!(told(ours, 1, 0), seconds(30));
        assert_eq!(told(ours, 1, 29_500), seconds(1));
        assert_eq!(told(ours, 1, 30_000), None);
        assert_eq!(told(ours, 2, 0), None);
        assert_eq!(told(InstallationId::new(), 1, 0), None);

        let day = (Why::Busy, Duration::from_secs(86_400));
        turns.let_rest((ours, server(1)), day, now);
        assert_eq!(told(ours, 1, 0), Some(Trouble::Busy(MAX_REST)));
    }

    #[test]
    fn waits_do_not_pile_up() {
        let (turns, now) = (Turns::new(1), Instant::now());
        let minute = (Why::Limited, Duration::from_secs(60));
        for n in 0..2 * MANY {
            turns.let_rest((InstallationId::new(), server(n)), minute, now);
        }
        assert_eq!(lock(&turns.rests).len(), MANY);
        let (ours, later) = ((InstallationId::new(), server(1)), now + 2 * minute.1);
        turns.let_rest(ours.clone(), minute, later);
        assert_eq!(lock(&turns.rests).len(), 1);
        assert!(turns.rest(&ours, later).is_some());
    }
}
