//! What platforms granted to installations, encrypted.

use sea_orm::{
    DbErr, EntityTrait, IntoActiveModel, QuerySelect,
    sea_query::{LockType, OnConflict},
};
use serde::{Deserialize, Serialize};

use super::{Rows, Tx, entity::credential, failed};
use crate::{
    error::Result,
    model::{Credentials, InstallationId, Time},
};

/// What is encrypted.
#[derive(Serialize, Deserialize)]
struct Granted {
    access_token: String,
    refresh_token: Option<String>,
}

/// What was granted to an installation.
pub async fn find(at: &impl Rows, id: InstallationId) -> Result<Option<Credentials>> {
    let query = credential::Entity::find_by_id(id.0);
    open(at, query.one(at.rows()).await)
}

/// Takes what was granted for this transaction: others that take it wait for the commit.
pub async fn take(tx: &Tx, id: InstallationId) -> Result<Option<Credentials>> {
    let query = credential::Entity::find_by_id(id.0).lock(LockType::NoKeyUpdate);
    open(tx, query.one(tx.rows()).await)
}

fn open(
    at: &impl Rows,
    row: Result<Option<credential::Model>, DbErr>,
) -> Result<Option<Credentials>> {
    let row = row.map_err(failed)?;
    row.map(|row| {
        let id = InstallationId(row.installation_id);
        let granted: Granted = at.keys().open_json(&place(&id.to_string()), &row.granted)?;
        Ok(Credentials {
            access_token: granted.access_token,
            refresh_token: granted.refresh_token,
            expire_time: row.expire_time.map(Time),
        })
    })
    .transpose()
}

/// Keeps what was granted, instead of what was before.
pub async fn put(tx: &Tx, id: InstallationId, credentials: &Credentials) -> Result<()> {
    let granted = Granted {
        access_token: credentials.access_token.clone(),
        refresh_token: credentials.refresh_token.clone(),
    };
    let row = credential::Model {
        installation_id: id.0,
        granted: tx.keys().seal_json(&place(&id.to_string()), &granted)?,
        expire_time: credentials.expire_time.map(|time| time.0),
    };
    let replaced = [credential::Column::Granted, credential::Column::ExpireTime];
    credential::Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::column(credential::Column::InstallationId)
                .update_columns(replaced)
                .to_owned(),
        )
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets what was granted.
pub async fn delete(tx: &Tx, id: InstallationId) -> Result<()> {
    credential::Entity::delete_by_id(id.0)
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

fn place(id: &str) -> [&str; 2] {
    ["credential.granted", id]
}
