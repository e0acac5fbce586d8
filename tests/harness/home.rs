//! Where a gateway keeps what it keeps: a folder and a database, both a test's own.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use metagov::config::Config;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, TryGetable};
use tempfile::TempDir;

use super::{PATIENCE, postgres};

/// The kinds of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// What this run of the tests is about: `METAGOV_TEST_DATABASE`, or else SQLite.
    pub(crate) fn of_this_run() -> Self {
        match std::env::var("METAGOV_TEST_DATABASE").as_deref() {
            Err(_) | Ok("" | "sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok(other) => panic!("METAGOV_TEST_DATABASE: {other:?} is neither sqlite nor postgres"),
        }
    }
}

/// A folder and a database; both are gone when it is dropped.
pub(crate) struct Home {
    kind: Kind,
    folder: TempDir,
    /// That of Postgres; SQLite's is a file in the data folder.
    database: Option<postgres::Own>,
    replicas: AtomicUsize,
}

impl Home {
    /// Of the kind that this run is about.
    pub(crate) fn new() -> Self {
        Self::on(Kind::of_this_run())
    }

    /// Of this kind, whatever the run is about.
    pub(crate) fn on(kind: Kind) -> Self {
        let database = (kind == Kind::Postgres).then(postgres::Own::with_tables);
        Self::with(kind, database)
    }

    /// With a database in which no table was made yet.
    pub(crate) fn bare() -> Self {
        Self::bare_on(Kind::of_this_run())
    }

    /// The same on this kind.
    pub(crate) fn bare_on(kind: Kind) -> Self {
        let database = (kind == Kind::Postgres).then(postgres::Own::empty);
        Self::with(kind, database)
    }

    /// On a database of Postgres that the test made, such as one on a [`Cluster`].
    ///
    /// [`Cluster`]: super::Cluster
    pub(crate) fn at(url: &str) -> Self {
        Self::with(Kind::Postgres, Some(postgres::Own::given(url)))
    }

    fn with(kind: Kind, database: Option<postgres::Own>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if database.is_some() {
            // On Postgres the master key must be given.
            let key = key_in(&folder);
            fs::write(&key, format!("{}\n", "5e".repeat(32))).unwrap();
            fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        }
        Self {
            kind,
            folder,
            database,
            replicas: AtomicUsize::new(0),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The folder around the data folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder, which a gateway makes.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A data folder for one more gateway on the database, which only Postgres allows.
    pub(super) fn another_data(&self) -> PathBuf {
        assert_eq!(self.kind, Kind::Postgres, "one gateway has its SQLite file");
        let number = self.replicas.fetch_add(1, Ordering::Relaxed);
        self.path().join(format!("data-{}", number + 2))
    }

    /// The URL of the database, if it is not the file in the data folder.
    pub(crate) fn database_url(&self) -> Option<&str> {
        self.database.as_ref().map(postgres::Own::url)
    }

    /// Where the master key is, if it is not kept in the data folder.
    pub(crate) fn master_key_file(&self) -> Option<PathBuf> {
        self.database.as_ref().map(|_| key_in(&self.folder))
    }

    /// Has a gateway live here.
    pub(crate) fn furnish(&self, config: &mut Config) {
        config.data_dir = self.data();
        config.database_url = self.database_url().map(ToOwned::to_owned);
        config.access.master_key_file = self.master_key_file();
    }

    /// The same for a command, by its variables.
    pub(crate) fn let_in<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("METAGOV_DATA_DIR", self.data());
        if let Some(url) = self.database_url() {
            command.env("METAGOV_DATABASE_URL", url);
        }
        if let Some(file) = self.master_key_file() {
            command.env("METAGOV_MASTER_KEY_FILE", file);
        }
        command
    }

    /// Keeps a copy of data folder and database as they are, while no gateway runs.
    pub(crate) fn save(&self) {
        copy(&self.data(), &self.path().join("saved"));
        if let Some(database) = &self.database {
            database.save();
        }
    }

    /// Has that copy in the place of what came later.
    pub(crate) fn put_back(&self) {
        fs::remove_dir_all(self.data()).unwrap();
        fs::rename(self.path().join("saved"), self.data()).unwrap();
        if let Some(database) = &self.database {
            database.put_back();
        }
    }

    /// The statements that make the database of Postgres again, also while it is used.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let database = self.database.as_ref().expect("it is on Postgres");
        database.dump()
    }

    /// Whatever a gateway has written down, by its place: the files of the data folder, but
    /// for those that hold a key or a token on purpose, and the rows of Postgres.
    pub(crate) async fn kept(&self) -> Vec<(String, Vec<u8>)> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(self.data()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("master.key") || name == "admin.token" {
                continue;
            }
            match fs::read(entry.path()) {
                // SQLite removes its log when it is closed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                bytes => kept.push((name, bytes.unwrap())),
            }
        }
        if self.kind == Kind::Postgres {
            let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
            for table in self.ask::<String>(tables).await {
                let rows = format!("SELECT \"{table}\"::text FROM \"{table}\"");
                let rows = self.ask::<String>(&rows).await.join("\n");
                kept.push((table, rows.into_bytes()));
            }
        }
        kept
    }

    /// A connection to the database beside those of the gateway.
    pub(crate) async fn database(&self) -> DatabaseConnection {
        let url = match self.database_url() {
            Some(url) => url.to_owned(),
            None => format!("sqlite://{}", self.data().join("metagov.db").display()),
        };
        let mut options = sea_orm::ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false);
        // The driver's task that tidies pools can hang (`store/open.rs` says when).
        options.idle_timeout(None).max_lifetime(None);
        Database::connect(options).await.unwrap()
    }

    /// Runs a statement; how many rows it changed.
    pub(crate) async fn run(&self, sql: &str) -> u64 {
        let database = self.database().await;
        let done = database.execute_unprepared(sql).await.unwrap();
        database.close().await.unwrap();
        done.rows_affected()
    }

    /// The first column of the rows that a query finds.
    pub(crate) async fn ask<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let database = self.database().await;
        let query = Statement::from_string(database.get_database_backend(), sql);
        let rows = database.query_all_raw(query).await.unwrap();
        database.close().await.unwrap();
        rows.iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect()
    }

    /// Until so many sessions of Postgres wait for a lock.
    pub(crate) async fn until_waiting(&self, many: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let until = Instant::now() + PATIENCE;
        while self.ask::<i64>(waiting).await != [many] {
            assert!(Instant::now() < until, "{many} do not wait for a lock");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn key_in(folder: &TempDir) -> PathBuf {
    folder.path().join("master.key")
}
