//! Installations: plugins enabled for communities, configured, checked, disabled.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Gateway, check_etag, etag,
    replica::Under,
    requests::{self, Ask},
    signals,
    teardown::{FAREWELL, cancel_late},
};
use crate::{
    error::{Error, Result, Thing, Trouble},
    model::{
        Change, CommunityId, Installation, InstallationId, NewEvent, Object, Payload, ProcessState,
        RequestKey, Secrets, Time,
    },
    plugins::kit::{Installed, Plugin},
    store::{Tx, communities, deliveries, installations, processes},
};

/// A plugin that is to be enabled.
#[derive(Clone, Debug)]
pub struct Enabling {
    /// Makes a retry safe.
    pub key: Option<RequestKey>,
    /// For which community.
    pub community_id: CommunityId,
    /// The plugin's name.
    pub plugin: String,
    /// The configuration, with its secrets.
    pub config: Object,
    /// Whether an admin of all communities asks, who may say without a proof which one on
    /// the platform it is, where the credentials are the operator's.
    pub by_admin: bool,
}

impl Gateway {
    /// Enables a plugin for a community, after its platform has agreed.
    pub async fn enable_plugin(self: &Arc<Self>, enabling: Enabling) -> Result<Installation> {
        let Enabling {
            key,
            community_id,
            plugin: name,
            config,
            by_admin,
        } = enabling;
        let plugin = self.plugin(&name)?;
        check_available(plugin)?;
        if plugin.operator_credentials && !by_admin {
            let needs = "admin, or an authorization by AuthorizePlugin".to_owned();
            return Err(Error::RoleTooSmall { needs });
        }
        communities::find(&self.store, &community_id).await?;
        plugin
            .config
            .check(&config.clone().into(), &name, "config")?;
        let body = ("EnablePlugin", &community_id, &name, &config);
        let ask = Ask::new(key, &body)?.about(&community_id);
        let (gateway, work_ask) = (self.clone(), ask.clone());
        let work = async move {
            let new = gateway.new_installation(community_id, &name, config)?;
            gateway.set_up(new, work_ask).await
        };
        let id = self.once(ask, work).await;
        let id = id.map_err(|error| error.of_plugin(&plugin.descriptor.name))?;
        installations::find(&self.store, id).await
    }

    pub(super) fn new_installation(
        &self,
        community_id: CommunityId,
        name: &str,
        config: Object,
    ) -> Result<Installation> {
        let now = self.store.now();
        let (config, secrets) = self.plugin(name)?.split(config);
        Ok(Installation {
            id: InstallationId::new(),
            community_id,
            plugin: name.to_owned(),
            config,
            secret_names: secrets.0.keys().cloned().collect(),
            secrets,
            platform_id: String::new(),
            slug: new_slug(),
            old_slug: None,
            create_time: now,
            update_time: now,
            etag: etag(),
            problem: None,
            poll_failures: 0,
        })
    }

    /// Asks the platform, then keeps what it said. What was registered there is undone
    /// if that fails.
    async fn set_up(self: &Arc<Self>, mut new: Installation, ask: Ask) -> Result<InstallationId> {
        let plugin = self.plugin(&new.plugin)?;
        let installed = self.agree(&new).await?;
        new.platform_id.clone_from(&installed.platform_id);
        check_proved(plugin, &new)?;
        let poll_time = self.first_poll(plugin);
        let unique = plugin.operator_credentials;
        let (gateway, kept) = (self.clone(), new.clone());
        let stored = self.store.write(async move |tx| {
            let new = &kept;
            communities::find(tx, &new.community_id).await?;
            check_unique(tx, new, unique).await?;
            installations::insert(tx, new, poll_time).await?;
            if unique {
                installations::make_exclusive(tx, new.id).await?;
            }
            set_state(tx, new, &installed).await?;
            tx.event(changed(new, Change::Created));
            signals::apply(&gateway, tx, new, &installed.signals).await?;
            requests::keep(tx, &ask, Ok(&new.id)).await
        });
        if let Err(error) = stored.await
            && !self.undo_unless_kept(&new, None).await
        {
            return Err(error);
        }
        self.wake.notify_one();
        Ok(new.id)
    }

    /// Returns one installation.
    pub async fn get_installation(&self, id: InstallationId) -> Result<Installation> {
        installations::find(&self.store, id).await
    }

