//! `metagov apply FILE`: makes a community of a running gateway as a document says.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use metagov_proto::{
    json,
    v1::{
        Community, DisablePluginRequest, EnablePluginRequest, GetCommunityRequest, Installation,
        ListInstallationsRequest, UpdateCommunityRequest, UpdateInstallationRequest,
    },
};
use serde_json::{Map, Value};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::{
    Connection, Exit, Failure,
    client::Client,
    document::Document,
    matching::Installed,
    plan::{Current, Step, plan},
};

/// How often enabling is tried, and how long to wait at first and at most.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Makes a community as a document says. What the document does not mention stays.
#[derive(Clone, Args)]
#[command(after_long_help = HELP)]
pub struct Apply {
    /// The document, as JSON; `-` is the standard input.
    file: PathBuf,

    /// Disables what is enabled and not mentioned. Its open processes are cancelled.
    #[arg(long)]
    prune: bool,

    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = r#"The document:
  {"name": "my-co-op", "readable_name": "My Co-op", "plugins": [
    {"name": "randomness", "config": {"default_low": 2, "default_high": 200}}]}
`name` is the community's id and may be spelled `slug`; only it is required. A key of a config
that is absent stays as it is, and null removes it.

Exit codes: 0 done, or nothing to do; 1 something else, look before you run it again; 2 the
command line is wrong; 3 the gateway cannot be reached; 4 refused, correct the document; 5 not
now, run it again."#;

impl Apply {
    /// Runs it. What was done is said on `out` as it is done, a line each.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let text = read(&self.file)?;
        let named = |why| Failure::new(Exit::Refused, format!("{}: {why}", name(&self.file)));
        let document = Document::parse(&text).map_err(named)?;
        let mut client = self.connection.open().await?;
        let current = client.current(&document.community_id).await?;
        let steps = plan(&current, &document, self.prune).map_err(named)?;
        for step in steps {
            let done = client.take(step, &document.community_id).await?;
            writeln!(out, "{done}")
                .and_then(|()| out.flush())
                .map_err(|e| Failure::new(Exit::Other, format!("standard output: {e}")))?;
        }
        Ok(())
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => io::stdin().read_to_string(&mut text).map(|_| text),
        false => std::fs::read_to_string(file),
    };
    read.map_err(|e| Failure::new(Exit::Refused, format!("{}: {e}", name(file))))
}

fn name(file: &Path) -> String {
    match file.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    }
}

impl Client {
    async fn current(&mut self, community_id: &str) -> Result<Current, Failure> {
        let doing = format!("community {community_id}");
        let community_id = community_id.to_owned();
        let request = GetCommunityRequest { community_id };
        let community = match self.communities.get_community(request.clone()).await {
            Ok(answer) => answer.into_inner().community.unwrap_or_default(),
            Err(status) if is_missing(&status) => return Ok(Current::default()),
            Err(status) => return Err(Failure::answered(&doing, &status)),
        };
        let installed = self.installed(request.community_id).await;
        Ok(Current {
            display_name: Some(community.display_name),
            installed: installed.map_err(|status| Failure::answered(&doing, &status))?,
        })
    }

