//! The log, on stderr: for people on a terminal, one JSON object a line elsewhere.

use std::io::{self, IsTerminal};

use metagov::config::{Config, LogFormat};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts the log. The fields of the enclosing spans, such as the id of the call, are
/// with every line.
pub(crate) fn start(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log);
    let filter = filter.map_err(|e| format!("--log (METAGOV_LOG): {e}"))?;
    let terminal = io::stderr().is_terminal();
    let human = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let layer = fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match human {
        true => registry.with(layer.with_ansi(terminal)).try_init(),
        false => registry
            .with(layer.json().flatten_event(true).with_current_span(false))
            .try_init(),
    };
    started.map_err(|e| format!("the log: {e}"))
}
