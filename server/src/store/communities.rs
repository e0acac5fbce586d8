//! Communities.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, sea_query::LockType,
};

use super::{Rows, Tx, entity::community, failed};
use crate::{
    error::{Error, Result, Thing},
    model::{Community, CommunityId, Scope, Time},
};

/// One community.
pub async fn find(at: &impl Rows, id: &CommunityId) -> Result<Community> {
    let Some(cache) = at.communities() else {
        return find_row(at, id).await;
    };
    let rows = &cache.communities;
    rows.get(cache, id.to_string(), find_row(at, id)).await
}

async fn find_row(at: &impl Rows, id: &CommunityId) -> Result<Community> {
    let kept = at.keeps().then_some(LockType::KeyShare);
    locked(at, id, kept).await
}

/// Takes a community for this transaction: others that take it wait for the commit.
pub async fn take(tx: &Tx, id: &CommunityId) -> Result<Community> {
    locked(tx, id, Some(LockType::NoKeyUpdate)).await
}

/// The same, to delete it: others that look it up wait as well.
pub async fn take_to_delete(tx: &Tx, id: &CommunityId) -> Result<Community> {
    locked(tx, id, Some(LockType::Update)).await
}

async fn locked(at: &impl Rows, id: &CommunityId, lock: Option<LockType>) -> Result<Community> {
    let mut query = community::Entity::find_by_id(id.as_str());
    if let Some(lock) = lock {
        query = query.lock(lock);
    }
    let row = query.one(at.rows()).await.map_err(failed)?;
    row.map(read)
        .ok_or_else(|| Error::NotFound(Thing::Community(id.clone())))
}

/// Up to `limit` communities after a place, oldest first.
pub async fn list(
    at: &impl Rows,
    scope: &Scope,
    after: Option<(Time, CommunityId)>,
    limit: u64,
) -> Result<Vec<Community>> {
    let mut query = community::Entity::find()
        .order_by_asc(community::Column::CreateTime)
        .order_by_asc(community::Column::Id)
        .limit(limit);
    if let Scope::Only(communities) = scope {
        let ids = communities.iter().map(CommunityId::as_str);
        query = query.filter(community::Column::Id.is_in(ids));
    }
    if let Some((time, id)) = after {
        let same_time = Condition::all()
            .add(community::Column::CreateTime.eq(time.0))
            .add(community::Column::Id.gt(id.as_str()));
        let later = community::Column::CreateTime.gt(time.0);
        query = query.filter(Condition::any().add(later).add(same_time));
    }
    let rows = query.all(at.rows()).await.map_err(failed)?;
    Ok(rows.into_iter().map(read).collect())
}

/// Adds a community.
pub async fn insert(tx: &Tx, community: &Community) -> Result<()> {
    tx.forget_communities();
    let insert = community::Entity::insert(row(community).into_active_model());
    insert
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Replaces a community.
pub async fn update(tx: &Tx, community: &Community) -> Result<()> {
    tx.forget_communities();
    let row = row(community).into_active_model().reset_all();
    community::Entity::update(row)
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes a community itself. What it owned is removed by its own tables' files.
pub async fn delete(tx: &Tx, id: &CommunityId) -> Result<()> {
    tx.forget_communities();
    community::Entity::delete_by_id(id.as_str())
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

fn row(community: &Community) -> community::Model {
    community::Model {
        id: community.id.to_string(),
        display_name: community.display_name.clone(),
        create_time: community.create_time.0,
        update_time: community.update_time.0,
        etag: community.etag.clone(),
    }
}

fn read(row: community::Model) -> Community {
    Community {
        id: CommunityId::trusted(row.id),
        display_name: row.display_name,
        create_time: Time(row.create_time),
        update_time: Time(row.update_time),
        etag: row.etag,
    }
}
