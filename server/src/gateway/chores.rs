//! Chores: what happens by the clock, without anybody asking.
//!
//! All of it is due by a time in the database, so it also happens after a restart:
//! processes are closed at their close_time, platforms without hooks are asked in
//! intervals, what signals want asked is asked, deliveries that wait are tried again,
//! starts that never ended are marked as failed, and what is old is removed. Each
//! thing runs in a task of its own: a platform that hangs delays nobody else.
//!
//! Several gateways may look at the same database, so each thing is claimed first, in
//! batches (`store/claims.rs`), and what was done of it is written only if the claim still
//! holds then ([`Under`]). Due is what is due by the database's clock.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use uuid::Uuid;

use super::{Gateway, replica::Under, signals};
use crate::{
    error::{Error, Result, Thing, Trouble},
    metrics::metrics,
    model::{
        DeliveryId, FailReason, Installation, InstallationId, Process, ProcessError, ProcessId,
        ProcessState, Time,
    },
    plugins::kit::Signal,
    proof::{Bug, Point, hasty, is, reached, trimming},
    store::{
        ALL, authorizations,
        claims::{self, Claim, Work},
        deliveries::{self, Fetch},
        events, installations,
        processes::{self, Clock},
        requests,
    },
    traces::TARGET,
};

/// How often a delivery is tried before it is parked.
pub(super) const MAX_ATTEMPTS: i32 = 10;
/// How long it is tried to close a process whose close_time has come.
const CLOSE_FOR: Duration = Duration::from_secs(24 * 3600);
/// How often at least: a gateway that was away for a day has not tried yet. Who is on time
/// tries about 150 times in that day.
const CLOSE_TRIES: i64 = 100;
/// The shortest and the longest time between two tries.
const FIRST_AGAIN: Duration = Duration::from_secs(1);
const CLOSE_AGAIN: Duration = Duration::from_secs(600);
/// How long answers to request ids are kept.
const KEEP_REQUESTS: Duration = Duration::from_secs(24 * 3600);
/// The longest sleep; also how soon a clock that jumped is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How often old things are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// The most events that go in one transaction.
const TRIM_EVENTS: i64 = 20_000;
/// How long what is due at about the same time is gathered.
const PACE: Duration = Duration::from_millis(5);
/// How soon it is looked again for what was due, and could not be claimed.
const AGAIN: Duration = Duration::from_millis(50);
/// How long gateways that are gone are remembered.
const KEEP_REPLICAS: Duration = Duration::from_secs(24 * 3600);
const MAX_BACKOFF: Duration = Duration::from_secs(3600);

/// When a delivery that failed so often is tried again: 5 s, doubled up to an hour.
pub(super) fn next_attempt(now: Time, attempts: i32) -> Time {
    now.after(hasty(backoff(Duration::from_secs(5), attempts - 1)))
}

/// Doubled with each failure, up to an hour, up to a tenth more or less.
fn backoff(first: Duration, failures: i32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(u32::try_from(failures).unwrap_or(0)));
    doubled
        .min(MAX_BACKOFF.max(first))
        .mul_f64(0.9 + 0.2 * rand::random::<f64>())
}

