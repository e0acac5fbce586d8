//! What is counted and measured, for Prometheus: every metric on this page, with its name,
//! its labels and what it says. `/metrics` prints them (`rpc/operations.rs`).
//!
//! As with the log, any room may count, and a process has one of each: gauges that
//! describe the database are set when somebody asks (`gateway/operations.rs`). Labels take
//! few values, and none that a caller can make up: methods of the contract, plugins that
//! are there, results from a list; no community, no person. The subscriptions are the one
//! exception, and only so many of them are shown.
//!
//! The dashboard and the alerts in `server/deploy/` may only name what is here; a test
//! compares them.

use std::{
    borrow::Cow,
    sync::{
        LazyLock,
        atomic::{AtomicI64, AtomicU64},
    },
    time::{Duration, SystemTime},
};

use prometheus_client::{
    encoding::prometheus_text::encode,
    metrics::{
        counter::Counter as Count, family::Family, gauge::Gauge as Level,
        histogram::Histogram as Spread,
    },
    registry::{Registry, Unit},
};

/// A name and a value.
pub type Label = (&'static str, Cow<'static, str>);
/// A number that only grows.
pub type Counter = Count<u64>;
/// A number that goes up and down.
pub type Gauge = Level<i64, AtomicI64>;
/// The same with fractions.
pub type Fraction = Level<f64, AtomicU64>;
/// How values are spread.
pub type Histogram = Spread;
/// The same for each value of one label.
pub type By<M> = Family<[Label; 1], M, fn() -> M>;
/// The same for each pair of values of two labels.
pub type ByTwo<M> = Family<[Label; 2], M, fn() -> M>;

