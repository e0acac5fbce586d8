//! The one way out. Every request of every plugin goes through here, so that the same
//! rules hold for each, and every fault means the same everywhere:
//!
//! | what happened | what it means |
//! |---|---|
//! | an address that is not allowed (`guard.rs`) | `AddressNotAllowed`, before anything is sent |
//! | no connection (DNS, refused, TLS) | `Unavailable`: surely nothing was done |
//! | time-out, reset, 5xx, too much, unreadable 2xx after only reading | `Unavailable` |
//! | the same after a request that may write | `OutcomeUnknown`: never to be repeated blindly |
//! | 429 | `RateLimited`, with the platform's Retry-After |
//! | 503 with Retry-After after only reading | `Busy`, with it |
//! | 401, 403 | `Unauthorized` |
//! | other 4xx, a redirect that is not followed (`redirect.rs`) | `Rejected` |
//!
//! The rules: https, unless the operator allows http; no credentials in an address; the
//! connection goes to the address that was checked; proxies of the environment and
//! cookies are nobody's; a request has one time-out from its turn (`turns.rs`) to the last byte
//! of its answer; an answer has a largest size (`body.rs`); one line of the log for each
//! (`exchange.rs`).

mod body;
mod cache;
mod exchange;
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod redirect;
mod request;
mod response;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Method;
use ipnet::IpNet;
use serde::de::DeserializeOwned;
use url::{Host, Origin, Url};

use super::{Error, Object, Result, address};
use crate::{error::Trouble, model::InstallationId};
use cache::Cache;
use guard::{Guard, Names};
use turns::Turns;

pub use request::{Body, Request};
pub use response::Response;

/// How much of a connection over HTTP/2 a server may send before it is read.
const WINDOW: u32 = 1 << 20;

/// What stands for a name instead of what the system's resolver says; `None` leaves it to
/// that. As `--resolve` of curl, for tests.
pub type Lookup = Arc<dyn Fn(&str) -> Option<Vec<IpAddr>> + Send + Sync>;

/// What requests may do.
#[derive(Clone)]
pub struct HttpSettings {
    /// Whether http is allowed.
    pub allow_http: bool,
    /// Ranges that are allowed although they are not public.
    pub allow: Vec<IpNet>,
    /// The addresses that the operator's settings for each plugin name. These alone are
    /// allowed wherever they are, to that plugin.
    pub named: BTreeMap<String, Vec<Url>>,
    /// The longest that connecting may take.
    pub connect_timeout: Duration,
    /// The longest that a request may take.
    pub call_timeout: Duration,
    /// The largest answer, decompressed.
    pub max_answer_size: usize,
    /// How many times its size a compressed answer may have.
    pub max_answer_ratio: u32,
    /// How many redirects are followed.
    pub max_redirects: u8,
    /// How many requests run at the same time at one server.
    pub concurrency: u16,
    /// Names that are not asked of the system's resolver.
    pub lookup: Option<Lookup>,
}

impl HttpSettings {
    /// For a plugin's unit tests, whose platforms are on this machine.
    #[cfg(test)]
    pub(crate) fn local() -> Self {
        Self {
            allow_http: true,
            allow: vec!["127.0.0.0/8".parse().expect("a range")],
            named: BTreeMap::new(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(5),
            max_answer_size: 1 << 20,
            max_answer_ratio: 100,
            max_redirects: 3,
            concurrency: 16,
            lookup: None,
        }
    }
}

/// The addresses in the operator's settings, by plugin: for [`HttpSettings::named`].
pub fn named_addresses(operator: &BTreeMap<String, Object>) -> BTreeMap<String, Vec<Url>> {
    let found = |settings: &Object| address::found_in(settings).into_iter().map(|(_, url)| url);
    let each = operator.iter();
    each.map(|(plugin, settings)| (plugin.clone(), found(settings).collect()))
        .collect()
}

/// On whose behalf requests are made.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The plugin's name.
    pub plugin: String,
    /// The installation, if there is one.
    pub installation_id: Option<InstallationId>,
}

impl Caller {
    fn installation(&self) -> String {
        self.installation_id
            .map(|id| id.to_string())
            .unwrap_or_default()
    }
}

