//! What the fuzz targets (`tests/fuzz`) reach of the client, and nobody else: which
//! addresses it asks, without asking them.

use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::{Body, Response, body, exchange::Hop, guard::Guard, redirect};

/// Whether an address is asked, where the operator allows http and nothing else.
pub fn is_asked(url: &Url) -> bool {
    guard().check(url).is_ok()
}

/// Whether a number that a name resolves to is asked.
pub fn is_connected_to(address: IpAddr) -> bool {
    guard().allows(address)
}

/// Where an answer that names this location sends a GET with a secret header, and
/// whether the secret goes along.
pub fn redirected(from: &Url, location: &[u8]) -> Option<(Url, bool)> {
    let secret = (header::AUTHORIZATION, HeaderValue::from_static("secret"));
    let asked = Hop {
        method: Method::GET,
        url: from.clone(),
        headers: HeaderMap::from_iter([secret]),
        body: Body::None,
        reads: true,
        is_first: true,
    };
    let location = HeaderValue::from_bytes(location).ok()?;
    let headers = HeaderMap::from_iter([(header::LOCATION, location)]);
    let next = redirect::next(&guard(), &asked, (StatusCode::FOUND, &headers)).ok()??;
    let has_secret = next.headers.contains_key(header::AUTHORIZATION);
    Some((next.url, has_secret))
}

/// The wait that a Retry-After means.
pub fn retry_after(value: &[u8]) -> Option<Duration> {
    let value = HeaderValue::from_bytes(value).ok()?;
    let response = Response {
        status: StatusCode::TOO_MANY_REQUESTS,
        headers: HeaderMap::from_iter([(header::RETRY_AFTER, value)]),
        body: bytes::Bytes::new(),
    };
    response.retry_after()
}

/// An answer in gzip that comes in pieces of so many bytes, decompressed, if it is at
/// most so large and dense.
pub fn inflated(came: &[u8], piece: usize, size: usize, ratio: u32) -> Option<bytes::Bytes> {
    let gzip = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let limits = body::Limits { size, ratio };
    body::of_pieces(
        &HeaderMap::from_iter([gzip]),
        limits,
        came.chunks(piece.max(1)),
    )
    .ok()
}

fn guard() -> Guard {
    Guard {
        allow_http: true,
        allow: Vec::new(),
        lookup: None,
    }
}
