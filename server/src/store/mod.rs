//! The store: one SQL database through sea-orm, the same code for every kind of it.
//!
//! Reads go to a pool, all writes through the one [`writer`], which groups waiting
//! changes into one commit: `store.write(async move |tx| …)`. Whatever changes
//! something appends its event in the same transaction with [`Tx::event`].
//!
//! One file per table group. A function that reads takes `&impl Rows`, so it works on
//! the pool and inside a transaction; one that writes takes `&Tx`. Rows become the
//! model's types here and nowhere else. May use `model`, `error`, sea-orm. Read
//! `writer.rs` first, then `events.rs`.

pub mod audit;
pub mod authorizations;
mod cache;
pub mod communities;
pub mod credentials;
pub mod deliveries;
mod entity;
pub mod events;
pub mod identities;
pub mod installations;
pub mod master_key;
mod open;
pub mod processes;
pub mod requests;
mod seal;
mod sealed;
#[cfg(test)]
mod tests;
pub mod tokens;
mod writer;

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, SqlErr};
use serde::{Serialize, de::DeserializeOwned};

use cache::Cache;
pub use master_key::{KeySource, OpenError};
pub use open::{Settings, migrate};
pub use seal::{Keys, MasterKey};
pub use writer::Tx;
use writer::Writer;

use crate::error::{Error, Result};

/// A limit for lists that are wanted whole.
pub const ALL: u64 = u32::MAX as u64;

/// The database.
#[derive(Clone)]
pub struct Store {
    reads: DatabaseConnection,
    writer: Writer,
    /// Unless others may write to the database, too.
    cache: Option<Arc<Cache>>,
    keys: Keys,
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
        self.writer.write(change).await
    }

    /// The position of the last event committed here, as it grows.
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

/// How a database says that it cannot work now, and perhaps can later.
const AWAY: [&str; 3] = [
    "database is locked",
    "disk I/O error",
    "unable to open database",
];

/// What the database's errors mean.
fn failed(error: DbErr) -> Error {
    if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
        // Every caller looks first, so somebody else was quicker.
        return Error::Changed;
    }
    let text = error.to_string();
    if text.contains("database or disk is full") || text.contains("No space left") {
        tracing::error!(%error, "the disk is full");
        return Error::StorageFull;
    }
    let is_away = |sign: &&str| text.contains(*sign);
    match error {
        _ if AWAY.iter().any(is_away) => {
            tracing::error!(%error, "the database does not answer");
            Error::StoreUnavailable
        }
        DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => {
            tracing::error!(%error, "the database does not answer");
            Error::StoreUnavailable
        }
        _ => Error::Internal(format!("database: {text}")),
    }
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
