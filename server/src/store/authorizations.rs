//! Authorizations that were begun. The state is kept as its hash, the verifier encrypted.

use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};

use super::{Rows, Tx, entity::authorization, failed, from_word, to_word};
use crate::{
    error::Result,
    model::{Authorization, CommunityId, IdentityId, Time},
};

/// Whether one was begun with a state of this hash.
pub async fn is_begun(at: &impl Rows, state_hash: &str) -> Result<bool> {
    let row = authorization::Entity::find_by_id(state_hash)
        .one(at.rows())
        .await;
    Ok(row.map_err(failed)?.is_some())
}

/// Adds one.
pub async fn insert(tx: &Tx, state_hash: &str, begun: &Authorization) -> Result<()> {
    let verifier = match &begun.verifier {
        Some(verifier) => tx.keys().seal(&place(state_hash), verifier.as_bytes())?,
        None => String::new(),
    };
    let row = authorization::Model {
        state_hash: state_hash.to_owned(),
        community_id: begun.community_id.to_string(),
        plugin: begun.plugin.clone(),
        purpose: to_word(&begun.purpose)?,
        identity_id: begun.identity_id.map(|id| id.0),
        redirect_uri: begun.redirect_uri.clone(),
        caller_state: begun.caller_state.clone(),
        verifier,
        expire_time: begun.expire_time.0,
    };
    let insert = authorization::Entity::insert(row.into_active_model());
    insert
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes one, and says what it was: nobody gets it twice.
pub async fn take(tx: &Tx, state_hash: &str) -> Result<Option<Authorization>> {
    let row = authorization::Entity::find_by_id(state_hash)
        .one(tx.rows())
        .await;
    let Some(row) = row.map_err(failed)? else {
        return Ok(None);
    };
    let gone = authorization::Entity::delete_by_id(state_hash)
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    match gone.rows_affected {
        0 => Ok(None),
        _ => read(tx, row).map(Some),
    }
}

/// Forgets those of a community.
pub async fn delete_all(tx: &Tx, community: &CommunityId) -> Result<()> {
    authorization::Entity::delete_many()
        .filter(authorization::Column::CommunityId.eq(community.as_str()))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets those that are over by now.
pub async fn trim(tx: &Tx, now: Time) -> Result<()> {
    authorization::Entity::delete_many()
        .filter(authorization::Column::ExpireTime.lte(now.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

fn read(at: &impl Rows, row: authorization::Model) -> Result<Authorization> {
    let verifier = match row.verifier.as_str() {
        "" => None,
        sealed => Some(at.keys().open_text(&place(&row.state_hash), sealed)?),
    };
    Ok(Authorization {
        community_id: CommunityId::trusted(row.community_id),
        plugin: row.plugin,
        purpose: from_word(row.purpose)?,
        identity_id: row.identity_id.map(IdentityId),
        redirect_uri: row.redirect_uri,
        caller_state: row.caller_state,
        verifier: verifier.map(|text| text.to_string()),
        expire_time: Time(row.expire_time),
    })
}

fn place(state_hash: &str) -> [&str; 2] {
    ["authorization.verifier", state_hash]
}
