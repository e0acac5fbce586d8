//! Opening the database: connections, what is asserted of it, migrations.

use std::{
    fs::{File, TryLockError},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction,
    DbBackend, IsolationLevel, Statement, TransactionTrait,
    sqlx::{
        self, ConnectOptions as _, Connection as _, Error as SqlxError, Executor, Row,
        error::DatabaseError,
        sqlite::{
            SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode,
            SqliteSynchronous,
        },
    },
};

use super::{
    KeySource, OpenError, Store, UNTIDIED,
    clock::Clock,
    events, failed, master_key,
    operations::Connections,
    postgres::{self, Role, Turn},
    steps::up,
    wake::{self, Followed, Following, Head, Notify, Tell},
    writer::{Desk, Writer},
};
use crate::{
    error::{Error, Result},
    proof::{Bug, is},
};

/// The first SQLite whose write-ahead log two connections cannot corrupt.
const MIN_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// Connections of the writer's own on Postgres: the driver asks one whether it is well
/// after each use, and meanwhile the next change goes by the other.
const WRITERS: u32 = 2;
/// One looks where the log stands, one listens.
const WATCHERS: u32 = 2;

/// How many rows SQLite's thread has ready for whoever reads them, before it sleeps until
/// some are taken. With a page of the log it sleeps once a page.
const READ_AHEAD: usize = 1000;

/// How long to look for damage in a file at the start.
const LOOK_FOR: Duration = Duration::from_secs(2);

/// The mark in a file that still holds what was replaced (its `user_version`).
const UNSWEPT: i32 = 1;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `sqlite://path?mode=rwc` or `postgres://user@host/database`.
    pub url: String,
    /// How many connections read at the same time.
    pub readers: u32,
    /// How long to wait at the start for a Postgres that does not answer.
    pub wait: Duration,
    /// How often to look what other gateways have committed, besides being told.
    pub poll: Duration,
    /// How other gateways are told of commits, and heard.
    pub notify: Notify,
    /// What secrets are encrypted with.
    pub key: KeySource,
}

impl Store {
    /// Opens the database, brings its tables up to date, and encrypts what is not yet.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        match postgres::is_named_by(&settings.url) {
            true => Self::open_postgres(settings).await,
            false => Self::open_sqlite(settings).await,
        }
    }

    async fn open_sqlite(settings: &Settings) -> Result<Self, OpenError> {
        let file = take_file(settings)?;
        look_through(settings).await?;
        let writes = connect(settings, 1).await?;
        assert_durable(&writes).await?;
        up(&writes).await?;
        let keys = master_key::unlock(&writes, &settings.key).await?;
        sweep(&writes).await;
        let reads = connect(settings, settings.readers).await?;
        let head = Head::new(events::prepare(&writes).await?.position);
        let cache = Some(Arc::default());
        let clock = Clock::default();
        let writer = Writer::start(Desk {
            db: writes,
            keys: keys.clone(),
            clock: clock.clone(),
            head,
            cache: cache.clone(),
            following: None,
            tell: Tell::Nobody,
            file,
        })?;
        Ok(Self {
            reads,
            writer,
            cache,
            keys,
            clock,
        })
    }

    async fn open_postgres(settings: &Settings) -> Result<Self, OpenError> {
        let server = postgres::parse(&settings.url)?;
        // Several gateways may start at once: what is done once is done by one of them.
        let turn = postgres::take_turn(&server, settings.wait).await?;
        let first = postgres::pool(&server, Role::Migrates, 1);
        up(&first).await?;
        let keys = master_key::unlock(&first, &settings.key).await?;
        let feed = events::prepare(&first).await?;
        first.close().await.map_err(broken)?;
        let watches = postgres::pool(&server, Role::Watches, WATCHERS);
        let (position, time) = wake::look(&watches).await?;
        turn.end().await;
        let (head, clock) = (Head::new(position), Clock::of_database(time));
        let (following, tell) = Following::begin(
            watches,
            &settings.notify,
            Followed {
                feed: feed.id,
                poll: settings.poll,
                head: head.clone(),
                clock: clock.clone(),
            },
        )?;
        let writer = Writer::start(Desk {
            db: postgres::pool(&server, Role::Writes, WRITERS),
            keys: keys.clone(),
            clock: clock.clone(),
            head,
            cache: None,
            following: Some(following),
            tell,
            file: None,
        })?;
        Ok(Self {
            reads: postgres::pool(&server, Role::Reads, settings.readers),
            writer,
            cache: None,
            keys,
            clock,
        })
    }
}

