//! Tokens. Of a secret only its hash is kept.

use std::collections::BTreeSet;

use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, sea_query::Expr,
};

use super::{Rows, Tx, entity::token, failed, from_text, from_word, to_text, to_word};
use crate::{
    error::{Error, Result, Thing},
    model::{CommunityId, Principal, Scope, Time, Token, TokenId},
};

/// A token with the SHA-256 of its secret.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The token.
    pub token: Token,
    /// In hex.
    pub secret_hash: String,
}

/// One token.
pub async fn find(at: &impl Rows, id: &TokenId) -> Result<Kept> {
    let row = token::Entity::find_by_id(id.as_str())
        .one(at.rows())
        .await
        .map_err(failed)?;
    row.map_or_else(|| Err(Error::NotFound(Thing::Token(id.clone()))), read)
}

/// Up to `limit` tokens after one, oldest first.
pub async fn list(
    at: &impl Rows,
    after: Option<&(Time, TokenId)>,
    limit: u64,
) -> Result<Vec<Token>> {
    let mut query = token::Entity::find()
        .order_by_asc(token::Column::CreateTime)
        .order_by_asc(token::Column::Id)
        .limit(limit);
    if let Some((time, id)) = after {
        let later = token::Column::CreateTime.gt(time.0);
        let same = token::Column::CreateTime.eq(time.0);
        query = query.filter(later.or(same.and(token::Column::Id.gt(id.as_str()))));
    }
    let rows = query.all(at.rows()).await.map_err(failed)?;
    let each = rows.into_iter().map(|row| Ok(read(row)?.token));
    each.collect()
}

/// The tokens of one principal.
pub async fn of_principal(at: &impl Rows, principal: &Principal) -> Result<Vec<Token>> {
    let query = token::Entity::find().filter(token::Column::Principal.eq(principal.as_str()));
    let rows = query.all(at.rows()).await.map_err(failed)?;
    let each = rows.into_iter().map(|row| Ok(read(row)?.token));
    each.collect()
}

/// Whether somebody could still create tokens for everything.
pub async fn has_admin(at: &impl Rows, now: Time) -> Result<bool> {
    let everywhere = to_text(&BTreeSet::<CommunityId>::new())?;
    let role = to_word(&crate::model::Role::Admin)?;
    let count = token::Entity::find()
        .filter(token::Column::Role.eq(role))
        .filter(token::Column::CommunityIds.eq(everywhere))
        .filter(
            Expr::col(token::Column::ExpireTime)
                .is_null()
                .or(token::Column::ExpireTime.gt(now.0)),
        )
        .count(at.rows())
        .await
        .map_err(failed)?;
    Ok(count > 0)
}

/// Adds a token.
pub async fn insert(tx: &Tx, kept: &Kept) -> Result<()> {
    let row = row(kept)?.into_active_model();
    token::Entity::insert(row)
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Notes when a token was last used. One that is gone stays so.
pub async fn set_last_use(tx: &Tx, id: &TokenId, time: Time) -> Result<()> {
    token::Entity::update_many()
        .col_expr(token::Column::LastUseTime, Expr::value(time.0))
        .filter(token::Column::Id.eq(id.as_str()))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes a token.
pub async fn delete(tx: &Tx, id: &TokenId) -> Result<()> {
    token::Entity::delete_by_id(id.as_str())
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

fn row(kept: &Kept) -> Result<token::Model> {
    let Token {
        id,
        display_name,
        role,
        scope,
        principal,
        expire_time,
        create_time,
        last_use_time,
    } = &kept.token;
    let communities = match scope {
        Scope::Everywhere => BTreeSet::new(),
        Scope::Only(communities) => communities.clone(),
    };
    Ok(token::Model {
        id: id.to_string(),
        secret_hash: kept.secret_hash.clone(),
        display_name: display_name.clone(),
        role: to_word(role)?,
        community_ids: to_text(&communities)?,
        principal: principal.to_string(),
        expire_time: expire_time.map(|time| time.0),
        create_time: create_time.0,
        last_use_time: last_use_time.map(|time| time.0),
    })
}

fn read(row: token::Model) -> Result<Kept> {
    let communities: BTreeSet<CommunityId> = from_text(&row.community_ids)?;
    let token = Token {
        id: TokenId::trusted(row.id),
        display_name: row.display_name,
        role: from_word(row.role)?,
        scope: match communities.is_empty() {
            true => Scope::Everywhere,
            false => Scope::Only(communities),
        },
        principal: Principal::trusted(row.principal),
        expire_time: row.expire_time.map(Time),
        create_time: Time(row.create_time),
        last_use_time: row.last_use_time.map(Time),
    };
    Ok(Kept {
        token,
        secret_hash: row.secret_hash,
    })
}
