//! What operators ask of a running gateway: whether it is ready for changes, and its
//! metrics. Both are asked often and by machines, so little is done for each: the database
//! is tried at most once a second, and counted at most every 15 seconds.

use std::{cmp::Reverse, time::Duration};

use sha2::{Digest, Sha256};
use tokio::{
    sync::Mutex,
    task::{JoinError, JoinHandle},
    time::{Instant, timeout},
};

use super::{Gateway, subscriptions::SubscriptionLag};
use crate::{
    error::{Error, Result},
    metrics::{Label, label, metrics},
    model::{Role, Scope},
    store::operations,
};

/// How long it counts that the database could be written, or could not.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A database that takes longer for one row is not ready.
const PROBE_FOR: Duration = Duration::from_secs(2);
/// How often rows are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// Of how many subscriptions the lag is shown.
const MAX_LAGS: usize = 100;
/// How long a token that was good reads metrics while tokens cannot be looked up.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Why the gateway is not ready for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// It is about to end.
    Draining,
    /// The database takes no changes: a standby, or a file that may not be written.
    ReadOnly,
    /// The disk of the database is full.
    Full,
    /// The database does not answer.
    Unreachable,
    /// The database takes too long.
    Slow,
    /// Something else; the log says what.
    Broken,
}

impl Unready {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Broken => "broken",
        }
    }
}

/// What was found out lately.
#[derive(Default)]
pub(super) struct Operations {
    probe: Mutex<Probe>,
    counted: Mutex<Counted>,
    /// The hash of the header that last read metrics, and when it was known to be good.
    reader: Mutex<Option<([u8; 32], Instant)>>,
}

#[derive(Default)]
struct Counted {
    last: Option<Instant>,
    /// The subscriptions whose lag is shown.
    lags: Vec<[Label; 2]>,
}

#[derive(Default)]
struct Probe {
    last: Option<(Instant, Result<(), Unready>)>,
    /// One that took too long and may still come back: there is never a second.
    running: Option<JoinHandle<Result<()>>>,
}

impl Gateway {
    /// Whether changes can be made now. Whoever asks meanwhile gets the same answer.
    pub async fn readiness(&self) -> Result<(), Unready> {
        if self.feed.is_draining() {
            metrics().ready.set(0);
            return Err(Unready::Draining);
        }
        let mut probe = self.operations.probe.lock().await;
        if let Some((at, said)) = probe.last
            && at.elapsed() < PROBE_EVERY
        {
            return said;
        }
        let store = self.store.clone();
        let begin = || tokio::spawn(async move { store.probe().await });
        let running = probe.running.get_or_insert_with(begin);
        let said = match timeout(PROBE_FOR, running).await {
            Ok(done) => {
                probe.running = None;
                verdict(done)
            }
            Err(_) => Err(Unready::Slow),
        };
        probe.last = Some((Instant::now(), said));
        metrics().ready.set(i64::from(said.is_ok()));
        said
    }

    /// The metrics of the process, for who may read all communities.
    pub async fn read_metrics(&self, header: Option<&[u8]>) -> Result<String> {
        self.may_read_metrics(header).await?;
        self.measure().await;
        Ok(metrics().text())
    }

    /// Metrics matter most when the database is away, and with it the tokens: one that was
    /// good lately goes on. A scrape is given up after 10 s, so the look-up may not use
    /// them up.
    async fn may_read_metrics(&self, header: Option<&[u8]>) -> Result<()> {
        let hash = header.map(|header| <[u8; 32]>::from(Sha256::digest(header)));
        let known = timeout(PROBE_FOR, self.authenticate(header)).await;
        let caller = match known.unwrap_or(Err(Error::StoreUnavailable)) {
            Err(Error::TokenInvalid) => Err(Error::TokenInvalid),
            Err(error) => {
                let reader = *self.operations.reader.lock().await;
                let known = reader.filter(|(_, at)| at.elapsed() < REMEMBERED);
                return match known.is_some_and(|(known, _)| Some(known) == hash) {
                    true => Ok(()),
                    false => Err(error),
                };
            }
            good => good,
        };
        let role = caller.as_ref().map(|caller| caller.role());
        let Ok(Some(role)) = role else {
            self.count_refused();
            return Err(Error::TokenInvalid);
        };
        if role < Role::Reader || caller?.scope() != Scope::Everywhere {
            let needs = "reader of all communities".to_owned();
            return Err(Error::RoleTooSmall { needs });
        }
        if let Some(hash) = hash {
            *self.operations.reader.lock().await = Some((hash, Instant::now()));
        }
        Ok(())
    }