    async fn installed(&mut self, community_id: String) -> Result<Vec<Installed>, Status> {
        let mut installed = Vec::new();
        let mut request = ListInstallationsRequest {
            community_id,
            page_size: 1000,
            ..ListInstallationsRequest::default()
        };
        loop {
            let page = self.plugins.list_installations(request.clone()).await?;
            let page = page.into_inner();
            installed.extend(page.installations.into_iter().map(Installed::from));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(installed);
            }
        }
    }

    /// Takes one step and says what it was.
    async fn take(&mut self, step: Step<'_>, community_id: &str) -> Result<String, Failure> {
        let doing = match &step {
            Step::SetCommunity { .. } | Step::KeepCommunity => format!("community {community_id}"),
            Step::Enable { plugin, .. } => format!("plugin {plugin}"),
            Step::Update { installed, .. } | Step::Keep(installed) | Step::Disable(installed) => {
                format!("plugin {}", installed.plugin)
            }
        };
        let done = match step {
            Step::SetCommunity { display_name } => {
                self.set_community(community_id, display_name).await
            }
            Step::KeepCommunity => Ok("unchanged".to_owned()),
            Step::Enable { plugin, config } => self.enable(community_id, plugin, config).await,
            Step::Update { installed, patch } => self.update(installed, patch).await,
            Step::Keep(installed) => Ok(format!("unchanged {}", installed.installation_id)),
            Step::Disable(installed) => self.disable(installed).await,
        };
        match done {
            Ok(done) => Ok(format!("{doing} {done}")),
            Err(status) => Err(Failure::answered(&doing, &status)),
        }
    }

    async fn set_community(&mut self, id: &str, name: Option<&str>) -> Result<String, Status> {
        let paths = name
            .map(|_| "display_name".to_owned())
            .into_iter()
            .collect();
        let request = UpdateCommunityRequest {
            community: Some(Community {
                community_id: id.to_owned(),
                display_name: name.unwrap_or_default().to_owned(),
                ..Community::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths }),
            allow_missing: true,
        };
        let answer = self.communities.update_community(request).await?;
        let done = if answer.into_inner().created {
            "created"
        } else {
            "updated"
        };
        Ok(done.to_owned())
    }

    /// Enables a plugin. The same request id with each try makes sure that it is enabled
    /// once, also if an answer was lost.
    async fn enable(
        &mut self,
        community_id: &str,
        plugin: &str,
        config: Map<String, Value>,
    ) -> Result<String, Status> {
        let request = EnablePluginRequest {
            community_id: community_id.to_owned(),
            plugin: plugin.to_owned(),
            config: Some(json::from_json(config)),
            request_id: Uuid::new_v4().to_string(),
        };
        let mut wait = FIRST_WAIT;
        let mut tries = 1;
        loop {
            match self.plugins.enable_plugin(request.clone()).await {
                Ok(answer) => {
                    let installation = answer.into_inner().installation.unwrap_or_default();
                    return Ok(format!("enabled {}", installation.installation_id));
                }
                Err(status) if tries < TRIES && may_pass(&status) => {
                    tokio::time::sleep(asked_wait(&status).unwrap_or(wait).min(LONGEST_WAIT)).await;
                    wait *= 2;
                    tries += 1;
                }
                Err(status) => return Err(status),
            }
        }
    }

    async fn update(
        &mut self,
        installed: &Installed,
        patch: Map<String, Value>,
    ) -> Result<String, Status> {
        let request = UpdateInstallationRequest {
            installation_id: installed.installation_id.clone(),
            config_patch: Some(json::from_json(patch)),
            etag: installed.etag.clone(),
        };
        let answer = self.plugins.update_installation(request).await?;
        let after = answer.into_inner().installation.unwrap_or_default();
        let done = match after.etag == installed.etag {
            true => "unchanged",
            false => "updated",
        };
        Ok(format!("{done} {}", installed.installation_id))
    }

    async fn disable(&mut self, installed: &Installed) -> Result<String, Status> {
        let request = DisablePluginRequest {
            installation_id: installed.installation_id.clone(),
            etag: installed.etag.clone(),
        };
        self.plugins.disable_plugin(request).await?;
        Ok(format!("disabled {}", installed.installation_id))
    }
}

impl From<Installation> for Installed {
    fn from(installation: Installation) -> Self {
        Self {
            installation_id: installation.installation_id,
            plugin: installation.plugin,
            platform_id: installation.platform_id,
            etag: installation.etag,
            config: json::to_json(installation.config.unwrap_or_default()),
            secret_names: installation.secret_names,
        }
    }
}

/// Whether the gateway says that there is no such community, and not that it has no
/// such service, which something else at that address might.
fn is_missing(status: &Status) -> bool {
    status.code() == Code::NotFound && reason(status) == "ERROR_REASON_COMMUNITY_NOT_FOUND"
}

/// Whether the same request may be answered differently a little later.
fn may_pass(status: &Status) -> bool {
    status.code() == Code::Unavailable || reason(status) == "ERROR_REASON_REQUEST_IN_PROGRESS"
}

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

fn asked_wait(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}
