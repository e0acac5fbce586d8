//! A data folder with a secret in every sealed column, and what is done to it while no
//! gateway runs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use metagov::{config::Config, plugins, store::Keys};
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Statement, prelude::Uuid};
use serde_json::{Map, Value, json};
use wiremock::MockServer;

use super::{
    at_rest::{Vault, configured},
    canary::found,
    vault,
};
use crate::{
    fakes,
    harness::{Home, Kind, PATIENCE},
};

/// What is sealed, with what names its row. As `store/sealed.rs` has it, by another hand.
const SEALED: [(&str, &str, &[&str]); 9] = [
    ("installation", "secrets", &["community_id", "id"]),
    ("installation", "slug", &["community_id", "id"]),
    ("installation", "old_slug", &["community_id", "id"]),
    ("installation_state", "value", &["installation_id", "key"]),
    ("delivery", "hook", &["id"]),
    ("fetch", "what", &["id"]),
    ("process", "private", &["id"]),
    ("request", "digest", &["principal", "request_id"]),
    ("request", "answer", &["principal", "request_id"]),
];

pub(crate) struct Stored {
    home: Arc<Home>,
    pub(crate) slug: String,
    /// What the installation asks.
    pub(crate) server: MockServer,
}

impl Stored {
    /// Of a gateway that has stopped; in a file.
    pub(crate) async fn make() -> Self {
        Self::make_in(Home::on(Kind::Sqlite)).await
    }

    /// The same on the database that this run is about.
    pub(crate) async fn make_anywhere() -> Self {
        Self::make_in(Home::new()).await
    }

    async fn make_in(home: Home) -> Self {
        let mut vault = Vault::open_in(home).await;
        vault.goes_wrong().await;
        let slug = vault.slug();
        let Vault {
            gateway, server, ..
        } = vault;
        let home = gateway.stop().await;
        let stored = Self { home, slug, server };
        stored.until_closed().await;
        stored
    }

    /// A gateway that has stopped closes its database in the background.
    async fn until_closed(&self) {
        if self.home.kind() == Kind::Postgres {
            return;
        }
        let until = Instant::now() + PATIENCE;
        while self.file("metagov.db-wal").exists() {
            assert!(Instant::now() < until, "the database stays open");
            // Two that close at the same time leave the log to whoever comes next.
            self.run("PRAGMA wal_checkpoint(TRUNCATE)").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.data()
    }

    /// Where its master key is.
    pub(crate) fn key_file(&self) -> PathBuf {
        let given = self.home.master_key_file();
        given.unwrap_or_else(|| self.file("master.key"))
    }

    /// Which of these are written down in plain text.
    pub(crate) async fn holds<'a>(&self, secrets: &[&'a str]) -> Vec<&'a str> {
        let kept = self.home.kept().await;
        let held = |secret: &&str| {
            kept.iter()
                .any(|(_, bytes)| !found(bytes, &[secret]).is_empty())
        };
        secrets.iter().copied().filter(held).collect()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    /// The settings of the gateway that made it.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_listen: "127.0.0.1:0".parse().unwrap(),
            ..Config::default()
        };
        self.home.furnish(&mut config);
        configured(&mut config);
        config
    }

    /// Starts a gateway and lets it use slug and key; or why it does not start.
    pub(crate) async fn opens_with(&self, config: Config) -> Result<(), String> {
        let all = plugins::all().into_iter().chain([vault::plugin()]);
        let running = metagov::run(config, all.collect()).await;
        let running = running.map_err(|error| error.to_string())?;
        let address = format!("http://{}/api/hooks/a/vault/{}", running.public, self.slug);
        let letter = json!({"do": "refuse"}).to_string();
        let answer = fakes::http().post(address).body(letter).send().await;
        let said = answer.unwrap().text().await.unwrap();
        running.stop().await.unwrap();
        self.until_closed().await;
        // It was the key that is masked here.
        assert!(said.contains("the letter has the wrong [secret]"), "{said}");
        Ok(())
    }

    pub(crate) async fn opens(&self) {
        self.opens_with(self.config()).await.unwrap();
    }

    pub(crate) async fn refuses(&self, config: Config) -> String {
        let said = self.opens_with(config).await.expect_err("it starts");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }

    /// The key that is in a file.
    pub(crate) fn keys(&self, name: &str) -> Keys {
        keys_of(&self.file(name))
    }

    pub(crate) async fn database(&self) -> DatabaseConnection {
        self.home.database().await
    }

    pub(crate) async fn run(&self, sql: &str) -> u64 {
        self.home.run(sql).await
    }

    pub(crate) async fn ask(&self, sql: &str) -> Vec<String> {
        self.home.ask(sql).await
    }

    /// Writes everything that is sealed in plain text, as a gateway of before did. Each
    /// column has something.
    pub(crate) async fn unseal(&self) {
        let keys = keys_of(&self.key_file());
        let db = self.database().await;
        for (table, column, names) in SEALED {
            let sql = format!("SELECT {}, {column} FROM \"{table}\"", names.join(", "));
            let query = Statement::from_string(db.get_database_backend(), sql);
            let mut some = column == "old_slug";
            for row in db.query_all_raw(query).await.unwrap() {
                let place: Vec<String> = names.iter().map(|name| named(&row, name)).collect();
                let Some(sealed) = row.try_get::<Option<String>>("", column).unwrap() else {
                    continue;
                };
                let plain = unsealed(&keys, &format!("{table}.{column}"), &place, &sealed);
                let sealed = sealed.replace('\'', "''");
                let sql =
                    format!("UPDATE \"{table}\" SET {column} = $1 WHERE {column} = '{sealed}'");
                let values = [plain.into()];
                let update = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
                db.execute_raw(update).await.unwrap();
                some = true;
            }
            assert!(some, "{table}.{column} holds nothing");
        }
        db.execute_unprepared("DELETE FROM master_key")
            .await
            .unwrap();
        db.close().await.unwrap();
    }
}

pub(crate) fn keys_of(file: &Path) -> Keys {
    Keys::from_hex(&fs::read_to_string(file).unwrap()).expect("64 hex digits")
}

fn named(row: &QueryResult, name: &str) -> String {
    let is_uuid = name == "id" || name == "installation_id";
    match is_uuid {
        true => row.try_get::<Uuid>("", name).unwrap().to_string(),
        false => row.try_get("", name).unwrap(),
    }
}

fn unsealed(keys: &Keys, column: &str, row: &[String], sealed: &str) -> String {
    let open = |more: &[&str], sealed: &str| {
        let row = row.iter().map(String::as_str);
        let place: Vec<&str> = [column]
            .into_iter()
            .chain(row)
            .chain(more.iter().copied())
            .collect();
        keys.open_text(&place, sealed).unwrap().to_string()
    };
    if column != "installation.secrets" {
        return open(&[], sealed);
    }
    let secrets: Map<String, Value> = serde_json::from_str(sealed).unwrap();
    let each = secrets.into_iter().map(|(name, sealed)| {
        let plain = open(&[&name], sealed.as_str().unwrap());
        (name, serde_json::from_str(&plain).unwrap())
    });
    json!(each.collect::<Map<String, Value>>()).to_string()
}