/// Takes the file of a database for this process: two writers that know nothing of each
/// other would each believe what they have read. None if it is in memory.
fn take_file(settings: &Settings) -> Result<Option<File>> {
    let Some(named) = file_of(settings)? else {
        return Ok(None);
    };
    // As SQLite does it: whichever link leads to the file, it is one file.
    let path = std::fs::canonicalize(&named).unwrap_or(named);
    let mut beside = path.clone().into_os_string();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let unusable = |error: &dyn std::fmt::Display| {
        let beside = beside.display();
        Error::internal(format!("cannot write {beside}: {error}"))
    };
    let lock = File::create(&beside).map_err(|error| unusable(&error))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::Error(error)) => Err(unusable(&error)),
        Err(TryLockError::WouldBlock) => Err(Error::internal(format!(
            "another gateway uses {}; stop it first",
            path.display()
        ))),
    }
}

/// Looks for damage before anything is written. A large file is not read to its end: what
/// is damaged further on is found when it is read.
async fn look_through(settings: &Settings) -> Result<()> {
    let Some(path) = file_of(settings)? else {
        return Ok(());
    };
    if !std::fs::metadata(&path).is_ok_and(|found| found.len() > 0) {
        return Ok(());
    }
    let (shown, until) = (path.display().to_string(), Instant::now() + LOOK_FOR);
    let file = SqliteConnectOptions::new().filename(path).read_only(true);
    let looked = async {
        let mut file = file.connect().await?;
        let in_time = move || Instant::now() < until;
        file.lock_handle()
            .await?
            .set_progress_handler(10_000, in_time);
        let row = file.fetch_one("PRAGMA quick_check(1)").await?;
        file.close().await?;
        row.try_get::<String, _>(0)
    };
    let why = match looked.await {
        Ok(verdict) if verdict == "ok" => return Ok(()),
        Ok(fault) => fault,
        Err(SqlxError::Database(error)) if says_damaged(error.as_ref()) => error.to_string(),
        // It took too long, or cannot be used for another reason: opening it says which.
        Err(_) => return Ok(()),
    };
    let why = why.replace('\n', " ");
    Err(Error::internal(format!(
        "{shown} is damaged ({why}); nothing was written to it: restore it from a backup"
    )))
}

/// Its codes for a file that is not one of its own, or that contradicts itself.
fn says_damaged(error: &dyn DatabaseError) -> bool {
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| [11, 26].contains(&(code & 0xff)))
}

fn file_of(settings: &Settings) -> Result<Option<PathBuf>> {
    let options = SqliteConnectOptions::from_str(&settings.url);
    let options = options.map_err(|error| Error::internal(format!("the URL: {error}")))?;
    let path = options.get_filename();
    let in_memory = settings.url.contains(":memory:") || settings.url.contains("mode=memory");
    Ok((!in_memory).then(|| path.to_owned()))
}

/// Brings the tables up to date; the names of the steps that were taken.
pub async fn migrate(settings: &Settings) -> Result<Vec<String>> {
    if postgres::is_named_by(&settings.url) {
        return migrate_postgres(settings).await;
    }
    let _file = take_file(settings)?;
    look_through(settings).await?;
    let db = connect(settings, 1).await?;
    assert_durable(&db).await?;
    let steps = up(&db).await?;
    db.close().await.map_err(broken)?;
    Ok(steps)
}

/// A transaction that reads everything as it was at one moment, beside whoever writes.
/// The database must be there.
pub(super) async fn snapshot(
    settings: &Settings,
) -> Result<(DatabaseConnection, DatabaseTransaction)> {
    if postgres::is_named_by(&settings.url) {
        let server = postgres::parse(&settings.url)?;
        // A backup takes as long as it takes: no statement of it is cut short.
        let db = postgres::pool(&server, Role::Migrates, 1);
        let level = Some(IsolationLevel::RepeatableRead);
        let snapshot = db.begin_with_config(level, Some(AccessMode::ReadOnly));
        let snapshot = snapshot.await.map_err(broken)?;
        return Ok((db, snapshot));
    }
    let mut options = options(settings, 1);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(false)
            .busy_timeout(Duration::from_secs(10))
    });
    let db = Database::connect(options).await.map_err(broken)?;
    // Its transactions are snapshots, and know no levels.
    let snapshot = db.begin().await.map_err(broken)?;
    Ok((db, snapshot))
}

