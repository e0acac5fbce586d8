//! A subscription: a named cursor that the gateway keeps, with its filter.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{CommunityId, EventKind, InstallationId, ProcessId, SubscriptionKey, Time};

/// A named cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Whose it is, and what they call it.
    pub key: SubscriptionKey,
    /// Which events.
    pub filter: EventFilter,
    /// Everything up to here is dealt with.
    pub acknowledged: i64,
    /// New when it is created and when it is moved, and higher than any before: streams
    /// that began under another one end.
    pub epoch: i64,
    /// When it was created.
    pub create_time: Time,
}

/// How far behind a subscription is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Matching events that are not acknowledged.
    pub count: u64,
    /// When the oldest of them was recorded.
    pub since: Option<Time>,
}

/// Which events are wanted, whoever reads them. Fields are joined by AND, their entries
/// by OR; an empty field matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Only these communities.
    pub communities: BTreeSet<CommunityId>,
    /// Only these kinds. If empty while `event_types` or `processes` is not, only the
    /// kinds that those speak of.
    pub kinds: BTreeSet<EventKind>,
    /// Of the platform events only these: `plugin.event` or `plugin.*`.
    pub event_types: Vec<String>,
    /// Of the changes of processes only those of these.
    pub processes: BTreeSet<ProcessId>,
    /// Of the events that speak of an installation only those of these.
    pub installations: BTreeSet<InstallationId>,
    /// Leave out platform events that the gateway's own account caused.
    pub skip_by_gateway: bool,
}
