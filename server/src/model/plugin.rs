//! What a plugin offers, as the catalogue tells it.

use serde::Serialize;
use serde_json::Value;

/// A platform integration compiled into the gateway.
#[derive(Clone, Debug, Serialize)]
pub struct PluginDescriptor {
    /// Unique: `[a-z][a-z0-9-]*`.
    pub name: String,
    /// What it does, in Markdown.
    pub description: String,
    /// How an installation proves itself to the platform.
    pub auth_kind: AuthKind,
    /// JSON Schema of an installation's configuration.
    pub config_schema: Value,
    /// Whether the platform must be given the webhook's address.
    pub uses_webhook: bool,
    /// What it can perform.
    pub actions: Vec<ActionDescriptor>,
    /// What it can run.
    pub processes: Vec<ProcessDescriptor>,
    /// What it can report.
    pub events: Vec<EventDescriptor>,
    /// How to set up the platform's side, in Markdown.
    pub setup_help: String,
    /// Why nobody can enable it here; empty if it can be enabled.
    pub unavailable_reason: String,
}

/// How an installation authenticates to its platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// No credentials.
    None,
    /// A key in the configuration.
    ApiKey,
    /// A token obtained through an authorization.
    Oauth,
}

/// An action a plugin can perform.
#[derive(Clone, Debug, Serialize)]
pub struct ActionDescriptor {
    /// Full name: `plugin.action`.
    pub action: String,
    /// What it does, in Markdown.
    pub description: String,
    /// JSON Schema of its parameters.
    pub parameters_schema: Value,
    /// JSON Schema of its result.
    pub result_schema: Value,
    /// Whether it only reads.
    pub read_only: bool,
    /// Whether callers without a credential may perform it.
    pub allow_anonymous: bool,
}

/// A governance process a plugin can run.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessDescriptor {
    /// Full name: `plugin.process`.
    pub process_type: String,
    /// What it does, in Markdown.
    pub description: String,
    /// JSON Schema of its parameters.
    pub parameters_schema: Value,
    /// JSON Schema of its outcome.
    pub outcome_schema: Value,
    /// Whether it can be closed.
    pub closable: bool,
    /// Whether cancelling tells the platform too.
    pub cancellable: bool,
    /// Whether it is a vote.
    pub is_vote: bool,
    /// Whether it takes a close_time.
    pub close_time_support: CloseTimeSupport,
}

/// Whether a process takes a close_time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseTimeSupport {
    /// It must not be given.
    None,
    /// It may be given.
    Optional,
    /// It must be given.
    Required,
}

/// A kind of event a plugin can emit.
#[derive(Clone, Debug, Serialize)]
pub struct EventDescriptor {
    /// Full name: `plugin.event`.
    pub event_type: String,
    /// What happened, in Markdown.
    pub description: String,
    /// JSON Schema of its data.
    pub data_schema: Value,
}
