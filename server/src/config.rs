//! The settings of the gateway: one struct, flags and variables.
//!
//! Every flag `--a-b` is also the variable `METAGOV_A_B`; a flag wins over a variable,
//! and an empty variable counts as unset. That rule stands in `config/settings.rs`, how
//! values are written in `config/values.rs`, and how a plugin's operator settings
//! become flags in `config/operator.rs`. Large groups are structs of their own. Nothing
//! reads this but `lib.rs`, `main.rs` and `listen`, whose limits are most of one group.

mod access;
mod database;
mod limits;
mod operator;
mod outgoing;
mod settings;
mod values;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Command, FromArgMatches, ValueEnum};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use serde_json::{Map, Value};
use url::Url;

pub use access::Access;
pub use database::{Database, Notify};
pub use limits::Limits;
pub use operator::Operator;
pub use outgoing::{Outgoing, Resolver};
pub(crate) use values::duration;

pub use settings::{Unknown, explain, unknown_variables, with_variables};

const MS_100: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of the gateway. [`Config::default`] is what an empty command line and
/// an empty environment give.
#[derive(Clone, PartialEq, Args)]
pub struct Config {
    /// Where gRPC and grpc-web are served. Default 127.0.0.1:50051.
    ///
    /// Callers need a token. An address that is not loopback needs `--tls-cert`, too.
    #[arg(long, value_name = "ADDRESS", value_parser = values::address, default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,

    /// Where webhooks and public actions are served, over HTTP. Default 127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS", value_parser = values::address, default_value = "127.0.0.1:8080")]
    pub public_listen: SocketAddr,

    /// The address at which platforms reach `--public-listen`. Default http://<public-listen>.
    ///
    /// Webhook addresses begin with it. A path is kept: https://example.org/metagov.
    #[arg(long, value_name = "URL", value_parser = values::public_url)]
    pub public_url: Option<Url>,

    /// The folder for what the gateway keeps; made if missing. Default ./metagov-data.
    #[arg(long, value_name = "FOLDER", default_value = "./metagov-data")]
    pub data_dir: PathBuf,

    /// The database: a SQLite file, or a Postgres. Default: the SQLite file `metagov.db` in `--data-dir`.
    ///
    /// postgres://user:password@host/database for Postgres, 14 or newer.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,

    /// How the database is used.
    #[command(flatten)]
    pub database: Database,

    /// How long events are kept. Default 30d. At least 1m.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MINUTE, 36_500 * DAY), default_value = "30d")]
    pub event_retention: Duration,

    /// After what silence another gateway takes over what one does. Default 5s. 1s to 1m.
    ///
    /// Only where several gateways use one Postgres: each says five times within this time
    /// that it lives. Where it takes long to say so, it is four times as long
    /// as that takes, a minute at most.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, Duration::from_secs(1), MINUTE), default_value = "5s")]
    pub replica_lease: Duration,

    /// How often a platform that sends no webhooks is asked. Default 60s. 100ms to 1d.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MS_100, DAY), default_value = "60s")]
    pub poll_interval: Duration,

