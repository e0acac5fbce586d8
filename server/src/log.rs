//! The log, on stderr: for people on a terminal, one JSON object a line elsewhere. And the
//! traces, if somebody collects them.

use std::io::{self, IsTerminal};

use metagov::{
    config::{Config, LogFormat},
    traces::Traces,
};
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts the log. The fields of the enclosing spans, such as the id of the call, are
/// with every line.
pub(crate) fn start(config: &Config) -> Result<(), String> {
    start_with(config, None)
}

/// The same, with traces.
pub(crate) fn start_with(config: &Config, traces: Option<&Traces>) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log);
    let filter = filter.map_err(|e| format!("--log (METAGOV_LOG): {e}"))?;
    let terminal = io::stderr().is_terminal();
    let human = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let layer = fmt::layer().with_writer(io::stderr);
    let layer = match human {
        true => layer.with_ansi(terminal).boxed(),
        false => {
            let layer = layer.json().flatten_event(true);
            layer.with_current_span(false).boxed()
        }
    };
    let started = tracing_subscriber::registry()
        // What is logged does not decide what is traced.
        .with(layer.with_filter(filter))
        .with(traces.map(Traces::layer))
        .try_init();
    started.map_err(|e| format!("the log: {e}"))
}
