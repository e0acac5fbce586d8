//! The master key: where it comes from, that it is the one the database knows, and how it
//! is exchanged.
//!
//! Its fingerprint is a row. A database without that row is new, or of before: its key is
//! taken as it is, and what is plain is encrypted with it. A file of our own is written
//! whole and to the disk before anything is encrypted with it, and none is ever deleted:
//! at every moment of a [`rekey`] the key that the database needs is in a file.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, EntityTrait, IntoActiveModel, TransactionTrait,
};
use zeroize::Zeroizing;

use super::{Keys, MasterKey, Settings, entity::master_key, failed, open, seal::is_sealed, sealed};
use crate::{
    error::{Error, Result},
    folder::{sync, write_private},
    model::Time,
};

/// How many damaged rows are named at most.
const MAX_NAMED: usize = 20;

/// Where the master key is.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// It was given.
    Given(Keys),
    /// In this file, which must be there.
    File(PathBuf),
    /// In this file of our own: made with the database, exchanged by [`rekey`].
    Own(PathBuf),
    /// Nobody said where.
    Nowhere,
}

/// Why a database is not opened. The texts are for the operator.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot be read, or written.
    Database(Error),
    /// What is wrong with the master key, and the remedy.
    MasterKey(String),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// The keys for a database: those it knows, or its first.
pub(super) async fn unlock(db: &DatabaseConnection, source: &KeySource) -> Result<Keys, OpenError> {
    let known = fingerprint(db).await?;
    let keys = source.keys(known.as_deref())?;
    match known {
        Some(known) if known == keys.fingerprint() => {}
        Some(known) => return Err(another(&known)),
        None => encrypt(db, &keys).await?,
    }
    Ok(keys)
}

/// What [`rekey`] did.
#[derive(Debug)]
pub struct Rekeyed {
    /// How many rows were changed.
    pub rows: u64,
    /// Where the key of before is, if its file is our own.
    pub kept: Option<PathBuf>,
}

/// Encrypts everything anew, with this master key or with a new one in our own file, in
/// one transaction. Nobody else may use the database.
pub async fn rekey(settings: &Settings, new: Option<&Keys>) -> Result<Rekeyed, OpenError> {
    let (db, _alone) = open::alone(settings).await?;
    // First, since it may need the next key of a rekey that was cut off.
    let old = unlock(&db, &settings.key).await?;
    let (new, own) = match (new, &settings.key) {
        (Some(new), _) => (new.clone(), None),
        (None, KeySource::Own(path)) => (new_key(&next_to(path))?, Some(path)),
        (None, _) => return Err(Error::internal("there is no new master key").into()),
    };
    if old.fingerprint() == new.fingerprint() {
        let why = "the new key is the present one; make another with: openssl rand -hex 32";
        return Err(OpenError::MasterKey(why.to_owned()));
    }
    let change = |place: &[&str], text: &str| new.seal(place, &old.open(place, text)?);
    let rows = change_all(&db, &new, &change).await?;
    // It is done; what follows can only fail to tidy up.
    open::sweep(&db).await;
    _ = db.close().await;
    let kept = own.map(|path| exchange(path)).transpose()?.flatten();
    Ok(Rekeyed { rows, kept })
}

/// A database of before, or a new one: what is plain is encrypted.
async fn encrypt(db: &DatabaseConnection, keys: &Keys) -> Result<(), OpenError> {
    let change = |place: &[&str], text: &str| match is_sealed(text) {
        true => keys.open(place, text).map(|_| text.to_owned()),
        false => keys.seal(place, text.as_bytes()),
    };
    change_all(db, keys, &change).await?;
    Ok(())
}

async fn change_all(
    db: &DatabaseConnection,
    new: &Keys,
    change: sealed::Change<'_>,
) -> Result<u64, OpenError> {
    let tx = db.begin().await.map_err(failed)?;
    let done = sealed::change_all(&tx, change).await?;
    if !done.faults.is_empty() {
        tx.rollback().await.map_err(failed)?;
        return Err(damaged(&done.faults));
    }
    let delete = master_key::Entity::delete_many();
    delete.exec(&tx).await.map_err(failed)?;
    let row = master_key::Model {
        fingerprint: new.fingerprint().to_owned(),
        create_time: Time::now().0,
    };
    let insert = master_key::Entity::insert(row.into_active_model());
    insert.exec_without_returning(&tx).await.map_err(failed)?;
    if done.rows > 0 {
        open::must_sweep(&tx).await?;
    }
    tx.commit().await.map_err(failed)?;
    Ok(done.rows)
}

pub(super) async fn fingerprint(db: &impl ConnectionTrait) -> Result<Option<String>> {
    let rows = master_key::Entity::find().all(db).await.map_err(failed)?;
    match rows.as_slice() {
        [] => Ok(None),
        [row] => Ok(Some(row.fingerprint.clone())),
        _ => Err(Error::internal("master_key has more than one row")),
    }
}

