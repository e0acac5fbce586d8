//! The Postgres of a run, a database on it for a test, and a cluster of one's own.
//!
//! `tests/tools/postgres` makes clusters. The one of the run is that of
//! `METAGOV_TEST_POSTGRES_URL`; without it, as in a lone `cargo test`, this process makes
//! one. Databases are made and dropped by a runtime that outlives those of the tests.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use metagov::config::Config;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement, prelude::Uuid,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::PATIENCE;

const URL: &str = "METAGOV_TEST_POSTGRES_URL";

/// A database that a test has to itself.
pub(super) struct Own {
    url: String,
    /// Its name on the cluster of the run, from which it is dropped.
    name: Option<String>,
}

impl Own {
    /// On the cluster of the run, with the tables as they now are.
    pub(super) fn with_tables() -> Self {
        static TEMPLATE: OnceLock<Own> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let template = Self::empty();
            let config = Config {
                database_url: Some(template.url.clone()),
                ..Config::default()
            };
            SITE.wait(metagov::migrate(&config)).unwrap();
            template
        });
        Self::create(&format!("TEMPLATE {}", template.name()))
    }

    /// On the cluster of the run, without any table.
    pub(super) fn empty() -> Self {
        Self::create("")
    }

    /// One that whoever names it has made.
    pub(super) fn given(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            name: None,
        }
    }

    fn create(like: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}_{number}", SITE.prefix);
        SITE.run(&format!("CREATE DATABASE {name} {like}"));
        let mut url = SITE.url.clone();
        url.set_path(&name);
        Self {
            url: url.into(),
            name: Some(name),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Keeps a copy of it, while nobody uses it.
    pub(super) fn save(&self) {
        let name = self.name();
        // A server hears a moment later than its client that a connection is closed.
        let others = format!("SELECT 1 FROM pg_stat_activity WHERE datname = '{name}'");
        let until = Instant::now() + PATIENCE;
        while SITE.finds(&others) {
            assert!(Instant::now() < until, "somebody still uses {name}");
            std::thread::sleep(Duration::from_millis(20));
        }
        SITE.run(&format!("CREATE DATABASE {name}_saved TEMPLATE {name}"));
    }

    /// Has the copy in its place.
    pub(super) fn put_back(&self) {
        let name = self.name();
        SITE.run(&format!("DROP DATABASE {name} WITH (FORCE)"));
        SITE.run(&format!("ALTER DATABASE {name}_saved RENAME TO {name}"));
    }

    /// The statements that make it again as it is at one moment, also while it is used.
    pub(super) fn dump(&self) -> Vec<u8> {
        let dumped = tool().args(["dump", &self.url]).output().unwrap();
        assert!(dumped.status.success(), "{dumped:?}");
        dumped.stdout
    }

    fn name(&self) -> &str {
        self.name
            .as_deref()
            .expect("it is on the cluster of the run")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // A gateway that was not stopped may still be there.
            let sql = format!("DROP DATABASE {name} WITH (FORCE)");
            let dropped = SITE.wait(SITE.admin.execute_unprepared(&sql));
            // Why the test failed is the better message.
            assert!(dropped.is_ok() || thread::panicking(), "{dropped:?}");
        }
    }
}

/// The cluster of the run.
static SITE: LazyLock<Site> = LazyLock::new(Site::open);

struct Site {
    url: Url,
    /// What the names of this process's databases begin with, and the name of its
    /// connection: a database without such a connection was left by a run that was killed.
    prefix: String,
    runtime: Runtime,
    admin: DatabaseConnection,
    /// Ends with this process, since nothing drops it.
    _cluster: Option<Cluster>,
}

