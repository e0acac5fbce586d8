//! The log: appended by the writer alone, read in pages, trimmed at its oldest end.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, ExprTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
    sea_query::{CaseStatement, Expr},
};
use uuid::Uuid;

use super::{
    Rows, Tx,
    entity::{event, feed},
    failed, from_text, to_text,
};
use crate::{
    error::{Error, Result},
    model::{Change, CommunityId, Event, EventId, NewEvent, Payload, Time},
};

const ONLY: i32 = 1;
/// About what an event takes on the wire besides its payload: ids, cursor, times.
const ENVELOPE: usize = 160;

/// What is known of the log as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Random, made with the database: cursors are bound to it.
    pub id: Uuid,
    /// The key of the cursors' MACs, in hex.
    pub cursor_key: String,
    /// The position of the last event; 0 before the first.
    pub position: i64,
}

/// The log as a whole, with its one row made if it is missing.
pub(super) async fn prepare(db: &DatabaseConnection) -> Result<Feed> {
    let row = feed::Entity::find_by_id(ONLY);
    if let Some(row) = row.one(db).await.map_err(failed)? {
        return Ok(row.into());
    }
    let row = feed::Model {
        id: ONLY,
        feed_id: Uuid::new_v4(),
        cursor_key: hex::encode(rand::random::<[u8; 32]>()),
        position: 0,
        record_time: 0,
    };
    let insert = feed::Entity::insert(row.clone().into_active_model());
    insert.exec_without_returning(db).await.map_err(failed)?;
    Ok(row.into())
}

impl From<feed::Model> for Feed {
    fn from(row: feed::Model) -> Self {
        Self {
            id: row.feed_id,
            cursor_key: row.cursor_key,
            position: row.position,
        }
    }
}

/// Makes the log another: cursors of before are of no use. Its new id.
pub(super) async fn rename(db: &impl ConnectionTrait) -> Result<Uuid> {
    let feed_id = Uuid::new_v4();
    let row = feed::ActiveModel {
        feed_id: Set(feed_id),
        cursor_key: Set(hex::encode(rand::random::<[u8; 32]>())),
        ..Default::default()
    };
    let update = feed::Entity::update_many().set(row);
    let update = update.filter(feed::Column::Id.eq(ONLY));
    update.exec(db).await.map_err(failed)?;
    Ok(feed_id)
}

/// The log as a whole, as it now is.
pub async fn feed(at: &impl Rows) -> Result<Feed> {
    let row = feed::Entity::find_by_id(ONLY)
        .one(at.rows())
        .await
        .map_err(failed)?;
    let row = row.ok_or_else(|| Error::internal("the feed has no row"))?;
    Ok(row.into())
}

/// Appends the events of several changes; called last in the transaction. The new
/// position, if there was any event.
pub(super) async fn append(tx: &Tx, changes: Vec<Vec<NewEvent>>) -> Result<Option<i64>> {
    let count: usize = changes.iter().map(Vec::len).sum();
    if count == 0 {
        return Ok(None);
    }
    let counted = count_up(tx, i64::try_from(count).map_err(Error::internal)?).await?;
    append_counted(tx, changes, counted).await.map(Some)
}

/// The same, once they are counted.
pub(super) async fn append_counted(
    tx: &Tx,
    changes: Vec<Vec<NewEvent>>,
    counted: feed::Model,
) -> Result<i64> {
    let count: usize = changes.iter().map(Vec::len).sum();
    let mut position = counted.position - count as i64;
    let mut rows = Vec::with_capacity(count);
    for change in changes {
        let last = change.len();
        for (index, event) in change.into_iter().enumerate() {
            position += 1;
            if let Payload::Community(community, Change::Deleted) = &event.payload {
                blank_earlier(&mut rows, &community.id);
            }
            rows.push(event::ActiveModel {
                position: Set(position),
                event_id: Set(EventId::new().0),
                community_id: Set(event.community_id.to_string()),
                record_time: Set(counted.record_time),
                ends: Set(index + 1 == last),
                payload: Set(Some(to_text(&event.payload)?)),
            });
        }
    }
    // Well below the databases' limits of parameters in one statement.
    for part in rows.chunks(500) {
        let insert = event::Entity::insert_many(part.to_vec());
        insert
            .exec_without_returning(tx.rows())
            .await
            .map_err(failed)?;
    }
    Ok(counted.position)
}

