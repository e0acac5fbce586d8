//! Opening the database: connections, what is asserted of it, migrations.

use std::{sync::Arc, time::Duration};

use metagov_migrations::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
};

use super::{Keys, Store, events, writer::Writer};
use crate::error::{Error, Result};

/// The first SQLite whose write-ahead log two connections cannot corrupt.
const MIN_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `sqlite://path?mode=rwc`.
    pub url: String,
    /// How many connections read at the same time.
    pub readers: u32,
    /// What secrets are encrypted with.
    pub keys: Keys,
}

impl Store {
    /// Opens the database and brings its tables up to date.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let writes = connect(settings, 1).await?;
        assert_durable(&writes).await?;
        up(&writes).await?;
        let reads = connect(settings, settings.readers).await?;
        let head = events::prepare(&writes).await?;
        let alone = reads.get_database_backend() == DbBackend::Sqlite;
        let cache = alone.then(Arc::default);
        let keys = settings.keys.clone();
        let writer = Writer::start(writes, head, cache.clone(), keys.clone())?;
        Ok(Self {
            reads,
            writer,
            cache,
            keys,
        })
    }
}

/// Brings the tables up to date; the names of the steps that were taken.
pub async fn migrate(settings: &Settings) -> Result<Vec<String>> {
    let db = connect(settings, 1).await?;
    assert_durable(&db).await?;
    let steps = up(&db).await?;
    db.close().await.map_err(broken)?;
    Ok(steps)
}

async fn up(db: &DatabaseConnection) -> Result<Vec<String>> {
    let pending = Migrator::get_pending_migrations(db).await.map_err(broken)?;
    let names = pending.iter().map(|step| step.name().to_owned()).collect();
    Migrator::up(db, None).await.map_err(broken)?;
    Ok(names)
}

async fn connect(settings: &Settings, connections: u32) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(&settings.url);
    options
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .sqlx_logging(false)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(10))
        });
    Database::connect(options).await.map_err(broken)
}

/// A commit of SQLite is only durable with these settings, and only recent versions
/// keep a write-ahead log whole.
async fn assert_durable(db: &DatabaseConnection) -> Result<()> {
    if db.get_database_backend() != DbBackend::Sqlite {
        return Ok(());
    }
    let version: String = ask(db, "SELECT sqlite_version()").await?;
    if numbers(&version) < MIN_SQLITE {
        let (major, minor, patch) = MIN_SQLITE;
        let wanted = format!("at least {major}.{minor}.{patch}");
        return Err(Error::internal(format!(
            "SQLite is {version}, but must be {wanted}"
        )));
    }
    let journal: String = ask(db, "PRAGMA journal_mode").await?;
    let synchronous: i32 = ask(db, "PRAGMA synchronous").await?;
    if journal != "wal" || synchronous != 2 {
        let found = format!("journal_mode={journal}, synchronous={synchronous}");
        return Err(Error::internal(format!(
            "SQLite runs with {found}, not with wal and FULL (2)"
        )));
    }
    tracing::debug!(version, journal, synchronous, "SQLite");
    Ok(())
}

async fn ask<T: sea_orm::TryGetable>(db: &DatabaseConnection, sql: &str) -> Result<T> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await.map_err(broken)?;
    let row = row.ok_or_else(|| Error::internal(format!("no answer to {sql}")))?;
    row.try_get_by_index(0).map_err(broken)
}

fn numbers(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

fn broken(error: sea_orm::DbErr) -> Error {
    Error::internal(format!("database: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(numbers("3.9.0") < MIN_SQLITE);
        assert!(numbers("3.51.2") < MIN_SQLITE);
        assert!(numbers("3.51.3") >= MIN_SQLITE && numbers("3.100") >= MIN_SQLITE);
    }
}
