//! Waiting until a process is done.

use std::time::Duration;

use metagov_proto::v1::Process;
use tokio::time::timeout;
use tonic::Status;

use crate::Client;

impl Client {
    /// Waits until the process is COMPLETED, CANCELLED or FAILED, and returns it. Broken
    /// connections and restarts of the gateway are only a pause.
    ///
    /// # Errors
    ///
    /// DEADLINE_EXCEEDED once `limit` is over; and what a retry does not cure, such as
    /// NOT_FOUND.
    pub async fn wait_for_process(
        &self,
        process_id: &str,
        limit: Option<Duration>,
    ) -> Result<Process, Status> {
        let done = self.done(process_id);
        let Some(limit) = limit else {
            return done.await;
        };
        let late = |_| {
            let limit = limit.as_secs_f64();
            let text = format!("the process {process_id} is not done after {limit} s");
            Err(Status::deadline_exceeded(text))
        };
        timeout(limit, done).await.unwrap_or_else(late)
    }

    async fn done(&self, process_id: &str) -> Result<Process, Status> {
        let mut states = self.watch_process(process_id);
        let mut last = Process::default();
        while let Some(process) = states.next().await? {
            last = process;
        }
        Ok(last)
    }
}
