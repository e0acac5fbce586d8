//! Filling an empty database from a backup: all rows of it in one transaction, or none.
//!
//! The tables are made before, as they were in the file, and brought up to date after:
//! steps run in transactions of their own. What is cut off between is an empty database,
//! or one that the next start brings up to date.

use std::io::Read;

use metagov_migrations::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, TransactionTrait,
    prelude::Uuid,
    sea_query::{Expr, Query, SimpleExpr, Table as TableStatement},
};

use super::{
    super::{Settings, entity::feed, events, failed, master_key, open},
    BackupError, Counts, Progress, STEP,
    file::{Header, Piece, Reader, Section},
    tables,
};
use crate::error::Error;

/// How much goes into one statement: below the databases' limits of parameters, and
/// little enough to be held.
const MAX_ROWS: usize = 500;
const MAX_PARAMETERS: usize = 15_000;
const MAX_BYTES: usize = 4 << 20;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// How much.
    pub rows: Counts,
    /// The position of the last event.
    pub position: i64,
    /// What the feed is from now on.
    pub feed_id: Uuid,
    /// When the backup was begun, as it says.
    pub create_time: String,
}

/// Restores a file into a database that holds nothing and that nobody else uses. `open`
/// is called twice if it can give the file again: first all of it is read for whether it
/// is whole. Nothing is committed before its end was read.
pub async fn restore<R: Read + Send>(
    settings: &Settings,
    again: bool,
    open: impl Fn() -> std::io::Result<R>,
    progress: Progress<'_>,
) -> Result<Restored, BackupError> {
    let (mut header, mut file) = Reader::begin(open()?)?;
    if again {
        file.verify()?;
        (header, file) = Reader::begin(open()?)?;
    }
    let steps = steps(&header)?;
    master_key::matching(&settings.key, &header.master_key)?;
    let (db, _alone) = open::lone(settings).await?;
    prepare(&db, steps).await?;
    let tx = db.begin().await.map_err(failed)?;
    let rows = fill(&tx, &mut file, progress).await?;
    let feed_id = finish(&tx, &header).await?;
    tx.commit().await.map_err(failed)?;
    // From here on it may be served: whoever opens it would take these steps.
    Migrator::up(&db, None).await.map_err(failed)?;
    db.close().await.map_err(failed)?;
    Ok(Restored {
        rows,
        position: header.position,
        feed_id,
        create_time: header.create_time,
    })
}

/// How many of our steps the tables of the file have gone through.
fn steps(header: &Header) -> Result<u32, BackupError> {
    let ours = Migrator::migrations();
    let theirs = &header.migrations;
    let known = theirs.len() <= ours.len()
        && theirs
            .iter()
            .zip(&ours)
            .all(|(name, step)| name == step.name());
    match u32::try_from(theirs.len()) {
        Ok(steps) if known && steps > 0 => Ok(steps),
        _ => Err(BackupError::File(format!(
            "was written by a newer metagov, {}, with tables that this one does not know; restore it with that one",
            header.metagov
        ))),
    }
}

/// Makes the tables as they were in the file, in a database that holds no row.
async fn prepare(db: &DatabaseConnection, steps: u32) -> Result<(), BackupError> {
    Migrator::up(db, None).await.map_err(failed)?;
    let mut names: Vec<String> = tables::all()?.into_iter().map(|table| table.name).collect();
    let mut holding = Vec::new();
    for name in &names {
        let mut one = Query::select();
        one.expr(Expr::val(1)).from(name.clone()).limit(1);
        if db.query_one(&one).await.map_err(failed)?.is_some() {
            holding.push(name.as_str());
        }
    }
    if !holding.is_empty() {
        return Err(BackupError::Refused(format!(
            "it is not empty (there are rows in {}); restore into a new one, nothing was changed",
            holding.join(", ")
        )));
    }
    if steps as usize == Migrator::migrations().len() {
        return Ok(());
    }
    names.extend(tables::LEFT_OUT.map(str::to_owned));
    names.push(Migrator::migration_table_name().to_string());
    let tx = db.begin().await.map_err(failed)?;
    for name in names {
        let drop = TableStatement::drop().table(name).to_owned();
        tx.execute(&drop).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)?;
    Ok(Migrator::up(db, Some(steps)).await.map_err(failed)?)
}

