//! `metagov plugin`: what the gateway can speak to (the catalogue), and, in
//! `installations.rs`, what each community switched on.

use std::io::Write;

use clap::{Args, Subcommand};
use metagov_proto::v1::{GetPluginRequest, ListPluginsRequest, Plugin};

use super::{
    Exit, Failure,
    client::Client,
    common::Common,
    describe,
    failure::answered,
    installations::{Authorize, Check, Configure, Disable, Enable, Installations},
    output::{Columns, word},
};

/// Shows the catalogue of plugins, and enables them for communities.
#[derive(Clone, Subcommand)]
pub enum Plugins {
    /// Lists every plugin that the gateway was built with.
    List(List),
    /// Shows one plugin: how it is set up, and all it offers.
    Get(Get),
    /// Enables a plugin for a community.
    Enable(Enable),
    /// Begins an authorization by OAuth, and prints the address to send the person to.
    Authorize(Authorize),
    /// Changes the configuration of an installation.
    Configure(Configure),
    /// Disables a plugin. Its open processes are cancelled.
    Disable(Disable),
    /// Lists what a community has enabled, oldest first.
    Installations(Installations),
    /// Asks the platform whether an installation's credentials still work.
    Check(Check),
}

impl Plugins {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Get(get) => get.run(out).await,
            Self::Enable(enable) => enable.run(out).await,
            Self::Authorize(authorize) => authorize.run(out).await,
            Self::Configure(configure) => configure.run(out).await,
            Self::Disable(disable) => disable.run(out).await,
            Self::Installations(installations) => installations.run(out).await,
            Self::Check(check) => check.run(out).await,
        }
    }
}

/// The whole catalogue.
#[derive(Clone, Args)]
pub struct List {
    #[command(flatten)]
    common: Common,
}

const COLUMNS: Columns<Plugin, 5> = Columns {
    heads: ["PLUGIN", "PROVES BY", "ACTIONS", "PROCESSES", "DESCRIPTION"],
    cells: |plugin| {
        let about = match plugin.unavailable_reason.as_str() {
            "" => plugin.description.clone(),
            why => format!("{} Unavailable: {why}", plugin.description),
        };
        [
            plugin.name.clone(),
            word(plugin.auth_kind().as_str_name(), "AUTH_KIND_"),
            plugin.actions.len().to_string(),
            plugin.processes.len().to_string(),
            about,
        ]
    },
};

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let answer = client.plugins.list_plugins(ListPluginsRequest {}).await;
        let all = answered("plugins", answer)?;
        let answer = ("ListPluginsResponse", &all);
        self.common.output.list(out, &COLUMNS, &all.plugins, answer)
    }
}

/// Which plugin.
#[derive(Clone, Args)]
pub struct Get {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    common: Common,
}

impl Get {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("plugin {}", self.name);
        let request = GetPluginRequest { plugin: self.name };
        let mut client = self.common.open().await?;
        let answer = answered(&doing, client.plugins.get_plugin(request).await)?;
        let output = self.common.output;
        match (&answer.plugin, output.is_for_people()) {
            (Some(plugin), true) => describe::plugin(out, plugin),
            _ => output.message(out, ("GetPluginResponse", &answer)),
        }
    }
}

/// What a plugin offers under a full name such as `ballot.vote`, which `find` finds in it;
/// `all` are the names that there are.
pub(super) async fn offered<T>(
    client: &mut Client,
    (kind, name): (&str, &str),
    find: impl Fn(&Plugin) -> Option<T>,
    all: impl Fn(&Plugin) -> Vec<String>,
) -> Result<T, Failure> {
    let doing = format!("{kind} {name}");
    let Some((plugin, _)) = name.split_once('.') else {
        let why = format!("{doing}: its name is PLUGIN.NAME, such as randomness.random-int");
        return Err(Failure::new(Exit::Refused, why));
    };
    let plugin = described(client, &doing, plugin).await?;
    find(&plugin).ok_or_else(|| {
        let names = all(&plugin);
        let there_is = match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        let why = format!("{doing}: the plugin {} has {there_is}", plugin.name);
        Failure::new(Exit::Refused, why)
    })
}

/// A plugin as the catalogue describes it.
pub(super) async fn described(
    client: &mut Client,
    doing: &str,
    name: &str,
) -> Result<Plugin, Failure> {
    let plugin = name.to_owned();
    let answer = client.plugins.get_plugin(GetPluginRequest { plugin }).await;
    Ok(answered(doing, answer)?.plugin.unwrap_or_default())
}
