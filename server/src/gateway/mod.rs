//! The rules: one function per use case, told from top to bottom.
//!
//! The edges (`rpc`, `http`) call these functions and decide nothing; this room decides
//! and uses the means: `store`, `feed`, `plugins`. What a driver asks for runs in a
//! task of its own from the moment it may reach a platform, so a client that goes away
//! does not stop it half done ([`requests`]). Never HTTP inside a transaction.
//!
//! Read `communities.rs` (the simplest), `actions.rs`, `processes.rs`, then `advance.rs` (how a
//! process changes), `signals.rs` (what plugins ask for) and `chores.rs` (what happens by the clock).

mod access;
mod actions;
mod advance;
mod after;
mod audit;
mod authorizations;
mod chores;
mod communities;
mod credentials;
mod events;
mod grants;
mod hooks;
mod identities;
mod locks;
mod mask;
mod operations;
mod plugins;
mod processes;
mod refusals;
mod replica;
mod requests;
mod signals;
mod sizes;
mod starts;
mod steps;
mod subscriptions;
mod teardown;
mod tokens;
mod votes;
mod watched;
mod watching;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::sync::{Notify, RwLock};
use url::Url;

pub use access::About;
#[doc(hidden)]
pub use access::bearer;
pub use actions::Performing;
pub use audit::Ended;
pub use authorizations::{Authorizing, Callback, Outcome, Redirect};
pub use communities::CommunityChanges;
pub use identities::IdentityFilter;
pub use operations::Unready;
pub use plugins::Enabling;
pub use processes::ProcessFilter;
pub use starts::Starting;
pub use subscriptions::{Subscribing, SubscriptionLag};
pub use tokens::NewToken;

use crate::{
    error::{Error, Result, Thing},
    feed::Feed,
    model::{
        ActionDescriptor, InstallationId, JsonLimits, Object, PluginDescriptor, ProcessDescriptor,
        ProcessId,
    },
    plugins::kit::{Http, Plugin},
    store::Store,
};
pub use crate::{
    feed::{Batch, Entry, Filter, Start},
    store::{deliveries::Wanted as DeliveryFilter, identities::AccountKey},
};
use locks::Locks;
use refusals::Refusals;

/// What the operator may set of the rules.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where platforms and people reach the public listener.
    pub public_url: Url,
    /// How long one step of a plugin may take in all.
    pub step_timeout: Duration,
    /// After what silence others may take over what this gateway does.
    pub replica_lease: Duration,
    /// How often platforms without hooks are asked.
    pub poll_interval: Duration,
    /// How long events are kept.
    pub event_retention: Duration,
    /// How many bytes an event may have; a larger one is kept without its data.
    pub max_event_size: usize,
    /// How much JSON is taken, from callers and from platforms.
    pub json: JsonLimits,
    /// Where people may be sent after an authorization.
    pub redirect_uris: Vec<String>,
    /// Whether everybody may do everything, without a token.
    pub insecure_no_auth: bool,
    /// The operator's settings for plugins, by plugin.
    pub operator: BTreeMap<String, Object>,
}

impl Settings {
    /// The operator's settings for one plugin; none is the empty object.
    fn of_plugin(&self, name: &str) -> Object {
        self.operator.get(name).cloned().unwrap_or_default()
    }
}

/// The gateway: everything that can be asked of it.
pub struct Gateway {
    /// For what is given to plugins: it outlives a call, not the gateway.
    me: Weak<Gateway>,
    store: Store,
    feed: Feed,
    plugins: BTreeMap<String, Plugin>,
    http: Http,
    settings: Settings,
    tokens: tokens::Tokens,
    /// What was counted of subscriptions.
    counts: subscriptions::Counts,
    /// The subscriptions that streams are of.
    watched: watched::Watched,
    audit: audit::Audit,
    life: replica::Life,
    /// What is being done under claims.
    slots: Arc<replica::Slots>,
    /// One step of a process at a time, as far as this gateway knows.
    locks: Locks<ProcessId>,
    /// One refresh of an installation's credentials at a time.
    renewing: Locks<InstallationId>,
    /// Votes that are to be redrawn.
    to_show: Mutex<HashSet<ProcessId>>,
    /// Held for reading by all work that must not be cut off.
    working: Arc<RwLock<()>>,
    /// Hooks that were refused since the log last said so.
    refusals: Refusals,
    /// Wakes the chores: something may have become due.
    wake: Notify,
    /// What operators were told lately.
    operations: operations::Operations,
}

