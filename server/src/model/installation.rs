//! An installation: a plugin enabled for one community.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CommunityId, InstallationId, Object, Time};

/// A plugin enabled for one community, with its configuration.
///
/// Serialised (as in an event) it holds neither secrets nor the webhook's slug.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Installation {
    /// Unique.
    pub id: InstallationId,
    /// Whose it is.
    pub community_id: CommunityId,
    /// The plugin's name.
    pub plugin: String,
    /// The configuration without its secrets.
    pub config: Object,
    /// The secrets of the configuration, by property.
    #[serde(skip)]
    pub secrets: Secrets,
    /// Which properties are set but secret, in order.
    pub secret_names: Vec<String>,
    /// What the community is called on the platform; empty if that has no meaning.
    pub platform_id: String,
    /// The secret part of the webhook's address.
    #[serde(skip)]
    pub slug: String,
    /// The slug before the last rotation and until when it still works.
    #[serde(skip)]
    pub old_slug: Option<(String, Time)>,
    /// When the plugin was enabled.
    pub create_time: Time,
    /// When the installation was last changed.
    pub update_time: Time,
    /// Changes with every change.
    pub etag: String,
    /// Why the platform refuses us, and since when.
    pub problem: Option<(String, Time)>,
    /// How often in a row asking the platform has failed.
    #[serde(skip)]
    pub poll_failures: i32,
}

impl Installation {
    /// The configuration as the plugin reads it: with its secrets.
    pub fn whole_config(&self) -> Object {
        let mut whole = self.config.clone();
        whole.extend(self.secrets.0.clone());
        whole
    }
}

/// Secret properties. Prints as their names only.
#[derive(Clone, Default, PartialEq)]
pub struct Secrets(pub Object);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