    /// Web origins that may call with grpc-web, comma separated. Default none.
    ///
    /// Each is written exactly as a browser sends it: https://dashboard.example.org
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',', value_parser = values::origin)]
    pub cors_origins: Vec<String>,

    /// The longest that one step of a plugin may take. Default 60s. 100ms to 1h.
    ///
    /// A step, such as performing an action, is one or more requests to a platform.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MS_100, HOUR), default_value = "60s")]
    pub step_timeout: Duration,

    /// How long running calls may go on after SIGTERM. Default 10s. 0s to 1h.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, Duration::ZERO, HOUR), default_value = "10s")]
    pub drain_timeout: Duration,

    /// What is logged. Default info.
    ///
    /// A level (error, warn, info, debug, trace), or a list such as `info,metagov=debug`.
    #[arg(long, value_name = "FILTER", value_parser = values::log_filter, default_value = "info")]
    pub log: String,

    /// How it is logged, on stderr. Default auto.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,

    /// Where traces are sent, by OTLP over gRPC: http://127.0.0.1:4317. Default none.
    ///
    /// Headers, sampling and attributes are set by OpenTelemetry's own variables, such as
    /// OTEL_EXPORTER_OTLP_HEADERS.
    #[arg(long, value_name = "URL", value_parser = values::public_url)]
    pub otlp_endpoint: Option<Url>,

    /// Who may call.
    #[command(flatten)]
    pub access: Access,

    /// What requests to platforms may do.
    #[command(flatten)]
    pub outgoing: Outgoing,

    /// How much is taken.
    #[command(flatten)]
    pub limits: Limits,

    /// The operator's settings for each plugin, by its name: the properties of the
    /// plugin's operator schema that were given. See [`Operator`]. Default none.
    #[arg(skip)]
    pub operator: BTreeMap<String, Map<String, Value>>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people if stderr is a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What is said below the list of settings.
pub const SYNTAX: &str = "\
Every setting is a flag and a variable: --a-b is METAGOV_A_B. A flag wins; an empty variable
counts as unset. A duration is a whole number and a unit: 500ms, 60s, 5m, 12h, 30d. A size is
a number of bytes, or has a unit: 65536, 64KiB, 1MiB, 1GiB.";

/// What would end the path part of a database URL, or be decoded in it.
const NOT_IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');

impl Config {
    /// The URL of the database: `database_url`, or the file in the data folder.
    pub fn database_url(&self) -> String {
        self.database_url.clone().unwrap_or_else(|| {
            let file = self.data_dir.join("metagov.db");
            let path = percent_encode(file.as_os_str().as_encoded_bytes(), NOT_IN_PATH);
            format!("sqlite://{path}?mode=rwc")
        })
    }