async fn migrate_postgres(settings: &Settings) -> Result<Vec<String>> {
    let server = postgres::parse(&settings.url)?;
    let turn = postgres::take_turn(&server, settings.wait).await?;
    let db = postgres::pool(&server, Role::Migrates, 1);
    let steps = up(&db).await?;
    db.close().await.map_err(broken)?;
    turn.end().await;
    Ok(steps)
}

/// What keeps others from a database while it is had alone.
pub(super) struct Alone {
    _file: Option<File>,
    _turn: Option<Turn>,
}

/// A connection that no other stands beside, with the tables up to date.
pub(super) async fn alone(settings: &Settings) -> Result<(DatabaseConnection, Alone)> {
    let (db, alone) = lone(settings).await?;
    up(&db).await?;
    Ok((db, alone))
}

/// A connection that no other stands beside. It is refused while anybody else uses the
/// database.
pub(super) async fn lone(settings: &Settings) -> Result<(DatabaseConnection, Alone)> {
    if postgres::is_named_by(&settings.url) {
        return lone_on_postgres(settings).await;
    }
    let _file = take_file(settings)?;
    look_through(settings).await?;
    let mut options = options(settings, 1);
    options.map_sqlx_sqlite_opts(|sqlite| {
        durable(sqlite)
            .busy_timeout(Duration::from_secs(1))
            .locking_mode(SqliteLockingMode::Exclusive)
    });
    let db = Database::connect(options).await.map_err(in_use)?;
    assert_durable(&db).await?;
    Ok((db, Alone { _file, _turn: None }))
}

async fn lone_on_postgres(settings: &Settings) -> Result<(DatabaseConnection, Alone)> {
    let server = postgres::parse(&settings.url)?;
    let mut turn = postgres::take_turn(&server, settings.wait).await?;
    if !turn.is_alone().await? {
        return Err(Error::internal(
            "somebody else uses it; stop all its gateways first",
        ));
    }
    let db = postgres::pool(&server, Role::Migrates, 1);
    let (_file, _turn) = (None, Some(turn));
    Ok((db, Alone { _file, _turn }))
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

/// How many connections a pool has, and how many of them wait for work.
pub(super) fn connections(db: &DatabaseConnection) -> Connections {
    let (size, idle, max) = match db.get_database_backend() {
        DbBackend::Sqlite => {
            let pool = db.get_sqlite_connection_pool();
            let max = pool.options().get_max_connections();
            (pool.size(), pool.num_idle(), max)
        }
        _ => {
            let pool = db.get_postgres_connection_pool();
            let max = pool.options().get_max_connections();
            (pool.size(), pool.num_idle(), max)
        }
    };
    let idle = u32::try_from(idle).unwrap_or(size);
    let used = size.saturating_sub(idle);
    Connections { used, idle, max }
}

async fn connect(settings: &Settings, connections: u32) -> Result<DatabaseConnection> {
    let mut options = options(settings, connections);
    options.map_sqlx_sqlite_opts(|sqlite| {
        durable(sqlite)
            .busy_timeout(Duration::from_secs(10))
            .row_buffer_size(READ_AHEAD)
    });
    options.map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|it, _| is_at_rest(it).boxed()));
    Database::connect(options).await.map_err(broken)
}

/// Whether a connection is in no transaction, so that it may be used again. When a disk is
/// full SQLite may end a transaction by itself; then the driver's ROLLBACK fails, and it
/// counts one too many for ever: what it takes for a COMMIT would commit nothing.
async fn is_at_rest(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // Its rollback may be under way.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction() || is(Bug::KeepConnection))
}

fn options(settings: &Settings, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(&settings.url);
    options
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(UNTIDIED)
        .max_lifetime(UNTIDIED)
        .sqlx_logging(false)
        .test_before_acquire(false);
    options
}

fn durable(sqlite: SqliteConnectOptions) -> SqliteConnectOptions {
    sqlite
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match is(Bug::LazySync) {
            true => SqliteSynchronous::Normal,
            false => SqliteSynchronous::Full,
        })
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
    let is_full = synchronous == 2 || is(Bug::LazySync);
    if journal != "wal" || !is_full {
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

pub(super) fn broken(error: sea_orm::DbErr) -> Error {
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
