//! Identities and the accounts that are linked to them.

use std::collections::BTreeMap;

use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{
    Rows, Tx, communities,
    entity::{account, identity},
    failed, from_text, from_word, to_text, to_word,
};
use crate::{
    error::{Error, Result, Thing},
    model::{Account, CommunityId, Identity, IdentityId, LinkMethod, LinkQuality},
};

/// One identity with its accounts. One that was merged away answers with the one that
/// it became.
pub async fn find(at: &impl Rows, id: IdentityId) -> Result<Identity> {
    let mut next = id.0;
    loop {
        let row = identity::Entity::find_by_id(next)
            .one(at.rows())
            .await
            .map_err(failed)?;
        let row = row.ok_or(Error::NotFound(Thing::Identity(id)))?;
        match row.merged_into {
            Some(other) => next = other,
            None => {
                return whole(at, vec![row])
                    .await?
                    .pop()
                    .ok_or(Error::NotFound(Thing::Identity(id)));
            }
        }
    }
}

/// The same, with all identities of its community taken for this transaction: others that
/// take them wait for the commit. What links an account or merges identities does so.
pub async fn take(tx: &Tx, id: IdentityId) -> Result<Identity> {
    let seen = find(tx, id).await?;
    communities::take(tx, &seen.community_id).await?;
    find(tx, id).await
}

/// Which identities to list.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of this community.
    pub community_id: CommunityId,
    /// With an account of this provider.
    pub provider: Option<String>,
    /// With this account.
    pub user_id: Option<String>,
    /// With an account of this community on the platform.
    pub platform_id: Option<String>,
    /// With an account linked in this way.
    pub link_method: Option<LinkMethod>,
    /// With an account linked at least as surely.
    pub min_link_quality: Option<LinkQuality>,
    /// Any of these; empty means any.
    pub ids: Vec<IdentityId>,
    /// After this one.
    pub after: Option<IdentityId>,
}

/// Up to `limit` identities, oldest first, without those that were merged away. One
/// account must fit all that is said of accounts.
pub async fn list(at: &impl Rows, wanted: &Wanted, limit: u64) -> Result<Vec<Identity>> {
    let mut query = identity::Entity::find()
        .filter(identity::Column::CommunityId.eq(wanted.community_id.as_str()))
        .filter(identity::Column::MergedInto.is_null())
        .order_by_asc(identity::Column::Id)
        .limit(limit);
    if !wanted.ids.is_empty() {
        query = query.filter(identity::Column::Id.is_in(wanted.ids.iter().map(|id| id.0)));
    }
    if let Some(after) = wanted.after {
        query = query.filter(identity::Column::Id.gt(after.0));
    }
    if let Some(accounts) = fitting(wanted)? {
        query = query.filter(identity::Column::Id.in_subquery(accounts.into_query()));
    }
    let rows = query.all(at.rows()).await.map_err(failed)?;
    whole(at, rows).await
}

/// The owners of accounts that fit; `None` if nothing is said of accounts.
fn fitting(wanted: &Wanted) -> Result<Option<sea_orm::Select<account::Entity>>> {
    let mut query = account::Entity::find()
        .select_only()
        .column(account::Column::IdentityId)
        .filter(account::Column::CommunityId.eq(wanted.community_id.as_str()));
    let mut asked = false;
    let texts = [
        (account::Column::Provider, wanted.provider.clone()),
        (account::Column::UserId, wanted.user_id.clone()),
        (account::Column::PlatformId, wanted.platform_id.clone()),
        (
            account::Column::LinkMethod,
            wanted.link_method.as_ref().map(to_word).transpose()?,
        ),
    ];
    for (column, text) in texts {
        if let Some(text) = text {
            query = query.filter(column.eq(text));
            asked = true;
        }
    }
    if let Some(least) = wanted.min_link_quality {
        query = query.filter(account::Column::LinkQuality.gte(quality_number(least)));
        asked = true;
    }
    Ok(asked.then_some(query))
}

