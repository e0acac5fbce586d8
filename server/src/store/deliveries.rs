//! Deliveries of webhooks, and what is still to be fetched from platforms.

use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, LockType, OnConflict},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Rows, Tx,
    entity::{delivery, fetch},
    failed, storable,
};
use crate::{
    error::{Error, Result, Thing},
    model::{Delivery, DeliveryId, DeliveryState, Hook, InstallationId, Time},
};

/// Records a delivery, with its request while it is still to be processed. False if
/// this is the repeat of one that is recorded already.
pub async fn insert(
    tx: &Tx,
    delivery: &Delivery,
    repeat_key: Option<String>,
    hook: Option<&Hook>,
) -> Result<bool> {
    let row = delivery::Model {
        id: delivery.id.0,
        installation_id: delivery.installation_id.0,
        repeat_key,
        state: word(delivery.state).to_owned(),
        receive_time: delivery.receive_time.0,
        attempt_count: delivery.attempt_count,
        next_attempt_time: delivery.next_attempt_time.map(|time| time.0),
        problem: storable(&delivery.problem),
        hook: hook
            .map(|hook| {
                tx.keys()
                    .seal_json(&hook_place(&delivery.id.0.to_string()), hook)
            })
            .transpose()?,
    };
    let key = [
        delivery::Column::InstallationId,
        delivery::Column::RepeatKey,
    ];
    let added = delivery::Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(added > 0)
}

/// Changes what became of a delivery; one that is done forgets its request.
pub async fn update(tx: &Tx, delivery: &Delivery) -> Result<()> {
    let mut update = delivery::Entity::update_many()
        .col_expr(delivery::Column::State, Expr::value(word(delivery.state)))
        .col_expr(
            delivery::Column::AttemptCount,
            Expr::value(delivery.attempt_count),
        )
        .col_expr(
            delivery::Column::NextAttemptTime,
            Expr::value(delivery.next_attempt_time.map(|time| time.0)),
        )
        .col_expr(
            delivery::Column::Problem,
            Expr::value(storable(&delivery.problem)),
        )
        .filter(delivery::Column::Id.eq(delivery.id.0));
    if delivery.state == DeliveryState::Done {
        update = update.col_expr(delivery::Column::Hook, Expr::value(None::<String>));
    }
    update.exec(tx.rows()).await.map_err(failed)?;
    Ok(())
}

/// One delivery, with its request if it is not done.
pub async fn find(at: &impl Rows, id: DeliveryId) -> Result<(Delivery, Option<Hook>)> {
    let query = delivery::Entity::find_by_id(id.0);
    open(at, id, query.one(at.rows()).await)
}

/// Takes a delivery for this transaction: others that take it wait for the commit.
pub async fn take(tx: &Tx, id: DeliveryId) -> Result<(Delivery, Option<Hook>)> {
    let query = delivery::Entity::find_by_id(id.0).lock(LockType::NoKeyUpdate);
    open(tx, id, query.one(tx.rows()).await)
}

fn open(
    at: &impl Rows,
    id: DeliveryId,
    row: Result<Option<delivery::Model>, DbErr>,
) -> Result<(Delivery, Option<Hook>)> {
    let row = row.map_err(failed)?;
    let row = row.ok_or(Error::NotFound(Thing::Delivery(id)))?;
    let hook = row.hook.as_deref();
    let hook = hook
        .map(|sealed| {
            at.keys()
                .open_json(&hook_place(&row.id.to_string()), sealed)
        })
        .transpose()?;
    Ok((read(row), hook))
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of any of these installations.
    pub installation_ids: Vec<InstallationId>,
    /// In any of these states; empty means in all.
    pub states: Vec<DeliveryState>,
    /// That came before this one.
    pub before: Option<DeliveryId>,
}

/// Up to `limit` deliveries, newest first.
pub async fn list(at: &impl Rows, wanted: &Wanted, limit: u64) -> Result<Vec<Delivery>> {
    let ids = wanted.installation_ids.iter().map(|id| id.0);
    let mut query = delivery::Entity::find()
        .filter(delivery::Column::InstallationId.is_in(ids))
        .order_by_desc(delivery::Column::Id)
        .limit(limit);
    if !wanted.states.is_empty() {
        let words = wanted.states.iter().map(|state| word(*state));
        query = query.filter(delivery::Column::State.is_in(words));
    }
    if let Some(before) = wanted.before {
        query = query.filter(delivery::Column::Id.lt(before.0));
    }
    let rows = query.all(at.rows()).await.map_err(failed)?;
    Ok(rows.into_iter().map(read).collect())
}

