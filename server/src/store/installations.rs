//! Installations, and the state that plugins keep for them.

use std::collections::BTreeMap;

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, LockType, OnConflict, Query},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Keys, Rows, Tx, communities, credentials,
    entity::{installation, installation_state as state},
    failed, from_text, storable, to_text,
};
use crate::{
    error::{Error, Result, Thing},
    model::{CommunityId, Installation, InstallationId, Object, Secrets, Time},
};

const SLUG: &str = "installation.slug";
const OLD_SLUG: &str = "installation.old_slug";
/// What is called so belongs to one installation of the gateway; null for most.
const EXCLUSIVE: &str = "exclusive_platform_id";

/// One installation.
pub async fn find(at: &impl Rows, id: InstallationId) -> Result<Installation> {
    let Some(cache) = at.cache() else {
        return find_row(at, id).await;
    };
    let rows = &cache.installations;
    rows.get(cache, id.0, find_row(at, id)).await
}

async fn find_row(at: &impl Rows, id: InstallationId) -> Result<Installation> {
    let kept = at.keeps().then_some(LockType::KeyShare);
    locked(at, id, kept).await
}

/// Takes an installation with its state for this transaction: others that take it wait
/// for the commit.
pub async fn take(tx: &Tx, id: InstallationId) -> Result<Installation> {
    locked(tx, id, Some(LockType::NoKeyUpdate)).await
}

/// The same, to delete it: others that look it up wait as well.
pub async fn take_to_delete(tx: &Tx, id: InstallationId) -> Result<Installation> {
    locked(tx, id, Some(LockType::Update)).await
}

/// Has it stay until the commit, without reading it.
pub(super) async fn keep(tx: &Tx, id: InstallationId) -> Result<()> {
    keep_community(tx, id).await?;
    let row: Option<Uuid> = installation::Entity::find_by_id(id.0)
        .select_only()
        .column(installation::Column::Id)
        .lock(LockType::KeyShare)
        .into_tuple()
        .one(tx.rows())
        .await
        .map_err(failed)?;
    row.map(drop)
        .ok_or(Error::NotFound(Thing::Installation(id)))
}

/// Whoever deletes a community has it before what is in it. The others in the same
/// order, or each would wait for the other.
async fn keep_community(at: &impl Rows, id: InstallationId) -> Result<()> {
    let community: Option<String> = installation::Entity::find_by_id(id.0)
        .select_only()
        .column(installation::Column::CommunityId)
        .into_tuple()
        .one(at.rows())
        .await
        .map_err(failed)?;
    let gone = || Error::NotFound(Thing::Installation(id));
    let community = CommunityId::trusted(community.ok_or_else(gone)?);
    match communities::find(at, &community).await {
        Err(Error::NotFound(_)) => Err(gone()),
        found => found.map(drop),
    }
}

async fn locked(
    at: &impl Rows,
    id: InstallationId,
    lock: Option<LockType>,
) -> Result<Installation> {
    let mut query = installation::Entity::find_by_id(id.0);
    if let Some(lock) = lock {
        keep_community(at, id).await?;
        query = query.lock(lock);
    }
    let row = query.one(at.rows()).await.map_err(failed)?;
    let row = row.ok_or(Error::NotFound(Thing::Installation(id)))?;
    read(at.keys(), row)
}

/// Which installations to list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this community.
    pub community_id: Option<CommunityId>,
    /// Of this plugin.
    pub plugin: Option<String>,
    /// With this name on the platform.
    pub platform_id: Option<String>,
    /// After this one.
    pub after: Option<InstallationId>,
}

impl Wanted {
    /// Those of one community.
    pub fn of(community_id: &CommunityId) -> Self {
        Self {
            community_id: Some(community_id.clone()),
            ..Self::default()
        }
    }
}

/// Up to `limit` installations, oldest first.
pub async fn list(at: &impl Rows, wanted: &Wanted, limit: u64) -> Result<Vec<Installation>> {
    let mut query = installation::Entity::find()
        .order_by_asc(installation::Column::Id)
        .limit(limit);
    if let Some(id) = &wanted.community_id {
        query = query.filter(installation::Column::CommunityId.eq(id.as_str()));
    }
    if let Some(plugin) = &wanted.plugin {
        query = query.filter(installation::Column::Plugin.eq(plugin.as_str()));
    }
    if let Some(platform_id) = &wanted.platform_id {
        query = query.filter(installation::Column::PlatformId.eq(platform_id.as_str()));
    }
    if let Some(after) = wanted.after {
        query = query.filter(installation::Column::Id.gt(after.0));
    }
    let rows = query.all(at.rows()).await.map_err(failed)?;
    rows.into_iter().map(|row| read(at.keys(), row)).collect()
}

