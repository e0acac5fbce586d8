//! `metagov process start`, and `describe`, which says what a start takes.

use std::io::Write;

use clap::Args;
use metagov_proto::{
    json,
    v1::{Plugin, ProcessDescriptor, StartProcessRequest},
};

use super::{
    Failure,
    client::Client,
    common::{Common, Once, Place},
    describe,
    failure::{answered, printable},
    parameters::Input,
    plugins::offered,
    processes::state,
    schema::Schema,
    times::Until,
};

/// Which type of process.
#[derive(Clone, Args)]
pub struct Describe {
    /// Its full name, such as ballot.vote.
    #[arg(value_name = "PLUGIN.PROCESS")]
    process_type: String,

    #[command(flatten)]
    common: Common,
}

impl Describe {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let process = described(&mut client, &self.process_type).await?;
        let output = self.common.output;
        match output.is_for_people() {
            true => describe::process(out, &process),
            false => output.message(out, ("ProcessDescriptor", &process)),
        }
    }
}

/// Which type of process, with which parameters.
///
/// The new process's id is all that is on the standard output. Parameters are checked
/// before they are sent: `metagov process describe` shows them.
#[derive(Clone, Args)]
pub struct Start {
    /// Its full name, such as ballot.vote.
    #[arg(value_name = "PLUGIN.PROCESS")]
    process_type: String,

    #[command(flatten)]
    input: Input,

    /// When it closes: a duration such as 3d, or a time such as 2030-01-01T00:00:00Z.
    /// Default: when it is closed.
    #[arg(long, value_name = "WHEN", hide_env = true, value_parser = Until::parse)]
    closes: Option<Until>,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    once: Once,

    #[command(flatten)]
    common: Common,
}

impl Start {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("process {}", self.process_type);
        let parameters = self.input.read()?;
        let mut client = self.common.open().await?;
        let schema = described(&mut client, &self.process_type).await?;
        let schema = Schema::of(schema.parameters_schema);
        let parameters = parameters.fit(&schema, &doing, false)?;
        let request = StartProcessRequest {
            community_id: self.place.community,
            process_type: self.process_type,
            installation_id: self.input.installation.unwrap_or_default(),
            parameters: Some(json::from_json(parameters)),
            request_id: self.once.id(),
            close_time: self.closes.map(Until::time),
        };
        let answer = answered(&doing, client.processes.start_process(request).await)?;
        let process = answer.process.clone().unwrap_or_default();
        let mut told = format!("{}: {}", state(&process), process.title);
        if !process.url.is_empty() {
            told += &format!(", at {}", process.url);
        }
        eprintln!("{}", printable(&told));
        let answer = ("StartProcessResponse", &answer);
        self.common.output.answer(out, process.process_id, answer)
    }
}

async fn described(client: &mut Client, name: &str) -> Result<ProcessDescriptor, Failure> {
    let named = |plugin: &Plugin| plugin.processes.clone().into_iter();
    let find = |plugin: &Plugin| named(plugin).find(|process| process.process_type == name);
    let all = |plugin: &Plugin| named(plugin).map(|process| process.process_type).collect();
    offered(client, ("process", name), find, all).await
}