/// Makes the deliveries of an installation due at once that only wait. Those that have
/// failed are tried again in their own time, or they would soon have no tries left.
pub async fn hurry(tx: &Tx, id: InstallationId) -> Result<()> {
    delivery::Entity::update_many()
        .col_expr(
            delivery::Column::NextAttemptTime,
            Expr::value(Some(tx.now.0)),
        )
        .filter(delivery::Column::InstallationId.eq(id.0))
        .filter(delivery::Column::State.eq(word(DeliveryState::Pending)))
        .filter(delivery::Column::AttemptCount.eq(0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes deliveries that are done and came before a time. How many.
pub async fn trim(tx: &Tx, before: Time) -> Result<u64> {
    let gone = delivery::Entity::delete_many()
        .filter(delivery::Column::ReceiveTime.lt(before.0))
        .filter(delivery::Column::State.eq(word(DeliveryState::Done)))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(gone.rows_affected)
}

/// Something that a platform is to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    /// Unique.
    pub id: Uuid,
    /// Of which installation.
    pub installation_id: InstallationId,
    /// What, in its plugin's words.
    pub what: Value,
    /// How often it has failed.
    pub failures: i32,
}

/// Records what a platform is to be asked, now.
pub async fn insert_fetch(tx: &Tx, installation: InstallationId, what: &Value) -> Result<()> {
    let id = Uuid::now_v7();
    let row = fetch::Model {
        id,
        installation_id: installation.0,
        what: tx.keys().seal_json(&what_place(&id.to_string()), what)?,
        next_time: tx.now.0,
        failures: 0,
    };
    let insert = fetch::Entity::insert(row.into_active_model());
    insert
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// One thing that a platform is to be asked, if it still is.
pub async fn fetch(at: &impl Rows, id: Uuid) -> Result<Option<Fetch>> {
    let row = fetch::Entity::find_by_id(id)
        .one(at.rows())
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let place = row.id.to_string();
    Ok(Some(Fetch {
        id: row.id,
        installation_id: InstallationId(row.installation_id),
        what: at.keys().open_json(&what_place(&place), &row.what)?,
        failures: row.failures,
    }))
}

/// Says when to ask again; `None` forgets it.
pub async fn set_fetch(tx: &Tx, id: Uuid, again: Option<(Time, i32)>) -> Result<()> {
    let Some((time, failures)) = again else {
        fetch::Entity::delete_by_id(id)
            .exec(tx.rows())
            .await
            .map_err(failed)?;
        return Ok(());
    };
    fetch::Entity::update_many()
        .col_expr(fetch::Column::NextTime, Expr::value(time.0))
        .col_expr(fetch::Column::Failures, Expr::value(failures))
        .filter(fetch::Column::Id.eq(id))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes what was delivered to an installation and is to be fetched for it.
pub async fn delete_all(tx: &Tx, id: InstallationId) -> Result<()> {
    delivery::Entity::delete_many()
        .filter(delivery::Column::InstallationId.eq(id.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    fetch::Entity::delete_many()
        .filter(fetch::Column::InstallationId.eq(id.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Headers and bodies hold signatures, tokens, and what was said in private.
fn hook_place(id: &str) -> [&str; 2] {
    ["delivery.hook", id]
}

fn what_place(id: &str) -> [&str; 2] {
    ["fetch.what", id]
}

pub(super) fn word(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Done => "done",
        DeliveryState::Parked => "parked",
    }
}

fn read(row: delivery::Model) -> Delivery {
    Delivery {
        id: DeliveryId(row.id),
        installation_id: InstallationId(row.installation_id),
        state: match row.state.as_str() {
            "pending" => DeliveryState::Pending,
            "parked" => DeliveryState::Parked,
            _ => DeliveryState::Done,
        },
        receive_time: Time(row.receive_time),
        attempt_count: row.attempt_count,
        next_attempt_time: row.next_attempt_time.map(Time),
        problem: row.problem,
    }
}
