//! `metagov plugin enable`, `configure`, `disable`, `installations` and `check`: plugins
//! as communities have them.

use std::{io::Write, path::PathBuf};

use clap::Args;
use metagov_proto::{
    json,
    v1::{
        AuthorizePluginRequest, CheckInstallationRequest, DisablePluginRequest,
        EnablePluginRequest, GetInstallationRequest, Installation, ListInstallationsRequest,
        ListInstallationsResponse, UpdateInstallationRequest,
    },
};

use super::{
    Exit, Failure,
    client::Client,
    common::{Common, Limit, Once, Place},
    failure::answered,
    output::{Columns, time},
    pages,
    parameters::{Parameters, Setting},
    plugins::described,
    schema::Schema,
};

/// Which plugin, with which configuration.
///
/// `metagov plugin get NAME` shows what its configuration has. Secrets are better given in
/// a file, or on the standard input: other users may see the flags of a command.
#[derive(Clone, Args)]
pub struct Enable {
    /// The plugin's name.
    #[arg(value_name = "NAME")]
    plugin: String,

    /// The configuration: key=text, or key:=JSON.
    #[arg(value_name = "KEY=VALUE", value_parser = Setting::parse)]
    config: Vec<Setting>,

    /// A file with the configuration as a JSON object, `-` for the standard input. What
    /// is given besides goes over it. Default none.
    #[arg(long = "config", value_name = "FILE", hide_env = true)]
    file: Option<PathBuf>,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    once: Once,

    #[command(flatten)]
    common: Common,
}

impl Enable {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("plugin {}", self.plugin);
        let config = Parameters::new(self.config, self.file.as_ref(), "--config")?;
        let mut client = self.common.open().await?;
        let plugin = described(&mut client, &doing, &self.plugin).await?;
        let config = config.fit(&Schema::of(plugin.config_schema), &doing, false)?;
        let request = EnablePluginRequest {
            community_id: self.place.community,
            plugin: self.plugin,
            config: Some(json::from_json(config)),
            request_id: self.once.id(),
        };
        let answer = answered(&doing, client.plugins.enable_plugin(request).await)?;
        let id = answer.installation.as_ref();
        let id = id.map_or("", |made| made.installation_id.as_str());
        let done = format!("{doing} enabled {id}");
        let answer = ("EnablePluginResponse", &answer);
        self.common.output.answer(out, done, answer)
    }
}

/// The address is all that is on the standard output.
#[derive(Clone, Args)]
pub struct Authorize {
    /// The plugin's name.
    #[arg(value_name = "NAME")]
    plugin: String,

    /// Where to send the person afterwards: one of the operator's --redirect-uris.
    #[arg(long, value_name = "URL", hide_env = true)]
    redirect_uri: String,

    /// Yours, unguessable; it comes back with the redirect. Default none.
    #[arg(long, value_name = "TEXT", hide_env = true)]
    state: Option<String>,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    common: Common,
}

impl Authorize {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("plugin {}", self.plugin);
        let request = AuthorizePluginRequest {
            community_id: self.place.community,
            plugin: self.plugin,
            redirect_uri: self.redirect_uri,
            state: self.state.unwrap_or_default(),
            ..AuthorizePluginRequest::default()
        };
        let mut client = self.common.open().await?;
        let answer = answered(&doing, client.plugins.authorize_plugin(request).await)?;
        eprintln!("it works until {}", time(answer.expire_time.as_ref()));
        let url = answer.authorize_url.clone();
        let answer = ("AuthorizePluginResponse", &answer);
        self.common.output.answer(out, url, answer)
    }
}

/// What shall be different: what is not given stays, secrets among it.
#[derive(Clone, Args)]
pub struct Configure {
    /// The installation, as `metagov plugin installations` shows it.
    #[arg(value_name = "INSTALLATION_ID")]
    id: String,

    /// What changes in the configuration: key=text, or key:=JSON; key:=null removes it.
    #[arg(value_name = "KEY=VALUE", value_parser = Setting::parse)]
    config: Vec<Setting>,

    /// A file with what changes as a JSON object, `-` for the standard input. What is
    /// given besides goes over it. Default none.
    #[arg(long = "config", value_name = "FILE", hide_env = true)]
    file: Option<PathBuf>,

    /// Only if it is still as it was read: the etag that came with it. Default: in any case.
    #[arg(long, value_name = "ETAG", hide_env = true)]
    etag: Option<String>,