impl Site {
    fn open() -> Self {
        let given = std::env::var(URL).ok().filter(|url| !url.is_empty());
        let (url, cluster) = match given {
            Some(url) => (url, None),
            None => {
                let cluster = Cluster::start(&[]);
                (cluster.url().to_owned(), Some(cluster))
            }
        };
        let url = Url::parse(&url).unwrap_or_else(|error| panic!("{URL}: {error}"));
        let random = Uuid::new_v4().simple().to_string();
        let prefix = format!("metagov_test_{}", &random[..12]);
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let mut options = ConnectOptions::new(url.as_str());
        options.max_connections(1).sqlx_logging(false);
        // The driver's task that tidies pools can hang (`store/open.rs` says when).
        options.idle_timeout(None).max_lifetime(None);
        let admin = wait(&runtime, Database::connect(options));
        let admin = admin.unwrap_or_else(|error| panic!("{URL}: {error}"));
        let site = Self {
            url,
            prefix,
            runtime,
            admin,
            _cluster: cluster,
        };
        site.run(&format!("SET application_name = '{}'", site.prefix));
        site.sweep();
        site
    }

    /// Drops what runs that were killed have left.
    fn sweep(&self) {
        let left = "SELECT datname::text FROM pg_database WHERE datname LIKE 'metagov\\_test\\_%'
            AND NOT EXISTS (SELECT 1 FROM pg_stat_activity
                WHERE application_name LIKE 'metagov\\_test\\_%'
                AND starts_with(pg_database.datname, application_name || '_'))";
        let backend = self.admin.get_database_backend();
        let query = self
            .admin
            .query_all_raw(Statement::from_string(backend, left));
        for row in self.wait(query).unwrap() {
            let name: String = row.try_get_by_index(0).unwrap();
            // Another process may be quicker.
            self.run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }

    /// Whether a query finds a row.
    fn finds(&self, sql: &str) -> bool {
        let query = Statement::from_string(self.admin.get_database_backend(), sql);
        let found = self.wait(self.admin.query_one_raw(query));
        found.unwrap().is_some()
    }

    fn run(&self, sql: &str) {
        self.wait(self.admin.execute_unprepared(sql))
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn wait<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        wait(&self.runtime, work)
    }
}

/// Waits for work of another runtime, also inside of a test's own.
fn wait<T: Send>(runtime: &Runtime, work: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join()).unwrap()
}

/// A cluster that a test has to itself, to stop it, say.
pub(crate) struct Cluster {
    /// Holds it, until nothing more can come from this process.
    holder: Child,
    folder: PathBuf,
    url: String,
}

impl Cluster {
    /// Makes one with these settings, as in `ssl=on`, beside the usual ones.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let say = "echo \"$METAGOV_TEST_POSTGRES_FOLDER\"; exec cat > /dev/null";
        let mut holder = tool()
            .args(["run", "sh", "-c", say])
            .env_remove(URL)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let stdout = holder.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        assert!(!said.is_empty(), "there is no Postgres: see above");
        let folder = PathBuf::from(said.trim_end());
        let url = format!(
            "postgres://postgres@localhost/postgres?host={}",
            folder.display()
        );
        let cluster = Self {
            holder,
            folder,
            url,
        };
        if !settings.is_empty() {
            cluster.stop("fast");
            cluster.start_again(settings);
        }
        cluster
    }

    /// Of its database `postgres`, over a socket in its folder.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A file that only its server may read.
    pub(crate) fn give(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let mut own = Command::new("chown");
        own.arg("--reference").arg(&self.folder).arg(&file);
        assert!(own.status().unwrap().success(), "{own:?}");
        file
    }

    /// Stops it: `fast`, or `immediate` as a crash does.
    pub(crate) fn stop(&self, mode: &str) {
        self.tell("stop", &[mode]);
    }

    /// Starts it after a stop, from now on with these settings.
    pub(crate) fn start_again(&self, settings: &[&str]) {
        self.tell("start", settings);
    }

    fn tell(&self, verb: &str, more: &[&str]) {
        let mut told = tool();
        told.arg(verb).arg(&self.folder).args(more);
        assert!(told.status().unwrap().success(), "{told:?}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

fn tool() -> Command {
    Command::new(crate::root().join("tests/tools/postgres"))
}
