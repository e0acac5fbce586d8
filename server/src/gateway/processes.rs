//! Processes: started, refreshed, closed, cancelled; watched in `watching.rs`.
//!
//! Every step of a process ends in [`advance`] (`advance.rs`), which writes what changed
//! of it with its event.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::{
    Gateway,
    advance::{advance, end, recount},
    requests::{self, Ask},
    signals,
};
use crate::{
    error::{Error, Result, Thing, Trouble},
    model::{
        CloseTimeSupport, CommunityId, FailReason, Installation, InstallationId, Object, Process,
        ProcessDescriptor, ProcessError, ProcessId, ProcessState, RequestKey, Time,
    },
    plugins::kit::{ProcessSteps, Progress, Start, Started},
    store::{Tx, communities, deliveries, installations, processes},
};

pub use processes::Wanted as ProcessFilter;

/// How often a step is tried again when somebody else changed the process meanwhile.
const TRIES: u32 = 5;

/// A process that is to be started.
#[derive(Clone, Debug)]
pub struct Starting {
    /// Makes a retry safe.
    pub key: Option<RequestKey>,
    /// In which community.
    pub community_id: CommunityId,
    /// Full name: `plugin.process`.
    pub process_type: String,
    /// Which installation, if the community has several of the plugin.
    pub installation_id: Option<InstallationId>,
    /// Its input.
    pub parameters: Object,
    /// When it is to close.
    pub close_time: Option<Time>,
}

/// Why a process is cancelled, and until when its platform is told.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) reason: String,
    pub(super) until: Instant,
}

impl Gateway {
    /// Starts a process. What its platform refused leaves no process; one whose
    /// outcome is unknown stays as failed.
    pub async fn start_process(self: &Arc<Self>, starting: Starting) -> Result<Process> {
        let descriptor = self.process_descriptor(&starting.process_type)?;
        let steps = self.process_steps(&starting.process_type)?;
        let plugin = self
            .plugin_of(&starting.process_type)?
            .descriptor
            .name
            .clone();
        let installation = self
            .installation_for(&starting.community_id, &plugin, starting.installation_id)
            .await?;
        let parameters = Value::Object(starting.parameters.clone());
        steps
            .parameters
            .check(&parameters, &starting.process_type, "parameters")?;
        let Starting {
            key,
            community_id,
            process_type,
            installation_id,
            close_time,
            ..
        } = &starting;
        let body = (
            "StartProcess",
            community_id,
            process_type,
            installation_id,
            &parameters,
            close_time,
        );
        let ask = Ask::new(key.clone(), &body)?.about(community_id);
        // Not before the request id was looked up: a retry may come after the close.
        let in_time = check_close_time(descriptor, *close_time);
        let (gateway, work_ask) = (self.clone(), ask.clone());
        let id = self
            .once(ask, async move {
                in_time?;
                gateway.run_start(installation, starting, work_ask).await
            })
            .await
            .map_err(|error| error.of_plugin(&plugin))?;
        self.get_process(id).await
    }

    async fn run_start(
        self: Arc<Self>,
        installation: Installation,
        starting: Starting,
        ask: Ask,
    ) -> Result<ProcessId> {
        let process = self.record_start(&installation, &starting).await?;
        let id = process.id;
        let start = Start {
            process_id: id,
            input: Value::Object(starting.parameters),
            close_time: starting.close_time,
        };
        let steps = self.process_steps(&process.process_type)?;
        let done = match self.step(&installation, &steps.start, start).await {
            Ok(started) => {
                match self
                    .record_started(&installation, process, started, ask)
                    .await
                {
                    Ok(()) => Ok(()),
                    Err(error) => Err(self.lose_started(id, installation.plugin, &error).await),
                }
            }
            Err(error @ Error::OutcomeUnknown { .. }) => {
                let why = error.to_string();
                self.fail(id, FailReason::OutcomeUnknown, why).await?;
                Err(error)
            }
            Err(error) => {
                self.store
                    .write(async move |tx| processes::delete_starting(tx, id).await)
                    .await?;
                Err(error)
            }
        };
        // Hooks that came before the platform's answer wait for it.
        let waiting = installation.id;
        self.store
            .write(async move |tx| deliveries::hurry(tx, waiting).await)
            .await?;
        self.wake.notify_one();
        done.map(|()| id)
    }

    /// Writes down that a start is under way: the platform may hear us from now on.
    async fn record_start(
        &self,
        installation: &Installation,
        starting: &Starting,
    ) -> Result<Process> {
        let now = Time::now();
        let title = starting.parameters.get("title").and_then(Value::as_str);
        let descriptor = self.process_descriptor(&starting.process_type)?;
        let process = Process {
            id: ProcessId::new(),
            community_id: installation.community_id.clone(),
            installation_id: installation.id,
            process_type: starting.process_type.clone(),
            state: ProcessState::Starting,
            url: String::new(),
            parameters: starting.parameters.clone(),
            outcome: Object::new(),
            error: None,
            create_time: now,
            update_time: now,
            end_time: None,
            revision: 0,
            title: title.unwrap_or(&descriptor.description).to_owned(),
            close_time: starting.close_time,
            tally: None,
            end_reason: String::new(),
            key: String::new(),
            private: Value::Null,
        };
        let (recorded, lease) = (process.clone(), self.lease());
        self.store
            .write(async move |tx| {
                // The community may be gone by now, with the installation.
                communities::find(tx, &recorded.community_id).await?;
                installations::find(tx, recorded.installation_id).await?;
                processes::insert(tx, &recorded, tx.now.after(lease)).await
            })
            .await?;
        Ok(process)
    }

