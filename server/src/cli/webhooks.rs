//! `metagov webhook`: the addresses at which platforms reach the gateway.

use std::{io::Write, time::Duration};

use clap::{Args, Subcommand};
use metagov_proto::v1::RotateWebhookRequest;

use super::{
    Connection, Failure,
    output::{Output, time},
    times::{duration, from_now},
};

/// Changes the addresses at which platforms reach the gateway.
#[derive(Clone, Subcommand)]
pub enum Webhooks {
    /// Gives an installation a new webhook address and prints it.
    Rotate(Rotate),
}

impl Webhooks {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Rotate(rotate) => rotate.run(out).await,
        }
    }
}

/// The new address is all that is on the standard output. It is a secret: whoever knows
/// it may deliver.
#[derive(Clone, Args)]
pub struct Rotate {
    /// Which installation.
    #[arg(value_name = "INSTALLATION_ID")]
    installation_id: String,

    /// How long the old address goes on working, such as 1h. Default: not at all.
    #[arg(long, value_name = "DURATION", hide_env = true, value_parser = duration)]
    keep_old: Option<Duration>,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connection: Connection,
}

impl Rotate {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("installation {}", self.installation_id);
        let mut client = self.connection.open().await?;
        let old_expire_time = self.keep_old.map(from_now);
        let request = RotateWebhookRequest {
            installation_id: self.installation_id,
            old_expire_time,
        };
        let answer = client.plugins.rotate_webhook(request).await;
        let answer = answer
            .map_err(|s| Failure::answered(&doing, &s))?
            .into_inner();
        match &old_expire_time {
            None => eprintln!("the old address has ended"),
            end => eprintln!("the old address works until {}", time(end.as_ref())),
        }
        let installation = answer.installation.as_ref();
        let url = installation.map_or("", |made| made.webhook_url.as_str());
        self.output
            .answer(out, url, ("RotateWebhookResponse", &answer))
    }
}
