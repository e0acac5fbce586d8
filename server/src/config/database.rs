//! How the database is used.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{HOUR, MINUTE, values};

const MS_10: Duration = Duration::from_millis(10);

/// How the database is used.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Database {
    /// How many connections read from the database at the same time. Default 8. 1 to 1000.
    ///
    /// On Postgres a gateway has up to four more: two that write, one that listens, one that looks.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000), default_value = "8")]
    pub database_connections: u32,

    /// How long a start waits for a Postgres that does not answer. Default 60s. 0s to 1h.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, Duration::ZERO, HOUR), default_value = "60s")]
    pub database_wait: Duration,

    /// How often a gateway on Postgres looks for what others committed. Default 1s. 10ms to 1m.
    ///
    /// Usually it is told at once; this is for when it is not.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MS_10, MINUTE), default_value = "1s")]
    pub feed_poll: Duration,

    /// How gateways on one Postgres tell each other of new events. Default auto.
    #[arg(long, value_name = "WAY", default_value = "auto")]
    pub notify: Notify,
}

/// How gateways on one database tell each other of new events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Notify {
    /// By NOTIFY of Postgres.
    Auto,
    /// Not at all, for databases that have no NOTIFY: everybody looks.
    Poll,
}