impl KeySource {
    fn keys(&self, known: Option<&str>) -> Result<Keys, OpenError> {
        match self {
            Self::Given(keys) => Ok(keys.clone()),
            Self::File(path) => read_key(path)?.ok_or_else(|| missing(path)),
            Self::Own(path) => own(path, known),
            Self::Nowhere => Err(OpenError::MasterKey(
                "is needed with this database; name a file with the same key for all its gateways (make one with: openssl rand -hex 32)".to_owned(),
            )),
        }
    }
}

/// Whether this is the key with that fingerprint, which a backup needs.
pub(super) fn matching(source: &KeySource, fingerprint: &str) -> Result<(), OpenError> {
    let (present, remedy) = match source {
        KeySource::Given(keys) => (Some(keys.clone()), "give that one".to_owned()),
        KeySource::File(path) => (read_key(path)?, format!("put it into {}", path.display())),
        KeySource::Own(path) => (
            read_key(path)?,
            format!("copy its file to {}, or name it here", path.display()),
        ),
        KeySource::Nowhere => (None, "name its file here".to_owned()),
    };
    if present.is_some_and(|keys| keys.fingerprint() == fingerprint) {
        return Ok(());
    }
    let known = fingerprint.get(..8).unwrap_or(fingerprint);
    Err(OpenError::MasterKey(format!(
        "the backup is encrypted with the key whose fingerprint begins with {known}; {remedy}"
    )))
}

/// The key of our own file. It is made only if no database needs it yet; a rekey that was
/// cut off after its commit is brought to its end.
fn own(path: &Path, known: Option<&str>) -> Result<Keys, OpenError> {
    let present = read_key(path)?;
    let Some(known) = known else {
        return present.map_or_else(|| new_key(path), Ok);
    };
    if let Some(keys) = present.iter().find(|keys| keys.fingerprint() == known) {
        return Ok(keys.clone());
    }
    let next = read_key(&next_to(path))?.filter(|keys| keys.fingerprint() == known);
    if let Some(keys) = next {
        exchange(path)?;
        return Ok(keys);
    }
    present.ok_or_else(|| missing(path))
}

/// Puts the next key in place of the present one, which stays under another name: copies
/// of the database from before need it. Where it is then.
fn exchange(path: &Path) -> Result<Option<PathBuf>, OpenError> {
    let broken = |error| unusable(path, "cannot be exchanged", &error);
    let kept = match read_key(path)? {
        None => None,
        Some(present) => {
            let kept = beside(path, &format!("old-{}", present.id()));
            let text = Zeroizing::new(fs::read_to_string(path).map_err(broken)?);
            write_private(&kept, &text).map_err(broken)?;
            Some(kept)
        }
    };
    fs::rename(next_to(path), path).map_err(broken)?;
    sync(path).map_err(broken)?;
    Ok(kept)
}

/// The keys of a file; none if it is not there.
pub fn read_key(path: &Path) -> Result<Option<Keys>, OpenError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, "cannot be read", &error)),
    };
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o007 != 0) {
        let path = path.display();
        tracing::warn!("every user of this machine may read the master key; chmod o= {path}");
    }
    let keys = Keys::from_hex(&text).ok_or_else(|| {
        let path = path.display();
        OpenError::MasterKey(format!(
            "{path} does not hold 64 hex digits; put back the right file (a new key is made with: openssl rand -hex 32)"
        ))
    })?;
    Ok(Some(keys))
}

fn new_key(path: &Path) -> Result<Keys, OpenError> {
    let master = MasterKey::new(rand::random());
    let mut text = Zeroizing::new(hex::encode(*master));
    text.push('\n');
    write_private(path, &text).map_err(|error| unusable(path, "cannot be written", &error))?;
    Ok(Keys::new(&master))
}

fn next_to(path: &Path) -> PathBuf {
    beside(path, "next")
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{end}"));
    name.into()
}

fn missing(path: &Path) -> OpenError {
    let path = path.display();
    OpenError::MasterKey(format!(
        "{path} is missing; put back the key that the database is encrypted with (for a new database make one with: openssl rand -hex 32)"
    ))
}

fn another(known: &str) -> OpenError {
    let known = known.get(..8).unwrap_or(known);
    OpenError::MasterKey(format!(
        "the database is encrypted with another key, whose fingerprint begins with {known}; give that one"
    ))
}

fn unusable(path: &Path, what: &str, error: &io::Error) -> OpenError {
    let path = path.display();
    OpenError::MasterKey(format!(
        "{path} {what}: {error}; make it a file that this user may use"
    ))
}

fn damaged(faults: &[String]) -> OpenError {
    let named: Vec<&str> = faults
        .iter()
        .take(MAX_NAMED)
        .map(|fault| fault.trim_start_matches("internal: "))
        .collect();
    let more = match faults.len() - named.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let named = named.join("; ");
    OpenError::Database(Error::internal(format!(
        "nothing was changed, since {named}{more}; restore these rows, or delete them"
    )))
}
