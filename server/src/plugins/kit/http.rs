//! The one way out. Every request of every plugin goes through here, so that every
//! fault means the same everywhere:
//!
//! | what happened | what it means |
//! |---|---|
//! | no connection (DNS, refused, TLS) | `Unavailable`: surely nothing was done |
//! | time-out, reset, 5xx, unreadable 2xx after only reading | `Unavailable` |
//! | the same after a request that may write | `OutcomeUnknown`: never to be repeated blindly |
//! | 429 | `RateLimited`, with the platform's Retry-After |
//! | 401, 403 | `Unauthorized` |
//! | other 4xx, a redirect that is not followed | `Rejected` |

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::redirect;
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::{
    Error, Result,
    cache::{Cache, Fresh, Key, Validators},
};
use crate::error::Trouble;

/// The most bytes of a body that are read, after decompression.
const MAX_BODY: usize = 5 << 20;
/// The most bytes of a platform's refusal that are shown to people.
const MAX_SHOWN: usize = 300;
const MAX_REDIRECTS: usize = 3;

/// The way to a platform, for one step of one installation.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    /// Shared by all steps.
    cache: Arc<Cache>,
    /// Whether this step has sent something that may have changed the platform.
    wrote: Arc<AtomicBool>,
}

impl Http {
    /// A client whose requests end within `limit`, 5 s of it to connect at most.
    pub fn new(limit: Duration) -> Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(limit.min(Duration::from_secs(5)))
            .timeout(limit)
            .redirect(redirect::Policy::custom(follow))
            .no_proxy()
            .referer(false)
            .user_agent(concat!("metagov/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::internal(format!("no HTTP client: {e}")))?;
        Ok(Self {
            client,
            cache: Arc::default(),
            wrote: Arc::default(),
        })
    }

    /// The same way for another step, which has written nothing yet.
    pub fn for_step(&self) -> Self {
        Self {
            client: self.client.clone(),
            cache: self.cache.clone(),
            wrote: Arc::default(),
        }
    }

    /// Whether this step has sent something that may have changed the platform.
    pub fn wrote(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    /// A request that only reads.
    pub fn get(&self, url: Url) -> Request {
        self.request(Method::GET, url)
    }

    /// A request that may write.
    pub fn post(&self, url: Url) -> Request {
        self.request(Method::POST, url)
    }

    /// A request that may write.
    pub fn put(&self, url: Url) -> Request {
        self.request(Method::PUT, url)
    }

    /// A request that may write.
    pub fn delete(&self, url: Url) -> Request {
        self.request(Method::DELETE, url)
    }

    /// A request of any method. All but GET and HEAD may write.
    pub fn request(&self, method: Method, url: Url) -> Request {
        Request {
            http: self.clone(),
            reads: matches!(method, Method::GET | Method::HEAD),
            method,
            url,
            headers: Ok(HeaderMap::new()),
            body: Body::None,
        }
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|e| {
            self.unclear(format!(
                "the answer is not what was expected: {:?} error at line {}",
                e.classify(),
                e.line()
            ))
        })
    }

    /// What a fault means, after the reply was lost or is of no use.
    fn unclear(&self, why: String) -> Error {
        if self.wrote() {
            let plugin = String::new();
            return Error::OutcomeUnknown { plugin, why };
        }
        trouble(Trouble::Unavailable(why))
    }
}

/// At most three redirects, all on the same server: a header may hold a secret. Only
/// the step from http to https, each on its own port, is a change that is followed.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let Some(from) = attempt.previous().last() else {
        return attempt.stop();
    };
    let to = attempt.url();
    let server = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default());
    let is_upgrade = server(from) == ("http".to_owned(), Some(80))
        && server(to) == ("https".to_owned(), Some(443));
    let is_same = from.host_str() == to.host_str() && (server(from) == server(to) || is_upgrade);
    if is_same && attempt.previous().len() <= MAX_REDIRECTS {
        return attempt.follow();
    }
    attempt.stop()
}

/// What a request carries.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// These bytes, of this type.
    Of(&'static str, Bytes),
}

