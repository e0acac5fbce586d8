//! Processes: refreshed, closed, cancelled; started in `starts.rs`, watched in `watching.rs`.
//!
//! Every step of a process ends in [`advance`] (`advance.rs`), which writes what changed
//! of it with its event.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::{
    Gateway,
    advance::{advance, end, recount},
    replica::Under,
};
use crate::{
    error::{Error, Result, Thing, Trouble},
    model::{Process, ProcessError, ProcessId, ProcessState},
    plugins::kit::{ProcessSteps, Progress},
    proof::{Bug, Point, is, reached},
    store::{Tx, communities, processes},
};

pub use processes::Wanted as ProcessFilter;

/// How often a step is tried again when somebody else changed the process meanwhile.
const TRIES: u32 = 5;

/// Why a process is cancelled, and until when its platform is told.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) reason: String,
    pub(super) until: Instant,
}

impl Gateway {
    /// Returns a process as it stands.
    pub async fn get_process(&self, id: ProcessId) -> Result<Process> {
        let process = processes::find(&self.store, id).await?;
        self.with_voters(&self.store, process).await
    }

    /// Up to `limit` processes, newest first.
    pub async fn list_processes(&self, wanted: ProcessFilter, limit: u64) -> Result<Vec<Process>> {
        for id in &wanted.community_ids {
            communities::find(&self.store, id).await?;
        }
        if let Some(name) = &wanted.process_type {
            self.process_descriptor(name)?;
        }
        let mut found = Vec::new();
        for process in processes::list(&self.store, &wanted, limit).await? {
            found.push(self.with_voters(&self.store, process).await?);
        }
        Ok(found)
    }

    /// Ends a process now and keeps its outcome. One that is completed stays so.
    pub async fn close_process(self: &Arc<Self>, id: ProcessId, reason: &str) -> Result<Process> {
        let (gateway, reason) = (self.clone(), reason.to_owned());
        self.detached(async move { gateway.close(id, &reason, Under::CALLER).await })
            .await
    }

    /// Others may close it at the same time, here and at other gateways: one of them has
    /// done it, and all find it closed.
    pub(super) async fn close(
        self: &Arc<Self>,
        id: ProcessId,
        reason: &str,
        under: Under,
    ) -> Result<Process> {
        let _turn = self.locks.wait_a_while(id).await;
        let mut failed = Error::Changed;
        for _ in 0..TRIES {
            let process = processes::find(&self.store, id).await?;
            match process.state {
                ProcessState::Completed => {
                    self.let_go(under).await?;
                    return self.get_process(id).await;
                }
                ProcessState::Starting => return Err(Error::InProgress),
                ProcessState::Open => {}
                state => return Err(done(&process, state)),
            }
            match self.try_close(process, reason, under).await {
                // Closed, or found broken, which `get_process` tells apart.
                Ok(()) => return self.closed(id).await,
                Err(Error::Changed) => failed = Error::Changed,
                Err(error) => {
                    // A platform refuses to close twice what another has just closed.
                    let process = processes::find(&self.store, id).await?;
                    if process.state == ProcessState::Open {
                        return Err(error);
                    }
                    failed = error;
                }
            }
        }
        Err(failed)
    }

    /// What a close has made of a process.
    async fn closed(&self, id: ProcessId) -> Result<Process> {
        let process = self.get_process(id).await?;
        match process.state {
            ProcessState::Completed => Ok(process),
            state => Err(done(&process, state)),
        }
    }

