//! `metagov audit`: who changed what, or was refused.
//!
//! `chain.rs` beside this file verifies what was read.

use std::io::Write;

use clap::{Args, Subcommand};
use metagov_proto::v1::{AuditEntry, ListAuditEntriesRequest, ListAuditEntriesResponse};

use super::{
    Connection, Exit, Failure,
    chain::{Chain, Head},
    client::Client,
    output::{Columns, Output, line, time},
    pages::{self, Page},
};

/// Lists the audit, and verifies that nobody changed it.
#[derive(Clone, Subcommand)]
pub enum Audit {
    /// Lists mutating and refused calls, newest first.
    List(List),
    /// Verifies the chain of the whole audit and prints its head.
    Verify(Verify),
}

impl Audit {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Verify(verify) => verify.run(out).await,
        }
    }
}

/// Which entries.
#[derive(Clone, Args)]
pub struct List {
    /// Only calls about this community.
    #[arg(long, value_name = "ID", hide_env = true)]
    community: Option<String>,

    /// The most to list. Default 50.
    #[arg(long, value_name = "N", default_value = "50", value_parser = pages::limit)]
    #[arg(hide_env = true, hide_default_value = true)]
    limit: usize,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connection: Connection,
}

const COLUMNS: Columns<AuditEntry, 7> = Columns {
    heads: [
        "NUMBER",
        "TIME",
        "TOKEN",
        "CODE",
        "COMMUNITY",
        "CALL",
        "ABOUT",
    ],
    cells: |entry| {
        [
            entry.entry_number.to_string(),
            time(entry.record_time.as_ref()),
            entry.token_id.clone(),
            entry.code.clone(),
            entry.community_id.clone(),
            entry.rpc.trim_start_matches("metagov.v1.").to_owned(),
            entry.subject.clone(),
        ]
    },
};

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.connection.open().await?;
        let community = self.community.unwrap_or_default();
        let entries = pages::all("audit", self.limit, async |page_size, page_token| {
            let request = ListAuditEntriesRequest {
                community_id: community.clone(),
                page_size,
                page_token,
            };
            client.entries(request).await
        });
        let entries = entries.await?;
        let next_page_token = String::new();
        let all = ListAuditEntriesResponse {
            entries,
            next_page_token,
        };
        let answer = ("ListAuditEntriesResponse", &all);
        self.output.list(out, &COLUMNS, &all.entries, answer)
    }
}

/// Entries that were changed, exchanged, or removed from the middle are found. That the
/// newest were cut off, or that all were written anew, is found only with an anchor: a
/// head that was printed before and kept elsewhere.
#[derive(Clone, Args)]
pub struct Verify {
    /// A head that was printed before: that entry must still be there, with that hash.
    #[arg(long, value_name = "NUMBER:HASH", hide_env = true, value_parser = Head::parse)]
    anchor: Option<Head>,

    #[command(flatten)]
    connection: Connection,
}

impl Verify {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.connection.open().await?;
        let mut chain = Chain::new(self.anchor);
        let fetch = async |page_size, page_token| {
            let request = ListAuditEntriesRequest {
                page_size,
                page_token,
                ..ListAuditEntriesRequest::default()
            };
            client.entries(request).await
        };
        let read = pages::each(usize::MAX, fetch, |entry| chain.take(entry)).await;
        read.map_err(|s| Failure::answered("audit", &s))?;
        let head = chain.end().map_err(|fault| {
            let why = format!("audit: {fault}");
            Failure::new(Exit::Other, why)
        })?;
        line(out, head)
    }
}

impl Client {
    async fn entries(&mut self, request: ListAuditEntriesRequest) -> Page<AuditEntry> {
        let page = self.access.list_audit_entries(request).await?.into_inner();
        Ok((page.entries, page.next_page_token))
    }
}
