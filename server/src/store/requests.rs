//! Request ids with their answers: what makes a retry safe.

use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, sea_query::Expr};

use super::{Rows, Tx, entity::request, failed};
use crate::{
    error::Result,
    model::{CommunityId, RequestKey, Time},
};

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

/// A request, if it is known.
pub async fn find(at: &impl Rows, key: &RequestKey) -> Result<Option<Request>> {
    let id = (key.principal.to_string(), key.id.to_string());
    let row = request::Entity::find_by_id(id)
        .one(at.rows())
        .await
        .map_err(failed)?;
    Ok(row.map(|row| Request {
        digest: row.digest,
        answer: row.answer,
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
) -> Result<()> {
    let row = request::Model {
        principal: key.principal.to_string(),
        request_id: key.id.to_string(),
        community_id: community.map(ToString::to_string),
        digest: request.digest.clone(),
        answer: request.answer.clone(),
        lease_time: request.lease.0,
        create_time: request.create_time.0,
    };
    let insert = request::Entity::insert(row.into_active_model());
    insert
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Keeps the answer to a request.
pub async fn answer(tx: &Tx, key: &RequestKey, answer: String) -> Result<()> {
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
    let id = (key.principal.to_string(), key.id.to_string());
    request::Entity::delete_by_id(id)
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
