//! A ballot: what one voter says in a vote that the gateway holds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One voter's choice. A process keeps one per voter and subject: the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ballot<C = Value> {
    /// Who votes, as the platform or the driver calls them.
    pub voter: String,
    /// On what, where one vote decides on several things; empty otherwise.
    #[serde(default)]
    pub subject: String,
    /// What they chose.
    pub choices: C,
}
