//! What requests to platforms may do.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use clap::{ArgAction, Args};
use ipnet::IpNet;

use super::{MINUTE, MS_100, values};

/// What requests to platforms may do.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Outgoing {
    /// Lets requests to platforms go over http, too. Default false.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
    pub allow_http: bool,

    /// Ranges of inside addresses that platforms may have, comma separated. Default none.
    ///
    /// Loopback, private, link-local and other addresses that are not public are refused
    /// otherwise, but for those that a plugin's own settings name: 10.20.0.0/16, fd00::/8.
    #[arg(long, value_name = "RANGES", value_delimiter = ',', value_parser = values::range)]
    pub allow_cidr: Vec<IpNet>,

    /// The longest that connecting to a platform may take. Default 5s. 100ms to 1m.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MS_100, MINUTE), default_value = "5s")]
    pub connect_timeout: Duration,

    /// The longest that one request to a platform may take. Default 15s. 100ms to 10m.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MS_100, 10 * MINUTE), default_value = "15s")]
    pub call_timeout: Duration,

    /// The largest answer of a platform, decompressed. Default 5MiB. 1KiB to 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "5MiB")]
    pub max_answer_size: usize,

    /// How many times its size a compressed answer may have. Default 100. 1 to 10000.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000), default_value = "100")]
    pub max_answer_ratio: u32,

    /// How many redirects of a platform are followed. Default 3. 0 to 10.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=10), default_value = "3")]
    pub max_redirects: u8,

    /// How many requests run at the same time at one server. Default 16. 1 to 1000.
    ///
    /// Further ones wait for their turn, within their time.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1000), default_value = "16")]
    pub platform_concurrency: u16,

    /// What stands for the system's resolver. No flag: it is for tests.
    #[arg(skip)]
    pub resolver: Resolver,
}

/// The addresses of a name, or `None` for a name of which the system is asked.
type Lookup = Arc<dyn Fn(&str) -> Option<Vec<IpAddr>> + Send + Sync>;

/// What stands for the system's resolver, as `--resolve` of curl.
#[derive(Clone, Default)]
pub struct Resolver(pub Option<Lookup>);

impl PartialEq for Resolver {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.0.is_some() {
            "a test's"
        } else {
            "the system's"
        };
        f.write_str(name)
    }
}