/// Upper bounds in seconds, from half a millisecond to a minute.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// Upper bounds in changes, up to the most that one commit takes.
const CHANGES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ty = $name:literal $(in $unit:ident)?, $make:expr;)+) => {
        /// Every metric of the process.
        pub struct Metrics {
            $($(#[doc = $help])+ pub $field: $kind,)+
            registry: Registry,
        }

        impl Metrics {
            fn new() -> Self {
                let mut registry = Registry::with_prefix("metagov");
                $(
                    let $field: $kind = $make;
                    let help = concat!($($help),+).trim().trim_end_matches('.');
                    metrics!(@register registry, $name, help, $field $(, $unit)?);
                )+
                Self { $($field,)+ registry }
            }
        }

        /// The names of all, as in `metagov_calls`: a counter's goes on with `_total`, a
        /// histogram's with `_bucket`, `_sum` and `_count`.
        pub const NAMES: &[&str] = &[$(metrics!(@name $name $(, $unit)?)),+];
    };
    (@register $registry:ident, $name:literal, $help:ident, $field:ident) => {
        $registry.register($name, $help, $field.clone());
    };
    (@register $registry:ident, $name:literal, $help:ident, $field:ident, $unit:ident) => {
        $registry.register_with_unit($name, $help, Unit::$unit, $field.clone());
    };
    (@name $name:literal) => { concat!("metagov_", $name) };
    (@name $name:literal, Seconds) => { concat!("metagov_", $name, "_seconds") };
}

metrics! {
    /// The version that runs; always 1.
    build: By<Gauge> = "build_info", by();
    /// When the process began to serve, in seconds since 1970.
    start_time: Fraction = "start_time" in Seconds, Fraction::default();
    /// Whether the database could be written when it was last tried; 0 while draining.
    ready: Gauge = "ready", Gauge::default();

    /// Calls of the API that were answered, by method and gRPC code. That of a stream is
    /// counted when it begins.
    calls: ByTwo<Counter> = "calls", by();
    /// How long a call took until it was answered; until it began, if it is a stream.
    call_time: By<Histogram> = "call_duration" in Seconds, Family::new_with_constructor(seconds);
    /// Streams that are open now, by method.
    streams: By<Gauge> = "streams_open", by();
    /// Calls without a valid token.
    unauthenticated: Counter = "calls_unauthenticated", Counter::default();

    /// The position of the newest event that this process has read.
    feed_head: Gauge = "feed_head_position", Gauge::default();
    /// Pages of the feed that readers took, from the ring in memory (a hit) or from the table
    /// (a miss).
    feed_reads: By<Counter> = "feed_reads", by();
    /// Events appended by this process.
    events: Counter = "events_appended", Counter::default();

    /// Events that a subscription has not acknowledged, of those its principal may read. Of
    /// many subscriptions, those that are furthest behind.
    subscription_lag: ByTwo<Gauge> = "subscription_lag_events", by();
    /// How long ago the oldest of these events was recorded; 0 if there is none.
    subscription_age: ByTwo<Fraction> = "subscription_lag_age" in Seconds, by();

    /// How long a commit took with all its changes, by result.
    commit_time: By<Histogram> = "commit_duration" in Seconds, Family::new_with_constructor(seconds);
    /// How many changes were in one commit.
    commit_changes: Histogram = "commit_changes", Histogram::new(CHANGES);
    /// Changes that wait for the writer.
    commit_waiting: Gauge = "commit_waiting_changes", Gauge::default();
    /// Connections that read from the database, used and idle.
    connections: By<Gauge> = "database_connections", by();
    /// The most connections that may read from the database.
    connections_max: Gauge = "database_connections_max", Gauge::default();
    /// How long it took to get a connection and one answer of the database; tried at each
    /// scrape.
    acquire_time: Histogram = "database_acquire_duration" in Seconds, seconds();

    /// Webhooks that platforms sent, by plugin and what became of them: taken, refused,
    /// unknown_address, limited, malformed, not_kept, or unanswered, which was cut off.
    hooks: ByTwo<Counter> = "hooks", by();
    /// Deliveries of webhooks in the database, by state.
    deliveries: By<Gauge> = "deliveries", by();
    /// Requests to platforms, by plugin and result.
    platform_calls: ByTwo<Counter> = "platform_calls", by();
    /// How long a platform took to answer, by plugin.
    platform_time: By<Histogram> = "platform_call_duration" in Seconds, Family::new_with_constructor(seconds);

    /// How late processes were closed after their close_time.
    timer_delay: Histogram = "timer_delay" in Seconds, seconds();
    /// Processes whose close_time has come and that are not closed yet.
    timers_overdue: Gauge = "timers_overdue", Gauge::default();
}

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

impl Metrics {
    /// Says which version runs, since when.
    pub fn begin(&self) {
        self.build
            .get_or_create(&[label("version", env!("CARGO_PKG_VERSION"))])
            .set(1);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or(Duration::ZERO);
        self.start_time.set(since.as_secs_f64());
    }

    /// All of them, as Prometheus reads them (its text format, version 0.0.4).
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Nothing can fail that writes into memory; were it so, there is nothing to show.
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

/// A label whose values are known when this is built, or come from a short list.
pub fn label(name: &'static str, value: impl Into<Cow<'static, str>>) -> Label {
    (name, value.into())
}

fn by<const N: usize, M: Default>() -> Family<[Label; N], M, fn() -> M> {
    Family::new_with_constructor(M::default)
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let snake = |c: char| c.is_ascii_lowercase() || c == '_';
        for name in NAMES {
            assert!(
                name.starts_with("metagov_") && name.chars().all(snake),
                "{name}"
            );
            // What counts ends in _total by itself; a second one would be an error.
            assert!(!name.ends_with("_total"), "{name}");
            for unit in ["millis", "micros", "minutes", "kib", "percent"] {
                assert!(!name.contains(unit), "{name}");
            }
        }
    }

    #[test]
    fn a_metric_is_printed_with_its_help_its_labels_and_its_suffix() {
        let metrics = Metrics::new();
        let labels = [label("method", "a/B"), label("code", "OK")];
        metrics.calls.get_or_create(&labels).inc();
        metrics.acquire_time.observe(0.003);
        metrics.begin();
        let text = metrics.text();
        for line in [
            "# HELP metagov_calls_total Calls of the API that were answered, by method and gRPC code. That of a stream is counted when it begins.",
            "# TYPE metagov_calls_total counter",
            "metagov_calls_total{method=\"a/B\",code=\"OK\"} 1",
            "metagov_database_acquire_duration_seconds_bucket{le=\"0.0025\"} 0",
            "metagov_database_acquire_duration_seconds_bucket{le=\"0.005\"} 1",
            concat!(
                "metagov_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
