//! Authorizations: what a platform is asked to grant, and what it granted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CommunityId, IdentityId, Time};

/// What an authorization is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To enable the plugin for the community.
    Install,
    /// To link the person's account.
    Login,
}

/// An authorization that somebody has begun and the platform has not answered.
#[derive(Clone, PartialEq)]
pub struct Authorization {
    /// For which community.
    pub community_id: CommunityId,
    /// The plugin's name.
    pub plugin: String,
    /// What for.
    pub purpose: Purpose,
    /// For a login: whose account it becomes; whose it is or nobody's yet, if unset.
    pub identity_id: Option<IdentityId>,
    /// Where the person goes afterwards.
    pub redirect_uri: String,
    /// What the caller gets back there.
    pub caller_state: String,
    /// What proves to the platform that we have begun it (PKCE). Secret.
    pub verifier: Option<String>,
    /// When it is over.
    pub expire_time: Time,
}

/// What a platform granted to an installation. All of it is secret, so it is neither
/// printed nor serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// What opens the platform.
    pub access_token: String,
    /// What it is renewed with.
    pub refresh_token: Option<String>,
    /// When it stops working; `None` if it does not.
    pub expire_time: Option<Time>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("expire_time", &self.expire_time)
            .finish_non_exhaustive()
    }
}
