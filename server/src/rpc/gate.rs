//! Who may come in at all: the outermost layer. A web page in somebody's browser must
//! not reach a gateway on that person's machine, with or without a token.
//!
//! A browser cannot be made to lie in three headers. `Host` is the name that the page
//! used: not ours, where the page gave this machine a name of its own (`hosts.rs`).
//! `Origin` is whose page it is. `Sec-Fetch-Site` marks what has no origin, such as an
//! image. Besides, only what a page cannot send unasked is gRPC: a POST of one of its
//! content types. What operators' machines ask (`operations.rs`) comes through here, too.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::{Either, Ready, ready};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{Settings, hosts::Hosts, operations, status};

const FETCH_SITE: &str = "sec-fetch-site";
/// gRPC, then grpc-web: these and no others are understood.
const CONTENT_TYPES: [&str; 6] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];
/// How often a kind of refusal is logged, however often it happens.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Clone)]
pub struct GateLayer {
    rules: Arc<Rules>,
}

struct Rules {
    hosts: Hosts,
    origins: Vec<HeaderValue>,
    hosts_refused: Warning,
    origins_refused: Warning,
}

impl GateLayer {
    /// For the names and origins of the settings.
    pub fn new(settings: &Settings) -> Self {
        let rules = Rules {
            hosts: settings.hosts.clone(),
            origins: settings.cors_origins.clone(),
            hosts_refused: Warning::default(),
            origins_refused: Warning::default(),
        };
        Self {
            rules: Arc::new(rules),
        }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        let rules = self.rules.clone();
        Gate { inner, rules }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.rules.check(&request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(refusal) => Either::Right(ready(Ok(refusal.answer(request.headers())))),
        }
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Host,
    Origin,
    Method,
    ContentType,
}

impl Rules {
    fn check(&self, request: &Request<Body>) -> Result<(), Refusal> {
        let headers = request.headers();
        if !self.hosts.allow(request) {
            let authority = shown(request.uri().authority().map(|a| a.as_str().as_bytes()));
            let host = shown(headers.get(header::HOST).map(HeaderValue::as_bytes));
            self.hosts_refused.say(|more| {
                tracing::warn!(authority, host, more, "a call to another host was refused; if it is this one's name, add it to --hosts (METAGOV_HOSTS)");
            });
            return Err(Refusal::Host);
        }
        if !self.allow_origin(headers) {
            let [origin, site] = [header::ORIGIN.as_str(), FETCH_SITE]
                .map(|name| shown(headers.get(name).map(HeaderValue::as_bytes)));
            self.origins_refused.say(|more| {
                tracing::warn!(origin, site, more, "a call of a web page was refused; if it is one of yours, add its origin to --cors-origins (METAGOV_CORS_ORIGINS)");
            });
            return Err(Refusal::Origin);
        }
        match *request.method() {
            Method::POST if is_grpc(headers) => Ok(()),
            Method::POST => Err(Refusal::ContentType),
            // A preflight: the layer of CORS answers it, whatever it asks for.
            Method::OPTIONS if headers.contains_key(header::ORIGIN) => Ok(()),
            // No page reads the answer: it is of no origin.
            Method::GET if operations::is_asked(request) => Ok(()),
            _ => Err(Refusal::Method),
        }
    }

    /// Whether it comes from no page, or from one of an allowed origin.
    fn allow_origin(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) => self.origins.contains(origin),
            (Some(_), Some(_)) => false,
            // "none" is a person's own doing, as in the address bar. No page is our own.
            (None, _) => headers
                .get_all(FETCH_SITE)
                .iter()
                .all(|site| site == "none"),
        }
    }
}

/// Whether it is a message that we read: `application/grpc` may have parameters.
fn is_grpc(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (types.next(), types.next()) else {
        return false;
    };
    let known = |kind: &str| {
        let plain = CONTENT_TYPES[..2].iter();
        let mut with_parameters = plain.filter_map(|known| kind.strip_prefix(known));
        CONTENT_TYPES.contains(&kind)
            || with_parameters.any(|rest| rest.trim_start().starts_with(';'))
    };
    kind.to_str().is_ok_and(known)
}

