//! What most verbs take, in one spelling.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use clap::Args;

use super::{Connection, Exit, Failure, client::Client, output::Output, pages};

/// How to ask a gateway, and how to write what it answers.
#[derive(Clone, Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) output: Output,

    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Common {
    pub(super) async fn open(&self) -> Result<Client, Failure> {
        self.connection.open().await
    }
}

/// Where something is or shall be.
#[derive(Clone, Args)]
pub(super) struct Place {
    /// In which community.
    #[arg(long, value_name = "ID")]
    pub(super) community: String,
}

/// Of what something is read.
#[derive(Clone, Args)]
pub(super) struct Places {
    /// Only in this community; may be repeated. Default: in all that the token may read.
    #[arg(long = "community", value_name = "ID")]
    pub(super) communities: Vec<String>,
}

/// How much of a list is read.
#[derive(Clone, Args)]
pub(super) struct Limit {
    /// The most to list. Default 50.
    #[arg(long, value_name = "N", default_value = "50", value_parser = pages::limit)]
    #[arg(hide_env = true, hide_default_value = true)]
    pub(super) limit: usize,
}

/// What makes it safe to run a command again.
#[derive(Clone, Args)]
pub(super) struct Once {
    /// Chosen by you, best a UUID: run again with the same one, it is done once. Default none.
    #[arg(long, value_name = "ID", hide_env = true)]
    request_id: Option<String>,
}

impl Once {
    pub(super) fn id(&self) -> String {
        self.request_id.clone().unwrap_or_default()
    }
}

/// Reads a file, or the standard input if it is `-`. What goes wrong is told with the flag.
pub(super) fn read(file: &Path, flag: &str) -> Result<String, Failure> {
    let text = match file == Path::new("-") {
        true => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => fs::read_to_string(file),
    };
    text.map_err(|e| {
        let why = format!("{flag}: {}: {e}", file.display());
        Failure::new(Exit::Refused, why)
    })
}
