//! Opening the database: connections, what is asserted of it, migrations.

use std::{sync::Arc, time::Duration};

use metagov_migrations::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
    sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
};

use super::{KeySource, OpenError, Store, events, failed, master_key, writer::Writer};
use crate::error::{Error, Result};

/// The first SQLite whose write-ahead log two connections cannot corrupt.
const MIN_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// The mark in a file that still holds what was replaced (its `user_version`).
const UNSWEPT: i32 = 1;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `sqlite://path?mode=rwc`.
    pub url: String,
    /// How many connections read at the same time.
    pub readers: u32,
    /// What secrets are encrypted with.
    pub key: KeySource,
}

impl Store {
    /// Opens the database, brings its tables up to date, and encrypts what is not yet.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        let writes = connect(settings, 1).await?;
        assert_durable(&writes).await?;
        up(&writes).await?;
        let keys = master_key::unlock(&writes, &settings.key).await?;
        sweep(&writes).await;
        let reads = connect(settings, settings.readers).await?;
        let head = events::prepare(&writes).await?;
        let alone = reads.get_database_backend() == DbBackend::Sqlite;
        let cache = alone.then(Arc::default);
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

/// A connection that no other stands beside, with the tables up to date. On SQLite it is
/// refused while anybody else has the file open.
pub(super) async fn alone(settings: &Settings) -> Result<DatabaseConnection> {
    let mut options = options(settings, 1);
    options.map_sqlx_sqlite_opts(|sqlite| {
        durable(sqlite)
            .busy_timeout(Duration::from_secs(1))
            .locking_mode(SqliteLockingMode::Exclusive)
    });
    let db = Database::connect(options).await.map_err(in_use)?;
    assert_durable(&db).await?;
    up(&db).await?;
    Ok(db)
}

/// Says that the file still holds what was replaced, in pages that are free.
pub(super) async fn must_sweep(db: &impl ConnectionTrait) -> Result<()> {
    if db.get_database_backend() != DbBackend::Sqlite {
        return Ok(());
    }
    let set = format!("PRAGMA user_version = {UNSWEPT}");
    db.execute_unprepared(&set).await.map_err(failed)?;
    Ok(())
}

/// Writes the file anew if it still holds what was replaced. The mark is in the file, so
/// what could not be done now is done at the next start.
pub(super) async fn sweep(db: &DatabaseConnection) {
    if let Err(error) = try_sweep(db).await {
        tracing::error!(%error, "the database file still holds what was encrypted since; the next start tries again to write it anew");
    }
}

async fn try_sweep(db: &DatabaseConnection) -> Result<()> {
    if db.get_database_backend() != DbBackend::Sqlite {
        return Ok(());
    }
    let mark: i32 = ask(db, "PRAGMA user_version").await?;
    if mark != UNSWEPT {
        return Ok(());
    }
    for sql in [
        "VACUUM",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA user_version = 0",
    ] {
        db.execute_unprepared(sql).await.map_err(failed)?;
    }
    Ok(())
}

async fn up(db: &DatabaseConnection) -> Result<Vec<String>> {
    let pending = Migrator::get_pending_migrations(db).await.map_err(broken)?;
    let names = pending.iter().map(|step| step.name().to_owned()).collect();
    Migrator::up(db, None).await.map_err(broken)?;
    Ok(names)
}

async fn connect(settings: &Settings, connections: u32) -> Result<DatabaseConnection> {
    let mut options = options(settings, connections);
    options.map_sqlx_sqlite_opts(|sqlite| durable(sqlite).busy_timeout(Duration::from_secs(10)));
    Database::connect(options).await.map_err(broken)
}

fn options(settings: &Settings, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(&settings.url);
    options
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .sqlx_logging(false)
        .test_before_acquire(false);
    options
}

fn durable(sqlite: SqliteConnectOptions) -> SqliteConnectOptions {
    sqlite
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
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

fn in_use(error: sea_orm::DbErr) -> Error {
    match error.to_string().contains("locked") {
        true => Error::internal("somebody else uses it; stop the gateway first"),
        false => broken(error),
    }
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
