//! Chores: what happens by the clock, without anybody asking.
//!
//! All of it is due by a time in the database, so it also happens after a restart:
//! processes are closed at their close_time, platforms without hooks are asked in
//! intervals, what signals want asked is asked, deliveries that wait are tried again,
//! starts that never ended are marked as failed, and what is old is removed. Each
//! thing runs in a task of its own: a platform that hangs delays nobody else.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::Future;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Gateway, signals};
use crate::{
    error::{Error, Result, Trouble},
    model::{DeliveryId, FailReason, Installation, InstallationId, ProcessId, ProcessState, Time},
    store::{
        ALL, authorizations,
        deliveries::{self, Fetch},
        events, installations,
        processes::{self, Clock},
        requests,
    },
};

/// How often a delivery is tried before it is parked.
pub(super) const MAX_ATTEMPTS: i32 = 10;
/// How long it is tried to close a process whose close_time has come.
const CLOSE_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long answers to request ids are kept.
const KEEP_REQUESTS: Duration = Duration::from_secs(24 * 3600);
/// The longest sleep; also how soon a clock that jumped is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How often old things are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// The most events that go in one transaction.
const TRIM_EVENTS: i64 = 20_000;
const MAX_BACKOFF: Duration = Duration::from_secs(3600);

/// When a delivery that failed so often is tried again: 5 s, doubled up to an hour.
pub(super) fn next_attempt(now: Time, attempts: i32) -> Time {
    now.after(backoff(Duration::from_secs(5), attempts - 1))
}

/// Doubled with each failure, up to an hour, up to a tenth more or less.
fn backoff(first: Duration, failures: i32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(u32::try_from(failures).unwrap_or(0)));
    doubled
        .min(MAX_BACKOFF.max(first))
        .mul_f64(0.9 + 0.2 * rand::random::<f64>())
}

/// What is being done now, so that nothing is done twice at the same time.
#[derive(Default)]
struct Running {
    processes: Set<ProcessId>,
    installations: Set<InstallationId>,
    deliveries: Set<DeliveryId>,
    fetches: Set<Uuid>,
}

type Set<K> = Arc<Mutex<HashSet<K>>>;