impl Gateway {
    /// Does what becomes due, until `closing` is true. What is begun by then is ended.
    pub async fn do_chores(self: Arc<Self>, mut closing: watch::Receiver<bool>) {
        let (end, ended) = watch::channel(false);
        let living = tokio::spawn(self.clone().stay_alive(ended));
        let mut trimmed: Option<tokio::time::Instant> = None;
        loop {
            let next = match self.do_due().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "the chores cannot read what is due");
                    LONGEST_SLEEP
                }
            };
            let (trim_every, _) = trimming(TRIM_EVERY, self.settings.event_retention);
            if trimmed
                .is_none_or(|at| at.elapsed() >= trim_every.min(self.settings.event_retention))
            {
                trimmed = Some(tokio::time::Instant::now());
                if let Err(error) = self.trim().await {
                    tracing::error!(%error, "old things cannot be removed");
                }
            }
            tokio::select! {
                () = self.until_due(next.min(trim_every)) => {}
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        if !self.store.is_alone() {
            // Another would do it a second time.
            while !self.slots.is_idle() {
                self.wake.notified().await;
            }
            end.send_replace(true);
            log(living.await.map_err(Error::internal), "a chore broke");
            self.leave().await;
        }
    }

    /// Waits until something may be due.
    async fn until_due(&self, next: Duration) {
        // What becomes due at the same time is claimed together.
        tokio::time::sleep(PACE).await;
        let longest = match self.store.is_alone() {
            true => LONGEST_SLEEP,
            // Others put things off, and die.
            false => Duration::from_secs(1),
        };
        tokio::select! {
            () = tokio::time::sleep(next.min(longest)) => {}
            () = self.wake.notified() => {}
        }
    }

    /// Claims and begins what is due; how long until the next is.
    async fn do_due(self: &Arc<Self>) -> Result<Duration> {
        let mut next = Duration::MAX;
        for work in Work::DUE {
            let Ok(by) = self.claimer(work) else {
                // It must first begin anew.
                return Ok(AGAIN);
            };
            let Some(wanted) = self.slots.room(work, by) else {
                continue;
            };
            let now = match is(Bug::LocalClock) {
                true => Time::now(),
                false => self.store.now(),
            };
            let Some(due) = claims::next_due(&self.store, work, &wanted, now).await? else {
                continue;
            };
            if due > now {
                next = next.min(due.since(now));
                continue;
            }
            let claimed = self
                .store
                .write(async move |tx| claims::claim_due(tx, work, &wanted).await);
            let claimed = claimed.await?;
            next = match claimed.is_empty() {
                // Another is just claiming it, or this one must first begin anew.
                true => next.min(AGAIN),
                // There may be more than is claimed at once.
                false => Duration::ZERO,
            };
            for claim in claimed {
                self.run(claim, self.clone().do_claimed(claim));
            }
        }
        Ok(next)
    }

    /// Does what was claimed. When it is well done, the claim was given back with it.
    #[tracing::instrument(level = "debug", target = TARGET, name = "chore", skip_all, fields(kind = ?claim.work))]
    async fn do_claimed(self: Arc<Self>, claim: Claim) -> Result<()> {
        let under = Under::all_of(claim);
        match claim.work {
            Work::Close => self.close_due(ProcessId(claim.id), under).await,
            Work::LostStart => self.mark_lost(ProcessId(claim.id), under).await,
            Work::Delivery => self.attempt(DeliveryId(claim.id), under).await,
            Work::Refresh => self.refresh_due(ProcessId(claim.id), under).await,
            Work::Fetch => self.fetch_due(claim.id, under).await,
            Work::Poll => self.poll_due(claim).await,
            Work::Credentials => Ok(()),
        }
    }

    /// A start whose lease ran out: nobody can know whether the platform heard us.
    async fn mark_lost(self: &Arc<Self>, id: ProcessId, under: Under) -> Result<()> {
        let message = "the gateway stopped while it was starting; look at the platform".to_owned();
        self.fail_start(id, message, under).await.map(drop)
    }

    /// Closes a process whose close_time has come; tries so for a day. A process that is
    /// gone is done with; one whose plugin or installation is gone stays due.
    async fn close_due(self: &Arc<Self>, id: ProcessId, under: Under) -> Result<()> {
        let closed = match self.close(id, "its close_time has come", under).await {
            // The platform closes it by itself: ask whether it has.
            Err(Error::Unsupported { .. }) => self.expect_closed(id, under).await,
            other => other.map(|process| measure_delay(&process)),
        };
        match closed {
            Ok(()) => Ok(()),
            Err(Error::Done { .. } | Error::NotFound(Thing::Process(_))) => {
                self.let_go(under).await
            }
            Err(Error::ClaimLost) => Err(Error::ClaimLost),
            Err(error) => self.close_later(id, error, under).await,
        }
    }

    async fn expect_closed(self: &Arc<Self>, id: ProcessId, under: Under) -> Result<()> {
        self.refresh(id, under.in_part()).await?;
        let process = processes::find(&self.store, id).await?;
        match process.state.is_done() {
            true => self.let_go(under).await,
            false => Err(Error::internal("its platform has not closed it yet")),
        }
    }

    async fn close_later(
        self: &Arc<Self>,
        id: ProcessId,
        error: Error,
        under: Under,
    ) -> Result<()> {
        tracing::warn!(process_id = %id, %error, "a process that is due is not closed yet");
        let process = processes::find(&self.store, id).await?;
        let since = process.close_time.unwrap_or(process.update_time);
        let late = self.store.now().since(since);
        // Each claim is a try.
        let tries = under.claim.map_or(0, |claim| claim.number);
        if late > CLOSE_FOR && tries >= CLOSE_TRIES {
            let reason = match error {
                Error::Platform {
                    trouble: Trouble::Rejected { .. },
                    ..
                } => FailReason::PlatformRejected,
                _ => FailReason::PlatformUnavailable,
            };
            let message = format!("it could not be closed: {error}");
            let failed = ProcessError { reason, message };
            return self.fail(id, failed, under).await;
        }
        // Half of what has passed, so that the tries thin out by themselves; but who comes
        // late begins as one who is on time.
        let doubled = backoff(FIRST_AGAIN, i32::try_from(tries - 1).unwrap_or(i32::MAX));
        let wait = (late / 2).min(doubled).clamp(FIRST_AGAIN, CLOSE_AGAIN);
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                processes::set_clock(tx, id, Clock::Timer, Some(tx.now.after(wait))).await
            })
            .await
    }

    /// Asks how a process stands, since a signal wants so.
    async fn refresh_due(self: &Arc<Self>, id: ProcessId, under: Under) -> Result<()> {
        let error = match self.refresh(id, under).await {
            Ok(()) => return Ok(()),
            Err(Error::NotFound(Thing::Process(_))) => return self.let_go(under).await,
            Err(Error::ClaimLost) => return Err(Error::ClaimLost),
            Err(error) => error,
        };
        tracing::warn!(process_id = %id, %error, "a process cannot be refreshed; trying again");
        let failures = processes::refresh_failures(&self.store, id).await?;
        let wait = backoff(Duration::from_secs(5), failures);
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                processes::refresh_failed(tx, id, tx.now.after(wait)).await
            })
            .await
    }

    /// Asks a platform without hooks what is new.
    async fn poll_due(self: &Arc<Self>, claim: Claim) -> Result<()> {
        let (id, part) = (InstallationId(claim.id), Under::part_of(claim));
        let installation = match self.get_installation(id).await {
            Err(Error::NotFound(_)) => return Ok(()),
            found => found?,
        };
        let polled = self.poll(&installation, part).await;
        let failures = match &polled {
            Ok(_) => 0,
            Err(Error::ClaimLost) => return Err(Error::ClaimLost),
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
            let noted = self.note_problem(id, problem, part).await;
            log(noted.map(drop), "a problem cannot be noted");
        }
        let wait = backoff(self.settings.poll_interval, failures);
        self.store
            .write(async move |tx| {
                Under::all_of(claim).check(tx).await?;
                installations::set_poll(tx, id, tx.now.after(wait), failures).await
            })
            .await
    }

    /// Whether there was something to ask, if all of it was answered.
    async fn poll(self: &Arc<Self>, installation: &Installation, under: Under) -> Result<bool> {
        let plugin = self.plugin(&installation.plugin)?;
        let mut result = Ok(plugin.poll.is_some());
        if let Some(poll) = &plugin.poll {
            self.check_awake(under)?;
            match self.read_step(installation, poll, ()).await {
                Ok(signals) => self.do_polled(installation, signals, under).await?,
                Err(error) => result = Err(error),
            }
        }
        let open = processes::Wanted::of(installation.id, &[ProcessState::Open]);
        for process in processes::list(&self.store, &open, ALL).await? {
            if !self.process_steps(&process.process_type)?.polled {
                continue;
            }
            match self.refresh(process.id, under).await {
                Ok(()) => result = result.map(|_| true),
                Err(Error::ClaimLost) => return Err(Error::ClaimLost),
                Err(error) => {
                    tracing::debug!(process_id = %process.id, %error, "a process cannot be refreshed");
                    result = Err(error);
                }
            }
        }
        result
    }

    async fn do_polled(
        self: &Arc<Self>,
        installation: &Installation,
        signals: Vec<Signal>,
        under: Under,
    ) -> Result<()> {
        if signals.is_empty() {
            return Ok(());
        }
        let (gateway, installation) = (self.clone(), installation.clone());
        let done = self
            .store
            .write(async move |tx| {
                under.check(tx).await?;
                signals::apply(&gateway, tx, &installation, &signals).await
            })
            .await?;
        self.do_after(done.after);
        Ok(())
    }

    /// Asks a platform what a signal wants to know; gives up after as many tries as a
    /// delivery gets.
    async fn fetch_due(self: &Arc<Self>, id: Uuid, under: Under) -> Result<()> {
        let Some(fetch) = deliveries::fetch(&self.store, id).await? else {
            return Ok(());
        };
        let error = match self.fetch(&fetch, under).await {
            Ok(()) => return Ok(()),
            Err(Error::ClaimLost) => return Err(Error::ClaimLost),
            Err(error) => error,
        };
        let failures = fetch.failures + 1;
        tracing::warn!(fetch_id = %id, failures, %error, "a platform cannot be asked");
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                let again =
                    (failures < MAX_ATTEMPTS).then(|| (next_attempt(tx.now, failures), failures));
                deliveries::set_fetch(tx, id, again).await
            })
            .await
    }

    /// Does what comes of it; then the fetch is done.
    async fn fetch(self: &Arc<Self>, fetch: &Fetch, under: Under) -> Result<()> {
        let installation = self.get_installation(fetch.installation_id).await?;
        let plugin = self.plugin(&installation.plugin)?;
        let Some(step) = &plugin.fetch else {
            return Err(Error::internal(format!(
                "{} has no fetch",
                installation.plugin
            )));
        };
        self.check_awake(under)?;
        let signals = self
            .read_step(&installation, step, fetch.what.clone())
            .await?;
        let (gateway, id) = (self.clone(), fetch.id);
        let done = self
            .store
            .write(async move |tx| {
                // The whole before its parts.
                installations::find(tx, installation.id).await?;
                under.check(tx).await?;
                deliveries::set_fetch(tx, id, None).await?;
                signals::apply(&gateway, tx, &installation, &signals).await
            })
            .await?;
        self.do_after(done.after);
        Ok(())
    }

    /// Removes what is old: events, answers, deliveries that are done, authorizations that
    /// nobody ended.
    async fn trim(&self) -> Result<()> {
        let (_, retention) = trimming(TRIM_EVERY, self.settings.event_retention);
        loop {
            reached(Point::BeforeTrim);
            let gone = self
                .store
                .write(async move |tx| {
                    events::trim(tx, tx.now.before(retention), TRIM_EVENTS).await
                })
                .await?;
            reached(Point::AfterTrim);
            if gone < TRIM_EVENTS as u64 / 2 {
                break;
            }
        }
        self.store
            .write(async move |tx| {
                claims::trim(tx, tx.now.before(KEEP_REPLICAS)).await?;
                authorizations::trim(tx, tx.now).await?;
                requests::trim(tx, tx.now.before(KEEP_REQUESTS)).await?;
                deliveries::trim(tx, tx.now.before(retention)).await
            })
            .await?;
        Ok(())
    }
}

/// How late a process was closed.
fn measure_delay(process: &Process) {
    if let Some(due) = process.close_time {
        let delay = process.update_time.since(due);
        metrics().timer_delay.observe(delay.as_secs_f64());
    }
}

fn log(result: Result<()>, what: &str) {
    if let Err(error) = result {
        tracing::error!(%error, "{what}");
    }
}
