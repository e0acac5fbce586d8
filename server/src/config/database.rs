//! How the database is used.

use std::{str::FromStr, time::Duration};

use clap::Args;
use url::Url;

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
    ///
    /// auto: by its NOTIFY. poll: not at all, each looks every --feed-poll. nats://[USER:PASSWORD@]HOST[:4222]: by a NATS, for databases that have no NOTIFY; with tls:// encrypted and verified; several of one cluster comma separated.
    #[arg(long, value_name = "WAY", default_value = "auto")]
    pub notify: Notify,
}

/// How gateways on one database tell each other of new events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notify {
    /// By NOTIFY of Postgres.
    Auto,
    /// Not at all: everybody looks.
    Poll,
    /// By the servers of a NATS, for databases that have no NOTIFY.
    Nats(Vec<Url>),
}

impl FromStr for Notify {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "poll" => Ok(Self::Poll),
            text => text
                .split(',')
                .map(nats)
                .collect::<Result<_, _>>()
                .map(Self::Nats),
        }
    }
}

/// One server. Its URL may hold a password, so it is not repeated.
fn nats(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).ok();
    let is_usable = |url: &Url| {
        ["nats", "tls"].contains(&url.scheme())
            && url.has_host()
            && ["", "/"].contains(&url.path())
            && url.query().is_none()
    };
    url.filter(is_usable).ok_or_else(|| {
        "neither auto, poll nor the URL of a NATS, such as nats://127.0.0.1:4222".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_to_tell_is_a_word_or_servers() {
        assert_eq!("auto".parse(), Ok(Notify::Auto));
        assert_eq!("poll".parse(), Ok(Notify::Poll));
        for servers in ["nats://a", "nats://u:p@a:4222, tls://[::1]:4222/"] {
            let Ok(Notify::Nats(urls)) = servers.parse() else {
                panic!("{servers} is refused");
            };
            assert_eq!(urls.len(), servers.split(',').count());
        }
        for wrong in [
            "",
            "nats",
            "nats://",
            "nats://a/subject",
            "http://u:secret@a",
            "nats://a,",
        ] {
            let why = wrong.parse::<Notify>().unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
