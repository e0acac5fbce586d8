//! How much of what is taken, from whom.

use std::time::Duration;

use clap::Args;

use super::{HOUR, MINUTE, MS_100, values};

/// How much of what is taken, from whom.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Limits {
    /// The largest message of a gRPC call. Default 1MiB. 1KiB to 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "1MiB")]
    pub max_request_size: usize,

    /// The largest message of a gRPC answer. Default 4MiB. 1KiB to 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "4MiB")]
    pub max_response_size: usize,

    /// The largest event. Default 1MiB. 1KiB to 1GiB.
    ///
    /// A larger one is kept without its data.
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "1MiB")]
    pub max_event_size: usize,

    /// How deep JSON may be nested. Default 24. 1 to 30.
    ///
    /// Other languages' decoders stop at about 32.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=30), default_value = "24")]
    pub max_json_depth: u8,

    /// How many values JSON may have. Default 10000. 1 to 1000000.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000), default_value = "10000")]
    pub max_json_values: u32,

    /// The longest string in JSON. Default 64KiB. 1KiB to 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "64KiB")]
    pub max_json_string: usize,

    /// The largest body of a webhook or of a public action. Default 1MiB. 1KiB to 1GiB.
    ///
    /// GitHub sends up to 25 MB: take 26MiB for it.
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "1MiB")]
    pub max_hook_size: usize,

    /// The largest head of a public request. Default 16KiB. 8KiB to 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = values::head_size, default_value = "16KiB")]
    pub max_hook_head: usize,

    /// How long the head of a public request may take. Default 5s. 100ms to 5m.
    ///
    /// So may TLS before it, and the silence between two requests.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MS_100, 5 * MINUTE), default_value = "5s")]
    pub hook_head_timeout: Duration,

    /// How long a whole public request may take. Default 15s. 100ms to 1h.
    ///
    /// One that has not arrived by then is answered 408, one that is not done 503.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MS_100, HOUR), default_value = "15s")]
    pub hook_timeout: Duration,

    /// How many requests a second one webhook may get. Default 50. 1 to 100000.
    ///
    /// Further ones are answered 429 with Retry-After.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000), default_value = "50")]
    pub hook_rate: u32,

    /// How many calls one connection may have open. Default 200. 1 to 100000.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000), default_value = "200")]
    pub http2_streams: u32,

    /// How many calls a client may give up before they were begun. Default 20. 0 to 10000.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=10_000), default_value = "20")]
    pub http2_pending_resets: u32,

    /// How many faults of a client's calls one connection outlives. Default 100. 0 to 10000.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=10_000), default_value = "100")]
    pub http2_local_resets: u32,

    /// The largest list of headers of a call. Default 16KiB. 8KiB to 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = values::head_size, default_value = "16KiB")]
    pub http2_header_list: usize,

    /// After what silence a connection is asked whether it lives. Default 30s. 1s to 1h.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, Duration::from_secs(1), HOUR), default_value = "30s")]
    pub http2_keepalive_interval: Duration,

    /// How long it may take to answer that. Default 10s. 1s to 1h.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, Duration::from_secs(1), HOUR), default_value = "10s")]
    pub http2_keepalive_timeout: Duration,

    /// The largest frame that a client may send. Default 16KiB. 16KiB to 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = values::frame_size, default_value = "16KiB")]
    pub http2_frame_size: usize,

    /// How much of one call's message is taken before it is read. Default 256KiB. 64KiB to 16MiB.
    #[arg(long, value_name = "SIZE", value_parser = values::window, default_value = "256KiB")]
    pub http2_stream_window: usize,

    /// The same for all calls of a connection together. Default 1MiB. 64KiB to 16MiB.
    #[arg(long, value_name = "SIZE", value_parser = values::window, default_value = "1MiB")]
    pub http2_connection_window: usize,

    /// How long TLS, and the head of a call over HTTP/1.1, may take. Default 10s. 100ms to 5m.
    ///
    /// A connection of `--listen` that has not begun to speak by then is closed, and one
    /// over HTTP/1.1 that is silent for so long.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| values::duration(text, MS_100, 5 * MINUTE), default_value = "10s")]
    pub head_timeout: Duration,

    /// How many connections each listener holds open. Default 20000. 1 to 1000000.
    ///
    /// Further ones wait, unaccepted, until one ends. Two files for each place must be allowed
    /// (`ulimit -n`), or it is as many as that allows.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000), default_value = "20000")]
    pub max_connections: u32,
}
