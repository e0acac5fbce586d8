//! `metagov process forward`: how processes move, posted to a driver.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use clap::Args;
use metagov_proto::v1::{
    EventFilter, EventKind, GetProcessRequest, Process, StartAt, WatchEventsRequest,
    event::Payload, watch_events_request::Start,
};
use serde_json::Value;
use url::Url;

use super::{
    receiver::{Receiver, address},
    shapes,
};
use crate::cli::{
    Connection, Failure, client::Client, cursor::CursorFile, failure::answered, watching::Reading,
};

/// Posts processes to an address: when one has ended, and when its outcome changes.
///
/// Each is a JSON object: id, name (its full type), community, status (created, pending or
/// completed), url, errors and outcome. One that failed or was cancelled is completed, with
/// the reason in errors and no outcome. The header metagov-event-id tells repeats apart.
///
/// Ends once all the processes that are named have ended; with --all it never does. What is
/// tried again, and what not, is as with `metagov events forward`.
#[derive(Clone, Args)]
pub struct Processes {
    /// The driver's address, http or https.
    #[arg(long, value_name = "URL", hide_env = true, value_parser = address)]
    to: Url,

    /// Which processes, from their start on.
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,

    /// All that the token may read, from now on.
    #[arg(long, conflicts_with = "ids")]
    all: bool,

    /// Keeps the place in this file once it is taken, and goes on there when the command is
    /// run again. Default none.
    #[arg(long, value_name = "FILE", hide_env = true)]
    cursor_file: Option<PathBuf>,

    #[command(flatten)]
    connection: Connection,
}

/// What the driver was told of the processes that have not ended.
struct Told {
    receiver: Receiver,
    outcomes: HashMap<String, Value>,
    /// Those that are waited for.
    open: HashSet<String>,
}

impl Processes {
    /// Runs it, until all have ended or it is asked to stop.
    pub async fn run(self) -> Result<(), Failure> {
        let file = self.cursor_file.clone().map(CursorFile::new);
        let kept = file.as_ref().map(CursorFile::read).transpose()?.flatten();
        let mut told = Told {
            receiver: Receiver::at(self.to.clone())?,
            outcomes: HashMap::new(),
            open: self.ids.iter().cloned().collect(),
        };
        let mut client = self.connection.open().await?;
        told.begin(&mut client, &self.ids).await?;
        if told.open.is_empty() && !self.all {
            return Ok(());
        }
        let mut reading = Reading::of(client.watch(self.request(kept)), file);
        reading
            .until_stopped(async |reading| {
                while self.all || !told.open.is_empty() {
                    let event = reading.next().await?;
                    if let Some(Payload::ProcessChanged(changed)) = &event.payload {
                        let process = changed.process.as_ref();
                        told.changed(&event.event_id, process.unwrap_or(&Process::default()))
                            .await?;
                    }
                    reading.keep(&event.cursor)?;
                }
                Ok(())
            })
            .await
    }

    fn request(&self, kept: Option<String>) -> WatchEventsRequest {
        let first = match self.all {
            true => StartAt::Latest,
            false => StartAt::Earliest,
        };
        let start = kept.map_or(Start::StartAt(first.into()), Start::AfterCursor);
        WatchEventsRequest {
            filter: Some(EventFilter {
                kinds: vec![EventKind::ProcessChanged.into()],
                process_ids: self.ids.clone(),
                ..Default::default()
            }),
            start: Some(start),
            heartbeat_interval: None,
        }
    }
}

impl Told {
    /// Tells of those that have ended already, whose events may be gone.
    async fn begin(&mut self, client: &mut Client, ids: &[String]) -> Result<(), Failure> {
        for process_id in ids.iter().cloned() {
            let doing = format!("process {process_id}");
            let request = GetProcessRequest { process_id };
            let answer = answered(&doing, client.processes.get_process(request).await)?;
            let process = answer.process.unwrap_or_default();
            if shapes::status(&process) == "completed" {
                let id = format!("{}-{}", process.process_id, process.revision);
                self.changed(&id, &process).await?;
            }
        }
        Ok(())
    }

    /// Tells of it if it has ended or its outcome is another.
    async fn changed(&mut self, id: &str, process: &Process) -> Result<(), Failure> {
        let (outcome, ended) = (
            shapes::outcome(process),
            shapes::status(process) == "completed",
        );
        let empty = Value::Object(serde_json::Map::new());
        let known = self.outcomes.get(&process.process_id).unwrap_or(&empty);
        if ended || *known != outcome {
            self.receiver.take(id, &shapes::process(process)).await?;
        }
        match ended {
            true => self.end(&process.process_id),
            false => {
                self.outcomes.insert(process.process_id.clone(), outcome);
            }
        }
        Ok(())
    }

    fn end(&mut self, process_id: &str) {
        self.outcomes.remove(process_id);
        self.open.remove(process_id);
    }
}