async fn fill<R: Read>(
    tx: &DatabaseTransaction,
    file: &mut Reader<R>,
    progress: Progress<'_>,
) -> Result<Counts, BackupError> {
    let mut batch: Option<Batch> = None;
    loop {
        match (file.next()?, &mut batch) {
            (Piece::Section(section), last) => {
                if let Some(last) = last {
                    last.insert(tx).await?;
                    progress(&last.section.table, last.done);
                }
                batch = Some(Batch::of(section)?);
            }
            (Piece::Row(row), Some(batch)) => {
                if batch.take(row).is_none() {
                    return Err(BackupError::File(format!(
                        "is damaged: its line {} is no row of {}",
                        file.number(),
                        batch.section.table
                    )));
                }
                if batch.is_full() {
                    batch.insert(tx).await?;
                    if batch.done.is_multiple_of(STEP) {
                        progress(&batch.section.table, batch.done);
                    }
                }
            }
            (Piece::Row(_), None) => return Err(Error::internal("a row of no table").into()),
            (Piece::End(counts), last) => {
                if let Some(last) = last {
                    last.insert(tx).await?;
                    progress(&last.section.table, last.done);
                }
                return Ok(counts);
            }
        }
    }
}

/// Rows that wait to be written together.
struct Batch {
    section: Section,
    rows: Vec<Vec<SimpleExpr>>,
    bytes: usize,
    done: u64,
}

impl Batch {
    fn of(section: Section) -> Result<Self, BackupError> {
        // The steps that were taken are rows of no file.
        let of_ours = section.table != Migrator::migration_table_name().to_string();
        if section.columns.is_empty() || !of_ours {
            let why = format!("is damaged: {:?} is no table of metagov", section.table);
            return Err(BackupError::File(why));
        }
        Ok(Self {
            section,
            rows: Vec::new(),
            bytes: 0,
            done: 0,
        })
    }

    /// None if it is no row of this table.
    fn take(&mut self, row: Vec<sea_orm::JsonValue>) -> Option<()> {
        let columns = &self.section.columns;
        if row.len() != columns.len() {
            return None;
        }
        let mut values = Vec::with_capacity(row.len());
        for (column, value) in columns.iter().zip(row) {
            self.bytes += value.as_str().map_or(8, str::len);
            values.push(SimpleExpr::from(column.value(value)?));
        }
        self.rows.push(values);
        Some(())
    }

    fn is_full(&self) -> bool {
        let rows = self.rows.len();
        let full = rows * self.section.columns.len() >= MAX_PARAMETERS;
        full || rows >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    async fn insert(&mut self, tx: &DatabaseTransaction) -> Result<(), BackupError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        self.done += self.rows.len() as u64;
        let mut insert = Query::insert();
        let columns = self
            .section
            .columns
            .iter()
            .map(|column| column.name.clone());
        insert
            .into_table(self.section.table.clone())
            .columns(columns);
        for row in self.rows.drain(..) {
            insert.values(row).map_err(Error::internal)?;
        }
        let written = tx.execute(&insert).await.map(drop);
        written.map_err(|error| {
            let (table, error) = (&self.section.table, failed(error).to_string());
            let why = error.replacen("internal: ", "", 1);
            BackupError::Database(Error::internal(format!(
                "rows of {table} cannot be written, nothing was changed: {why}"
            )))
        })
    }
}

/// The feed is another from here on, and everything is as the header says.
async fn finish(tx: &DatabaseTransaction, header: &Header) -> Result<Uuid, BackupError> {
    let fingerprint = master_key::fingerprint(tx).await?;
    let feed = feed::Entity::find().one(tx).await.map_err(failed)?;
    let position = feed.map(|feed| feed.position);
    if position != Some(header.position) || fingerprint.as_ref() != Some(&header.master_key) {
        let why = "is damaged: its rows are not what its first line says";
        return Err(BackupError::File(why.to_owned()));
    }
    Ok(events::rename(tx).await?)
}
