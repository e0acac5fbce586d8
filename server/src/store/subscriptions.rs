//! Subscriptions. What is acknowledged only grows, unless a subscription is moved: both
//! are said in SQL, so that any number of gateways may do it at once.

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
    sea_query::{Expr, ExprTrait, OnConflict},
};

use super::{
    Rows, Tx,
    entity::{subscription, subscription_epoch},
    failed, from_text, to_text,
};
use crate::{
    error::{Error, Result, Thing},
    model::{Principal, Subscription, SubscriptionId, SubscriptionKey, Time},
};

const ONLY: i32 = 1;
/// The most subscriptions that are named in one statement.
const MAX_NAMED: usize = 200;

/// One subscription.
pub async fn find(at: &impl Rows, key: &SubscriptionKey) -> Result<Subscription> {
    let row = subscription::Entity::find_by_id(id(key))
        .one(at.rows())
        .await
        .map_err(failed)?;
    row.map_or_else(|| Err(absent(key)), read)
}

/// Whether there is such a subscription.
pub async fn exists(at: &impl Rows, key: &SubscriptionKey) -> Result<bool> {
    match find(at, key).await {
        Err(Error::NotFound(_)) => Ok(false),
        found => found.map(|_| true),
    }
}

/// Up to `limit` subscriptions of a principal after one, by id.
pub async fn list(
    at: &impl Rows,
    principal: &Principal,
    after: Option<&SubscriptionId>,
    limit: u64,
) -> Result<Vec<Subscription>> {
    let mut query = subscription::Entity::find()
        .filter(subscription::Column::Principal.eq(principal.as_str()))
        .order_by_asc(subscription::Column::SubscriptionId)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(subscription::Column::SubscriptionId.gt(after.as_str()));
    }
    let rows = query.all(at.rows()).await.map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// Everybody's.
pub async fn keys(at: &impl Rows) -> Result<Vec<SubscriptionKey>> {
    let rows: Vec<(String, String)> = subscription::Entity::find()
        .select_only()
        .column(subscription::Column::Principal)
        .column(subscription::Column::SubscriptionId)
        .into_tuple()
        .all(at.rows())
        .await
        .map_err(failed)?;
    let each = rows.into_iter();
    Ok(each.map(|(principal, id)| key_of(principal, id)).collect())
}

/// How many a principal has.
pub async fn count(at: &impl Rows, principal: &Principal) -> Result<u64> {
    subscription::Entity::find()
        .filter(subscription::Column::Principal.eq(principal.as_str()))
        .count(at.rows())
        .await
        .map_err(failed)
}

/// Counts up how often subscriptions were created, moved or deleted; the new number. The
/// row is locked from here to the commit, so what is asked after it stays as it is.
pub async fn next_epoch(tx: &Tx) -> Result<i64> {
    let number = subscription_epoch::Column::Number;
    let first = subscription_epoch::Model {
        id: ONLY,
        number: 1,
    };
    let one_more = Expr::col((subscription_epoch::Entity, number)).add(1);
    let counted = subscription_epoch::Entity::insert(first.into_active_model())
        .on_conflict(
            OnConflict::column(subscription_epoch::Column::Id)
                .value(number, one_more)
                .to_owned(),
        )
        .exec_with_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(counted.number)
}

/// How often subscriptions were created, moved or deleted.
pub async fn epoch(at: &impl Rows) -> Result<i64> {
    let row = subscription_epoch::Entity::find_by_id(ONLY)
        .one(at.rows())
        .await
        .map_err(failed)?;
    Ok(row.map_or(0, |row| row.number))
}

/// The epochs of those of these subscriptions that exist.
pub async fn epochs(
    at: &impl Rows,
    keys: &[SubscriptionKey],
) -> Result<Vec<(SubscriptionKey, i64)>> {
    let mut found = Vec::new();
    for part in keys.chunks(MAX_NAMED) {
        let any = part.iter().fold(Condition::any(), |any, key| {
            let of_principal = subscription::Column::Principal.eq(key.principal.as_str());
            any.add(of_principal.and(subscription::Column::SubscriptionId.eq(key.id.as_str())))
        });
        let rows: Vec<(String, String, i64)> = subscription::Entity::find()
            .select_only()
            .column(subscription::Column::Principal)
            .column(subscription::Column::SubscriptionId)
            .column(subscription::Column::Epoch)
            .filter(any)
            .into_tuple()
            .all(at.rows())
            .await
            .map_err(failed)?;
        let each = rows.into_iter();
        found.extend(each.map(|(principal, id, epoch)| (key_of(principal, id), epoch)));
    }
    Ok(found)
}

/// Adds a subscription.
pub async fn insert(tx: &Tx, subscription: &Subscription) -> Result<()> {
    let row = subscription::Model {
        principal: subscription.key.principal.to_string(),
        subscription_id: subscription.key.id.to_string(),
        filter: to_text(&subscription.filter)?,
        acknowledged: subscription.acknowledged,
        epoch: subscription.epoch,
        create_time: subscription.create_time.0,
    };
    subscription::Entity::insert(row.into_active_model())
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Notes that everything up to a position is dealt with. One before what is noted already
/// changes nothing.
pub async fn acknowledge(tx: &Tx, key: &SubscriptionKey, position: i64) -> Result<()> {
    let noted = subscription::Entity::update_many()
        .col_expr(subscription::Column::Acknowledged, Expr::value(position))
        .filter(is(key))
        .filter(subscription::Column::Acknowledged.lt(position))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    match noted.rows_affected {
        0 => find(tx, key).await.map(drop),
        _ => Ok(()),
    }
}

/// Moves a subscription to a position, wherever it was; its new epoch.
pub async fn seek(tx: &Tx, key: &SubscriptionKey, position: i64) -> Result<i64> {
    let epoch = next_epoch(tx).await?;
    let moved = subscription::Entity::update_many()
        .col_expr(subscription::Column::Acknowledged, Expr::value(position))
        .col_expr(subscription::Column::Epoch, Expr::value(epoch))
        .filter(is(key))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    match moved.rows_affected {
        0 => Err(absent(key)),
        _ => Ok(epoch),
    }
}

/// Removes a subscription; the epoch from which on it is gone.
pub async fn delete(tx: &Tx, key: &SubscriptionKey) -> Result<i64> {
    let epoch = next_epoch(tx).await?;
    let gone = subscription::Entity::delete_by_id(id(key))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    match gone.rows_affected {
        0 => Err(absent(key)),
        _ => Ok(epoch),
    }
}

fn id(key: &SubscriptionKey) -> (String, String) {
    (key.principal.to_string(), key.id.to_string())
}

fn is(key: &SubscriptionKey) -> Condition {
    Condition::all()
        .add(subscription::Column::Principal.eq(key.principal.as_str()))
        .add(subscription::Column::SubscriptionId.eq(key.id.as_str()))
}

fn absent(key: &SubscriptionKey) -> Error {
    Error::NotFound(Thing::Subscription(key.id.clone()))
}

fn key_of(principal: String, id: String) -> SubscriptionKey {
    SubscriptionKey {
        principal: Principal::trusted(principal),
        id: SubscriptionId::trusted(id),
    }
}

fn read(row: subscription::Model) -> Result<Subscription> {
    Ok(Subscription {
        key: key_of(row.principal, row.subscription_id),
        filter: from_text(&row.filter)?,
        acknowledged: row.acknowledged,
        epoch: row.epoch,
        create_time: Time(row.create_time),
    })
}
