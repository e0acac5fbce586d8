//! The databases that gateways are measured on.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tempfile::TempDir;

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

/// A database of its own, of either kind.
pub(crate) struct Base {
    folder: TempDir,
    /// On which server, and where there; none is SQLite in the folder.
    postgres: Option<String>,
}

impl Base {
    /// A file.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            folder,
            postgres: None,
        }
    }

    /// A new database on the server of `METAGOV_TEST_POSTGRES_URL`, if that is set.
    pub(crate) async fn postgres() -> Option<Self> {
        let server = std::env::var("METAGOV_TEST_POSTGRES_URL").ok()?;
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("master.key");
        std::fs::write(&key, "2b".repeat(32)).expect("a file");
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("a file");
        let name = format!("bench_{}", hex::encode(uuid_like()));
        let admin = Database::connect(&server).await.expect("the server");
        let create = format!("CREATE DATABASE {name}");
        admin.execute_unprepared(&create).await.expect("a database");
        let mut url = url::Url::parse(&server).expect("an address");
        url.set_path(&name);
        Some(Self {
            folder,
            postgres: Some(url.into()),
        })
    }

    /// What it is called in what is printed.
    pub(crate) fn name(&self) -> &'static str {
        match self.postgres {
            Some(_) => "Postgres",
            None => "SQLite",
        }
    }

    /// The data folder of a gateway on it.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// How a gateway is told of it.
    pub(super) fn flags(&self) -> Vec<String> {
        let Some(url) = &self.postgres else {
            return Vec::new();
        };
        let key = self.folder.path().join("master.key");
        let key = key.to_str().expect("a path").to_owned();
        let flags = ["--database-url", url, "--master-key-file", &key];
        flags.map(str::to_owned).to_vec()
    }

    /// Backs it up: how long that took, and how large the file is, in bytes.
    pub(crate) fn backup(&self) -> (Duration, u64) {
        let file = self.folder.path().join("backup");
        let mut command = super::gateway();
        command
            .arg("backup")
            .arg(&file)
            .arg("--data-dir")
            .arg(self.data());
        let begin = Instant::now();
        let done = command.args(self.flags()).output().expect("the program");
        assert!(done.status.success(), "{done:?}");
        let size = std::fs::metadata(&file).expect("the backup").len();
        std::fs::remove_file(file).expect("the backup");
        (begin.elapsed(), size)
    }

    /// Makes the log this long, with copies of its last event. No gateway may run.
    pub(crate) async fn fill(&self, events: u64) {
        let db = self.connect().await;
        let (numbers, id) = match self.postgres {
            Some(_) => (
                format!("SELECT generate_series(first.position + 1, {events}) AS position"),
                "gen_random_uuid()",
            ),
            None => (
                format!(
                    "WITH RECURSIVE n(position) AS (SELECT position + 1 FROM first UNION ALL \
                     SELECT position + 1 FROM n WHERE position < {events}) SELECT position FROM n"
                ),
                "randomblob(16)",
            ),
        };
        let from = match self.postgres {
            Some(_) => format!("first, LATERAL ({numbers}) AS numbers"),
            None => format!("first, ({numbers}) AS numbers"),
        };
        let insert = format!(
            "WITH first AS (SELECT * FROM event ORDER BY position DESC LIMIT 1) \
             INSERT INTO event (position, event_id, community_id, record_time, ends, payload) \
             SELECT numbers.position, {id}, first.community_id, first.record_time, first.ends, \
             first.payload FROM {from}"
        );
        db.execute_unprepared(&insert).await.expect("events");
        let count = format!("UPDATE feed SET position = {events}");
        db.execute_unprepared(&count).await.expect("the counter");
        db.close().await.expect("the end");
    }

    async fn connect(&self) -> DatabaseConnection {
        let file = self.data().join("metagov.db");
        let url = self.postgres.clone();
        let url = url.unwrap_or_else(|| format!("sqlite://{}", file.display()));
        Database::connect(url).await.expect("the database")
    }
}

/// Enough chance for a name.
fn uuid_like() -> [u8; 8] {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (now.expect("after 1970").as_nanos() as u64).to_be_bytes()
}
