//! One request and its answer, without redirects: may it be asked, is it its turn, what
//! came, and one line of the log.

use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue, Method, header};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use url::{Position, Url};

use super::{
    super::{Error, Result},
    Body, Http, Response,
    body::{self, Limits},
    fault, guard, root_cause,
    turns::Why,
};
use crate::{
    metrics::{label, metrics},
    traces::TARGET,
};

/// One of the requests that a request may become.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Whether it only reads.
    pub(super) reads: bool,
    /// Whether it goes to the server that the plugin chose.
    pub(super) is_first: bool,
}

impl Http {
    /// Sends it, and reads the whole answer.
    pub(super) async fn exchange(&self, hop: &Hop, until: Instant) -> Result<Response> {
        let (plugin, method) = (&self.caller.plugin, &hop.method);
        let span =
            tracing::debug_span!(target: TARGET, "platform", otel.kind = "client", plugin, %method);
        self.ask(hop, until).instrument(span).await
    }

    async fn ask(&self, hop: &Hop, until: Instant) -> Result<Response> {
        let client = self.client_for(hop)?;
        let server = hop.url.origin();
        self.may_ask(&server)?;
        let turn = timeout_at(until, self.means.turns.take(&server)).await;
        let Ok(_turn) = turn else {
            let why = "other requests to the same server took too long";
            return Err(self.unclear(why.to_owned()));
        };
        // Those before us may have been told to wait.
        self.may_ask(&server)?;
        let mut line = Line::of(self, hop);
        let request = client.request(hop.method.clone(), hop.url.clone());
        let mut request = request.timeout(until.saturating_duration_since(Instant::now()));
        if let Body::Of(kind, bytes) = &hop.body {
            request = request.header(header::CONTENT_TYPE, *kind);
            request = request.body(bytes.clone());
        }
        let request = request.headers(hop.headers.clone());
        let mut reply = self.begin(request, hop).await?;
        line.status = reply.status().as_u16();
        let limits = Limits {
            size: self.means.settings.max_answer_size,
            ratio: self.means.settings.max_answer_ratio,
        };
        let body = body::read(&mut reply, limits, &mut line.bytes_in).await;
        let body = body.map_err(|bad| self.unclear(bad.to_string()))?;
        line.is_whole = true;
        let mut headers = std::mem::take(reply.headers_mut());
        // They speak of the body as it came.
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        let status = reply.status();
        let response = Response {
            status,
            headers,
            body,
        };
        self.note_wait(server, &response);
        Ok(response)
    }

    /// The client for an address, if it may be asked. Those that the operator's settings
    /// name have one of their own: a connection that is kept open for one plugin must
    /// not serve another, which may not go there.
    fn client_for(&self, hop: &Hop) -> Result<&reqwest::Client> {
        if hop.is_first && self.is_named(&hop.url) {
            return Ok(&self.means.named);
        }
        match self.means.guard.check(&hop.url) {
            Ok(()) => Ok(&self.means.client),
            Err(_) => {
                count(&self.caller.plugin, "not_allowed");
                Err(self.refused(&hop.url))
            }
        }
    }

    /// The status and headers of the answer.
    async fn begin(
        &self,
        request: reqwest::RequestBuilder,
        hop: &Hop,
    ) -> Result<reqwest::Response> {
        let wrote_before = self.wrote();
        if !hop.reads {
            // Before it is sent: a step that is cut off in the middle has written.
            self.wrote.store(true, Ordering::Relaxed);
        }
        let error = match request.send().await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        if !error.is_connect() && !error.is_builder() {
            return Err(self.unclear(fault(&error)));
        }
        // No connection, so surely nothing was done by this request.
        self.wrote.store(wrote_before, Ordering::Relaxed);
        if guard::is_not_allowed(&error) {
            return Err(self.refused(&hop.url));
        }
        Err(self.unclear(format!("no connection: {}", root_cause(&error))))
    }

    /// The error of an address that must not be asked. Only the log says which.
    pub(super) fn refused(&self, url: &Url) -> Error {
        let (plugin, host) = (&self.caller.plugin, host(url));
        tracing::info!(plugin, installation_id = %self.caller.installation(), host, "an address that is not allowed was not asked");
        if self.wrote() {
            return self.unclear("address not allowed".to_owned());
        }
        Error::AddressNotAllowed {
            plugin: plugin.clone(),
        }
    }

    fn may_ask(&self, server: &url::Origin) -> Result<()> {
        let Some(id) = self.caller.installation_id else {
            return Ok(());
        };
        match self.means.turns.rest(&(id, server.clone()), Instant::now()) {
            None => Ok(()),
            Some(_) if self.wrote() => {
                Err(self.unclear("the platform wants to be left alone".to_owned()))
            }
            Some(told) => Err(super::trouble(told)),
        }
    }

    fn note_wait(&self, server: url::Origin, response: &Response) {
        let why = match response.status.as_u16() {
            429 => Why::Limited,
            503 => Why::Busy,
            _ => return,
        };
        let (id, wait) = (self.caller.installation_id, response.retry_after());
        if let (Some(id), Some(wait)) = (id, wait) {
            let turns = &self.means.turns;
            turns.let_rest((id, server), (why, wait), Instant::now());
        }
    }
}

/// Host and port. The path may hold a secret, as those of incoming webhooks do.
fn host(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// The line of the log for one request, written however it ends. No header, no query and
/// no path is in it: any of them may hold a secret.
struct Line<'a> {
    http: &'a Http,
    hop: &'a Hop,
    started: Instant,
    /// 0 if there was no answer.
    status: u16,
    /// Bytes of the answer's body, as they came.
    bytes_in: u64,
    /// Whether all of the answer came.
    is_whole: bool,
}

impl<'a> Line<'a> {
    fn of(http: &'a Http, hop: &'a Hop) -> Self {
        Self {
            http,
            hop,
            started: Instant::now(),
            status: 0,
            bytes_in: 0,
            is_whole: false,
        }
    }

    /// In a word, for the metrics.
    fn result(&self) -> &'static str {
        match self.status {
            0 => "no_answer",
            _ if !self.is_whole => "broken_answer",
            429 => "429",
            500.. => "5xx",
            400.. => "4xx",
            300.. => "3xx",
            _ => "2xx",
        }
    }
}

fn count(plugin: &str, result: &'static str) {
    let labels = [label("plugin", plugin.to_owned()), label("result", result)];
    metrics().platform_calls.get_or_create(&labels).inc();
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Hop {
            method, url, reads, ..
        } = self.hop;
        let bytes_out = match &self.hop.body {
            Body::None => 0,
            Body::Of(_, bytes) => bytes.len(),
        };
        let caller = &self.http.caller;
        count(&caller.plugin, self.result());
        let times = &metrics().platform_time;
        let times = times.get_or_create(&[label("plugin", caller.plugin.clone())]);
        times.observe(self.started.elapsed().as_secs_f64());
        tracing::debug!(
            plugin = caller.plugin,
            installation_id = %caller.installation(),
            %method,
            host = host(url),
            status = self.status,
            millis = self.started.elapsed().as_millis() as u64,
            bytes_out,
            bytes_in = self.bytes_in,
            reads,
            "asked a platform"
        );
    }
}

/// What every request has that does not say otherwise.
pub(super) fn default_headers() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))])
}