    /// Where platforms reach the public listener that is bound to `public`, without a
    /// slash at the end.
    pub fn public_base(&self, public: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => match self.access.public_tls_cert {
                Some(_) => format!("https://{public}"),
                None => format!("http://{public}"),
            },
        }
    }

    /// Whether only this machine reaches the API.
    pub fn is_local(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }

    /// What of these settings must not be served together: one line for the operator.
    pub fn check(&self) -> Result<(), String> {
        let (listen, access, limits) = (self.listen, &self.access, &self.limits);
        if access.insecure_no_auth && !self.is_local() {
            return Err(format!(
                "--insecure-no-auth (METAGOV_INSECURE_NO_AUTH): not with --listen {listen}, which others reach; leave it out, or listen at 127.0.0.1"
            ));
        }
        if !self.is_local() && access.tls_cert.is_none() && !access.plaintext_behind_proxy {
            return Err(format!(
                "--listen (METAGOV_LISTEN): {listen} is not loopback, and tokens would cross the network unencrypted; give --tls-cert and --tls-key, or say --plaintext-behind-proxy if a proxy does TLS"
            ));
        }
        if limits.max_response_size < 2 * limits.max_event_size {
            return Err(
                "--max-response-size (METAGOV_MAX_RESPONSE_SIZE): less than twice --max-event-size, so that an event may not fit in an answer; raise it, or lower the other"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        // Without `with_variables` no variable is read. The defaults have one place,
        // the attributes above, so they cannot drift from the command line's.
        let command = Self::augment_args(Command::new("metagov"));
        let matches = command.get_matches_from(["metagov"]);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// Short, since `database_url` and `operator` may hold secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("public_listen", &self.public_listen)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Config::augment_args(Command::new("metagov"))
    }

    fn parse(args: &[&str]) -> Result<Config, String> {
        let line = ["metagov"].iter().chain(args);
        let matches = command().try_get_matches_from(line);
        let matches = matches.map_err(|error| explain(&error).unwrap_or(error.to_string()))?;
        Config::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn a_test_may_change_one_setting_and_keep_the_rest() {
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..Config::default()
        };
        assert_eq!(config.event_retention, 30 * DAY);
        assert_eq!(config.limits.max_request_size, 1 << 20);
        assert_eq!(config.cors_origins, Vec::<String>::new());
    }

    #[test]
    fn every_setting_says_its_default() {
        for arg in command().get_arguments().filter(|a| a.get_id() != "help") {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            for value in arg.get_default_values() {
                let said = format!("Default {}", value.to_string_lossy());
                assert!(help.contains(&said), "{}: {help}", arg.get_id());
            }
            assert!(help.contains("Default"), "{}: {help}", arg.get_id());
        }
    }

    #[test]
    fn a_malformed_setting_is_one_line_that_names_it() {
        for (args, line) in [
            (
                &["--listen", "localhost"][..],
                "--listen (METAGOV_LISTEN): \"localhost\" is no address with a port, such as 127.0.0.1:8080",
            ),
            (
                &["--event-retention", "0s"],
                "--event-retention (METAGOV_EVENT_RETENTION): \"0s\" is not between 1m and 36500d",
            ),
            (
                &["--log-format", "xml"],
                "--log-format (METAGOV_LOG_FORMAT): \"xml\" is none of auto, human, json",
            ),
            (
                &["--cors-origins", "https://a.org,*"],
                "--cors-origins (METAGOV_CORS_ORIGINS): \"*\" is no web origin, such as https://dashboard.example.org",
            ),
        ] {
            assert_eq!(parse(args).unwrap_err(), line);
        }
    }

    #[test]
    fn the_database_is_a_file_in_the_data_folder_unless_said_otherwise() {
        let config = parse(&["--data-dir", "/srv/50% off?"]).unwrap();
        let url = "sqlite:///srv/50%25%20off%3F/metagov.db?mode=rwc";
        assert_eq!(config.database_url(), url);
        let config = parse(&["--database-url", "sqlite::memory:"]).unwrap();
        assert_eq!(config.database_url(), "sqlite::memory:");
    }

    #[test]
    fn the_public_address_is_the_bound_one_unless_said_otherwise() {
        let bound = "127.0.0.1:8081".parse().unwrap();
        assert_eq!(
            Config::default().public_base(bound),
            "http://127.0.0.1:8081"
        );
        let tls = ["--public-tls-cert", "c", "--public-tls-key", "k"];
        let config = parse(&tls).unwrap();
        assert_eq!(config.public_base(bound), "https://127.0.0.1:8081");
        let config = parse(&["--public-url", "https://example.org/metagov/"]).unwrap();
        assert_eq!(config.public_base(bound), "https://example.org/metagov");
    }

    #[test]
    fn what_others_reach_is_encrypted_and_asks_for_tokens() {
        let says = |args: &[&str]| parse(args).unwrap().check().err().unwrap_or_default();
        for local in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(says(&["--listen", local]), "");
            assert_eq!(says(&["--listen", local, "--insecure-no-auth"]), "");
        }
        let tls = ["--tls-cert", "c", "--tls-key", "k"];
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            let at = ["--listen", open];
            assert!(says(&at).starts_with("--listen (METAGOV_LISTEN): "));
            assert_eq!(says(&[&at[..], &tls].concat()), "");
            assert_eq!(says(&[&at[..], &["--plaintext-behind-proxy"]].concat()), "");
            let open = [&at[..], &tls, &["--insecure-no-auth"]].concat();
            assert!(says(&open).starts_with("--insecure-no-auth (METAGOV_INSECURE_NO_AUTH): "));
        }
    }

    #[test]
    fn every_event_fits_in_an_answer() {
        let config = parse(&["--max-response-size", "1MiB"]).unwrap();
        let why = config.check().unwrap_err();
        assert!(why.starts_with("--max-response-size (METAGOV_MAX_RESPONSE_SIZE): "));
        let both = ["--max-response-size", "1MiB", "--max-event-size", "512KiB"];
        assert_eq!(parse(&both).unwrap().check(), Ok(()));
    }
}
