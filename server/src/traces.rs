//! Traces, by OTLP over gRPC, if the operator names a collector (`--otlp-endpoint`).
//!
//! Four kinds of spans leave the process: a call, a write to the store, a request to a
//! platform, a chore. They are ordinary spans of `tracing` whose target is [`TARGET`];
//! all else, and every line of the log, stays here. Their fields say what kind of thing was
//! done, and never to whom: no community, no person, no token, no address.
//!
//! The collector's headers, the share of calls that is traced and the attributes of the
//! service are set by OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_HEADERS`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`).

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{Status, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// The target of the spans that leave the process.
pub const TARGET: &str = "trace";

/// The codes that are faults of the server, as OpenTelemetry's conventions have it.
const FAULTS: [&str; 6] = [
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
];
/// How long the last spans may take on their way.
const FLUSH: Duration = Duration::from_secs(5);

/// The way to the collector.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// To the collector at this address. Must be called inside a runtime. A collector that
    /// is not there costs its spans and a line of the log, never a call.
    pub fn to(endpoint: &str) -> Result<Self, String> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| error.to_string())?;
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let service = Resource::builder()
            .with_service_name("metagov")
            .with_attribute(version)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(service)
            .build();
        Ok(Self { provider })
    }

    /// What hands the spans over.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_tracer(self.provider.tracer("metagov"))
            .with_filter(filter_fn(leaves))
    }

    /// Sends what is left.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

fn leaves(what: &Metadata<'_>) -> bool {
    what.is_span() && what.target() == TARGET
}

/// The span of a call, by its method and its id in the log. It goes on with its caller's
/// trace, if the headers name one (W3C's `traceparent`).
pub fn call(method: &'static str, request_id: &str, headers: &HeaderMap) -> Span {
    let span = tracing::debug_span!(
        target: TARGET,
        "call",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        request_id,
    );
    if !span.is_disabled() && headers.contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        // The span was not entered yet, which is all that could go wrong.
        _ = span.set_parent(parent);
    }
    span
}

/// Says with which gRPC code a call was answered.
pub fn answered(span: &Span, code: &'static str) {
    span.set_attribute("rpc.response.status_code", code);
    if FAULTS.contains(&code) {
        span.set_status(Status::error(code));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
