//! A call in the metrics: with its code and its time when it is answered, also one whose
//! caller went away; and, if its answer is a stream, for as long as that is open.

use std::time::Instant;

use http::Response;
use http_body_util::BodyExt;
use metagov_proto::code;
use tonic::{Code, body::Body};

use crate::metrics::{label, metrics};

/// A call that runs.
pub(super) struct Counted {
    method: &'static str,
    started: Instant,
    code: Code,
}

impl Counted {
    pub(super) fn begin(method: &'static str) -> Self {
        Self {
            method,
            started: Instant::now(),
            // Unless it is answered.
            code: Code::Cancelled,
        }
    }

    /// It was answered.
    pub(super) fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (metrics, method) = (metrics(), label("method", self.method));
        let labels = [method.clone(), label("code", code::name(self.code))];
        metrics.calls.get_or_create(&labels).inc();
        let times = metrics.call_time.get_or_create(&[method]);
        times.observe(self.started.elapsed().as_secs_f64());
    }
}

/// An answer that counts as an open stream until it is dropped.
pub(super) fn open(method: &'static str, response: Response<Body>) -> Response<Body> {
    let open = Open::begin(method);
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            _ = &open;
            frame
        }))
    })
}

struct Open {
    method: &'static str,
}

impl Open {
    fn begin(method: &'static str) -> Self {
        let open = Self { method };
        open.gauge().inc();
        open
    }

    fn gauge(&self) -> crate::metrics::Gauge {
        let streams = &metrics().streams;
        streams.get_or_create_owned(&[label("method", self.method)])
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge().dec();
    }
}
