//! Tokens: who calls, and what they may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{CommunityId, Principal, Time, TokenId};

/// What a token may do. Each role may also do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read.
    Reader,
    /// All a driver needs in its communities.
    Driver,
    /// All, tokens and the audit included.
    Admin,
}

impl Role {
    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Driver => "driver",
            Self::Admin => "admin",
        }
    }
}

/// Where a token holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// In every community, also in those that come.
    #[default]
    Everywhere,
    /// In these.
    Only(BTreeSet<CommunityId>),
}

impl Scope {
    /// Whether it holds in this community.
    pub fn holds(&self, community: &CommunityId) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Only(communities) => communities.contains(community),
        }
    }

    /// Whether it holds wherever the other does.
    pub fn covers(&self, other: &Scope) -> bool {
        match (self, other) {
            (Self::Everywhere, _) => true,
            (Self::Only(_), Self::Everywhere) => false,
            (Self::Only(mine), Self::Only(theirs)) => theirs.is_subset(mine),
        }
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// The part of it that may be shown.
    pub id: TokenId,
    /// What it is for, for people.
    pub display_name: String,
    /// What it may do.
    pub role: Role,
    /// Where it holds.
    pub scope: Scope,
    /// Who calls with it; kept when a token is replaced by another.
    pub principal: Principal,
    /// When it stops working.
    pub expire_time: Option<Time>,
    /// When it was created.
    pub create_time: Time,
    /// When it was last used, to the minute.
    pub last_use_time: Option<Time>,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Caller {
    /// Somebody without a token.
    Nobody,
    /// Everybody, where the operator wants no tokens.
    Anybody,
    /// Who holds this token.
    Holder(std::sync::Arc<Token>),
}

impl Caller {
    /// What they may do.
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Nobody => None,
            Self::Anybody => Some(Role::Admin),
            Self::Holder(token) => Some(token.role),
        }
    }

    /// Whether they may create this community: it may lie anywhere, so a driver must
    /// hold everywhere.
    pub fn governs(&self, community: &CommunityId) -> bool {
        match (self.role(), self.scope()) {
            (Some(Role::Driver | Role::Admin), Scope::Everywhere) => true,
            (Some(Role::Admin), scope) => scope.holds(community),
            _ => false,
        }
    }

    /// Whether nobody may do more.
    pub fn is_admin_everywhere(&self) -> bool {
        self.role() == Some(Role::Admin) && self.scope() == Scope::Everywhere
    }

    /// Where they may do it.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Nobody => Scope::Only(BTreeSet::new()),
            Self::Anybody => Scope::Everywhere,
            Self::Holder(token) => token.scope.clone(),
        }
    }

    /// Whose request ids theirs are.
    pub fn principal(&self) -> Principal {
        match self {
            // No token's id has a parenthesis.
            Self::Nobody => Principal::trusted("(nobody)"),
            Self::Anybody => Principal::trusted("(anybody)"),
            Self::Holder(token) => token.principal.clone(),
        }
    }
}

/// One mutating or refused call.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Counts entries, from 1.
    pub number: i64,
    /// When the call ended.
    pub record_time: Time,
    /// Whose call it was; empty where nobody's or anybody's.
    pub token_id: String,
    /// Such as `metagov.v1.ActionService/PerformAction`.
    pub rpc: String,
    /// The community it was about; empty if none.
    pub community_id: String,
    /// What it was about: an id, or the name of an action or process.
    pub subject: String,
    /// What it was answered with, such as `OK`.
    pub code: String,
    /// SHA-256 of this entry and of the hash before it.
    pub hash: [u8; 32],
}
