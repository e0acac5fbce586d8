//! A data folder with a secret in every sealed column, and what is done to it while no
//! gateway runs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use metagov::{config::Config, plugins, store::Keys};
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement, prelude::Uuid,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use wiremock::MockServer;

use super::{
    at_rest::{Vault, configured},
    vault,
};
use crate::{fakes, harness::PATIENCE};

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

pub(super) struct Stored {
    folder: TempDir,
    pub(super) slug: String,
    /// What the installation asks.
    pub(super) server: MockServer,
}

impl Stored {
    /// Of a gateway that has stopped.
    pub(super) async fn make() -> Self {
        let mut vault = Vault::open().await;
        vault.goes_wrong().await;
        let slug = vault.slug();
        let Vault {
            gateway, server, ..
        } = vault;
        let folder = gateway.stop().await;
        let stored = Self {
            folder,
            slug,
            server,
        };
        stored.until_closed().await;
        stored
    }

    /// A gateway that has stopped closes its database in the background.
    async fn until_closed(&self) {
        let until = Instant::now() + PATIENCE;
        while self.file("metagov.db-wal").exists() {
            assert!(Instant::now() < until, "the database stays open");
            // Two that close at the same time leave the log to whoever comes next.
            self.run("PRAGMA wal_checkpoint(TRUNCATE)").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    /// The settings of the gateway that made it.
    pub(super) fn config(&self) -> Config {
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: self.data(),
            ..Config::default()
        };
        configured(&mut config);
        config
    }

    /// Starts a gateway and lets it use slug and key; or why it does not start.
    pub(super) async fn opens_with(&self, config: Config) -> Result<(), String> {
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

    pub(super) async fn opens(&self) {
        self.opens_with(self.config()).await.unwrap();
    }

    pub(super) async fn refuses(&self, config: Config) -> String {
        let said = self.opens_with(config).await.expect_err("it starts");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }

    /// The key that is in a file.
    pub(super) fn keys(&self, name: &str) -> Keys {
        keys_of(&self.file(name))
    }

    pub(super) async fn database(&self) -> DatabaseConnection {
        let file = self.file("metagov.db");
        let url = format!("sqlite://{}", file.display());
        Database::connect(url).await.unwrap()
    }

    pub(super) async fn run(&self, sql: &str) -> u64 {
        let db = self.database().await;
        let done = db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
        done.rows_affected()
    }

    pub(super) async fn ask(&self, sql: &str) -> Vec<String> {
        let db = self.database().await;
        let query = Statement::from_string(db.get_database_backend(), sql);
        let rows = db.query_all_raw(query).await.unwrap();
        db.close().await.unwrap();
        rows.iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect()
    }

    /// Writes everything that is sealed in plain text, as a gateway of before did. Each
    /// column has something.
    pub(super) async fn unseal(&self) {
        let keys = self.keys("master.key");
        let db = self.database().await;
        for (table, column, names) in SEALED {
            let sql = format!("SELECT rowid, {}, {column} FROM {table}", names.join(", "));
            let query = Statement::from_string(db.get_database_backend(), sql);
            let mut some = column == "old_slug";
            for row in db.query_all_raw(query).await.unwrap() {
                let place: Vec<String> = names.iter().map(|name| named(&row, name)).collect();
                let Some(sealed) = row.try_get::<Option<String>>("", column).unwrap() else {
                    continue;
                };
                let plain = unsealed(&keys, &format!("{table}.{column}"), &place, &sealed);
                let rowid: i64 = row.try_get("", "rowid").unwrap();
                let sql = format!("UPDATE {table} SET {column} = ? WHERE rowid = ?");
                let values = [plain.into(), rowid.into()];
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

pub(super) fn keys_of(file: &Path) -> Keys {
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
