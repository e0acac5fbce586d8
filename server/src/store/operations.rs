//! What operators want to know of the database: whether it can be written, how quickly
//! it answers, how much waits.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IntoActiveModel, PaginatorTrait,
    QueryFilter, QuerySelect,
};

use super::{
    Rows, Store,
    deliveries::word,
    entity::{delivery, process, request},
    failed, open,
};
use crate::{
    error::Result,
    model::{DeliveryState, Time},
};

/// A principal and a request id that nobody has.
const NOBODY: &str = "-";

/// The connections that read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Those that are busy.
    pub used: u32,
    /// Those that wait for work.
    pub idle: u32,
    /// The most that there may be.
    pub max: u32,
}

#[derive(FromQueryResult)]
struct Counted {
    state: String,
    number: i64,
}

impl Store {
    /// Writes a row and removes it in one transaction: what a change would meet, a full
    /// disk or a database that is only read, this meets too, and it leaves nothing.
    pub async fn probe(&self) -> Result<()> {
        self.write(async move |tx| {
            let row = request::Model {
                principal: NOBODY.to_owned(),
                request_id: format!("{NOBODY}{}", uuid::Uuid::now_v7()),
                community_id: None,
                digest: String::new(),
                answer: None,
                lease_time: tx.now.0,
                create_time: tx.now.0,
            };
            let key = (row.principal.clone(), row.request_id.clone());
            request::Entity::insert(row.into_active_model())
                .exec_without_returning(tx.rows())
                .await
                .map_err(failed)?;
            request::Entity::delete_by_id(key)
                .exec(tx.rows())
                .await
                .map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// Gets a connection and one answer.
    pub async fn ping(&self) -> Result<()> {
        let pinged = self.reads.execute_unprepared("SELECT 1").await;
        pinged.map(drop).map_err(failed)
    }

    /// The connections that read.
    pub fn connections(&self) -> Connections {
        open::connections(&self.reads)
    }

    /// How many changes wait for the writer.
    pub fn waiting(&self) -> usize {
        self.writer.waiting()
    }
}

/// How many deliveries are in each state, by its word.
pub async fn deliveries_by_state(at: &impl Rows) -> Result<[(&'static str, i64); 3]> {
    let counted = delivery::Entity::find()
        .select_only()
        .column(delivery::Column::State)
        .column_as(delivery::Column::Id.count(), "number")
        .group_by(delivery::Column::State)
        .into_model::<Counted>()
        .all(at.rows())
        .await
        .map_err(failed)?;
    use DeliveryState::{Done, Parked, Pending};
    Ok([Pending, Done, Parked].map(|state| {
        let found = counted.iter().find(|one| one.state == word(state));
        (word(state), found.map_or(0, |one| one.number))
    }))
}

/// How many processes should have been closed by now.
pub async fn overdue(at: &impl Rows, now: Time) -> Result<u64> {
    process::Entity::find()
        // Only what is open has a timer, which may have been put off; the index has few.
        .filter(process::Column::TimerTime.is_not_null())
        .filter(process::Column::CloseTime.lt(now.0))
        .count(at.rows())
        .await
        .map_err(failed)
}