/// The way to a platform, for one step of one installation.
#[derive(Clone)]
pub struct Http {
    /// Shared by all steps.
    means: Arc<Means>,
    caller: Arc<Caller>,
    /// Whether this step has sent something that may have changed the platform.
    wrote: Arc<AtomicBool>,
}

struct Means {
    settings: HttpSettings,
    guard: Arc<Guard>,
    /// For the addresses that the guard allows.
    client: reqwest::Client,
    /// For those that the operator's settings name.
    named: reqwest::Client,
    servers: BTreeMap<String, HashSet<Origin>>,
    turns: Turns,
    cache: Cache,
}

impl Http {
    /// The one client of a gateway.
    pub fn new(settings: HttpSettings) -> Result<Self> {
        let guard = Arc::new(Guard {
            allow_http: settings.allow_http,
            allow: settings.allow.clone(),
            lookup: settings.lookup.clone(),
        });
        let names = |anywhere| Names {
            guard: guard.clone(),
            anywhere,
        };
        let origins = |urls: &Vec<Url>| urls.iter().map(Url::origin).collect();
        let named = settings.named.iter();
        let means = Means {
            client: client(&settings, names(false))?,
            named: client(&settings, names(true))?,
            servers: named
                .map(|(plugin, urls)| (plugin.clone(), origins(urls)))
                .collect(),
            turns: Turns::new(settings.concurrency),
            cache: Cache::default(),
            guard,
            settings,
        };
        Ok(Self {
            means: Arc::new(means),
            caller: Arc::default(),
            wrote: Arc::default(),
        })
    }

    /// The same way for another step, which has written nothing yet.
    pub fn for_step(&self, caller: Caller) -> Self {
        Self {
            means: self.means.clone(),
            caller: Arc::new(caller),
            wrote: Arc::default(),
        }
    }

    /// Refuses a configuration with an address that must not be asked, whatever its
    /// property is called and whether it is asked now or later. A name that cannot be
    /// resolved now is looked at again when it is used, as every name is.
    pub async fn check(&self, config: &Object) -> Result<()> {
        let mut names = BTreeSet::new();
        for (field, url) in address::found_in(config) {
            if !url.username().is_empty() || url.password().is_some() {
                return Err(Error::invalid(field, address::NO_PASSWORD));
            }
            if self.is_named(&url) {
                continue;
            }
            let checked = self.means.guard.check(&url);
            checked.map_err(|_| self.refused(&url))?;
            if let Some(Host::Domain(name)) = url.host() {
                names.insert((name.to_owned(), url));
            }
        }
        let resolved = async {
            for (name, url) in names {
                let resolved = self.means.guard.resolve(&name).await;
                if resolved.is_err_and(|error| guard::is_not_allowed(&error)) {
                    return Err(self.refused(&url));
                }
            }
            Ok(())
        };
        let limit = self.means.settings.connect_timeout;
        tokio::time::timeout(limit, resolved)
            .await
            .unwrap_or(Ok(()))
    }

    /// Whether the operator's settings for the plugin name this server.
    fn is_named(&self, url: &Url) -> bool {
        let servers = self.means.servers.get(&self.caller.plugin);
        servers.is_some_and(|servers| servers.contains(&url.origin()))
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
        Request::new(self.clone(), method, url)
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

/// A client that decides nothing by itself: no proxies, no redirects, no cookies, no
/// decompression.
fn client(settings: &HttpSettings, names: Names) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .dns_resolver(names)
        .connect_timeout(settings.connect_timeout.min(settings.call_timeout))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .http2_initial_stream_window_size(WINDOW)
        .http2_initial_connection_window_size(WINDOW)
        .user_agent(concat!("metagov/", env!("CARGO_PKG_VERSION")))
        .default_headers(exchange::default_headers())
        .build()
        .map_err(|e| Error::internal(format!("no HTTP client: {e}")))
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
    use http::{HeaderMap, StatusCode, header};

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
        let http = Http::new(HttpSettings::local()).unwrap();
        let read = async || {
            let step = http.for_step(Caller::default());
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
