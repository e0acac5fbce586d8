//! Backups: everything that the database holds, in one file that any kind of database can
//! be made from again.
//!
//! [`save`] reads one snapshot, beside a gateway that serves: the file is a consistent
//! prefix of the log with the rows that belong to it. [`restore`] fills an empty database
//! in one transaction, so half of a backup is never served, and gives the feed a new id:
//! what happened after the backup is gone, and cursors of then must not be taken for
//! places of now. Secrets stay sealed on the way; the master key is not in the file.
//!
//! `tables.rs` lists what is kept, `file.rs` is the format.

mod file;
mod restore;
mod save;
mod tables;

use std::{fmt, io};

use super::OpenError;
use crate::error::Error;

pub use restore::{Restored, restore};
pub use save::{Saved, save};

/// Told of each table and how many of its rows are done so far.
pub type Progress<'a> = &'a mut (dyn FnMut(&str, u64) + Send);

/// After how many rows the progress is told.
const STEP: u64 = 10_000;

/// Why there is no backup, or why it was not restored. The texts are for the operator.
#[derive(Debug)]
pub enum BackupError {
    /// The file cannot be read or written, or is no whole backup: what is wrong.
    File(String),
    /// The database cannot be opened, read or written.
    Database(Error),
    /// The database is not one to back up, or to restore into: why, and the remedy.
    Refused(String),
    /// What is wrong with the master key, and the remedy.
    MasterKey(String),
}

impl From<Error> for BackupError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        Self::File(error.to_string())
    }
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Database(error) => Self::Database(error),
            OpenError::MasterKey(why) => Self::MasterKey(why),
        }
    }
}

/// How many rows of each table, in the order of the file.
#[derive(Debug, Default)]
pub struct Counts(Vec<(String, u64)>);

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.0.iter().map(|(_, rows)| rows).sum();
        let some = self.0.iter().filter(|(_, rows)| *rows > 0);
        let each: Vec<String> = some
            .map(|(table, rows)| format!("{table} {rows}"))
            .collect();
        write!(f, "{all} rows ({})", each.join(", "))
    }
}