    /// Sets the gauges that describe the database, which is asked for all of them at once:
    /// one that does not answer is waited for once.
    async fn measure(&self) {
        // Whether it is ready is a metric itself.
        _ = tokio::join!(self.readiness(), self.measure_answer(), self.count_lately());
        let metrics = metrics();
        metrics.feed_head.set(self.feed.head());
        metrics.commit_waiting.set(number(self.store.waiting()));
        let connections = self.store.connections();
        for (state, count) in [("used", connections.used), ("idle", connections.idle)] {
            let of = metrics.connections.get_or_create(&[label("state", state)]);
            of.set(count.into());
        }
        metrics.connections_max.set(connections.max.into());
    }

    async fn measure_answer(&self) {
        let asked = Instant::now();
        // One that failed took that long, too.
        _ = timeout(PROBE_FOR, self.store.ping()).await;
        let took = asked.elapsed().as_secs_f64();
        metrics().acquire_time.observe(took);
    }

    /// Counts rows, if that was not done a moment ago.
    async fn count_lately(&self) {
        let mut counted = self.operations.counted.lock().await;
        if counted.last.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            counted.last = Some(Instant::now());
            let lags = self.measure_lags(&mut counted);
            tokio::join!(
                in_time("rows", self.count()),
                in_time("what subscriptions lag behind", lags)
            );
        }
    }

    async fn count(&self) -> Result<()> {
        let metrics = metrics();
        for (state, count) in operations::deliveries_by_state(&self.store).await? {
            let of = metrics.deliveries.get_or_create(&[label("state", state)]);
            of.set(count);
        }
        let overdue = operations::overdue(&self.store, self.store.now()).await?;
        metrics.timers_overdue.set(number(overdue));
        Ok(())
    }

    /// A long log is counted in several turns: each goes on where the last was given up.
    async fn measure_lags(&self, counted: &mut Counted) -> Result<()> {
        let mut lags = self.subscription_lags().await?;
        lags.sort_by_key(|of| Reverse(of.lag.count));
        lags.truncate(MAX_LAGS);
        let (metrics, now) = (metrics(), self.store.now());
        let mut shown = Vec::with_capacity(lags.len());
        for SubscriptionLag { key, lag } in lags {
            let labels = [
                label("principal", key.principal.to_string()),
                label("subscription", key.id.to_string()),
            ];
            let age = lag.since.map_or(Duration::ZERO, |since| now.since(since));
            let count = metrics.subscription_lag.get_or_create(&labels);
            count.set(number(lag.count));
            let ages = &metrics.subscription_age;
            ages.get_or_create(&labels).set(age.as_secs_f64());
            shown.push(labels);
        }
        for gone in counted.lags.iter().filter(|of| !shown.contains(of)) {
            metrics.subscription_lag.remove(gone);
            metrics.subscription_age.remove(gone);
        }
        counted.lags = shown;
        Ok(())
    }
}

/// Counts for a while. What then is missing stays as it was.
async fn in_time(what: &str, counting: impl Future<Output = Result<()>>) {
    match timeout(PROBE_FOR, counting).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the metrics cannot count {what}"),
        Err(_) => tracing::warn!("the metrics cannot count {what} in time"),
    }
}

/// What became of trying to write.
fn verdict(done: std::result::Result<Result<()>, JoinError>) -> Result<(), Unready> {
    let error = match done {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(broken) => Error::internal(broken),
    };
    tracing::warn!(%error, "the database cannot be written");
    Err(match error {
        Error::StorageFull => Unready::Full,
        Error::StoreUnavailable | Error::Contended => Unready::Unreachable,
        Error::StoreReadOnly => Unready::ReadOnly,
        _ => Unready::Broken,
    })
}

fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_the_database_has_its_word() {
        let word = |error: Error| verdict(Ok(Err(error))).unwrap_err().word();
        assert_eq!(verdict(Ok(Ok(()))), Ok(()));
        assert_eq!(word(Error::StorageFull), "full");
        assert_eq!(word(Error::StoreUnavailable), "unreachable");
        assert_eq!(word(Error::StoreReadOnly), "read_only");
        assert_eq!(word(Error::internal("database: no such table")), "broken");
    }
}