    async fn record_started(
        self: &Arc<Self>,
        installation: &Installation,
        mut process: Process,
        started: Started<Value>,
        ask: Ask,
    ) -> Result<()> {
        let Started {
            key,
            url,
            title,
            close_time,
            progress,
            signals,
        } = started;
        process.key = key;
        process.url = url;
        process.title = title.unwrap_or(process.title);
        process.close_time = close_time.or(process.close_time);
        let (gateway, installation) = (self.clone(), installation.clone());
        let after = self
            .store
            .write(async move |tx| {
                let process = process.clone();
                requests::keep(tx, &ask, Ok(&process.id)).await?;
                advance(&gateway, tx, process, progress.clone()).await?;
                signals::apply(&gateway, tx, &installation, &signals).await
            })
            .await?
            .after;
        self.do_after(after);
        Ok(())
    }

    /// What to say of a process that its platform started and that cannot be kept, such
    /// as one with the key of another, or one that was abandoned meanwhile. A retry would
    /// start a second one.
    async fn lose_started(&self, id: ProcessId, plugin: String, error: &Error) -> Error {
        tracing::error!(process_id = %id, %error, "a process that was started cannot be kept");
        let why = "the platform started it, and the gateway could not keep that".to_owned();
        let unknown = Error::OutcomeUnknown { plugin, why };
        let failed = self.fail(id, FailReason::OutcomeUnknown, unknown.to_string());
        if let Err(error) = failed.await {
            // Its lease runs out; then it counts as failed, too.
            tracing::error!(process_id = %id, %error, "nor can that be written down");
        }
        unknown
    }

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
        self.detached(async move { gateway.close(id, &reason).await })
            .await
    }

    pub(super) async fn close(self: &Arc<Self>, id: ProcessId, reason: &str) -> Result<Process> {
        let _turn = self.locks.lock(id).await;
        for _ in 0..TRIES {
            let process = processes::find(&self.store, id).await?;
            match process.state {
                ProcessState::Completed => return self.get_process(id).await,
                ProcessState::Starting => return Err(Error::InProgress),
                ProcessState::Open => {}
                state => return Err(done(&process, state)),
            }
            match self.try_close(process, reason).await {
                // Closed, or found broken: the next round tells the two apart.
                Ok(()) | Err(Error::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Changed)
    }

    async fn try_close(self: &Arc<Self>, process: Process, reason: &str) -> Result<()> {
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
        self.store
            .write(async move |tx| {
                let mut process = processes::take(tx, id).await?;
                if process.state != ProcessState::Open {
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
        let until = Instant::now() + super::communities::FAREWELL;
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
    pub(super) async fn refresh(self: &Arc<Self>, id: ProcessId) -> Result<()> {
        let _turn = self.locks.lock(id).await;
        for _ in 0..TRIES {
            match self.try_refresh(id).await {
                Err(Error::Changed) => {}
                other => return other,
            }
        }
        Err(Error::Changed)
    }

    async fn try_refresh(self: &Arc<Self>, id: ProcessId) -> Result<()> {
        let asked = Time::now();
        let known = processes::find(&self.store, id).await?;
        if known.state != ProcessState::Open {
            return Ok(());
        }
        let steps = self.process_steps(&known.process_type)?;
        let installation = self.get_installation(known.installation_id).await?;
        let progress = self
            .read_step(&installation, &steps.refresh, known.private.clone())
            .await?;
        let gateway = self.clone();
        self.store
            .write(async move |tx| {
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
        reason: FailReason,
        message: String,
    ) -> Result<()> {
        self.store
            .write(async move |tx| {
                let process = processes::take(tx, id).await?;
                if process.state.is_done() {
                    return Ok(());
                }
                let mut next = process.clone();
                let message = message.clone();
                next.error = Some(ProcessError { reason, message });
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

fn check_close_time(descriptor: &ProcessDescriptor, close_time: Option<Time>) -> Result<()> {
    let name = &descriptor.process_type;
    match (descriptor.close_time_support, close_time) {
        (CloseTimeSupport::None, Some(_)) => {
            let why = format!("{name} takes no close_time; see its close_time_support");
            Err(Error::invalid("close_time", why))
        }
        (CloseTimeSupport::Required, None) => Err(Error::invalid(
            "close_time",
            format!("{name} needs a close_time"),
        )),
        (_, Some(time)) if time <= Time::now() => Err(Error::invalid(
            "close_time",
            "lies in the past; it must be in the future",
        )),
        _ => Ok(()),
    }
}
