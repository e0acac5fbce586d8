//! The audit: rows are added and read, never changed. Each has the hash of the one
//! before it in its own.

use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};

use super::{Rows, Tx, entity::audit_entry, failed};
use crate::{
    error::{Error, Result},
    model::{AuditEntry, CommunityId, Scope, Time},
};

/// Which entries to list.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of the communities where this holds.
    pub scope: Scope,
    /// Of this community.
    pub community_id: Option<CommunityId>,
    /// Before this entry.
    pub before: Option<i64>,
}

/// The newest entry.
pub async fn last(at: &impl Rows) -> Result<Option<AuditEntry>> {
    let row = audit_entry::Entity::find()
        .order_by_desc(audit_entry::Column::Number)
        .one(at.rows())
        .await
        .map_err(failed)?;
    row.map(read).transpose()
}

/// Up to `limit` entries, newest first.
pub async fn list(at: &impl Rows, wanted: &Wanted, limit: u64) -> Result<Vec<AuditEntry>> {
    let mut query = audit_entry::Entity::find()
        .order_by_desc(audit_entry::Column::Number)
        .limit(limit);
    if let Scope::Only(communities) = &wanted.scope {
        let ids = communities.iter().map(CommunityId::as_str);
        query = query.filter(audit_entry::Column::CommunityId.is_in(ids));
    }
    if let Some(id) = &wanted.community_id {
        query = query.filter(audit_entry::Column::CommunityId.eq(id.as_str()));
    }
    if let Some(number) = wanted.before {
        query = query.filter(audit_entry::Column::Number.lt(number));
    }
    let rows = query.all(at.rows()).await.map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// Adds entries. Somebody else's with one of their numbers is [`Error::Changed`].
pub async fn insert(tx: &Tx, entries: &[AuditEntry]) -> Result<()> {
    // Databases limit how many values one statement has.
    for some in entries.chunks(500) {
        let rows = some.iter().map(|entry| row(entry).into_active_model());
        audit_entry::Entity::insert_many(rows)
            .exec_without_returning(tx.rows())
            .await
            .map_err(failed)?;
    }
    Ok(())
}

fn row(entry: &AuditEntry) -> audit_entry::Model {
    audit_entry::Model {
        number: entry.number,
        record_time: entry.record_time.0,
        token_id: entry.token_id.clone(),
        rpc: entry.rpc.clone(),
        community_id: entry.community_id.clone(),
        subject: entry.subject.clone(),
        code: entry.code.clone(),
        hash: hex::encode(entry.hash),
    }
}

fn read(row: audit_entry::Model) -> Result<AuditEntry> {
    let mut hash = [0; 32];
    // A damaged one is for `metagov audit verify` to find, not for a reader to fail at.
    if hex::decode_to_slice(&row.hash, &mut hash).is_err() {
        tracing::error!(number = row.number, "an audit entry's hash is damaged");
    }
    if row.number < 1 {
        return Err(Error::internal("an audit entry without a number"));
    }
    Ok(AuditEntry {
        number: row.number,
        record_time: Time(row.record_time),
        token_id: row.token_id,
        rpc: row.rpc,
        community_id: row.community_id,
        subject: row.subject,
        code: row.code,
        hash,
    })
}