    async fn try_close(
        self: &Arc<Self>,
        process: Process,
        reason: &str,
        under: Under,
    ) -> Result<()> {
        let steps = self.process_steps(&process.process_type)?;
        let installation = self.get_installation(process.installation_id).await?;
        let Some(close) = &steps.close else {
            let plugin = installation.plugin;
            let why = format!(
                "{} cannot be closed by hand; it ends by itself, or cancel it",
                process.process_type
            );
            return Err(Error::Unsupported { plugin, why });
        };
        self.check_awake(under)?;
        let progress = self
            .step(&installation, close, process.private.clone())
            .await?;
        if matches!(progress, Progress::Open(_)) {
            let trouble = Trouble::Rejected {
                status: 0,
                why: "it stays open".to_owned(),
            };
            return Err(Error::Platform {
                plugin: installation.plugin,
                trouble,
            });
        }
        let (gateway, reason, id) = (self.clone(), reason.to_owned(), process.id);
        reached(Point::BetweenCloseAndKeep);
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                let mut process = processes::take(tx, id).await?;
                let early = process.close_time.is_some_and(|time| time > tx.now);
                let early = early && !is(Bug::LocalClock);
                let open = process.state == ProcessState::Open || is(Bug::NoFencing);
                if !open || under.claim.is_some() && early {
                    return Err(Error::Changed);
                }
                process.end_reason.clone_from(&reason);
                advance(&gateway, tx, process, progress.clone()).await
            })
            .await?;
        if steps.ballots.is_some() {
            self.show_soon(id);
        }
        Ok(())
    }

    /// Abandons a process. Its platform is told where it can be.
    pub async fn cancel_process(
        self: &Arc<Self>,
        id: ProcessId,
        reason: String,
    ) -> Result<Process> {
        let until = Instant::now() + super::teardown::FAREWELL;
        let gateway = self.clone();
        let ending = Ending { reason, until };
        let work = async move {
            let process = processes::find(&gateway.store, id).await?;
            if process.state == ProcessState::Starting {
                return Err(Error::InProgress);
            }
            gateway.abandon(id, ending).await
        };
        self.detached(work).await
    }

    /// Cancels a process in any state but the last ones.
    pub(super) async fn abandon(
        self: &Arc<Self>,
        id: ProcessId,
        ending: Ending,
    ) -> Result<Process> {
        let process = processes::find(&self.store, id).await?;
        match process.state {
            ProcessState::Cancelled => return self.get_process(id).await,
            ProcessState::Starting | ProcessState::Open => {}
            state => return Err(done(&process, state)),
        }
        self.tell_cancelled(&process, ending.until).await;
        self.store
            .write(async move |tx| {
                let process = processes::take(tx, id).await?;
                match process.state {
                    ProcessState::Cancelled => return Ok(()),
                    ProcessState::Starting | ProcessState::Open => {}
                    state => return Err(done(&process, state)),
                }
                let mut next = process.clone();
                next.end_reason.clone_from(&ending.reason);
                end(tx, &process, next, ProcessState::Cancelled).await
            })
            .await?;
        self.get_process(id).await
    }

    async fn tell_cancelled(&self, process: &Process, until: Instant) {
        let Ok(ProcessSteps {
            cancel: Some(cancel),
            ..
        }) = self.process_steps(&process.process_type)
        else {
            return;
        };
        let Ok(installation) = self.get_installation(process.installation_id).await else {
            return;
        };
        let step = self.step(&installation, cancel, process.private.clone());
        if !matches!(tokio::time::timeout_at(until, step).await, Ok(Ok(()))) {
            tracing::warn!(process_id = %process.id, "the platform could not be told that the process is cancelled");
        }
    }

    /// Asks the platform how a process stands, if it is open.
    pub(super) async fn refresh(self: &Arc<Self>, id: ProcessId, under: Under) -> Result<()> {
        let _turn = self.locks.wait_a_while(id).await;
        for _ in 0..TRIES {
            match self.try_refresh(id, under).await {
                Err(Error::Changed) => {}
                other => return other,
            }
        }
        Err(Error::Changed)
    }

    async fn try_refresh(self: &Arc<Self>, id: ProcessId, under: Under) -> Result<()> {
        let asked = self.store.now();
        let known = processes::find(&self.store, id).await?;
        if known.state != ProcessState::Open {
            return self.let_go(under).await;
        }
        let steps = self.process_steps(&known.process_type)?;
        let installation = self.get_installation(known.installation_id).await?;
        self.check_awake(under)?;
        let progress = self
            .read_step(&installation, &steps.refresh, known.private.clone())
            .await?;
        let gateway = self.clone();
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                let process = processes::take(tx, id).await?;
                processes::refreshed(tx, id, asked).await?;
                if process.state != ProcessState::Open {
                    return Ok(());
                }
                let mut progress = progress.clone();
                if process.private != known.private {
                    progress = gateway.catch_up(tx, &process, progress).await?;
                }
                advance(&gateway, tx, process, progress).await
            })
            .await
    }

    /// An answer to what was known before a change: ballots are counted afresh, and
    /// whatever else has changed must be asked again.
    async fn catch_up(
        &self,
        tx: &Tx,
        process: &Process,
        progress: Progress<Value>,
    ) -> Result<Progress<Value>> {
        let steps = self.process_steps(&process.process_type)?;
        match (progress, &steps.ballots) {
            (Progress::Open(state), Some(ballots)) => {
                let state = recount(tx, ballots, process, state).await?;
                Ok(Progress::Open(state))
            }
            (Progress::Open(_), None) => Err(Error::Changed),
            (ended, _) => Ok(ended),
        }
    }

    /// Marks a process that is starting or open as failed.
    pub(super) async fn fail(
        &self,
        id: ProcessId,
        error: ProcessError,
        under: Under,
    ) -> Result<()> {
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                let process = processes::take(tx, id).await?;
                if process.state.is_done() {
                    return Ok(());
                }
                let mut next = process.clone();
                next.error = Some(error.clone());
                end(tx, &process, next, ProcessState::Failed).await
            })
            .await
    }

    pub(super) fn process_steps(&self, name: &str) -> Result<&ProcessSteps> {
        let unknown = || Error::NotFound(Thing::Plugin(name.to_owned()));
        self.plugin_of(name)?
            .processes
            .get(name)
            .ok_or_else(unknown)
    }
}

fn done(process: &Process, state: ProcessState) -> Error {
    let why = match state {
        ProcessState::Completed => "it is completed; its outcome stands",
        ProcessState::Cancelled => "it was cancelled",
        _ => "it failed",
    };
    let why = why.to_owned();
    Error::Done {
        process: process.id,
        state,
        why,
    }
}
