//! The store: one SQL database through sea-orm, the same code for every kind of it.
//!
//! Reads go to a pool, all writes through the one [`writer`], which groups waiting
//! changes into one commit: `store.write(async move |tx| …)`. Whatever changes
//! something appends its event in the same transaction with [`Tx::event`]. What other
//! gateways commit to the same database is heard of in `wake.rs`.
//!
//! One file per table group. A function that reads takes `&impl Rows`, so it works on
//! the pool and inside a transaction; one that writes takes `&Tx`. Rows become the
//! model's types here and nowhere else. May use `model`, `error`, sea-orm. Read
//! `writer.rs` first, then `events.rs`.
//!
//! Other gateways may write at the same time, so nothing relies on the one writer. Inside
//! a transaction `find` keeps its row from being deleted before the commit; what is
//! changed by what was read of it is read with `take`, for which others wait; and what
//! must be unique has a unique key. Rows are locked from the whole to its parts:
//! community, installation, process, then the rest; last of all the turn of the audit and
//! the row of the feed. What is due is done under a claim (`claims.rs`).

pub mod audit;
pub mod authorizations;
pub mod backup;
mod cache;
pub mod claims;
mod clock;
pub mod communities;
pub mod credentials;
pub mod deliveries;
mod entity;
pub mod events;
mod failure;
pub mod identities;
pub mod installations;
mod job;
pub mod master_key;
mod open;
pub mod operations;
mod postgres;
pub mod processes;
pub mod requests;
mod seal;
mod sealed;
mod steps;
pub mod subscriptions;
#[cfg(test)]
mod tests;
pub mod tokens;
mod wake;
mod writer;

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde::{Serialize, de::DeserializeOwned};
use tracing::Instrument;

use cache::Cache;
use clock::Clock;
use failure::failed;
pub use master_key::{KeySource, OpenError};
pub use open::{Settings, migrate};
pub use seal::{Keys, MasterKey};
pub use wake::Notify;
pub use writer::Tx;
use writer::Writer;

use crate::{
    error::{Error, Result},
    model::Time,
    traces::TARGET,
};

/// A limit for lists that are wanted whole.
pub const ALL: u64 = u32::MAX as u64;

/// No pool closes connections by itself. The driver's task that does it can take a pool that
/// is busy for one with 2^64 idle connections, and then occupies a core and cannot be ended:
/// <https://github.com/transact-rs/sqlx/issues/3645>.
const UNTIDIED: Option<std::time::Duration> = None;

/// The database.
#[derive(Clone)]
pub struct Store {
    reads: DatabaseConnection,
    writer: Writer,
    /// Unless others may write to the database, too.
    cache: Option<Arc<Cache>>,
    keys: Keys,
    clock: Clock,
}

impl Store {
    /// Runs a change in a transaction, together with others that wait, and answers
    /// after the commit.
    ///
    /// The change may run twice, so it must have no effect outside of `tx`; never do
    /// I/O of another kind in it. An error rolls back what the change did.
    pub async fn write<T: Send + 'static>(
        &self,
        change: impl AsyncFn(&Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let span = tracing::debug_span!(target: TARGET, "write");
        self.writer.write(change, false).instrument(span).await
    }

    /// The same for what takes a [`claims::turn`]: it comes last in its commit, so that
    /// nobody waits for more while others wait for the turn.
    pub async fn write_last<T: Send + 'static>(
        &self,
        change: impl AsyncFn(&Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let span = tracing::debug_span!(target: TARGET, "write");
        self.writer.write(change, true).instrument(span).await
    }

    /// Writes what waits and lets go of the database: another gateway may have the file.
    /// Whoever still asks is told that it is gone.
    pub async fn close(&self) {
        _ = self.reads.close_by_ref().await;
        self.writer.close().await;
    }

    /// Whether no other gateway uses the database.
    pub fn is_alone(&self) -> bool {
        self.cache.is_some()
    }

    /// What time it is where the database is: what comes due is judged by this, never by
    /// this machine's clock, so that all gateways judge alike.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The position of the last event known to be committed, here or by another gateway,
    /// as it grows.
    pub fn head(&self) -> tokio::sync::watch::Receiver<i64> {
        self.writer.head()
    }
}

/// Whatever rows can be read from: the pool or a transaction.
pub trait Rows: Sync {
    /// Its connection.
    #[doc(hidden)]
    fn rows(&self) -> &impl ConnectionTrait;

    /// What the columns that hold secrets are sealed and opened with.
    fn keys(&self) -> &Keys;

    /// Whether what is looked up by its id stays there until the commit: nobody deletes
    /// it under a transaction that has seen it.
    #[doc(hidden)]
    fn keeps(&self) -> bool {
        false
    }

    /// What was read since the last commit; nothing inside a transaction.
    #[doc(hidden)]
    fn cache(&self) -> Option<&Cache> {
        None
    }

    /// The same for communities. A transaction keeps these too: nearly every change of a
    /// batch asks first whether its community is there.
    #[doc(hidden)]
    fn communities(&self) -> Option<&Cache> {
        self.cache()
    }
}

impl Rows for Store {
    fn rows(&self) -> &impl ConnectionTrait {
        &self.reads
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn cache(&self) -> Option<&Cache> {
        self.cache.as_deref()
    }
}

/// A text from outside as any database keeps it: Postgres takes no NUL.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn to_text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("no JSON for a row: {e}")))
}

fn from_text<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::internal(format!("a row's JSON is bad: {e}")))
}

/// The word that a row has for a plain enum, as serde spells it.
fn to_word(value: &impl Serialize) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(Error::internal("an enum that is no word")),
    }
}

fn from_word<T: DeserializeOwned>(word: String) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(word))
        .map_err(|e| Error::internal(format!("a row's word is unknown: {e}")))
}
