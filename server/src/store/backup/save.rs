//! Writing a backup from one snapshot of the database.

use std::io::Write;

use futures::StreamExt;
use metagov_migrations::{Migrator, MigratorTrait};
use sea_orm::{DatabaseTransaction, EntityTrait, Order, StreamTrait, sea_query::Query};

use super::{
    super::{Settings, entity::feed, failed, master_key, open},
    BackupError, Counts, Progress, STEP,
    file::{Header, Section, Writer},
    tables::{self, Table},
};

/// What is in a file that was written.
#[derive(Debug)]
pub struct Saved {
    /// How much.
    pub rows: Counts,
    /// The position of the last event.
    pub position: i64,
}

/// Writes everything that the database holds now. A gateway may go on serving it.
pub async fn save(
    settings: &Settings,
    output: impl Write + Send,
    progress: Progress<'_>,
) -> Result<Saved, BackupError> {
    let (db, snapshot) = open::snapshot(settings).await?;
    let header = header(&snapshot).await?;
    let mut writer = Writer::begin(output, &header)?;
    for table in tables::all()? {
        write(&snapshot, &table, &mut writer, progress).await?;
    }
    let rows = writer.end()?;
    snapshot.rollback().await.map_err(failed)?;
    db.close().await.map_err(failed)?;
    let position = header.position;
    Ok(Saved { rows, position })
}

async fn header(snapshot: &DatabaseTransaction) -> Result<Header, BackupError> {
    let all = Migrator::migrations();
    let applied = Migrator::get_applied_migrations_read_only(snapshot).await;
    let applied = applied.map_err(failed)?;
    if applied.is_empty() {
        return Err(nothing());
    }
    if applied.len() < all.len() {
        let why = "its tables are of an older metagov; back it up with the one that serves it, or run metagov migrate first";
        return Err(BackupError::Refused(why.to_owned()));
    }
    let feed = feed::Entity::find().one(snapshot).await.map_err(failed)?;
    let fingerprint = master_key::fingerprint(snapshot).await?;
    let (feed, fingerprint) = feed.zip(fingerprint).ok_or_else(nothing)?;
    let names = all.iter().map(|step| step.name().to_owned()).collect();
    Ok(Header::new(names, fingerprint, feed.position))
}

fn nothing() -> BackupError {
    BackupError::Refused("no gateway has ever served it, so there is nothing to back up".to_owned())
}

async fn write(
    snapshot: &DatabaseTransaction,
    table: &Table,
    writer: &mut Writer<impl Write + Send>,
    progress: Progress<'_>,
) -> Result<(), BackupError> {
    writer.section(&Section {
        table: table.name.clone(),
        columns: table.columns.clone(),
    })?;
    let mut select = Query::select();
    select.from(table.name.clone());
    for column in &table.columns {
        select.column(column.name.clone());
    }
    for column in &table.key {
        select.order_by(column.clone(), Order::Asc);
    }
    let mut rows = snapshot.stream(&select).await.map_err(failed)?;
    let mut done = 0;
    while let Some(row) = rows.next().await {
        done = writer.row(&table.read(&row.map_err(failed)?)?)?;
        if done.is_multiple_of(STEP) {
            progress(&table.name, done);
        }
    }
    progress(&table.name, done);
    Ok(())
}
