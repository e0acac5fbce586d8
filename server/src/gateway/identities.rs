//! Identities: who is who across platforms.

use super::{
    Gateway,
    requests::{self, Ask},
};
use crate::{
    error::{Error, Result, Thing},
    model::{Account, Change, CommunityId, Identity, IdentityId, NewEvent, Payload, RequestKey},
    store::{Tx, communities, identities},
};

pub use identities::Wanted as IdentityFilter;

impl Gateway {
    /// Creates an identity without accounts.
    pub async fn create_identity(
        &self,
        key: Option<RequestKey>,
        community_id: CommunityId,
    ) -> Result<Identity> {
        let ask = Ask::new(key, &("CreateIdentity", &community_id))?.about(&community_id);
        self.store
            .write(async move |tx| {
                if let Some(id) = requests::known(tx, &ask).await? {
                    return identities::find(tx, id).await;
                }
                communities::find(tx, &community_id).await?;
                let identity = Identity {
                    id: IdentityId::new(),
                    community_id: community_id.clone(),
                    accounts: Vec::new(),
                };
                identities::insert(tx, &identity).await?;
                tx.event(changed(&identity, Change::Created));
                requests::keep(tx, &ask, Ok(&identity.id)).await?;
                Ok(identity)
            })
            .await
    }

    /// Returns an identity, or the one that it was merged into.
    pub async fn get_identity(&self, id: IdentityId) -> Result<Identity> {
        identities::find(&self.store, id).await
    }

    /// Up to `limit` identities of a community, oldest first.
    pub async fn list_identities(
        &self,
        wanted: IdentityFilter,
        limit: u64,
    ) -> Result<Vec<Identity>> {
        communities::find(&self.store, &wanted.community_id).await?;
        identities::list(&self.store, &wanted, limit).await
    }

    /// Makes two identities one. Merging what is one already changes nothing.
    pub async fn merge_identities(
        &self,
        primary: IdentityId,
        secondary: IdentityId,
    ) -> Result<Identity> {
        self.store
            .write(async move |tx| {
                let stays = identities::take(tx, primary).await?;
                let goes = identities::find(tx, secondary).await?;
                if stays.id == goes.id {
                    return Ok(stays);
                }
                if stays.community_id != goes.community_id {
                    // As if it did not exist: it is another community's.
                    return Err(Error::NotFound(Thing::Identity(secondary)));
                }
                identities::merge(tx, stays.id, goes.id).await?;
                let merged = identities::find(tx, stays.id).await?;
                tx.event(changed(&goes, Change::Deleted));
                tx.event(changed(&merged, Change::Updated));
                Ok(merged)
            })
            .await
    }

    /// Links an account to an identity, or changes the link. Its quality never falls.
    pub async fn link_account(&self, id: IdentityId, account: Account) -> Result<Identity> {
        self.store
            .write(async move |tx| {
                let identity = identities::take(tx, id).await?;
                let mut account = account.clone();
                let known = identities::owner(tx, &key(&identity, &account)).await?;
                if let Some((owner, known)) = known {
                    if owner != identity.id {
                        return Err(Error::Linked(owner));
                    }
                    if account.link_quality < known.link_quality {
                        account.link_quality = known.link_quality;
                        account.link_method = known.link_method;
                    }
                    if account == known {
                        return Ok(identity);
                    }
                }
                identities::link(tx, &identity.community_id, identity.id, &account).await?;
                updated(tx, identity.id).await
            })
            .await
    }

    /// Removes a link. Removing a missing one is no error.
    pub async fn unlink_account(&self, key: identities::AccountKey) -> Result<()> {
        self.store
            .write(async move |tx| {
                communities::take(tx, &key.community_id).await?;
                let Some((owner, _)) = identities::owner(tx, &key).await? else {
                    return Ok(());
                };
                identities::unlink(tx, &key).await?;
                updated(tx, owner).await.map(drop)
            })
            .await
    }
}

/// Links the account of a person who logged in, in a community that is taken: to the identity that was asked for, else
/// to that which has it, else to a new one.
pub(super) async fn link_login(
    tx: &Tx,
    community: &CommunityId,
    wanted: Option<IdentityId>,
    account: &Account,
) -> Result<IdentityId> {
    let mut identity = Identity {
        id: IdentityId::new(),
        community_id: community.clone(),
        accounts: Vec::new(),
    };
    let known = identities::owner(tx, &key(&identity, account)).await?;
    let wanted = match wanted {
        // It may have been merged in the meantime.
        Some(id) => Some(identities::find(tx, id).await?.id),
        None => known.as_ref().map(|(owner, _)| *owner),
    };
    if let Some((owner, known)) = known {
        if wanted != Some(owner) {
            return Err(Error::Linked(owner));
        }
        if known == *account {
            return Ok(owner);
        }
    }
    let change = match wanted {
        Some(id) => {
            identity.id = id;
            Change::Updated
        }
        None => {
            identities::insert(tx, &identity).await?;
            Change::Created
        }
    };
    identities::link(tx, community, identity.id, account).await?;
    let linked = identities::find(tx, identity.id).await?;
    tx.event(changed(&linked, change));
    Ok(linked.id)
}

async fn updated(tx: &Tx, id: IdentityId) -> Result<Identity> {
    let identity = identities::find(tx, id).await?;
    tx.event(changed(&identity, Change::Updated));
    Ok(identity)
}

fn key(identity: &Identity, account: &Account) -> identities::AccountKey {
    identities::AccountKey {
        community_id: identity.community_id.clone(),
        provider: account.provider.clone(),
        platform_id: account.platform_id.clone(),
        user_id: account.user_id.clone(),
    }
}

fn changed(identity: &Identity, change: Change) -> NewEvent {
    NewEvent {
        community_id: identity.community_id.clone(),
        payload: Payload::Identity(identity.clone(), change),
    }
}
