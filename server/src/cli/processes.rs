//! `metagov process`: decisions that people take over minutes to weeks.
//!
//! `starts.rs` starts one, `tally.rs` shows how the votes stand, `live.rs` as they move.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};
use metagov_proto::v1::{
    CancelProcessRequest, CloseProcessRequest, GetProcessRequest, ListProcessesRequest,
    ListProcessesResponse, Process, ProcessState,
};
use prost::Message;

use super::{
    Failure,
    common::{Common, Limit, Places},
    failure::answered,
    forward,
    live::Watch,
    output::{Columns, Output, time, word},
    pages,
    starts::{Describe, Start},
    tally,
    written::Answer,
};

/// Starts processes, shows how they stand, and ends them.
#[derive(Clone, Subcommand)]
pub enum Processes {
    /// Lists processes, newest first.
    List(List),
    /// Shows a process as it stands.
    Get(Get),
    /// Shows what a type of process does, takes and decides.
    Describe(Describe),
    /// Starts a process and prints its id.
    Start(Start),
    /// Shows how a process stands, again after each change, until it is done.
    Watch(Watch),
    /// Posts processes to an address, for drivers that can only take HTTP.
    Forward(forward::Processes),
    /// Ends a process now and keeps its outcome.
    Close(Close),
    /// Abandons a process; its outcome does not count.
    Cancel(Cancel),
}

impl Processes {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Get(get) => get.run(out).await,
            Self::Describe(describe) => describe.run(out).await,
            Self::Start(start) => start.run(out).await,
            Self::Watch(watch) => watch.run(out).await,
            Self::Forward(forward) => forward.run().await,
            Self::Close(close) => close.run(out).await,
            Self::Cancel(cancel) => cancel.run(out).await,
        }
    }
}

/// Which processes.
#[derive(Clone, Args)]
pub struct List {
    #[command(flatten)]
    places: Places,

    /// Only those in this state; may be repeated.
    #[arg(long = "state", value_name = "STATE", hide_env = true)]
    states: Vec<State>,

    /// Only those of this type, such as ballot.vote.
    #[arg(long = "type", value_name = "PLUGIN.PROCESS", hide_env = true)]
    process_type: Option<String>,

    #[command(flatten)]
    limit: Limit,

    #[command(flatten)]
    common: Common,
}

/// A state as people write it.
#[derive(Clone, Copy, ValueEnum)]
enum State {
    /// The platform has not accepted it yet.
    Starting,
    /// People are deciding.
    Open,
    /// Decided.
    Completed,
    /// Abandoned.
    Cancelled,
    /// Broken.
    Failed,
}

impl State {
    fn number(self) -> i32 {
        let state = match self {
            Self::Starting => ProcessState::Starting,
            Self::Open => ProcessState::Open,
            Self::Completed => ProcessState::Completed,
            Self::Cancelled => ProcessState::Cancelled,
            Self::Failed => ProcessState::Failed,
        };
        state.into()
    }
}

const COLUMNS: Columns<Process, 7> = Columns {
    heads: [
        "PROCESS",
        "COMMUNITY",
        "TYPE",
        "STATE",
        "CREATED",
        "CLOSES",
        "TITLE",
    ],
    cells: |process| {
        [
            process.process_id.clone(),
            process.community_id.clone(),
            process.process_type.clone(),
            state(process),
            time(process.create_time.as_ref()),
            time(process.close_time.as_ref()),
            process.title.clone(),
        ]
    },
};

pub(super) fn state(process: &Process) -> String {
    word(process.state().as_str_name(), "PROCESS_STATE_")
}

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let processes = pages::all(
            "processes",
            self.limit.limit,
            async |page_size, page_token| {
                let request = ListProcessesRequest {
                    community_ids: self.places.communities.clone(),
                    states: self.states.iter().map(|state| state.number()).collect(),
                    process_type: self.process_type.clone().unwrap_or_default(),
                    page_size,
                    page_token,
                };
                let page = client.processes.list_processes(request).await?;
                let page = page.into_inner();
                Ok((page.processes, page.next_page_token))
            },
        );
        let processes = processes.await?;
        let next_page_token = String::new();
        let all = ListProcessesResponse {
            processes,
            next_page_token,
        };
        let answer = ("ListProcessesResponse", &all);
        let output = self.common.output;
        output.list(out, &COLUMNS, &all.processes, answer)
    }
}

/// Which process.
#[derive(Clone, Args)]
pub struct Get {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    common: Common,
}

impl Get {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("process {}", self.id);
        let process_id = self.id;
        let mut client = self.common.open().await?;
        let request = GetProcessRequest { process_id };
        let answer = answered(&doing, client.processes.get_process(request).await)?;
        let process = answer.process.as_ref();
        let answer = ("GetProcessResponse", &answer);
        show(out, &self.common.output, process, answer)
    }
}

/// A process for people as its votes stand, or the message that has it for scripts.
fn show<M: Message>(
    out: &mut dyn Write,
    output: &Output,
    process: Option<&Process>,
    answer: Answer<'_, M>,
) -> Result<(), Failure> {
    match process {
        Some(process) if output.is_for_people() => tally::write(out, process),
        _ => output.message(out, answer),
    }
}

/// Which process. One that is completed already stays so.
#[derive(Clone, Args)]
pub struct Close {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    common: Common,
}

impl Close {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("process {}", self.id);
        let process_id = self.id;
        let mut client = self.common.open().await?;
        let request = CloseProcessRequest { process_id };
        let answer = answered(&doing, client.processes.close_process(request).await)?;
        let process = answer.process.as_ref();
        let answer = ("CloseProcessResponse", &answer);
        show(out, &self.common.output, process, answer)
    }
}

/// Which process. One that is cancelled already stays so.
#[derive(Clone, Args)]
pub struct Cancel {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    /// Why, for the record. Default none.
    #[arg(long, value_name = "TEXT", hide_env = true)]
    reason: Option<String>,

    #[command(flatten)]
    common: Common,
}

impl Cancel {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("process {}", self.id);
        let request = CancelProcessRequest {
            process_id: self.id,
            reason: self.reason.unwrap_or_default(),
        };
        let mut client = self.common.open().await?;
        let answer = answered(&doing, client.processes.cancel_process(request).await)?;
        let answer = ("CancelProcessResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} cancelled"), answer)
    }
}
