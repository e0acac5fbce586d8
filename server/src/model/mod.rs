//! Words: the plain data that every other room speaks of. No I/O, no protocol.
//!
//! One noun, one file; the same noun has the same file name in `store`, `gateway`,
//! `rpc` and `tests`. Read `process.rs` and `event.rs` first: the rest of the
//! gateway exists for them. Ids are newtypes (`id.rs`), times are [`Time`], which
//! counts microseconds. What must never leave the gateway is marked `serde(skip)`
//! or wrapped in [`Secrets`].

mod authorization;
mod ballot;
mod bearer;
mod community;
mod delivery;
mod event;
mod id;
mod identity;
mod installation;
mod json;
mod plugin;
mod process;
mod subscription;
mod time;
mod token;

pub use authorization::{Authorization, Credentials, Purpose};
pub use ballot::Ballot;
pub use bearer::Bearer;
pub use community::Community;
pub use delivery::{Delivery, DeliveryState, Hook, HookReply};
pub use event::{Change, Event, EventKind, Initiator, NewEvent, Payload, PlatformEvent};
pub use id::{
    CommunityId, DeliveryId, EventId, IdentityId, InstallationId, Principal, ProcessId, RequestId,
    RequestKey, SubscriptionId, SubscriptionKey, TokenId,
};
pub use identity::{Account, Identity, LinkMethod, LinkQuality};
pub use installation::{Installation, Secrets};
pub use json::JsonLimits;
pub use plugin::{
    ActionDescriptor, AuthKind, CloseTimeSupport, EventDescriptor, PluginDescriptor,
    ProcessDescriptor,
};
pub use process::{FailReason, OptionTally, Process, ProcessError, ProcessState, Tally};
pub use subscription::{EventFilter, Lag, Subscription};
pub use time::Time;
pub use token::{AuditEntry, Caller, Role, Scope, Token};

/// A JSON object.
pub type Object = serde_json::Map<String, serde_json::Value>;
