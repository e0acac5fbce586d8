//! Redirects: which are followed, and with what.
//!
//! - Only what is read is followed. A write that is sent elsewhere would be sent twice,
//!   or, as browsers do it, turned into a GET that does nothing and looks well.
//! - On the same server everything goes along. From http to https of one host, each on
//!   its own port, is the same server, too.
//! - To another server only over https, and without the plugin's headers, any of which
//!   may hold a secret. Such a redirect is honest: an instance moved to a name of its
//!   own, a file in another place.
//! - What is not followed is an answer with a status like 302, which is a refusal.
//!
//! Where it leads is looked at as every address is (`guard.rs`), and no server can send
//! us to one that only the operator's settings allow.

use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use super::{
    exchange::Hop,
    guard::{Guard, NotAllowed},
};

/// What goes along to another server: what is wanted, and what is known of it already.
const HARMLESS: [header::HeaderName; 3] = [
    header::ACCEPT,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
];

/// The request that an answer sends us to; none if it is not followed.
pub(super) fn next(
    guard: &Guard,
    asked: &Hop,
    (status, headers): (StatusCode, &HeaderMap),
) -> Result<Option<Hop>, NotAllowed> {
    let Some(url) = target(asked, status, headers) else {
        return Ok(None);
    };
    if is_same_server(&asked.url, &url) {
        return Ok(Some(Hop {
            url,
            ..asked.clone()
        }));
    }
    guard.check(&url)?;
    if url.scheme() != "https" {
        return Ok(None);
    }
    let harmless = HARMLESS.into_iter().filter_map(|name| {
        let value = asked.headers.get(&name)?.clone();
        Some((name, value))
    });
    Ok(Some(Hop {
        headers: harmless.collect(),
        is_first: false,
        url,
        ..asked.clone()
    }))
}

fn target(asked: &Hop, status: StatusCode, headers: &HeaderMap) -> Option<Url> {
    let reads = matches!(asked.method, Method::GET | Method::HEAD);
    if !reads || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    asked.url.join(location).ok()
}

fn is_same_server(from: &Url, to: &Url) -> bool {
    let server = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default());
    let is_upgrade = server(from) == ("http".to_owned(), Some(80))
        && server(to) == ("https".to_owned(), Some(443));
    let has_password = !to.username().is_empty() || to.password().is_some();
    from.host() == to.host() && (server(from) == server(to) || is_upgrade) && !has_password
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::{super::Body, *};

    fn hop(method: Method, url: &str) -> Hop {
        let headers = [
            ("accept", "application/json"),
            ("authorization", "Bearer canary"),
            ("api-key", "canary"),
            ("cookie", "canary"),
            ("if-none-match", "\"1\""),
        ];
        let each =
            headers.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        Hop {
            reads: method == Method::GET,
            method,
            url: url.parse().unwrap(),
            headers: HeaderMap::from_iter(each),
            body: Body::None,
            is_first: true,
        }
    }

    fn redirected(asked: &Hop, status: u16, location: &str) -> Result<Option<Hop>, NotAllowed> {
        let guard = Guard {
            allow_http: true,
            allow: vec![],
            lookup: None,
        };
        let headers = HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())]);
        next(&guard, asked, (status.try_into().unwrap(), &headers))
    }

    fn to(location: &str) -> Option<(String, usize, bool)> {
        let asked = hop(Method::GET, "https://a.example/cred/file?key=1");
        let next = redirected(&asked, 302, location).unwrap()?;
        Some((next.url.into(), next.headers.len(), next.is_first))
    }

    #[test]
    fn on_the_same_server_everything_goes_along() {
        for (location, url) in [
            ("/other", "https://a.example/other"),
            ("other", "https://a.example/cred/other"),
            ("https://a.example/x?y", "https://a.example/x?y"),
            ("https://A.example:443/", "https://a.example/"),
            ("//a.example/x", "https://a.example/x"),
        ] {
            assert_eq!(to(location), Some((url.to_owned(), 5, true)), "{location}");
        }
        let asked = hop(Method::GET, "http://a.example/x");
        let next = redirected(&asked, 301, "https://a.example/x")
            .unwrap()
            .unwrap();
        assert_eq!((next.headers.len(), next.is_first), (5, true));
    }

    #[test]
    fn no_secret_goes_to_another_server() {
        for location in [
            "https://b.example/x",
            "https://a.example:8443/x",
            "https://x.a.example/",
            "https://a.example./",
            "//b.example/x",
        ] {
            let (_, headers, is_first) = to(location).expect(location);
            assert_eq!((headers, is_first), (2, false), "{location}");
        }
        let asked = hop(Method::GET, "https://a.example");
        let next = redirected(&asked, 302, "https://b.example")
            .unwrap()
            .unwrap();
        let values: Vec<_> = next.headers.values().collect();
        assert!(
            values
                .iter()
                .all(|value| !value.as_bytes().ends_with(b"canary"))
        );
        // Back at the first, they are gone.
        let back = redirected(&next, 302, "https://a.example")
            .unwrap()
            .unwrap();
        assert_eq!((back.headers.len(), back.is_first), (2, false));
    }

    #[test]
    fn no_redirect_leads_to_http_or_out_of_the_web() {
        for location in [
            "http://a.example/",
            "http://b.example/",
            "http://a.example:443/",
        ] {
            assert_eq!(to(location), None, "{location}");
        }
        let asked = hop(Method::GET, "http://a.example:8080/");
        let other = redirected(&asked, 302, "http://a.example:8081/").unwrap();
        assert!(other.is_none());
        for location in [
            "file:///etc/passwd",
            "ftp://a.example",
            "data:text/plain,a",
            "https://ada:word@a.example/",
            "https://ada@b.example/",
        ] {
            let asked = hop(Method::GET, "https://a.example");
            assert!(redirected(&asked, 302, location).is_err(), "{location}");
        }
        for location in ["", "https://", "http://[", "\u{e9}"] {
            assert!(
                to(location).is_none_or(|(url, ..)| url.starts_with("https://a.example/")),
                "{location}"
            );
        }
    }

    #[test]
    fn a_redirect_to_an_inside_address_is_refused() {
        let asked = hop(Method::GET, "https://a.example");
        for location in [
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "https://[::ffff:10.0.0.1]/",
            "//2130706433/",
            "https://169.254.169.254/latest/meta-data/",
        ] {
            assert!(redirected(&asked, 307, location).is_err(), "{location}");
        }
    }

    #[test]
    fn only_reads_are_redirected() {
        for status in [301, 302, 303, 307, 308] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let asked = hop(method, "https://a.example");
                assert!(redirected(&asked, status, "/x").unwrap().is_none());
                assert!(
                    redirected(&asked, status, "http://127.0.0.1")
                        .unwrap()
                        .is_none()
                );
            }
            let asked = hop(Method::GET, "https://a.example");
            assert!(redirected(&asked, status, "/x").unwrap().is_some());
        }
        for status in [200, 201, 300, 304, 305, 306, 400] {
            let asked = hop(Method::GET, "https://a.example");
            assert!(redirected(&asked, status, "/x").unwrap().is_none());
        }
    }
}
