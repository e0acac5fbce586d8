//! A community: the tenant of the gateway.

use serde::{Deserialize, Serialize};

use super::{CommunityId, Time};

/// A group of people that uses one or more platforms together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Community {
    /// Chosen by the driver, never changed.
    pub id: CommunityId,
    /// For people; need not be unique.
    pub display_name: String,
    /// When it was created.
    pub create_time: Time,
    /// When it was last changed.
    pub update_time: Time,
    /// Changes with every change.
    pub etag: String,
}