/// Adds an identity without accounts.
pub async fn insert(tx: &Tx, identity: &Identity) -> Result<()> {
    let row = identity::Model {
        id: identity.id.0,
        community_id: identity.community_id.to_string(),
        merged_into: None,
    };
    let insert = identity::Entity::insert(row.into_active_model());
    insert
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Folds one identity into another, with its accounts.
pub async fn merge(tx: &Tx, primary: IdentityId, secondary: IdentityId) -> Result<()> {
    account::Entity::update_many()
        .col_expr(account::Column::IdentityId, Expr::value(primary.0))
        .filter(account::Column::IdentityId.eq(secondary.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    identity::Entity::update_many()
        .col_expr(identity::Column::MergedInto, Expr::value(Some(primary.0)))
        .filter(identity::Column::Id.eq(secondary.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// What names an account: unique within a community.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKey {
    /// The community.
    pub community_id: CommunityId,
    /// The identity provider.
    pub provider: String,
    /// The community on the platform; may be empty.
    pub platform_id: String,
    /// The account.
    pub user_id: String,
}

impl AccountKey {
    fn parts(&self) -> (String, String, String, String) {
        let Self {
            community_id,
            provider,
            platform_id,
            user_id,
        } = self.clone();
        (community_id.to_string(), provider, platform_id, user_id)
    }
}

/// Whose account it is, if anyone's.
pub async fn owner(at: &impl Rows, key: &AccountKey) -> Result<Option<(IdentityId, Account)>> {
    let row = account::Entity::find_by_id(key.parts())
        .one(at.rows())
        .await
        .map_err(failed)?;
    row.map(|row| Ok((IdentityId(row.identity_id), read(row)?)))
        .transpose()
}

/// Links an account to an identity, or replaces the link.
pub async fn link(
    tx: &Tx,
    community: &CommunityId,
    id: IdentityId,
    account: &Account,
) -> Result<()> {
    let row = account::Model {
        community_id: community.to_string(),
        provider: account.provider.clone(),
        platform_id: account.platform_id.clone(),
        user_id: account.user_id.clone(),
        identity_id: id.0,
        link_method: to_word(&account.link_method)?,
        link_quality: quality_number(account.link_quality),
        custom_data: to_text(&account.custom_data)?,
    };
    let key = [
        account::Column::CommunityId,
        account::Column::Provider,
        account::Column::PlatformId,
        account::Column::UserId,
    ];
    let new = [
        account::Column::IdentityId,
        account::Column::LinkMethod,
        account::Column::LinkQuality,
        account::Column::CustomData,
    ];
    account::Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::columns(key).update_columns(new).to_owned())
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes a link.
pub async fn unlink(tx: &Tx, key: &AccountKey) -> Result<()> {
    account::Entity::delete_by_id(key.parts())
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes all identities of a community.
pub async fn delete_all(tx: &Tx, community: &CommunityId) -> Result<()> {
    account::Entity::delete_many()
        .filter(account::Column::CommunityId.eq(community.as_str()))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    identity::Entity::delete_many()
        .filter(identity::Column::CommunityId.eq(community.as_str()))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Reads identities with all their accounts in one query.
async fn whole(at: &impl Rows, rows: Vec<identity::Model>) -> Result<Vec<Identity>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let linked = account::Entity::find()
        .filter(account::Column::IdentityId.is_in(ids))
        .order_by_asc(account::Column::Provider)
        .order_by_asc(account::Column::PlatformId)
        .order_by_asc(account::Column::UserId)
        .all(at.rows())
        .await
        .map_err(failed)?;
    let mut accounts: BTreeMap<Uuid, Vec<Account>> = BTreeMap::new();
    for row in linked {
        accounts
            .entry(row.identity_id)
            .or_default()
            .push(read(row)?);
    }
    let identity = |row: identity::Model| Identity {
        id: IdentityId(row.id),
        community_id: CommunityId::trusted(row.community_id),
        accounts: accounts.remove(&row.id).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(identity).collect())
}

fn read(row: account::Model) -> Result<Account> {
    Ok(Account {
        provider: row.provider,
        platform_id: row.platform_id,
        user_id: row.user_id,
        link_method: from_word(row.link_method)?,
        link_quality: match row.link_quality {
            3 => LinkQuality::Strong,
            2 => LinkQuality::Weak,
            1 => LinkQuality::Unconfirmed,
            _ => LinkQuality::Unknown,
        },
        custom_data: from_text(&row.custom_data)?,
    })
}

/// Kept as a number, so that "at least" is a comparison.
fn quality_number(quality: LinkQuality) -> i32 {
    match quality {
        LinkQuality::Unknown => 0,
        LinkQuality::Unconfirmed => 1,
        LinkQuality::Weak => 2,
        LinkQuality::Strong => 3,
    }
}