    #[command(flatten)]
    common: Common,
}

impl Configure {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("installation {}", self.id);
        let patch = Parameters::new(self.config, self.file.as_ref(), "--config")?;
        if patch.is_empty() {
            let why = format!("{doing}: nothing is given that shall change");
            return Err(Failure::new(Exit::Refused, why));
        }
        let mut client = self.common.open().await?;
        let plugin = plugin_of(&mut client, &doing, &self.id).await?;
        let plugin = described(&mut client, &doing, &plugin).await?;
        let patch = patch.fit(&Schema::of(plugin.config_schema), &doing, true)?;
        let request = UpdateInstallationRequest {
            installation_id: self.id,
            config_patch: Some(json::from_json(patch)),
            etag: self.etag.unwrap_or_default(),
        };
        let answer = answered(&doing, client.plugins.update_installation(request).await)?;
        let answer = ("UpdateInstallationResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} configured"), answer)
    }
}

/// Which installation.
#[derive(Clone, Args)]
pub struct Disable {
    /// The installation, as `metagov plugin installations` shows it.
    #[arg(value_name = "INSTALLATION_ID")]
    id: String,

    /// Only if it is still as it was read: the etag that came with it. Default: in any case.
    #[arg(long, value_name = "ETAG", hide_env = true)]
    etag: Option<String>,

    #[command(flatten)]
    common: Common,
}

impl Disable {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("installation {}", self.id);
        let request = DisablePluginRequest {
            installation_id: self.id,
            etag: self.etag.unwrap_or_default(),
        };
        let mut client = self.common.open().await?;
        let answer = answered(&doing, client.plugins.disable_plugin(request).await)?;
        let answer = ("DisablePluginResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} disabled"), answer)
    }
}

/// Which installations.
#[derive(Clone, Args)]
pub struct Installations {
    #[command(flatten)]
    place: Place,

    /// Only those of this plugin.
    #[arg(long, value_name = "NAME", hide_env = true)]
    plugin: Option<String>,

    #[command(flatten)]
    limit: Limit,

    #[command(flatten)]
    common: Common,
}

const COLUMNS: Columns<Installation, 5> = Columns {
    heads: ["INSTALLATION", "PLUGIN", "PLATFORM", "CREATED", "PROBLEM"],
    cells: |installation| {
        [
            installation.installation_id.clone(),
            installation.plugin.clone(),
            installation.platform_id.clone(),
            time(installation.create_time.as_ref()),
            installation.problem.clone(),
        ]
    },
};

impl Installations {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let doing = format!("community {}", self.place.community);
        let installations = pages::all(&doing, self.limit.limit, async |page_size, page_token| {
            let request = ListInstallationsRequest {
                community_id: self.place.community.clone(),
                plugin: self.plugin.clone().unwrap_or_default(),
                page_size,
                page_token,
            };
            let page = client.plugins.list_installations(request).await?;
            let page = page.into_inner();
            Ok((page.installations, page.next_page_token))
        });
        let installations = installations.await?;
        let next_page_token = String::new();
        let all = ListInstallationsResponse {
            installations,
            next_page_token,
        };
        let answer = ("ListInstallationsResponse", &all);
        let output = self.common.output;
        output.list(out, &COLUMNS, &all.installations, answer)
    }
}

/// Which installation. Ends with code 4 if the platform refuses it.
#[derive(Clone, Args)]
pub struct Check {
    /// The installation, as `metagov plugin installations` shows it.
    #[arg(value_name = "INSTALLATION_ID")]
    id: String,

    #[command(flatten)]
    common: Common,
}

impl Check {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("installation {}", self.id);
        let installation_id = self.id;
        let mut client = self.common.open().await?;
        let request = CheckInstallationRequest { installation_id };
        let answer = answered(&doing, client.plugins.check_installation(request).await)?;
        let problem = answer.installation.as_ref();
        let problem = problem.map_or("", |found| found.problem.as_str());
        if !problem.is_empty() {
            let why = format!("{doing}: {problem}");
            return Err(Failure::new(Exit::Refused, why));
        }
        let answer = ("CheckInstallationResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} works"), answer)
    }
}

async fn plugin_of(client: &mut Client, doing: &str, id: &str) -> Result<String, Failure> {
    let installation_id = id.to_owned();
    let request = GetInstallationRequest { installation_id };
    let answer = answered(doing, client.plugins.get_installation(request).await)?;
    Ok(answer.installation.unwrap_or_default().plugin)
}