/// Adds an installation.
pub async fn insert(tx: &Tx, installation: &Installation, poll_time: Option<Time>) -> Result<()> {
    let mut row = row(tx.keys(), installation)?;
    row.poll_time = poll_time.map(|time| time.0);
    let insert = installation::Entity::insert(row.into_active_model());
    insert
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Makes what an installation is called on its platform its own, in the whole gateway. It
/// is [`Error::Changed`] if another has that.
pub async fn make_exclusive(tx: &Tx, id: InstallationId) -> Result<()> {
    let mut update = Query::update();
    update
        .table("installation")
        .value(EXCLUSIVE, Expr::col(installation::Column::PlatformId))
        .and_where(Expr::col(installation::Column::Id).eq(id.0));
    tx.rows().execute(&update).await.map_err(failed)?;
    Ok(())
}

/// The same for all of these plugins, as it was not written down by a build of before.
pub async fn make_all_exclusive(tx: &Tx, plugins: &[String]) -> Result<()> {
    let mut update = Query::update();
    update
        .table("installation")
        .value(EXCLUSIVE, Expr::col(installation::Column::PlatformId))
        .and_where(Expr::col(EXCLUSIVE).is_null())
        .and_where(Expr::col(installation::Column::Plugin).is_in(plugins.to_vec()));
    tx.rows().execute(&update).await.map_err(failed)?;
    Ok(())
}

/// What was made exclusive is so under another name now.
async fn move_exclusive(tx: &Tx, id: InstallationId) -> Result<()> {
    let platform_id = installation::Column::PlatformId;
    let mut update = Query::update();
    update
        .table("installation")
        .value(EXCLUSIVE, Expr::col(platform_id))
        .and_where(Expr::col(installation::Column::Id).eq(id.0))
        .and_where(Expr::col(EXCLUSIVE).ne(Expr::col(platform_id)));
    tx.rows().execute(&update).await.map_err(failed)?;
    Ok(())
}

/// Replaces an installation. When it is polled stays.
pub async fn update(tx: &Tx, installation: &Installation) -> Result<()> {
    let mut row = row(tx.keys(), installation)?
        .into_active_model()
        .reset_all();
    row.not_set(installation::Column::PollTime);
    installation::Entity::update(row)
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    move_exclusive(tx, installation.id).await
}

/// Removes the state of an installation.
pub async fn clear_state(tx: &Tx, id: InstallationId) -> Result<()> {
    state::Entity::delete_many()
        .filter(state::Column::InstallationId.eq(id.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes an installation with its state and credentials.
pub async fn delete(tx: &Tx, id: InstallationId) -> Result<()> {
    clear_state(tx, id).await?;
    credentials::delete(tx, id).await?;
    installation::Entity::delete_by_id(id.0)
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Says when an installation's platform is asked next, and how often that has failed.
pub async fn set_poll(tx: &Tx, id: InstallationId, next: Time, failures: i32) -> Result<()> {
    installation::Entity::update_many()
        .col_expr(installation::Column::PollTime, Expr::value(next.0))
        .col_expr(installation::Column::PollFailures, Expr::value(failures))
        .filter(installation::Column::Id.eq(id.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// The rows of the state whose key has no `/`: those that every step is given.
pub async fn small_state(at: &impl Rows, id: InstallationId) -> Result<BTreeMap<String, Value>> {
    let rows = state::Entity::find()
        .filter(state::Column::InstallationId.eq(id.0))
        .filter(Expr::col(state::Column::Key).not_like("%/%"))
        .all(at.rows())
        .await
        .map_err(failed)?;
    let each = rows.into_iter().map(|row| {
        let value = open_state(at.keys(), &row)?;
        Ok((row.key, value))
    });
    each.collect()
}

/// One row of the state.
pub async fn state(at: &impl Rows, id: InstallationId, key: &str) -> Result<Option<Value>> {
    let row = state::Entity::find_by_id((id.0, key.to_owned()))
        .one(at.rows())
        .await;
    row.map_err(failed)?
        .map(|row| open_state(at.keys(), &row))
        .transpose()
}

/// Sets one row of the state; `None` removes it.
pub async fn set_state(
    tx: &Tx,
    id: InstallationId,
    key: &str,
    value: Option<&Value>,
) -> Result<()> {
    let Some(value) = value else {
        let delete = state::Entity::delete_by_id((id.0, key.to_owned()));
        delete.exec(tx.rows()).await.map_err(failed)?;
        return Ok(());
    };
    let row = state::Model {
        installation_id: id.0,
        key: key.to_owned(),
        value: tx
            .keys()
            .seal_json(&state_place(&id.0.to_string(), key), value)?,
    };
    let key = [state::Column::InstallationId, state::Column::Key];
    state::Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::columns(key)
                .update_column(state::Column::Value)
                .to_owned(),
        )
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// What a plugin remembers may be what its platform told it alone.
fn state_place<'a>(id: &'a str, key: &'a str) -> [&'a str; 3] {
    ["installation_state.value", id, key]
}

fn open_state(keys: &Keys, row: &state::Model) -> Result<Value> {
    let id = row.installation_id.to_string();
    keys.open_json(&state_place(&id, &row.key), &row.value)
}

/// What is secret of a row, each at its place.
struct Sealer<'a> {
    keys: &'a Keys,
    community: &'a str,
    id: String,
}

impl Sealer<'_> {
    fn seal_slug(&self, column: &str, slug: &str) -> Result<String> {
        let place = [column, self.community, &self.id];
        self.keys.seal(&place, slug.as_bytes())
    }

    fn open_slug(&self, column: &str, sealed: &str) -> Result<String> {
        let place = [column, self.community, &self.id];
        Ok(self.keys.open_text(&place, sealed)?.to_string())
    }

    /// A JSON object: the names of the secrets, and each sealed by itself.
    fn seal_secrets(&self, secrets: &Object) -> Result<String> {
        let each = secrets.iter().map(|(name, value)| {
            let place = ["installation.secrets", self.community, &self.id, name];
            Ok((name, self.keys.seal_json(&place, value)?))
        });
        to_text(&each.collect::<Result<BTreeMap<_, _>>>()?)
    }

    fn open_secrets(&self, sealed: &str) -> Result<Object> {
        let sealed: BTreeMap<String, String> = from_text(sealed)?;
        let each = sealed.into_iter().map(|(name, sealed)| {
            let place = ["installation.secrets", self.community, &self.id, &name];
            let value = self.keys.open_json(&place, &sealed)?;
            Ok((name, value))
        });
        each.collect()
    }
}

fn row(keys: &Keys, installation: &Installation) -> Result<installation::Model> {
    let sealer = Sealer {
        keys,
        community: installation.community_id.as_str(),
        id: installation.id.0.to_string(),
    };
    let (old_slug, expire) = installation.old_slug.clone().unzip();
    let (problem, problem_time) = installation.problem.clone().unzip();
    Ok(installation::Model {
        id: installation.id.0,
        community_id: installation.community_id.to_string(),
        plugin: installation.plugin.clone(),
        platform_id: installation.platform_id.clone(),
        config: to_text(&installation.config)?,
        secrets: sealer.seal_secrets(&installation.secrets.0)?,
        slug: sealer.seal_slug(SLUG, &installation.slug)?,
        old_slug: old_slug
            .map(|slug: String| sealer.seal_slug(OLD_SLUG, &slug))
            .transpose()?,
        old_slug_expire_time: expire.map(|time: Time| time.0),
        create_time: installation.create_time.0,
        update_time: installation.update_time.0,
        etag: installation.etag.clone(),
        problem: problem.as_deref().map(storable),
        problem_time: problem_time.map(|time: Time| time.0),
        poll_time: None,
        poll_failures: installation.poll_failures,
    })
}

fn read(keys: &Keys, row: installation::Model) -> Result<Installation> {
    let sealer = Sealer {
        keys,
        community: &row.community_id,
        id: row.id.to_string(),
    };
    let secrets = sealer.open_secrets(&row.secrets)?;
    let slug = sealer.open_slug(SLUG, &row.slug)?;
    let old_slug = row.old_slug.as_deref();
    let old_slug = old_slug
        .map(|sealed| sealer.open_slug(OLD_SLUG, sealed))
        .transpose()?;
    let mut secret_names: Vec<String> = secrets.keys().cloned().collect();
    secret_names.sort();
    Ok(Installation {
        id: InstallationId(row.id),
        community_id: CommunityId::trusted(row.community_id),
        plugin: row.plugin,
        config: from_text(&row.config)?,
        secrets: Secrets(secrets),
        secret_names,
        platform_id: row.platform_id,
        slug,
        old_slug: old_slug.zip(row.old_slug_expire_time.map(Time)),
        create_time: Time(row.create_time),
        update_time: Time(row.update_time),
        etag: row.etag,
        problem: row.problem.zip(row.problem_time.map(Time)),
        poll_failures: row.poll_failures,
    })
}