    /// Up to `limit` installations of a community after one, oldest first.
    pub async fn list_installations(
        &self,
        community_id: CommunityId,
        plugin: Option<String>,
        after: Option<InstallationId>,
        limit: u64,
    ) -> Result<Vec<Installation>> {
        communities::find(&self.store, &community_id).await?;
        if let Some(name) = &plugin {
            self.plugin(name)?;
        }
        let wanted = installations::Wanted {
            community_id: Some(community_id),
            plugin,
            after,
            ..installations::Wanted::default()
        };
        installations::list(&self.store, &wanted, limit).await
    }

    /// Merges a patch into a configuration (RFC 7396). State and processes stay. A
    /// patch that changes nothing makes no event, no etag and no call.
    pub async fn update_installation(
        self: &Arc<Self>,
        id: InstallationId,
        patch: Object,
        etag: String,
    ) -> Result<Installation> {
        let old = installations::find(&self.store, id).await?;
        check_etag(&etag, &old.etag)?;
        let plugin = self.plugin(&old.plugin)?;
        let whole = old.whole_config();
        let mut merged = serde_json::Value::Object(whole.clone());
        json_patch::merge(&mut merged, &patch.into());
        plugin.config.check(&merged, &old.plugin, "config_patch")?;
        let serde_json::Value::Object(merged) = merged else {
            return Err(Error::internal("a patched object is no object"));
        };
        if merged == whole {
            return Ok(old);
        }
        let gateway = self.clone();
        self.detached(async move { gateway.reconfigure(old, merged).await })
            .await
    }

    async fn reconfigure(
        self: Arc<Self>,
        old: Installation,
        config: Object,
    ) -> Result<Installation> {
        let plugin = self.plugin(&old.plugin)?;
        let mut new = old.clone();
        (new.config, new.secrets) = plugin.split(config);
        new.secret_names = new.secrets.0.keys().cloned().collect();
        // The platform may still speak of the secrets of before.
        let installed = self.agree(&new).await;
        let installed = installed.map_err(|error| self.masked(&old, error))?;
        if plugin.operator_credentials {
            check_unmoved(&old, &installed)?;
        } else {
            new.platform_id.clone_from(&installed.platform_id);
        }
        new.problem = None;
        new.poll_failures = 0;
        let gateway = self.clone();
        let moved = new.platform_id != old.platform_id;
        self.store
            .write(async move |tx| {
                let mut new = new.clone();
                let current = match moved {
                    // A start that is just being written down is not overlooked.
                    true => take_to_move(tx, &new).await?,
                    false => installations::take(tx, new.id).await?,
                };
                check_etag(&old.etag, &current.etag)?;
                if moved {
                    check_idle(tx, &new).await?;
                    check_unique(tx, &new, false).await?;
                    // Another community on the platform: what is known is of the old.
                    installations::clear_state(tx, new.id).await?;
                    set_state(tx, &new, &installed).await?;
                    signals::apply(&gateway, tx, &new, &installed.signals).await?;
                }
                (new.slug, new.old_slug) = (current.slug, current.old_slug);
                touch(tx, &mut new).await?;
                Ok(new)
            })
            .await
    }

    /// Disables a plugin. Its open processes are cancelled first.
    pub async fn disable_plugin(self: &Arc<Self>, id: InstallationId, etag: String) -> Result<()> {
        let installation = installations::find(&self.store, id).await?;
        check_etag(&etag, &installation.etag)?;
        let gateway = self.clone();
        let work = async move {
            gateway
                .withdraw(&installation, Instant::now() + FAREWELL)
                .await?;
            let community = installation.community_id;
            let late = gateway
                .store
                .write(async move |tx| {
                    // Whoever has a process has its community, and may yet look up the
                    // installation.
                    let taken = communities::take_to_delete(tx, &community).await;
                    taken.map_err(gone_with(id))?;
                    let current = installations::take_to_delete(tx, id).await?;
                    check_etag(&etag, &current.etag)?;
                    let late = cancel_late(tx, &current).await?;
                    deliveries::delete_all(tx, id).await?;
                    installations::delete(tx, id).await?;
                    tx.event(changed(&current, Change::Deleted));
                    Ok(late)
                })
                .await?;
            for process_id in late {
                tracing::warn!(%process_id, "the platform could not be told that the process is cancelled");
            }
            Ok(())
        };
        self.detached(work).await
    }

