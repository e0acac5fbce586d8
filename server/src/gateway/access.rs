//! Access: who calls, and whether they may. [`Gateway::authorise`] is the one place
//! where that is decided, for every call.

use std::sync::Arc;

use super::{Gateway, tokens};
use crate::{
    error::{Error, Result, Thing},
    model::{
        Bearer, Caller, CommunityId, DeliveryId, IdentityId, InstallationId, ProcessId, Role, Scope,
    },
    proof::{Bug, is},
    store::{deliveries, identities, installations, processes},
};

/// What a call is about.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    /// What a community has, or the community itself.
    Community(CommunityId),
    /// A community that is to be created.
    NewCommunity(CommunityId),
    /// A community that is to be deleted.
    OldCommunity(CommunityId),
    /// An installation.
    Installation(InstallationId),
    /// A process.
    Process(ProcessId),
    /// An identity.
    Identity(IdentityId),
    /// A delivery.
    Delivery(DeliveryId),
}

impl Gateway {
    /// Who calls with this `authorization` header.
    pub async fn authenticate(&self, header: Option<&[u8]>) -> Result<Caller> {
        if self.settings.insecure_no_auth {
            return Ok(Caller::Anybody);
        }
        let Some(header) = header else {
            return Ok(Caller::Nobody);
        };
        let bearer = bearer(header).ok_or(Error::TokenInvalid)?;
        let kept = match self.tokens.find(&self.store, &bearer.id).await {
            Err(Error::NotFound(_)) => return Err(Error::TokenInvalid),
            found => found?,
        };
        let now = self.store.now();
        if !bearer.has_hash(&kept.secret_hash) || tokens::is_over(&kept.token, now) {
            return Err(Error::TokenInvalid);
        }
        self.tokens.note_use(&bearer.id, now);
        Ok(Caller::Holder(kept.token.clone()))
    }

    /// Whether a caller may do what needs a role, about all of these; the community that
    /// it is about, for the audit. Nothing is needed for what anybody may do.
    ///
    /// What is not theirs does not exist for them: the error is the same.
    pub async fn authorise(
        &self,
        caller: &Caller,
        needs: Option<Role>,
        about: &[About],
    ) -> Result<Option<CommunityId>> {
        let first = match about.first() {
            Some(About::Community(id) | About::NewCommunity(id) | About::OldCommunity(id)) => {
                Some(id.clone())
            }
            _ => None,
        };
        let Some(needs) = needs else {
            return Ok(first);
        };
        let role = caller.role().ok_or(Error::TokenInvalid)?;
        if role < needs {
            return Err(too_small(needs.word()));
        }
        let scope = caller.scope();
        if scope == Scope::Everywhere && needs == Role::Reader {
            // Nothing to be looked up, since nothing is kept from them.
            return Ok(first);
        }
        let mut community = None;
        for thing in about {
            // The same for every id, so it tells nothing of what is there.
            let governs = match thing {
                About::NewCommunity(id) => caller.governs(id),
                About::OldCommunity(_) => role == Role::Admin || scope == Scope::Everywhere,
                _ => true,
            };
            if !governs {
                return Err(too_small("driver in every community"));
            }
            let found = match self.community_of(thing).await {
                // Nothing is kept from them, so other faults of the call may come first.
                Err(Error::NotFound(_)) if scope == Scope::Everywhere => continue,
                found => found?,
            };
            let forgets = is(Bug::AnyCommunity) && matches!(thing, About::Identity(_));
            if !scope.holds(&found) && !forgets {
                return Err(Error::NotFound(absent(thing)));
            }
            community.get_or_insert(found);
        }
        Ok(community)
    }

    async fn community_of(&self, thing: &About) -> Result<CommunityId> {
        let installation = async |id| Ok(installations::find(&self.store, id).await?.community_id);
        match thing {
            About::Community(id) | About::NewCommunity(id) | About::OldCommunity(id) => {
                Ok(id.clone())
            }
            About::Installation(id) => installation(*id).await,
            About::Process(id) => Ok(processes::find(&self.store, *id).await?.community_id),
            About::Identity(id) => Ok(identities::find(&self.store, *id).await?.community_id),
            About::Delivery(id) => {
                let (delivery, _) = deliveries::find(&self.store, *id).await?;
                installation(delivery.installation_id).await
            }
        }
    }

    /// Resolves when the token of a caller is no longer valid; never for others.
    pub async fn until_invalid(self: Arc<Self>, caller: Caller) {
        let Caller::Holder(token) = caller else {
            return std::future::pending().await;
        };
        self.tokens.until_invalid(&self.store, &token).await;
    }
}

/// The token of an `authorization` header.
pub fn bearer(header: &[u8]) -> Option<Bearer> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| Bearer::parse(token)).flatten()
}

fn too_small(needs: &str) -> Error {
    let needs = needs.to_owned();
    Error::RoleTooSmall { needs }
}

fn absent(thing: &About) -> Thing {
    match thing {
        About::Community(id) | About::NewCommunity(id) | About::OldCommunity(id) => {
            Thing::Community(id.clone())
        }
        About::Installation(id) => Thing::Installation(*id),
        About::Process(id) => Thing::Process(*id),
        About::Identity(id) => Thing::Identity(*id),
        About::Delivery(id) => Thing::Delivery(*id),
    }
}
