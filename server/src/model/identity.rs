//! An identity: a person, as far as the gateway knows.

use serde::{Deserialize, Serialize};

use super::{CommunityId, IdentityId, Object};

/// A person, with the platform accounts that are linked to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Unique.
    pub id: IdentityId,
    /// Whose it is.
    pub community_id: CommunityId,
    /// Platform accounts, by provider, platform_id and user_id.
    pub accounts: Vec<Account>,
}

/// A platform account linked to an identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The identity provider, usually a plugin's name.
    pub provider: String,
    /// The community on the platform, if accounts are only unique within it.
    pub platform_id: String,
    /// The account.
    pub user_id: String,
    /// How the link was made.
    pub link_method: LinkMethod,
    /// How sure the link is.
    pub link_quality: LinkQuality,
    /// Anything else.
    pub custom_data: Object,
}

/// How a link was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkMethod {
    /// Nobody said.
    #[default]
    Unknown,
    /// The person logged in.
    Oauth,
    /// An administrator said so.
    Manual,
    /// The addresses match.
    Email,
}

/// How sure a link is. Higher is surer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkQuality {
    /// Nobody said.
    #[default]
    Unknown,
    /// Not confirmed.
    Unconfirmed,
    /// Confirmed, weakly.
    Weak,
    /// Confirmed, strongly.
    Strong,
}