    /// Asks the platform whether the credentials still work; notes what it says.
    pub async fn check_installation(self: &Arc<Self>, id: InstallationId) -> Result<Installation> {
        let installation = installations::find(&self.store, id).await?;
        let plugin = self.plugin(&installation.plugin)?;
        let problem = match self.read_step(&installation, &plugin.setup, ()).await {
            Ok(_) => None,
            Err(Error::Platform {
                trouble: trouble @ (Trouble::Unauthorized(_) | Trouble::Rejected { .. }),
                ..
            }) => Some(trouble.to_string()),
            Err(Error::Refused { why, .. }) => Some(why),
            Err(error) => return Err(error),
        };
        self.note_problem(id, problem, Under::CALLER).await
    }

    /// Notes why the platform refuses an installation, or that it no longer does.
    pub(super) async fn note_problem(
        &self,
        id: InstallationId,
        problem: Option<String>,
        under: Under,
    ) -> Result<Installation> {
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                let mut current = installations::take(tx, id).await?;
                if problem.as_ref() == current.problem.as_ref().map(|(why, _)| why) {
                    return Ok(current);
                }
                let since = current.problem.take().map_or(tx.now, |(_, since)| since);
                current.problem = problem.clone().map(|why| (why, since));
                touch(tx, &mut current).await?;
                Ok(current)
            })
            .await
    }

    /// Replaces the secret part of the webhook's address. The old one works until
    /// `old_expire_time`, or not at all.
    pub async fn rotate_webhook(
        &self,
        id: InstallationId,
        old_expire_time: Option<Time>,
    ) -> Result<Installation> {
        let installation = installations::find(&self.store, id).await?;
        let plugin = self.plugin(&installation.plugin)?;
        if plugin.receive.is_none() {
            let plugin = installation.plugin;
            let why = format!("{plugin} takes no webhooks");
            return Err(Error::Unsupported { plugin, why });
        }
        if old_expire_time.is_some_and(|time| time <= self.store.now()) {
            let why = "lies in the past; leave it out to end the old address now";
            return Err(Error::invalid("old_expire_time", why));
        }
        self.store
            .write(async move |tx| {
                let mut current = installations::take(tx, id).await?;
                let old = std::mem::replace(&mut current.slug, new_slug());
                current.old_slug = old_expire_time.map(|time| (old, time));
                touch(tx, &mut current).await?;
                Ok(current)
            })
            .await
    }

    /// Where a platform reaches an installation; empty if it takes no hooks.
    pub fn webhook_url(&self, installation: &Installation) -> String {
        let takes_hooks = self
            .plugin(&installation.plugin)
            .is_ok_and(|p| p.receive.is_some());
        if !takes_hooks {
            return String::new();
        }
        let base = self.settings.public_url.as_str().trim_end_matches('/');
        let Installation {
            community_id,
            plugin,
            slug,
            ..
        } = installation;
        format!("{base}/api/hooks/{community_id}/{plugin}/{slug}")
    }

    /// The installation that a call means.
    pub(super) async fn installation_for(
        &self,
        community_id: &CommunityId,
        plugin: &str,
        wanted: Option<InstallationId>,
    ) -> Result<Installation> {
        communities::find(&self.store, community_id).await?;
        if let Some(id) = wanted {
            let found = installations::find(&self.store, id).await?;
            let fits = found.community_id == *community_id && found.plugin == plugin;
            return if fits {
                Ok(found)
            } else {
                Err(Error::NotFound(Thing::Installation(id)))
            };
        }
        let all = installations::Wanted {
            plugin: Some(plugin.to_owned()),
            ..installations::Wanted::of(community_id)
        };
        let mut found = installations::list(&self.store, &all, 100).await?;
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Error::NotEnabled {
                community: community_id.clone(),
                plugin: plugin.to_owned(),
            }),
            (Some(last), false) => Err(Error::Ambiguous {
                plugin: plugin.to_owned(),
                installations: found.iter().chain([&last]).map(|i| i.id).collect(),
            }),
        }
    }

    /// When the platform of a new installation is first asked, if it ever is.
    pub(super) fn first_poll(&self, plugin: &Plugin) -> Option<Time> {
        let polled = plugin.processes.values().any(|process| process.polled);
        (plugin.poll.is_some() || polled)
            .then(|| self.store.now().after(self.settings.poll_interval))
    }
}