/// What others wrote about a community in the same commit as its deletion goes too.
fn blank_earlier(rows: &mut [event::ActiveModel], community: &CommunityId) {
    for row in rows {
        if row.community_id.as_ref() == community.as_str() {
            row.payload = Set(None);
        }
    }
}

/// Takes `count` positions. The row is locked from here to the commit. The time never
/// falls, whatever the clock does.
pub(super) async fn count_up(tx: &Tx, count: i64) -> Result<feed::Model> {
    let earlier = feed::Column::RecordTime.into_expr().lt(tx.now.0);
    let time = CaseStatement::new()
        .case(earlier, tx.now.0)
        .finally(feed::Column::RecordTime.into_expr());
    let rows = feed::Entity::update_many()
        .col_expr(
            feed::Column::Position,
            Expr::col(feed::Column::Position).add(count),
        )
        .col_expr(feed::Column::RecordTime, time.into())
        .filter(feed::Column::Id.eq(ONLY))
        .exec_with_returning(tx.rows())
        .await
        .map_err(failed)?;
    rows.into_iter()
        .next()
        .ok_or_else(|| Error::internal("the feed has no row"))
}

/// Up to `limit` events after a position, in order.
pub async fn after(at: &impl Rows, position: i64, limit: u64) -> Result<Vec<Event>> {
    let rows = event::Entity::find()
        .filter(event::Column::Position.gt(position))
        .order_by_asc(event::Column::Position)
        .limit(limit)
        .all(at.rows())
        .await
        .map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// The oldest event that is kept.
pub async fn oldest(at: &impl Rows) -> Result<Option<Event>> {
    Ok(after(at, 0, 1).await?.pop())
}

/// The first event recorded at or after a time.
pub async fn first_since(at: &impl Rows, time: Time) -> Result<Option<i64>> {
    event::Entity::find()
        .select_only()
        .column(event::Column::Position)
        .filter(event::Column::RecordTime.gte(time.0))
        .order_by_asc(event::Column::Position)
        .limit(1)
        .into_tuple()
        .one(at.rows())
        .await
        .map_err(failed)
}

/// Removes whole changes recorded before a time, from the oldest end, never the last
/// one, and at most about `limit` events. How many went.
pub async fn trim(tx: &Tx, before: Time, limit: i64) -> Result<u64> {
    let (Some(oldest), feed) = (oldest(tx).await?, feed(tx).await?) else {
        return Ok(0);
    };
    let last: Option<i64> = event::Entity::find()
        .select_only()
        .column(event::Column::Position)
        .filter(event::Column::RecordTime.lt(before.0))
        .filter(event::Column::Ends.eq(true))
        .filter(event::Column::Position.lt(feed.position))
        .filter(event::Column::Position.lt(oldest.position.saturating_add(limit)))
        .order_by_desc(event::Column::Position)
        .limit(1)
        .into_tuple()
        .one(tx.rows())
        .await
        .map_err(failed)?;
    let Some(last) = last else { return Ok(0) };
    let gone = event::Entity::delete_many()
        .filter(event::Column::Position.lte(last))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(gone.rows_affected)
}

/// Blanks what was recorded of a community so far. The rows stay: there are no holes.
pub async fn blank(tx: &Tx, community: &CommunityId) -> Result<()> {
    event::Entity::update_many()
        .col_expr(event::Column::Payload, Expr::value(None::<String>))
        .filter(event::Column::CommunityId.eq(community.as_str()))
        .filter(event::Column::Payload.is_not_null())
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

fn read(row: event::Model) -> Result<Event> {
    let size = row.payload.as_ref().map_or(0, String::len) + ENVELOPE;
    Ok(Event {
        position: row.position,
        id: EventId(row.event_id),
        community_id: CommunityId::trusted(row.community_id),
        record_time: Time(row.record_time),
        payload: row.payload.as_deref().map(from_text).transpose()?,
        ends: row.ends,
        size,
    })
}
