//! A backup as its bytes are: unpacked by another hand, and written anew to be wrong.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{backup, of_vault};

/// Its lines.
pub(super) struct Lines(pub(super) Vec<Value>);

impl Lines {
    pub(super) fn of(file: &Path) -> Self {
        let mut text = String::new();
        let mut gzip = GzDecoder::new(fs::File::open(file).unwrap());
        gzip.read_to_string(&mut text).unwrap();
        Self(
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        )
    }

    pub(super) fn text(&self) -> String {
        let lines = self.0.iter().map(|line| format!("{line}\n"));
        lines.collect()
    }

    pub(super) fn tables(&self) -> Vec<String> {
        let tables = self.0.iter().filter_map(|line| line["table"].as_str());
        tables.map(str::to_owned).collect()
    }

    pub(super) fn columns(&self, table: &str) -> Vec<String> {
        let section = self.0.iter().find(|line| line["table"] == table).unwrap();
        let columns = section["columns"].as_array().unwrap().iter();
        columns
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(super) fn rows(&self, table: &str) -> Vec<Value> {
        let after = self
            .0
            .iter()
            .skip_while(|line| line["table"] != table)
            .skip(1);
        after.take_while(|line| line.is_array()).cloned().collect()
    }

    /// One column of all rows.
    pub(super) fn column(&self, table: &str, column: &str) -> Vec<Value> {
        let at = self.columns(table).iter().position(|name| name == column);
        let at = at.unwrap();
        self.rows(table).iter().map(|row| row[at].clone()).collect()
    }

    /// Written as a backup is, with an end that fits.
    pub(super) fn write(&mut self, file: &Path) {
        let end = self.0.pop().unwrap();
        assert!(end["sha256"].is_string());
        // In the order of the file, as the gateway does.
        let mut rows: Vec<(String, usize)> = Vec::new();
        for line in &self.0[1..] {
            match line["table"].as_str() {
                Some(table) => rows.push((table.to_owned(), 0)),
                None => rows.last_mut().unwrap().1 += 1,
            }
        }
        let rows: serde_json::Map<String, Value> = rows
            .into_iter()
            .map(|(table, rows)| (table, json!(rows)))
            .collect();
        let sha256 = hex::encode(Sha256::digest(self.text()));
        self.0.push(json!({"rows": rows, "sha256": sha256}));
        let mut gzip = GzEncoder::new(fs::File::create(file).unwrap(), Compression::fast());
        gzip.write_all(self.text().as_bytes()).unwrap();
        gzip.finish().unwrap();
    }
}

/// A table or a column that comes later cannot be forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_every_table_is_in_the_file() {
    let (stored, _folder, file) = of_vault().await;
    let lines = Lines::of(&file);
    let db = Database::connect(format!("sqlite://{}", stored.file("metagov.db").display()));
    let db = db.await.unwrap();
    let ask = async |sql: String| {
        let query = Statement::from_string(DbBackend::Sqlite, sql);
        let rows = db.query_all_raw(query).await.unwrap();
        let names = rows.iter().map(|row| row.try_get("", "name").unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let mut kept = lines.tables();
    kept.sort();
    // What is of the processes that serve, and of the migrations themselves.
    let others = ["replica", "turn", "seaql_migrations"];
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table'".to_owned();
    let mut tables = ask(tables).await;
    tables.retain(|name| !others.contains(&name.as_str()));
    assert_eq!(kept, tables);
    for table in tables {
        let mut columns = lines.columns(&table);
        columns.sort();
        let made = ask(format!("SELECT name FROM pragma_table_info('{table}')")).await;
        // A claim is of a process that serves.
        let lasting = made.into_iter().filter(|name| !name.contains("claim"));
        assert_eq!(columns, lasting.collect::<Vec<_>>(), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_for_its_owner_and_nothing_else_is_left() {
    let (stored, folder, file) = of_vault().await;
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A draft that a kill left behind is in nobody's way.
    let draft = folder.path().join("second.partial");
    fs::write(&draft, "left behind, and longer than nothing").unwrap();
    backup(&stored.config(), &folder.path().join("second"))
        .await
        .unwrap();
    assert!(!draft.exists());
    let mut elsewhere = stored.config();
    elsewhere.data_dir = folder.path().join("nowhere");
    let third = folder.path().join("third");
    let said = backup(&elsewhere, &third).await.unwrap_err();
    assert!(
        said.starts_with("--data-dir (METAGOV_DATA_DIR): "),
        "{said}"
    );
    assert!(!elsewhere.data_dir.exists(), "a backup makes no database");
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["metagov.backup", "second"]);
}