impl Plugin {
    /// A configuration without its secrets, and the secrets.
    fn split(&self, config: Object) -> (Object, Secrets) {
        let names = self.config.secret_names();
        let (secrets, open) = config
            .into_iter()
            .partition(|(name, _)| names.contains(name));
        (open, Secrets(secrets))
    }
}

pub(super) fn check_available(plugin: &Plugin) -> Result<()> {
    let why = plugin.descriptor.unavailable_reason.clone();
    if why.is_empty() {
        return Ok(());
    }
    let plugin = plugin.descriptor.name.clone();
    Err(Error::Unsupported { plugin, why })
}

/// Whose platform it is must have been proved, where the gateway could read everybody's.
fn check_proved(plugin: &Plugin, new: &Installation) -> Result<()> {
    if !plugin.operator_credentials || !new.platform_id.is_empty() {
        return Ok(());
    }
    let name = &new.plugin;
    Err(Error::internal(format!(
        "{name} uses the operator's credentials, and its setup proved no platform_id"
    )))
}

/// A platform_id is of one installation of the community, or `everywhere` of the gateway:
/// where the operator's credentials reach it, whoever has them all.
pub(super) async fn check_unique(tx: &Tx, new: &Installation, everywhere: bool) -> Result<()> {
    let same = installations::Wanted {
        community_id: (!everywhere).then(|| new.community_id.clone()),
        plugin: Some(new.plugin.clone()),
        platform_id: Some(new.platform_id.clone()),
        after: None,
    };
    let found = installations::list(tx, &same, 2).await?;
    if found.iter().all(|other| other.id == new.id) {
        return Ok(());
    }
    let (plugin, platform_id) = (new.plugin.clone(), new.platform_id.clone());
    Err(Error::Exists(Thing::PluginInstallation {
        plugin,
        platform_id,
    }))
}

/// What is called how on a platform that the operator's credentials reach is proved, not
/// configured.
fn check_unmoved(old: &Installation, installed: &Installed) -> Result<()> {
    if installed.platform_id.is_empty() || installed.platform_id == old.platform_id {
        return Ok(());
    }
    let plugin = old.plugin.clone();
    let why = format!(
        "{plugin} is for {} only; enable it anew for another",
        old.platform_id
    );
    Err(Error::Unsupported { plugin, why })
}

/// Nobody looks an installation up while it moves. Its community is taken before it, since
/// what moves may link accounts.
async fn take_to_move(tx: &Tx, installation: &Installation) -> Result<Installation> {
    let id = installation.id;
    let taken = communities::take(tx, &installation.community_id).await;
    taken.map_err(gone_with(id))?;
    installations::take_to_delete(tx, id).await
}

/// Whoever finds no community finds no installation either.
fn gone_with(id: InstallationId) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::NotFound(_) => Error::NotFound(Thing::Installation(id)),
        error => error,
    }
}

async fn check_idle(tx: &Tx, installation: &Installation) -> Result<()> {
    let open = processes::Wanted::of(
        installation.id,
        &[ProcessState::Starting, ProcessState::Open],
    );
    match processes::list(tx, &open, 1).await?.is_empty() {
        true => Ok(()),
        false => Err(Error::Busy(installation.id)),
    }
}

pub(super) async fn set_state(
    tx: &Tx,
    installation: &Installation,
    installed: &Installed,
) -> Result<()> {
    for (key, value) in &installed.state {
        installations::set_state(tx, installation.id, key, Some(value)).await?;
    }
    Ok(())
}

/// Saves a changed installation, with its event.
pub(super) async fn touch(tx: &Tx, installation: &mut Installation) -> Result<()> {
    installation.update_time = tx.now;
    installation.etag = etag();
    installations::update(tx, installation).await?;
    tx.event(changed(installation, Change::Updated));
    Ok(())
}

pub(super) fn changed(installation: &Installation, change: Change) -> NewEvent {
    NewEvent {
        community_id: installation.community_id.clone(),
        payload: Payload::Installation(Box::new(installation.clone()), change),
    }
}

/// 128 random bits.
fn new_slug() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