impl Gateway {
    /// Puts the gateway together. Panics if two plugins have one name.
    pub fn new(
        store: Store,
        feed: Feed,
        plugins: Vec<Plugin>,
        settings: Settings,
        http: Http,
    ) -> Arc<Self> {
        let mut by_name = BTreeMap::new();
        for mut plugin in plugins {
            plugin.descriptor.unavailable_reason = missing_settings(&plugin, &settings);
            let name = plugin.descriptor.name.clone();
            assert!(
                by_name.insert(name.clone(), plugin).is_none(),
                "two plugins are called {name}"
            );
        }
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            tokens: tokens::Tokens::default(),
            counts: subscriptions::Counts::default(),
            watched: watched::Watched::default(),
            audit: audit::Audit::start(store.clone()),
            store,
            feed,
            plugins: by_name,
            http,
            life: replica::Life::new(settings.replica_lease),
            slots: Arc::default(),
            settings,
            locks: Locks::default(),
            renewing: Locks::default(),
            to_show: Mutex::default(),
            working: Arc::default(),
            refusals: Refusals::default(),
            wake: Notify::new(),
            operations: operations::Operations::default(),
        })
    }

    /// How much JSON is taken.
    pub fn json_limits(&self) -> JsonLimits {
        self.settings.json
    }

    fn plugin(&self, name: &str) -> Result<&Plugin> {
        let unknown = || Error::NotFound(Thing::Plugin(name.to_owned()));
        self.plugins.get(name).ok_or_else(unknown)
    }

    /// The plugin of a full name, such as `plugin.action`.
    fn plugin_of(&self, full_name: &str) -> Result<&Plugin> {
        let unknown = || Error::NotFound(Thing::Plugin(full_name.to_owned()));
        let (name, _) = full_name.split_once('.').ok_or_else(unknown)?;
        self.plugins.get(name).ok_or_else(unknown)
    }
}

/// The catalogue.
impl Gateway {
    /// Every plugin, by name.
    pub fn list_plugins(&self) -> Vec<&PluginDescriptor> {
        self.plugins
            .values()
            .map(|plugin| &plugin.descriptor)
            .collect()
    }

    /// One plugin.
    pub fn get_plugin(&self, name: &str) -> Result<&PluginDescriptor> {
        Ok(&self.plugin(name)?.descriptor)
    }

    /// One action, by its full name.
    pub fn get_action(&self, name: &str) -> Result<&ActionDescriptor> {
        let actions = &self.plugin_of(name)?.descriptor.actions;
        let found = actions.iter().find(|action| action.action == name);
        found.ok_or_else(|| Error::NotFound(Thing::Plugin(name.to_owned())))
    }

    fn process_descriptor(&self, name: &str) -> Result<&ProcessDescriptor> {
        let processes = &self.plugin_of(name)?.descriptor.processes;
        let found = processes
            .iter()
            .find(|process| process.process_type == name);
        found.ok_or_else(|| Error::NotFound(Thing::Plugin(name.to_owned())))
    }
}

/// Why nobody can enable a plugin here, if its operator settings do not fit.
fn missing_settings(plugin: &Plugin, settings: &Settings) -> String {
    let name = &plugin.descriptor.name;
    let given = settings.of_plugin(name);
    match plugin
        .operator
        .check(&given.into(), name, "operator settings")
    {
        Ok(()) => String::new(),
        Err(error) => format!("the operator has not configured {name}: {error}"),
    }
}

/// A new etag.
fn etag() -> String {
    hex::encode(rand::random::<[u8; 8]>())
}

/// Refuses a change of something that was changed since the caller read it.
fn check_etag(wanted: &str, found: &str) -> Result<()> {
    if wanted.is_empty() || wanted == found {
        Ok(())
    } else {
        Err(Error::Changed)
    }
}