impl Gateway {
    /// Does what becomes due, until `closing` is true.
    pub async fn do_chores(self: Arc<Self>, mut closing: watch::Receiver<bool>) {
        let running = Running::default();
        let mut trimmed: Option<tokio::time::Instant> = None;
        loop {
            let next = match self.do_due(&running).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "the chores cannot read what is due");
                    None
                }
            };
            if trimmed
                .is_none_or(|at| at.elapsed() >= TRIM_EVERY.min(self.settings.event_retention))
            {
                trimmed = Some(tokio::time::Instant::now());
                if let Err(error) = self.trim().await {
                    tracing::error!(%error, "old things cannot be removed");
                }
            }
            let sleep = next.map_or(LONGEST_SLEEP, |time| {
                time.since(Time::now()).min(LONGEST_SLEEP)
            });
            tokio::select! {
                // What is due and still runs must not make a busy loop.
                () = tokio::time::sleep(sleep.max(Duration::from_millis(20))) => {}
                () = self.wake.notified() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
    }

    /// Begins everything that is due; when the next thing is.
    async fn do_due(self: &Arc<Self>, running: &Running) -> Result<Option<Time>> {
        let now = Time::now();
        for id in processes::due(&self.store, Clock::Lease, now).await? {
            run(&running.processes, id, self.clone().mark_lost(id));
        }
        for id in processes::due(&self.store, Clock::Timer, now).await? {
            run(&running.processes, id, self.clone().close_due(id));
        }
        for id in processes::due(&self.store, Clock::Refresh, now).await? {
            run(&running.processes, id, self.clone().refresh_due(id));
        }
        for id in installations::due(&self.store, now).await? {
            run(&running.installations, id, self.clone().poll_due(id));
        }
        for id in deliveries::due(&self.store, now).await? {
            run(&running.deliveries, id, self.clone().attempt_due(id));
        }
        for fetch in deliveries::due_fetches(&self.store, now).await? {
            run(&running.fetches, fetch.id, self.clone().fetch_due(fetch));
        }
        let mut next = Vec::new();
        for clock in [Clock::Lease, Clock::Timer, Clock::Refresh] {
            next.push(processes::next_due(&self.store, clock).await?);
        }
        next.push(installations::next_due(&self.store).await?);
        next.push(deliveries::next_due(&self.store).await?);
        Ok(next.into_iter().flatten().min())
    }

    /// A start whose lease ran out: nobody can know whether the platform heard us.
    async fn mark_lost(self: Arc<Self>, id: ProcessId) {
        let message = "the gateway stopped while it was starting; look at the platform".to_owned();
        let marked = self.fail(id, FailReason::OutcomeUnknown, message).await;
        log(marked, "a lost start cannot be marked");
    }

    /// Closes a process whose close_time has come; tries so for a day.
    async fn close_due(self: Arc<Self>, id: ProcessId) {
        let closed = match self.close(id, "its close_time has come").await {
            // The platform closes it by itself: ask whether it has.
            Err(Error::Unsupported { .. }) => self.expect_closed(id).await,
            other => other.map(drop),
        };
        let result = match closed {
            Ok(()) | Err(Error::Done { .. } | Error::NotFound(_)) => Ok(()),
            Err(error) => self.close_later(id, error).await,
        };
        log(result, "a process that is due cannot be closed");
    }

    async fn expect_closed(self: &Arc<Self>, id: ProcessId) -> Result<()> {
        self.refresh(id).await?;
        let process = processes::find(&self.store, id).await?;
        match process.state.is_done() {
            true => Ok(()),
            false => Err(Error::internal("its platform has not closed it yet")),
        }
    }

    async fn close_later(self: &Arc<Self>, id: ProcessId, error: Error) -> Result<()> {
        tracing::warn!(process_id = %id, %error, "a process that is due is not closed yet");
        let process = processes::find(&self.store, id).await?;
        let since = process.close_time.unwrap_or(process.update_time);
        if Time::now().since(since) > CLOSE_FOR {
            let reason = match error {
                Error::Platform {
                    trouble: Trouble::Rejected { .. },
                    ..
                } => FailReason::PlatformRejected,
                _ => FailReason::PlatformUnavailable,
            };
            return self
                .fail(id, reason, format!("it could not be closed: {error}"))
                .await;
        }
        // Half of what has passed, so that the tries thin out by themselves.
        let wait =
            (Time::now().since(since) / 2).clamp(Duration::from_secs(1), Duration::from_secs(600));
        self.store
            .write(async move |tx| {
                processes::set_clock(tx, id, Clock::Timer, Some(tx.now.after(wait))).await
            })
            .await
    }

    /// Asks how a process stands, since a signal wants so.
    async fn refresh_due(self: Arc<Self>, id: ProcessId) {
        let Err(error) = self.refresh(id).await else {
            return;
        };
        if matches!(error, Error::NotFound(_)) {
            return;
        }
        tracing::warn!(process_id = %id, %error, "a process cannot be refreshed; trying again");
        let again = async {
            let failures = processes::refresh_failures(&self.store, id).await?;
            let again = Time::now().after(backoff(Duration::from_secs(5), failures));
            self.store
                .write(async move |tx| processes::refresh_failed(tx, id, again).await)
                .await
        };
        log(again.await, "a refresh cannot be put off");
    }

    /// Asks a platform without hooks what is new.
    async fn poll_due(self: Arc<Self>, id: InstallationId) {
        let Ok(installation) = self.get_installation(id).await else {
            return;
        };
        let polled = self.poll(&installation).await;
        let failures = match &polled {
            Ok(_) => 0,
            Err(error) => {
                tracing::warn!(installation_id = %id, %error, "a platform cannot be asked; trying again");
                installation.poll_failures.saturating_add(1)
            }
        };
        let problem = match &polled {
            Err(Error::Platform {
                trouble: trouble @ Trouble::Unauthorized(_),
                ..
            }) => Some(Some(trouble.to_string())),
            Ok(true) if installation.problem.is_some() => Some(None),
            _ => None,
        };
        if let Some(problem) = problem {
            let noted = self.note_problem(id, problem).await;
            log(noted.map(drop), "a problem cannot be noted");
        }
        let next = Time::now().after(backoff(self.settings.poll_interval, failures));
        let set = self
            .store
            .write(async move |tx| installations::set_poll(tx, id, next, failures).await);
        log(set.await, "a poll cannot be put off");
    }

    /// Whether there was something to ask, if all of it was answered.
    async fn poll(self: &Arc<Self>, installation: &Installation) -> Result<bool> {
        let plugin = self.plugin(&installation.plugin)?;
        let mut result = Ok(plugin.poll.is_some());
        if let Some(poll) = &plugin.poll {
            match self.read_step(installation, poll, ()).await {
                Ok(signals) => self.do_signals(installation, signals, None).await?,
                Err(error) => result = Err(error),
            }
        }
        let open = processes::Wanted::of(installation.id, &[ProcessState::Open]);
        for process in processes::list(&self.store, &open, ALL).await? {
            if !self.process_steps(&process.process_type)?.polled {
                continue;
            }
            match self.refresh(process.id).await {
                Ok(()) => result = result.map(|_| true),
                Err(error) => {
                    tracing::debug!(process_id = %process.id, %error, "a process cannot be refreshed");
                    result = Err(error);
                }
            }
        }
        result
    }

    async fn attempt_due(self: Arc<Self>, id: DeliveryId) {
        log(self.attempt(id).await, "a delivery cannot be tried");
    }

    /// Asks a platform what a signal wants to know; gives up after as many tries as a
    /// delivery gets.
    async fn fetch_due(self: Arc<Self>, fetch: Fetch) {
        let id = fetch.id;
        let Err(error) = self.fetch(&fetch).await else {
            return;
        };
        let failures = fetch.failures + 1;
        tracing::warn!(fetch_id = %id, failures, %error, "a platform cannot be asked");
        let again =
            (failures < MAX_ATTEMPTS).then(|| (next_attempt(Time::now(), failures), failures));
        let put_off = self
            .store
            .write(async move |tx| deliveries::set_fetch(tx, id, again).await);
        log(put_off.await, "a fetch cannot be put off");
    }

    async fn fetch(self: &Arc<Self>, fetch: &Fetch) -> Result<()> {
        let installation = self.get_installation(fetch.installation_id).await?;
        let plugin = self.plugin(&installation.plugin)?;
        let Some(step) = &plugin.fetch else {
            return Err(Error::internal(format!(
                "{} has no fetch",
                installation.plugin
            )));
        };
        let signals = self
            .read_step(&installation, step, fetch.what.clone())
            .await?;
        self.do_signals(&installation, signals, Some(fetch.id))
            .await
    }

    /// Does signals that nobody waits for; the fetch that they come from is done.
    async fn do_signals(
        self: &Arc<Self>,
        installation: &Installation,
        signals: Vec<crate::plugins::kit::Signal>,
        fetched: Option<Uuid>,
    ) -> Result<()> {
        if signals.is_empty() && fetched.is_none() {
            return Ok(());
        }
        let (gateway, installation) = (self.clone(), installation.clone());
        let done = self
            .store
            .write(async move |tx| {
                if let Some(id) = fetched {
                    deliveries::set_fetch(tx, id, None).await?;
                }
                signals::apply(&gateway, tx, &installation, &signals).await
            })
            .await?;
        self.do_after(done.after);
        Ok(())
    }

    /// Removes what is old: events, answers, deliveries that are done, authorizations that
    /// nobody ended.
    async fn trim(&self) -> Result<()> {
        let retention = self.settings.event_retention;
        loop {
            let gone = self
                .store
                .write(async move |tx| {
                    events::trim(tx, tx.now.before(retention), TRIM_EVENTS).await
                })
                .await?;
            if gone < TRIM_EVENTS as u64 / 2 {
                break;
            }
        }
        self.store
            .write(async move |tx| {
                authorizations::trim(tx, tx.now).await?;
                requests::trim(tx, tx.now.before(KEEP_REQUESTS)).await?;
                deliveries::trim(tx, tx.now.before(retention)).await
            })
            .await?;
        Ok(())
    }
}

/// Begins a chore, unless the same thing is being done.
fn run<K: Eq + Hash + Copy + Send + 'static>(
    running: &Set<K>,
    key: K,
    chore: impl Future<Output = ()> + Send + 'static,
) {
    if !running
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(key)
    {
        return;
    }
    let running = running.clone();
    tokio::spawn(async move {
        // A chore that breaks must not block its thing for ever.
        let done = tokio::spawn(chore).await;
        log(done.map_err(Error::internal), "a chore broke");
        running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    });
}

fn log(result: Result<()>, what: &str) {
    if let Err(error) = result {
        tracing::error!(%error, "{what}");
    }
}