/// A request that is being put together.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    http: Http,
    method: Method,
    url: Url,
    headers: Result<HeaderMap>,
    body: Body,
    reads: bool,
}

impl Request {
    /// Sets a header. One of these is usually secret, so the value is never logged.
    pub fn header(self, name: &'static str, value: &str) -> Self {
        self.header_named(name, value)
    }

    /// Sets a header whose name is data.
    pub fn header_named(mut self, name: &str, value: &str) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            let bad = |_| Error::invalid("config", format!("the header {name} cannot be sent: it has a character that no header may have"));
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(()))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| bad(()))?;
            value.set_sensitive(true);
            headers.insert(key, value);
            Ok(headers)
        });
        self
    }

    /// Appends a parameter to the address.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Carries JSON.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body = Body::Of("application/json", bytes.into()),
            Err(e) => self.headers = Err(Error::internal(format!("request body: {e}"))),
        }
        self
    }

    /// Carries a form.
    pub fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        let text = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        self.body = Body::Of("application/x-www-form-urlencoded", text.into());
        self
    }

    /// Says that this request only reads although its method could write.
    pub fn reads(mut self) -> Self {
        self.reads = true;
        self
    }

    /// Sends it and reads the JSON of a 2xx.
    pub async fn read<T: DeserializeOwned>(self) -> Result<T> {
        let http = self.http.clone();
        let response = self.send().await?.success()?;
        http.parse(&response.body)
    }

    /// The same for a GET of something large that seldom changes: the platform is asked
    /// each time, but what did not change is neither sent nor parsed again (`cache.rs`).
    pub async fn read_cached<T>(self) -> Result<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let plain = self.method == Method::GET && matches!(self.body, Body::None);
        // Nor is an answer shared with a step that has written: a fault means something
        // else to it, and it may want to read what it wrote.
        if !plain || self.http.wrote() {
            return self.read().await.map(Arc::new);
        }
        let cache = self.http.cache.clone();
        let key = Key::of::<T>(&self.url, self.headers.as_ref().map_err(Error::clone)?);
        cache.read(key, |known| self.refresh(known)).await
    }

    async fn refresh<T: DeserializeOwned>(mut self, known: Option<Validators>) -> Result<Fresh<T>> {
        let http = self.http.clone();
        let has_known = known.is_some();
        if let Ok(headers) = &mut self.headers {
            headers.extend(known.into_iter().flat_map(Validators::ask));
        }
        let response = self.send().await?;
        if has_known && response.status == StatusCode::NOT_MODIFIED {
            return Ok(Fresh::Unchanged);
        }
        let response = response.success()?;
        Ok(Fresh::New {
            value: http.parse(&response.body)?,
            bytes: response.body.len(),
            validators: Validators::of(&response.headers),
        })
    }

    /// Sends it and reads the whole answer, whatever its status, but for 429 and 5xx,
    /// which are errors always. See [`Response::success`].
    pub async fn send(self) -> Result<Response> {
        let (http, reads) = (self.http.clone(), self.reads);
        let (method, host) = (
            self.method.clone(),
            self.url.host_str().unwrap_or("").to_owned(),
        );
        let started = std::time::Instant::now();
        let sent = self.exchange().await;
        let status = sent.as_ref().map_or(0, |r| r.status.as_u16());
        let millis = started.elapsed().as_millis();
        tracing::debug!(%method, host, status, millis, reads, "asked a platform");
        let response = sent?;
        match response.status {
            StatusCode::TOO_MANY_REQUESTS => {
                Err(trouble(Trouble::RateLimited(response.retry_after())))
            }
            status if status.is_server_error() => Err(http.unclear(format!("status {status}"))),
            _ => Ok(response),
        }
    }

    async fn exchange(self) -> Result<Response> {
        let http = self.http;
        let mut request = http
            .client
            .request(self.method, self.url)
            .headers(self.headers?);
        if let Body::Of(kind, bytes) = self.body {
            request = request.header(header::CONTENT_TYPE, kind).body(bytes);
        }
        let wrote_before = http.wrote();
        if !self.reads {
            // Before it is sent: a step that is cut off in the middle has written.
            http.wrote.store(true, Ordering::Relaxed);
        }
        let mut reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) if error.is_connect() || error.is_builder() => {
                // No connection, so surely nothing was done by this request.
                http.wrote.store(wrote_before, Ordering::Relaxed);
                return Err(http.unclear(format!("no connection: {}", root_cause(&error))));
            }
            Err(error) => return Err(http.unclear(fault(&error))),
        };
        let (status, headers) = (reply.status(), reply.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = reply.chunk().await.map_err(|e| http.unclear(fault(&e)))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(http.unclear(format!("the answer is larger than {MAX_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let body = body.freeze();
        Ok(Response {
            status,
            headers,
            body,
        })
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status: not 429, not 5xx.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Bytes,
}

impl Response {
    /// The answer itself if it is a 2xx, else the error that it means.
    pub fn success(self) -> Result<Self> {
        match self.status {
            status if status.is_success() => Ok(self),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(trouble(Trouble::Unauthorized(self.why())))
            }
            status => Err(trouble(Trouble::Rejected {
                status: status.as_u16(),
                why: self.why(),
            })),
        }
    }

    /// Its status, and what the platform said if it said anything.
    fn why(&self) -> String {
        match self.said().as_str() {
            "" => self.status.to_string(),
            said => format!("{}: {said}", self.status),
        }
    }

    /// The value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the platform said, short enough for people, never markup. Of JSON that has
    /// a list `errors` of sentences, as Discourse's and others' has, those alone.
    pub fn said(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Refusal {
            errors: Vec<String>,
        }
        let text = match serde_json::from_slice(&self.body) {
            Ok(Refusal { errors }) => errors.join("; "),
            Err(_) => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let text = text.trim();
        if text.starts_with('<') {
            return "it answered with a web page".to_owned();
        }
        text.chars()
            .filter(|c| !c.is_control())
            .take(MAX_SHOWN)
            .collect()
    }

    fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.header("retry-after")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds.min(24 * 3600)))
    }
}

