//! What the fuzz targets (`tests/fuzz`) reach of this edge, and nobody else: the checks of
//! what callers send, without a server around them.

use std::time::Duration;

use prost::Message;
use prost_types::{Struct, Timestamp};

use super::{hosts::Hosts, input};
use crate::{
    error::Result,
    model::{JsonLimits, Object, Time},
};

/// The object of an encoded `google.protobuf.Struct`; `None` if it is none.
pub fn object(encoded: &[u8]) -> Option<Result<Object>> {
    let fields = Struct::decode(encoded).ok()?;
    let limits = JsonLimits::default();
    Some(input::object(&limits, "parameters", Some(fields)))
}

/// A text of at most so many characters.
pub fn text(text: &str, max: usize) -> Result<String> {
    input::text("text", text.to_owned(), max)
}

/// A token for the page after `last`.
pub fn page_token(kind: &str, last: &str) -> String {
    input::page_token(kind, last)
}

/// Where the page before ended.
pub fn after_page(kind: &str, token: &str) -> Result<Option<String>> {
    input::after_page(kind, token, |last| Some(last.to_owned()))
}

/// The moment of an encoded `google.protobuf.Timestamp`; `None` if it is none.
pub fn time(encoded: &[u8]) -> Option<Result<Time>> {
    Some(input::time("time", Timestamp::decode(encoded).ok()?))
}

/// The silence of an encoded `google.protobuf.Duration`; `None` if it is none.
pub fn heartbeat(encoded: &[u8]) -> Option<Result<Duration>> {
    let wanted = prost_types::Duration::decode(encoded).ok()?;
    Some(input::heartbeat(Some(wanted)))
}

/// Whether an API that listens on loopback takes a call for this host.
pub fn is_for_loopback(host: &[u8]) -> bool {
    let hosts = Hosts::of(&[], std::net::Ipv4Addr::LOCALHOST.into());
    let request = http::Request::post("/").header(http::header::HOST, host);
    request.body(()).is_ok_and(|request| hosts.allow(&request))
}
