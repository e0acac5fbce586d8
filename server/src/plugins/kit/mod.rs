//! The kit: what a plugin is, and everything it is made of.
//!
//! A plugin is one file with a function `plugin() -> Plugin` and one line in
//! `plugins/mod.rs`. The [`Builder`] is its table of contents; the rest of the file
//! is plain functions with typed input and output. Start with `randomness.rs`, the
//! teaching example, then `ballot.rs` (a vote that the gateway holds) and
//! `discourse/` (webhooks, polling, operator settings).
//!
//! - **Schemas come from the types** (`#[derive(Deserialize, JsonSchema)]`), so schema
//!   and parser cannot drift. Doc comments become the catalogue's texts.
//! - **Plugins return, they do not call back.** Whatever runs returns its result and a
//!   list of [`Signal`]s; the gateway does what they say, in one transaction. There is
//!   no handle to the store, the feed or the gateway in [`Context`].
//! - **`receive` and `route` are not async**: they verify and compute. What must be
//!   asked of the platform is a [`Signal::Refresh`] or a [`Signal::Fetch`].
//! - **One HTTP client**, [`Context::http`]. It knows what a fault means: nothing done,
//!   refused, or outcome unknown, and it goes only where it may (`http/`). What is large
//!   and seldom changes is read with [`Request::read_cached`].
//! - **What a platform grants** to an installation by OAuth (`oauth/`) is kept and renewed
//!   by the gateway; a step takes it with [`Context::credentials`].
//! - **A hook is verified before it is read.** [`verify`] has a function for each way in
//!   which platforms sign; [`Hook::json`], [`Hook::read`] and [`Hook::form`] then read the
//!   body within the operator's limits. A secret of the configuration is a [`Secret`], one
//!   that hooks are signed with a [`SigningSecret`], of which two may hold at a time.
//! - **Whose platform is it?** Where the credentials are the operator's, say
//!   [`Builder::operator_credentials`].
//!
//! Erased, a plugin is a plain struct of descriptors and boxed functions over JSON
//! ([`Plugin`]); everything that crosses is plain data.

mod address;
mod builder;
mod context;
mod erased;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod oauth;
mod process;
mod route;
mod schema;
mod signal;
mod signing;
pub mod verify;

pub use address::Address;
pub use builder::{AProcess, Act, AnAction, Builder, Reply, Run, With};
pub use context::{Clock, Context, Nothing, Place, Secret};
pub use erased::{
    Action, BallotSteps, BoxFuture, Call, Held, Plugin, ProcessSteps, Pure, Row, Step,
};
pub use http::{Body, Caller, Http, HttpSettings, Lookup, Request, Response, named_addresses};
pub use oauth::{AnOAuth, Authorized, Begun, Client, Consent, Flow, Granted, OAuth, TokenAnswer};
pub use process::{
    Applied, Ballots, Cancel, Cast, Close, Outgoing, Process, Progress, Start, Started, View,
};
pub use route::Route;
pub use schema::Schema;
pub use signal::{Folded, Happened, Installed, Received, Repeat, Routed, Signal};
pub use signing::SigningSecret;

pub use crate::{
    error::{Error, Result, Trouble},
    model::{
        Account, Ballot, CloseTimeSupport, Credentials, Hook, HookReply, JsonLimits, LinkMethod,
        LinkQuality, Object, OptionTally, ProcessId, Tally, Time,
    },
};

/// The plugin says no to what was asked: `PLUGIN_REFUSED`, with this sentence.
pub fn refuse(why: impl Into<String>) -> Error {
    Error::Refused {
        plugin: String::new(),
        why: why.into(),
    }
}

/// A hook is not from who it says it is: 401. For what a plugin compares itself after
/// [`verify`], such as the application that a signed body names.
pub fn unsigned(why: impl Into<String>) -> Error {
    Error::Unsigned(why.into())
}

/// A parameter is wrong in a way that its schema cannot say: `INVALID_FIELD` at this
/// path, such as `parameters/options`.
pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::invalid(field, why)
}
