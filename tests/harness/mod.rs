//! The real server in a folder of its own, and what tests ask of it.
//!
//! [`Gateway`] runs inside the test's process, on ports that the system chose and an own
//! database; [`Binary`] is the real program, which can be killed. Both live in a [`Home`],
//! whose database is of the [`Kind`] that the run is about. A [`Cluster`] is a Postgres of a
//! test's own, and a [`Wire`] a way to it that breaks. [`Watcher`] reads the feed; [`Fault`] is
//! an error as a driver reads it; [`raw`] sends what no client would.

mod binary;
mod fault;
mod gateway;
mod home;
mod line;
mod nats;
mod postgres;
pub(crate) mod raw;
mod watcher;
mod wire;

pub(crate) use binary::Binary;
pub(crate) use fault::{Fault, fault};
pub(crate) use gateway::{Api, Gateway};
pub(crate) use home::{Home, Kind};
pub(crate) use line::{Line, admin_token, carried, line};
pub(crate) use nats::Nats;
pub(crate) use postgres::Cluster;
pub(crate) use watcher::Watcher;
pub(crate) use wire::Wire;

use metagov_proto::json;
use serde_json::Value;

/// The longest that anything in a test is waited for.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A JSON object as a Struct.
pub(crate) fn object(value: Value) -> Option<prost_types::Struct> {
    match value {
        Value::Object(fields) => Some(json::from_json(fields)),
        other => panic!("{other} is no object"),
    }
}

/// A Struct as JSON.
pub(crate) fn plain(fields: Option<prost_types::Struct>) -> Value {
    fields.map_or(Value::Null, |fields| Value::Object(json::to_json(fields)))
}