fn trouble(trouble: Trouble) -> Error {
    let plugin = String::new();
    Error::Platform { plugin, trouble }
}

fn fault(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    format!("the connection broke: {}", root_cause(error))
}

/// The innermost cause. The outer ones repeat the address, which may hold a secret.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use axum::{Router, extract::State, routing::get};

    use super::*;

    /// A platform whose one file changes when `version` does; counts what it sends.
    #[derive(Clone, Default)]
    struct Platform {
        version: Arc<AtomicUsize>,
        sent: Arc<AtomicUsize>,
    }

    async fn file(
        State(platform): State<Platform>,
        headers: HeaderMap,
    ) -> impl axum::response::IntoResponse {
        let version = platform.version.load(Ordering::SeqCst);
        let etag = format!("\"{version}\"");
        if headers
            .get(header::IF_NONE_MATCH)
            .is_some_and(|known| *known == *etag)
        {
            return (
                StatusCode::NOT_MODIFIED,
                [(header::ETAG, etag)],
                String::new(),
            );
        }
        platform.sent.fetch_add(1, Ordering::SeqCst);
        (StatusCode::OK, [(header::ETAG, etag)], version.to_string())
    }

    async fn serve(platform: Platform) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/file", get(file)).with_state(platform);
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/file").parse().unwrap()
    }

    #[tokio::test]
    async fn an_unchanged_file_is_sent_once() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let platform = Platform::default();
        let url = serve(platform.clone()).await;
        let http = Http::new(Duration::from_secs(5)).unwrap();
        let read = async || {
            let step = http.for_step();
            step.get(url.clone()).read_cached::<usize>().await.unwrap()
        };
        let first = read().await;
        assert!(Arc::ptr_eq(&first, &read().await));
        assert_eq!(platform.sent.load(Ordering::SeqCst), 1);
        platform.version.store(7, Ordering::SeqCst);
        assert_eq!(*read().await, 7);
        assert_eq!(platform.sent.load(Ordering::SeqCst), 2);
    }
}
