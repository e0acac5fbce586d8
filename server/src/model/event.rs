//! An event: something that happened, at one place of the feed.

use serde::{Deserialize, Serialize};

use super::{
    Community, CommunityId, EventId, Identity, Installation, InstallationId, Object, Process,
    ProcessId, Time,
};

/// Something that happened, as it stands in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place: 1 is the first, and there are no holes.
    pub position: i64,
    /// Unique, the same on every delivery.
    pub id: EventId,
    /// In which community.
    pub community_id: CommunityId,
    /// When it was recorded; never decreases along the log.
    pub record_time: Time,
    /// What happened; `None` once its community was deleted.
    pub payload: Option<Payload>,
    /// Whether it is the last event of its change.
    pub ends: bool,
    /// About how many bytes it takes on the wire.
    pub size: usize,
}

/// An event that is to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// In which community.
    pub community_id: CommunityId,
    /// What happened.
    pub payload: Payload,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// A platform reported something.
    Platform(PlatformEvent),
    /// A process started or changed.
    Process(Box<Process>),
    /// A plugin was enabled, configured or disabled.
    Installation(Box<Installation>, Change),
    /// A community was created, changed or deleted.
    Community(Community, Change),
    /// An identity was created, changed or merged away.
    Identity(Identity, Change),
}

/// What was done to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Created,
    /// It changed.
    Updated,
    /// It is gone.
    Deleted,
}

/// A platform reported something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlatformEvent {
    /// Full name: `plugin.event`.
    pub event_type: String,
    /// Which installation received it.
    pub installation_id: InstallationId,
    /// Who did it, if known.
    pub initiator: Option<Initiator>,
    /// Details, as the event's `data_schema` describes.
    pub data: Object,
    /// When it happened, by the platform's clock.
    pub occur_time: Option<Time>,
    /// Whether the gateway's own account did it.
    pub by_gateway: bool,
    /// Whether `data` is left out because it is too large.
    pub data_omitted: bool,
}

/// Who did something on a platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Initiator {
    /// The account on the platform.
    pub user_id: String,
    /// The identity provider of `user_id`.
    pub provider: String,
    /// The identity the account is linked to, if any.
    pub identity_id: Option<super::IdentityId>,
}

/// The cases of [`Payload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// [`Payload::Platform`].
    Platform,
    /// [`Payload::Process`].
    Process,
    /// [`Payload::Installation`].
    Installation,
    /// [`Payload::Community`].
    Community,
    /// [`Payload::Identity`].
    Identity,
}

impl Payload {
    /// Which case it is.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Platform(_) => EventKind::Platform,
            Self::Process(_) => EventKind::Process,
            Self::Installation(..) => EventKind::Installation,
            Self::Community(..) => EventKind::Community,
            Self::Identity(..) => EventKind::Identity,
        }
    }

    /// The process it speaks of.
    pub fn process_id(&self) -> Option<ProcessId> {
        match self {
            Self::Process(process) => Some(process.id),
            _ => None,
        }
    }

    /// The installation it speaks of.
    pub fn installation_id(&self) -> Option<InstallationId> {
        match self {
            Self::Platform(event) => Some(event.installation_id),
            Self::Process(process) => Some(process.installation_id),
            Self::Installation(installation, _) => Some(installation.id),
            Self::Community(..) | Self::Identity(..) => None,
        }
    }
}
