//! Starting a process: written down before its platform is asked, and again when it has
//! answered. What is lost between the two counts as lost.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Gateway,
    advance::{advance, end},
    replica::Under,
    requests::{self, Ask},
    signals,
};
use crate::{
    error::{Error, Result},
    model::{
        CloseTimeSupport, CommunityId, FailReason, Installation, InstallationId, Object, Process,
        ProcessDescriptor, ProcessError, ProcessId, ProcessState, RequestKey, Time,
    },
    plugins::kit::{Start, Started},
    store::{communities, deliveries, installations, processes},
};

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
        let id = ProcessId::new();
        let ask = Ask::new(key.clone(), &body)?;
        let ask = ask.about(community_id).starting(id);
        // Not before the request id was looked up: a retry may come after the close.
        let in_time = check_close_time(descriptor, *close_time, self.store.now());
        let (gateway, work_ask) = (self.clone(), ask.clone());
        let id = self
            .once(ask, async move {
                in_time?;
                gateway
                    .run_start(installation, id, starting, work_ask)
                    .await
            })
            .await
            .map_err(|error| error.of_plugin(&plugin))?;
        self.get_process(id).await
    }

    async fn run_start(
        self: Arc<Self>,
        installation: Installation,
        id: ProcessId,
        starting: Starting,
        ask: Ask,
    ) -> Result<ProcessId> {
        let (installation, process) = self.record_start(&installation, id, &starting).await?;
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
                    Err(error) => self.lose_started(id, installation.plugin, &error).await,
                }
            }
            Err(error @ Error::OutcomeUnknown { .. }) => {
                self.give_up(id, &error).await;
                Err(error)
            }
            Err(error) => {
                self.forget_start(id).await;
                Err(error)
            }
        };
        self.hurry(installation.id).await;
        done.map(|()| id)
    }

    /// Hooks that came before the platform's answer wait for it.
    async fn hurry(&self, waiting: InstallationId) {
        let hurried = self
            .store
            .write(async move |tx| deliveries::hurry(tx, waiting).await);
        match hurried.await {
            Ok(()) => self.wake.notify_one(),
            // They are taken up a little later, and the start stays what it is.
            Err(error) => {
                tracing::warn!(%error, "hooks that wait for a start cannot be hurried");
            }
        }
    }

    /// Nothing was started: nobody is to see it.
    async fn forget_start(&self, id: ProcessId) {
        let forgotten = self
            .store
            .write(async move |tx| processes::delete_starting(tx, id).await);
        if let Err(error) = forgotten.await {
            // It goes with its request id, or counts as failed when its lease runs out.
            tracing::error!(process_id = %id, %error, "a start that came to nothing cannot be removed");
        }
    }

    /// Writes down that nobody knows whether a process was started. How it stood then, if
    /// that could be done.
    async fn give_up(&self, id: ProcessId, unknown: &Error) -> Option<ProcessState> {
        match self
            .fail_start(id, unknown.to_string(), Under::CALLER)
            .await
        {
            Ok(state) => Some(state),
            Err(error) => {
                // Its lease runs out; then it counts as failed, too.
                tracing::error!(process_id = %id, %error, "a lost start cannot be written down");
                None
            }
        }
    }

    /// Marks a start as failed of which nobody knows what came of it. How the process
    /// stood: whatever is more than a start was written down after all, and stays.
    pub(super) async fn fail_start(
        &self,
        id: ProcessId,
        message: String,
        under: Under,
    ) -> Result<ProcessState> {
        let reason = FailReason::OutcomeUnknown;
        let error = ProcessError { reason, message };
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                let process = processes::take(tx, id).await?;
                if process.state == ProcessState::Starting {
                    let mut next = process.clone();
                    next.error = Some(error.clone());
                    end(tx, &process, next, ProcessState::Failed).await?;
                }
                Ok(process.state)
            })
            .await
    }

    /// Writes down that a start is under way: the platform may hear us from now on. The
    /// installation, too, as it stands then.
    async fn record_start(
        &self,
        installation: &Installation,
        id: ProcessId,
        starting: &Starting,
    ) -> Result<(Installation, Process)> {
        let now = self.store.now();
        let title = starting.parameters.get("title").and_then(Value::as_str);
        let descriptor = self.process_descriptor(&starting.process_type)?;
        let process = Process {
            id,
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
        let lease = self.lease();
        self.store
            .write(async move |tx| {
                // The community may be gone by now, with the installation; or that may be
                // on another platform, and moves no more once this is written.
                communities::find(tx, &process.community_id).await?;
                let current = installations::find(tx, process.installation_id).await?;
                processes::insert(tx, &process, tx.now.after(lease)).await?;
                Ok((current, process.clone()))
            })
            .await
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
                // It may have been disabled while the platform was asked.
                installations::find(tx, installation.id).await?;
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
    /// start a second one. It is well if it is kept, and only the answer to its COMMIT was
    /// lost.
    async fn lose_started(&self, id: ProcessId, plugin: String, error: &Error) -> Result<()> {
        let why = "the platform started it, and the gateway could not keep that".to_owned();
        let unknown = Error::OutcomeUnknown { plugin, why };
        match self.give_up(id, &unknown).await {
            Some(ProcessState::Open | ProcessState::Completed) => Ok(()),
            _ => {
                tracing::error!(process_id = %id, %error, "a process that was started cannot be kept");
                Err(unknown)
            }
        }
    }
}

fn check_close_time(
    descriptor: &ProcessDescriptor,
    close_time: Option<Time>,
    now: Time,
) -> Result<()> {
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
        (_, Some(time)) if time <= now => Err(Error::invalid(
            "close_time",
            "lies in the past; it must be in the future",
        )),
        _ => Ok(()),
    }
}
