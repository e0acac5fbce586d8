//! Reading how a process stands, until it is done.

use std::time::Duration;

use metagov_proto::v1::{Process, ProcessState, WatchProcessRequest, WatchProcessResponse};
use tonic::Status;

use crate::{Client, resume::Resume};

/// A process as it stands, again after each change.
///
/// A broken connection and a restart of the gateway are only a pause. What a retry cannot
/// cure is returned. Dropped, it ends the stream at the gateway.
#[must_use = "nothing is read before `next`"]
pub struct States {
    request: WatchProcessRequest,
    resume: Resume<WatchProcessResponse>,
    last: Option<Process>,
}

impl Client {
    /// Watches one process as `WatchProcess` does, and goes on by itself when that breaks.
    pub fn watch_process(&self, process_id: &str) -> States {
        States {
            request: WatchProcessRequest {
                process_id: process_id.to_owned(),
                heartbeat_interval: None,
            },
            resume: Resume::new(self.clone(), None),
            last: None,
        }
    }
}

impl States {
    /// Tells of each error that a retry may cure, and how long it waits until then.
    pub fn on_retry(mut self, told: impl FnMut(&Status, Duration) + Send + 'static) -> Self {
        self.resume.patience.on_retry = Box::new(told);
        self
    }

    /// The process as it stands, first at once and then whenever it is another; none once
    /// it was handed out as COMPLETED, CANCELLED or FAILED. Quick changes may be folded
    /// into one. Dropped while it waits, it has lost nothing.
    ///
    /// # Errors
    ///
    /// What a retry does not cure, such as NOT_FOUND.
    pub async fn next(&mut self) -> Result<Option<Process>, Status> {
        if self.last.as_ref().is_some_and(is_done) {
            return Ok(None);
        }
        let open = |mut client: Client| {
            let request = self.request.clone();
            async move { client.processes.watch_process(request).await }
        };
        loop {
            let message = self.resume.message(&open).await?;
            // A heartbeat repeats what was said.
            if message.process.is_some() && message.process != self.last {
                self.last = message.process;
                return Ok(self.last.clone());
            }
        }
    }
}

fn is_done(process: &Process) -> bool {
    use ProcessState::{Cancelled, Completed, Failed};
    matches!(process.state(), Completed | Cancelled | Failed)
}
