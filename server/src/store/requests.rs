//! Request ids with their answers: what makes a retry safe.

use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, LockType, OnConflict},
};

use super::{Rows, Tx, entity::request, failed};
use crate::{
    error::Result,
    model::{CommunityId, Principal, RequestKey, Scope, Time},
};

/// Of a configuration with its secrets: without the key nobody can try guesses.
const DIGEST: &str = "request.digest";
/// What an action returned may be for its caller alone.
const ANSWER: &str = "request.answer";

/// A request that is running or answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Of what was asked; another body has another.
    pub digest: String,
    /// The answer as JSON, once there is one.
    pub answer: Option<String>,
    /// Until when it may still be running.
    pub lease: Time,
    /// When it was first asked.
    pub create_time: Time,
}

/// What one row has and no other: the same text reads differently each time it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

/// A request, if it is known.
pub async fn find(at: &impl Rows, key: &RequestKey) -> Result<Option<Request>> {
    locked(at, key, None).await
}

/// Takes a request for this transaction: whoever is answering it is waited for.
pub async fn take(tx: &Tx, key: &RequestKey) -> Result<Option<Request>> {
    locked(tx, key, Some(LockType::NoKeyUpdate)).await
}

async fn locked(
    at: &impl Rows,
    key: &RequestKey,
    lock: Option<LockType>,
) -> Result<Option<Request>> {
    let mut query = request::Entity::find_by_id(id(key));
    if let Some(lock) = lock {
        query = query.lock(lock);
    }
    let row = query.one(at.rows()).await.map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let answer = row.answer.as_deref();
    Ok(Some(Request {
        digest: open(at, key, DIGEST, &row.digest)?,
        answer: answer
            .map(|sealed| open(at, key, ANSWER, sealed))
            .transpose()?,
        lease: Time(row.lease_time),
        create_time: Time(row.create_time),
    }))
}

/// Claims a request id.
pub async fn insert(
    tx: &Tx,
    key: &RequestKey,
    community: Option<&CommunityId>,
    request: &Request,
) -> Result<Mark> {
    let answer = request.answer.as_deref();
    let row = request::Model {
        principal: key.principal.to_string(),
        request_id: key.id.to_string(),
        community_id: community.map(ToString::to_string),
        digest: seal(tx, key, DIGEST, &request.digest)?,
        answer: answer
            .map(|answer| seal(tx, key, ANSWER, answer))
            .transpose()?,
        lease_time: request.lease.0,
        create_time: request.create_time.0,
    };
    let mark = Mark(row.digest.clone());
    let insert = request::Entity::insert(row.into_active_model());
    insert
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(mark)
}

/// Frees a request id that was claimed so, if it was: the answer to that COMMIT was lost.
/// It may still be running, and whoever inserts the same waits for its end.
pub async fn withdraw(tx: &Tx, key: &RequestKey, mark: &Mark) -> Result<()> {
    let row = request::Model {
        principal: key.principal.to_string(),
        request_id: key.id.to_string(),
        community_id: None,
        digest: mark.0.clone(),
        answer: None,
        lease_time: tx.now.0,
        create_time: tx.now.0,
    };
    request::Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    request::Entity::delete_by_id(id(key))
        .filter(request::Column::Digest.eq(mark.0.as_str()))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Whether a principal has asked for something that does not only concern these
/// communities.
pub async fn has_beyond(at: &impl Rows, principal: &Principal, scope: &Scope) -> Result<bool> {
    let Scope::Only(communities) = scope else {
        return Ok(false);
    };
    let ids = communities.iter().map(CommunityId::as_str);
    let of_none = request::Column::CommunityId.is_null();
    let beyond = of_none.or(request::Column::CommunityId.is_not_in(ids));
    let row = request::Entity::find()
        .filter(request::Column::Principal.eq(principal.as_str()))
        .filter(beyond)
        .limit(1)
        .one(at.rows())
        .await
        .map_err(failed)?;
    Ok(row.is_some())
}

/// Keeps the answer to a request.
pub async fn answer(tx: &Tx, key: &RequestKey, answer: String) -> Result<()> {
    let answer = seal(tx, key, ANSWER, &answer)?;
    request::Entity::update_many()
        .col_expr(request::Column::Answer, Expr::value(Some(answer)))
        .filter(request::Column::Principal.eq(key.principal.as_str()))
        .filter(request::Column::RequestId.eq(key.id.as_str()))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Frees a request id.
pub async fn delete(tx: &Tx, key: &RequestKey) -> Result<()> {
    request::Entity::delete_by_id(id(key))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets the requests about a community: their answers speak of it.
pub async fn delete_all(tx: &Tx, community: &CommunityId) -> Result<()> {
    request::Entity::delete_many()
        .filter(request::Column::CommunityId.eq(community.as_str()))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets requests that were first asked before a time. How many.
pub async fn trim(tx: &Tx, before: Time) -> Result<u64> {
    let gone = request::Entity::delete_many()
        .filter(request::Column::CreateTime.lt(before.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(gone.rows_affected)
}

fn id(key: &RequestKey) -> (String, String) {
    (key.principal.to_string(), key.id.to_string())
}

fn seal(at: &impl Rows, key: &RequestKey, column: &str, text: &str) -> Result<String> {
    let place = [column, key.principal.as_str(), key.id.as_str()];
    at.keys().seal(&place, text.as_bytes())
}

fn open(at: &impl Rows, key: &RequestKey, column: &str, sealed: &str) -> Result<String> {
    let place = [column, key.principal.as_str(), key.id.as_str()];
    Ok(at.keys().open_text(&place, sealed)?.to_string())
}
