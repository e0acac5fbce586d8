//! `metagov doctor`: what is right about a gateway and the way to it, and what to do about
//! what is not.
//!
//! `asked.rs` asks what the API has no call for, `gateway.rs` judges the answers, and
//! `installations.rs` has each platform asked whether it still accepts its credentials.

mod asked;
mod finding;
mod gateway;
mod installations;

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use self::finding::Finding;
use super::{Exit, Failure, client::Client, common::Common, output::line};

/// Checks endpoint, TLS, token, version, clock and database, and the credentials of every
/// installation that the token may read.
///
/// The exit code is that of the first check that failed, in the order in which they are
/// shown; what could only not be found out fails nothing.
#[derive(Clone, Args)]
pub struct Doctor {
    #[command(flatten)]
    common: Common,
}

impl Doctor {
    /// Runs it. The findings go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let findings = self.findings().await;
        let output = &self.common.output;
        match output.is_for_people() {
            true => findings
                .iter()
                .flat_map(Finding::lines)
                .try_for_each(|text| line(out, text))?,
            false => output.value(out, &written(&findings))?,
        }
        verdict(&findings)
    }

    async fn findings(&self) -> Vec<Finding> {
        let connection = &self.common.connection;
        let options = connection.options();
        let mut client: Client = match self.common.open().await {
            Ok(client) => client,
            // Without a way there is nothing to ask.
            Err(failure) => return vec![Finding::failed("endpoint", &failure)],
        };
        let endpoint = format!("{} answers", options.endpoint);
        let mut findings = vec![Finding::right("endpoint", endpoint), gateway::tls(&options)];
        let (token, communities) = gateway::token(&mut client).await;
        findings.push(token);
        findings.extend(gateway::state(&client).await);
        for community in &communities {
            findings.extend(installations::of(&mut client, community).await);
        }
        findings
    }
}

fn written(findings: &[Finding]) -> Value {
    let checks: Vec<Value> = findings.iter().map(Finding::written).collect();
    json!({ "checks": checks })
}

fn verdict(findings: &[Finding]) -> Result<(), Failure> {
    let wrong: Vec<Exit> = findings.iter().filter_map(Finding::exit).collect();
    match wrong.first() {
        None => Ok(()),
        Some(exit) => {
            let text = format!("{} of {} checks failed", wrong.len(), findings.len());
            Err(Failure::new(*exit, text))
        }
    }
}