impl Refusal {
    /// In words that the caller understands: gRPC's, or those of HTTP.
    fn answer(self, headers: &HeaderMap) -> Response<Body> {
        let kind = headers.get(header::CONTENT_TYPE);
        let grpc = kind.filter(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let (code, text) = match (self, grpc) {
            (Self::Host, Some(kind)) => return said(status::host_not_allowed(), kind),
            (Self::Origin, Some(kind)) => return said(status::origin_not_allowed(), kind),
            (Self::ContentType, Some(kind)) => return said(status::unknown_content_type(), kind),
            (Self::Host, None) => (StatusCode::MISDIRECTED_REQUEST, "not a host of this API\n"),
            (Self::Origin, None) => (StatusCode::FORBIDDEN, "web pages may not call this API\n"),
            (Self::Method, _) => (StatusCode::METHOD_NOT_ALLOWED, ""),
            (Self::ContentType, None) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is gRPC\n"),
        };
        let mut response = Response::new(Body::new(text.to_owned()));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        if self == Self::Method {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// A status without a message before it, which stands in the headers, in grpc-web too.
fn said(status: Status, content_type: &HeaderValue) -> Response<Body> {
    let mut response = status.into_http::<Body>();
    let web = CONTENT_TYPES[2..].iter().any(|web| content_type == web);
    if web {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    response
}

/// What a stranger says, fit for a log: short, and without what may be a password.
fn shown(said: Option<&[u8]>) -> Option<String> {
    let host = said?.rsplit(|&c| c == b'@').next()?;
    let start = &host[..host.len().min(100)];
    Some(start.escape_ascii().to_string())
}

/// What is logged now and then only, or a page could fill the disk.
#[derive(Default)]
struct Warning {
    /// When it was logged last, and how often it was not since then.
    last: Mutex<(Option<Instant>, u64)>,
}

impl Warning {
    /// Calls `log` with the number of those that were not logged, if it is time.
    fn say(&self, log: impl FnOnce(u64)) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.0.is_none_or(|said| said.elapsed() >= SAID_EVERY);
        if due {
            log(last.1);
            *last = (Some(Instant::now()), 0);
        } else {
            last.1 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://dashboard.example.org";

    /// What becomes of a POST of gRPC to localhost with these headers.
    fn checked(method: &Method, more: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let settings = Settings {
            max_request_size: 1 << 20,
            max_response_size: 4 << 20,
            open_reflection: true,
            cors_origins: vec![HeaderValue::from_static(OURS)],
            hosts: Hosts::Loopback,
        };
        let mut request = Request::builder().method(method).uri("/a.B/C");
        request = request.header("host", "localhost:50051");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        GateLayer::new(&settings).rules.check(&request)
    }

    fn post(more: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let grpc = [("content-type", "application/grpc")];
        checked(&Method::POST, &[&grpc, more].concat())
    }

    #[test]
    fn only_pages_of_allowed_origins_come_in() {
        assert_eq!(post(&[]), Ok(()));
        assert_eq!(
            post(&[("origin", OURS), (FETCH_SITE, "cross-site")]),
            Ok(())
        );
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://dashboard.example.org",
            "https://dashboard.example.org:444",
            "https://dashboard.example.org.evil.example",
            "HTTPS://DASHBOARD.EXAMPLE.ORG",
            "https://dashboard.example.org/",
            "http://localhost:50051",
            "file://",
        ] {
            assert_eq!(
                post(&[("origin", origin)]),
                Err(Refusal::Origin),
                "{origin}"
            );
            let preflight = checked(&Method::OPTIONS, &[("origin", origin)]);
            assert_eq!(preflight, Err(Refusal::Origin), "{origin}");
        }
        let two = post(&[("origin", OURS), ("origin", "https://evil.example")]);
        assert_eq!(two, Err(Refusal::Origin));
    }

    #[test]
    fn what_a_browser_marks_as_a_pages_doing_is_refused() {
        for site in ["cross-site", "same-site", "same-origin", "", "new"] {
            assert_eq!(post(&[(FETCH_SITE, site)]), Err(Refusal::Origin), "{site}");
            let get = checked(&Method::GET, &[(FETCH_SITE, site)]);
            assert_eq!(get, Err(Refusal::Origin), "{site}");
        }
        assert_eq!(post(&[(FETCH_SITE, "none")]), Ok(()));
    }

    #[test]
    fn only_posts_of_grpc_come_in() {
        for method in [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::TRACE,
            Method::CONNECT,
            Method::OPTIONS,
        ] {
            let grpc = [("content-type", "application/grpc")];
            assert_eq!(checked(&method, &grpc), Err(Refusal::Method), "{method}");
        }
        assert_eq!(checked(&Method::OPTIONS, &[("origin", OURS)]), Ok(()));
        let typed = |kind| checked(&Method::POST, &[("content-type", kind)]);
        for kind in CONTENT_TYPES {
            assert_eq!(typed(kind), Ok(()), "{kind}");
        }
        assert_eq!(typed("application/grpc; charset=utf-8"), Ok(()));
        for kind in [
            "",
            "text/plain",
            "text/plain;application/grpc",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/grpc",
            "application/json",
            "application/proto",
            "application/grpc+json",
            "application/grpc-web+json",
            "application/grpc-web; charset=utf-8",
            "application/grpcx",
            "Application/gRPC",
        ] {
            assert_eq!(typed(kind), Err(Refusal::ContentType), "{kind}");
        }
        assert_eq!(checked(&Method::POST, &[]), Err(Refusal::ContentType));
        let two = ["application/grpc", "text/plain"].map(|kind| ("content-type", kind));
        assert_eq!(checked(&Method::POST, &two), Err(Refusal::ContentType));
    }

    #[test]
    fn what_is_logged_of_a_stranger_is_short_and_plain() {
        let shown = |said: &[u8]| shown(Some(said)).unwrap();
        assert_eq!(shown(b"evil.example:1"), "evil.example:1");
        assert_eq!(shown(b"ada:secret@evil.example"), "evil.example");
        assert_eq!(shown(b"a\xe2\x80\xae\n"), "a\\xe2\\x80\\xae\\n");
        assert_eq!(shown(&[b'a'; 9000]).len(), 100);
    }

    #[test]
    fn a_flood_of_refusals_is_one_line() {
        let (warning, mut said) = (Warning::default(), Vec::new());
        for _ in 0..1000 {
            warning.say(|more| said.push(more));
        }
        assert_eq!(said, [0]);
    }
}
