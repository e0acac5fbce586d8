//! What the table of behaviour has each language's client do: `behaviour VERB ARG…`.
//!
//! Each answer is a JSON object in a line of its own. The exit code is 0, or 1 after a line
//! with an `error`.

mod calls;
mod said;
mod watching;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Parser};
use metagov_client::connect;
use tokio::signal::unix::{SignalKind, signal};

use said::{Fault, say};

#[derive(Parser)]
enum Verb {
    /// Prints the events of the feed.
    Watch(Watch),
    /// Prints the events of a subscription.
    WatchSubscription {
        subscription_id: String,
        #[command(flatten)]
        until: Until,
    },
    /// Waits for a process.
    Wait {
        process_id: String,
        #[arg(long)]
        timeout: Option<f64>,
    },
    /// Performs an action.
    Perform {
        community: String,
        action: String,
        parameters: String,
    },
    /// Gets a community.
    GetCommunity { community_id: String },
    /// From JSON to a Struct and back.
    Struct { json: String },
    /// Cancels a watch.
    Cancel,
}

#[derive(Args)]
struct Watch {
    #[arg(long)]
    after: Option<String>,
    #[arg(long)]
    earliest: bool,
    #[arg(long)]
    community: Option<String>,
    #[command(flatten)]
    until: Until,
}

#[derive(Args)]
struct Until {
    #[arg(long)]
    heartbeat: Option<f64>,
    #[arg(long)]
    count: Option<usize>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut stop = signal(SignalKind::terminate()).expect("signals are there");
    let done = tokio::select! {
        done = run(Verb::parse()) => done,
        _ = stop.recv() => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault(error)) => {
            say(&serde_json::json!({ "error": error }));
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> Result<(), Fault> {
    match verb {
        Verb::Struct { json } => calls::there_and_back(&json),
        Verb::Watch(watch) => watching::watch(&connect()?, watch).await,
        Verb::WatchSubscription {
            subscription_id,
            until,
        } => watching::subscription(&connect()?, subscription_id, until).await,
        Verb::Cancel => watching::cancel(&connect()?).await,
        Verb::Wait {
            process_id,
            timeout,
        } => {
            let limit = timeout.map(Duration::from_secs_f64);
            calls::wait(&connect()?, &process_id, limit).await
        }
        Verb::Perform {
            community,
            action,
            parameters,
        } => calls::perform(&mut connect()?, community, action, &parameters).await,
        Verb::GetCommunity { community_id } => {
            calls::get_community(&mut connect()?, community_id).await
        }
    }
}
