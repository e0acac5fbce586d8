//! A process: a decision that people take over minutes to weeks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CommunityId, InstallationId, Object, ProcessId, Time};

/// One run of a governance process.
///
/// Serialised (as in an event) it holds neither its parameters nor its private state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Unique.
    pub id: ProcessId,
    /// Whose it is.
    pub community_id: CommunityId,
    /// Which installation runs it.
    pub installation_id: InstallationId,
    /// Full name: `plugin.process`.
    pub process_type: String,
    /// Where it stands.
    pub state: ProcessState,
    /// The page on the platform; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// What it was started with.
    #[serde(skip)]
    pub parameters: Object,
    /// The result so far, as its `outcome_schema` describes.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub outcome: Object,
    /// Why it failed; if and only if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ProcessError>,
    /// When it started.
    pub create_time: Time,
    /// When state, url or outcome last changed.
    pub update_time: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// Counts changes, from 1.
    pub revision: i64,
    /// What is being decided, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// When it closes, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_time: Option<Time>,
    /// The votes so far, if it is a vote and they are not hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
    /// Why it ended, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub end_reason: String,
    /// The platform's id for it.
    #[serde(skip)]
    pub key: String,
    /// What only its plugin understands.
    #[serde(skip)]
    pub private: Value,
}

/// Where a process stands. Only forward: starting, open, then one of the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// Recorded; the platform has not accepted it yet.
    Starting,
    /// People are deciding.
    Open,
    /// Decided.
    Completed,
    /// Abandoned.
    Cancelled,
    /// Broken.
    Failed,
}

impl ProcessState {
    /// Every state, in the order of the machine.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Open,
        Self::Completed,
        Self::Cancelled,
        Self::Failed,
    ];

    /// Whether it never changes again.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }

    /// Whether the machine has an arrow from here to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Starting => next != Self::Starting,
            Self::Open => next != Self::Starting,
            Self::Completed | Self::Cancelled | Self::Failed => false,
        }
    }
}

/// Why a process failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessError {
    /// Stable and machine readable.
    pub reason: FailReason,
    /// For people.
    pub message: String,
}

/// Why a process failed, for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// Whether it ever started cannot be known.
    OutcomeUnknown,
    /// The platform says that it broke, or refused to close it.
    PlatformRejected,
    /// The platform did not answer for too long.
    PlatformUnavailable,
}

/// Votes counted, in one shape on every platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// One entry per option, in the order they were offered.
    pub options: Vec<OptionTally>,
    /// How many people voted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voter_count: Option<i64>,
    /// How many may vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligible_count: Option<i64>,
    /// The options in the lead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leading_options: Vec<String>,
}

/// The votes for one option.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OptionTally {
    /// The option as it was offered.
    pub option: String,
    /// How many people chose it.
    pub count: i64,
    /// The sum of their weights.
    pub score: f64,
    /// Who chose it; never in an event.
    #[serde(skip)]
    pub user_ids: Vec<String>,
    /// What the option is about, where one vote decides on several things.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Whether it leads, for its subject.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leading: bool,
}

#[cfg(test)]
mod tests {
    use super::ProcessState::{self, *};

    #[test]
    fn the_state_machine_only_goes_forward() {
        for from in ProcessState::ALL {
            assert!(!from.may_become(Starting));
            for to in ProcessState::ALL {
                assert!(!(from.is_done() && from.may_become(to)), "{from:?} {to:?}");
            }
        }
        assert!(Starting.may_become(Open) && Open.may_become(Open) && Open.may_become(Completed));
    }
}
