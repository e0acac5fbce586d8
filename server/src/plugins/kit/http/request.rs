//! A request that is being put together, sent, and read.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use url::Url;

use super::{
    super::{Error, Result},
    Http, Response,
    cache::{Fresh, Key, Validators},
    exchange::Hop,
    redirect, trouble,
    turns::Why,
};
use crate::error::Trouble;

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
    pub(super) fn new(http: Http, method: Method, url: Url) -> Self {
        Self {
            http,
            reads: matches!(method, Method::GET | Method::HEAD),
            method,
            url,
            headers: Ok(HeaderMap::new()),
            body: Body::None,
        }
    }

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
        let means = self.http.means.clone();
        let key = Key::of::<T>(
            &self.http.caller.plugin,
            &self.url,
            self.headers.as_ref().map_err(Error::clone)?,
        );
        means.cache.read(key, |known| self.refresh(known)).await
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
        let http = self.http.clone();
        let response = self.follow().await?;
        let wait = response.retry_after();
        match response.status {
            StatusCode::TOO_MANY_REQUESTS => Err(trouble(Trouble::RateLimited(wait))),
            StatusCode::SERVICE_UNAVAILABLE if wait.is_some() && !http.wrote() => {
                Err(trouble(Why::Busy.trouble(wait.unwrap_or_default())))
            }
            status if status.is_server_error() => Err(http.unclear(format!("status {status}"))),
            _ => Ok(response),
        }
    }

    /// Sends it, and then what it is redirected to, all within the time of one call.
    async fn follow(self) -> Result<Response> {
        let http = self.http;
        let means = http.means.clone();
        let until = Instant::now() + means.settings.call_timeout;
        let mut hop = Hop {
            method: self.method,
            url: self.url,
            headers: self.headers?,
            body: self.body,
            reads: self.reads,
            is_first: true,
        };
        for _ in 0..means.settings.max_redirects {
            let response = http.exchange(&hop, until).await?;
            let next = redirect::next(&means.guard, &hop, (response.status, &response.headers));
            match next {
                Ok(Some(next)) => hop = next,
                Ok(None) => return Ok(response),
                Err(_) => return Err(http.refused(&hop.url)),
            }
        }
        http.exchange(&hop, until).await
    }
}
