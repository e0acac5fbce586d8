//! Communities: created, changed, deleted with all they own.

use std::sync::Arc;

use super::{
    Gateway, check_etag, etag,
    requests::{self, Ask},
    teardown::FAREWELL,
};
use crate::{
    error::{Error, Result, Thing},
    model::{
        Change, Community, CommunityId, Installation, NewEvent, Payload, RequestKey, Scope, Time,
    },
    store::{
        ALL, Tx, authorizations, communities, deliveries, events, identities, installations,
        processes, requests as request_rows,
    },
};

/// What to change of a community.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommunityChanges {
    /// The new name, if it is to change.
    pub display_name: Option<String>,
    /// Must match, if it is not empty.
    pub etag: String,
    /// Whether a community that does not exist is created.
    pub allow_missing: bool,
}

impl Gateway {
    /// Creates a community.
    pub async fn create_community(
        &self,
        key: Option<RequestKey>,
        id: CommunityId,
        display_name: String,
    ) -> Result<Community> {
        let ask = Ask::new(key, &("CreateCommunity", &id, &display_name))?;
        self.store
            .write(async move |tx| {
                if let Some(id) = requests::known(tx, &ask).await? {
                    return communities::find(tx, &id).await;
                }
                match communities::find(tx, &id).await {
                    Ok(_) => return Err(Error::Exists(Thing::Community(id.clone()))),
                    Err(Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
                let community = create(tx, &id, &display_name).await?;
                requests::keep(tx, &ask, Ok(&id)).await?;
                Ok(community)
            })
            .await
    }

    /// Returns one community.
    pub async fn get_community(&self, id: &CommunityId) -> Result<Community> {
        communities::find(&self.store, id).await
    }

    /// Up to `limit` communities within a scope after a place, oldest first.
    pub async fn list_communities(
        &self,
        scope: Scope,
        after: Option<(Time, CommunityId)>,
        limit: u64,
    ) -> Result<Vec<Community>> {
        communities::list(&self.store, &scope, after, limit).await
    }

    /// Changes a community, or creates it if that is allowed: whether it did.
    pub async fn update_community(
        &self,
        id: CommunityId,
        changes: CommunityChanges,
    ) -> Result<(Community, bool)> {
        self.store
            .write(async move |tx| {
                let mut community = match communities::take(tx, &id).await {
                    Err(Error::NotFound(_)) if changes.allow_missing && changes.etag.is_empty() => {
                        let name = changes.display_name.clone().unwrap_or_default();
                        return Ok((create(tx, &id, &name).await?, true));
                    }
                    found => found?,
                };
                check_etag(&changes.etag, &community.etag)?;
                let new = changes.display_name.as_ref();
                if let Some(name) = new.filter(|name| **name != community.display_name) {
                    community.display_name.clone_from(name);
                    community.update_time = tx.now;
                    community.etag = etag();
                    communities::update(tx, &community).await?;
                    tx.event(changed(&community, Change::Updated));
                }
                Ok((community, false))
            })
            .await
    }

    /// Deletes a community with all it owns. Its open processes are cancelled first.
    pub async fn delete_community(self: &Arc<Self>, id: CommunityId, etag: String) -> Result<()> {
        let community = communities::find(&self.store, &id).await?;
        check_etag(&etag, &community.etag)?;
        let gateway = self.clone();
        let work = async move {
            let until = tokio::time::Instant::now() + FAREWELL;
            let owned = gateway.installations_of(&id).await?;
            for installation in &owned {
                gateway.withdraw(installation, until).await?;
            }
            gateway
                .store
                .write(async move |tx| delete(tx, &id, &etag).await)
                .await
        };
        self.detached(work).await
    }

    async fn installations_of(&self, id: &CommunityId) -> Result<Vec<Installation>> {
        let wanted = installations::Wanted::of(id);
        installations::list(&self.store, &wanted, ALL).await
    }
}

async fn create(tx: &Tx, id: &CommunityId, display_name: &str) -> Result<Community> {
    let community = Community {
        id: id.clone(),
        display_name: display_name.to_owned(),
        create_time: tx.now,
        update_time: tx.now,
        etag: etag(),
    };
    communities::insert(tx, &community).await?;
    tx.event(changed(&community, Change::Created));
    Ok(community)
}

async fn delete(tx: &Tx, id: &CommunityId, etag: &str) -> Result<()> {
    // From here on nobody writes anything of it.
    let community = communities::take_to_delete(tx, id).await?;
    check_etag(etag, &community.etag)?;
    let all = installations::Wanted::of(id);
    for installation in installations::list(tx, &all, ALL).await? {
        installations::take_to_delete(tx, installation.id).await?;
        deliveries::delete_all(tx, installation.id).await?;
        installations::delete(tx, installation.id).await?;
    }
    authorizations::delete_all(tx, id).await?;
    processes::delete_all(tx, id).await?;
    identities::delete_all(tx, id).await?;
    request_rows::delete_all(tx, id).await?;
    communities::delete(tx, id).await?;
    events::blank(tx, id).await?;
    tx.event(changed(&community, Change::Deleted));
    Ok(())
}

fn changed(community: &Community, change: Change) -> NewEvent {
    NewEvent {
        community_id: community.id.clone(),
        payload: Payload::Community(community.clone(), change),
    }
}
