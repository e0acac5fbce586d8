//! What a platform granted becomes an installation, or a linked account.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Gateway, check_etag, credentials,
    identities::link_login,
    mask,
    plugins::{changed, check_unique, set_state, touch},
    signals,
    steps::only_read,
};
use crate::{
    error::{Error, Result, Thing},
    model::{
        Authorization, Change, CommunityId, Credentials, IdentityId, Installation, InstallationId,
        LinkMethod, LinkQuality, Object,
    },
    plugins::kit::{Authorized, Call, Clock, Flow, Granted, Installed, Place, Plugin, Signal},
    store::{Tx, communities, credentials as credential_rows, installations},
};

/// An installation with all that was learned of it, to be kept in one transaction.
struct Grant {
    installation: Installation,
    /// As it was, if it was there before.
    old: Option<Installation>,
    credentials: Option<Credentials>,
    installed: Installed,
    signals: Vec<Signal>,
}

impl Gateway {
    /// Enables a plugin as the platform granted it. What the community has enabled there
    /// before stays the same installation, with new credentials.
    pub(super) async fn install(
        self: &Arc<Self>,
        plugin: &Plugin,
        community: &CommunityId,
        granted: Granted<Value>,
    ) -> Result<InstallationId> {
        let flow = self.oauth(plugin)?.install.as_ref();
        let authorized: Authorized = self
            .read_granted(plugin, flow, (community, granted))
            .await?;
        if authorized.platform_id.is_empty() {
            let name = &plugin.descriptor.name;
            let what = format!("{name} does not say what was authorized");
            return Err(Error::internal(what));
        }
        let mut grant = self.grant(plugin, community, authorized).await?;
        grant.installed = self.set_up_granted(plugin, &grant).await?;
        let (is_new, installation) = (grant.old.is_none(), grant.installation.clone());
        let held = credentials::given(grant.credentials.clone());
        match self.keep_grant(plugin, grant).await {
            // What another has set up there in the meantime is not undone.
            Err(error) if is_new && !matches!(error, Error::Exists(_)) => {
                match self.undo_unless_kept(&installation, Some(held)).await {
                    true => Ok(installation.id),
                    false => Err(error),
                }
            }
            kept => kept,
        }
    }

    /// The account of a person who logged in is linked.
    pub(super) async fn log_in(
        self: &Arc<Self>,
        plugin: &Plugin,
        begun: &Authorization,
        granted: Granted<Value>,
    ) -> Result<IdentityId> {
        let flow = self.oauth(plugin)?.login.as_ref();
        let community = begun.community_id.clone();
        let mut account = self
            .read_granted(plugin, flow, (&community, granted))
            .await?;
        if account.user_id.is_empty() {
            let name = &plugin.descriptor.name;
            return Err(Error::internal(format!(
                "{name} does not say who logged in"
            )));
        }
        if account.provider.is_empty() {
            account.provider.clone_from(&plugin.descriptor.name);
        }
        account.link_method = LinkMethod::Oauth;
        account.link_quality = LinkQuality::Strong;
        let identity_id = begun.identity_id;
        self.store
            .write(async move |tx| {
                communities::take(tx, &community).await?;
                link_login(tx, &community, identity_id, &account).await
            })
            .await
    }

    /// Has the plugin read what was granted. There is no installation yet to speak of.
    async fn read_granted<T: Send + 'static>(
        &self,
        plugin: &Plugin,
        flow: Option<&Flow<T>>,
        (community, granted): (&CommunityId, Granted<Value>),
    ) -> Result<T> {
        let name = &plugin.descriptor.name;
        let flow = flow.ok_or_else(|| Error::internal(format!("{name} grants no such thing")))?;
        // Something to speak of; what it has is nobody's.
        let nothing = self.new_installation(community.clone(), name, Object::new())?;
        let call = Call {
            config: Object::new(),
            operator: self.settings.of_plugin(name),
            http: self.way_out(plugin),
            place: Place {
                installation_id: nothing.id,
                community_id: community.clone(),
                platform_id: String::new(),
                webhook_url: String::new(),
            },
            state: Arc::default(),
            credentials: credentials::given(None),
            clock: Clock::set(self.store.now()),
        };
        let tokens = mask::tokens_in(&granted.answer);
        let (read, _) = self.run_step(&nothing, call, &flow.read, granted).await;
        read.map_err(|error| mask::without(only_read(error), tokens))
    }

    /// The installation that is granted: a new one, or that which is there.
    async fn grant(
        &self,
        plugin: &Plugin,
        community: &CommunityId,
        authorized: Authorized,
    ) -> Result<Grant> {
        let name = &plugin.descriptor.name;
        let wanted = installations::Wanted {
            plugin: Some(name.clone()),
            platform_id: Some(authorized.platform_id.clone()),
            ..installations::Wanted::default()
        };
        let old = installations::list(&self.store, &wanted, 1).await?.pop();
        // Before `setup` does anything there.
        if old
            .as_ref()
            .is_some_and(|old| old.community_id != *community)
        {
            return Err(Error::Exists(Thing::PluginInstallation {
                plugin: name.clone(),
                platform_id: authorized.platform_id,
            }));
        }
        let mut config = authorized.config;
        config.extend(old.iter().flat_map(Installation::whole_config));
        let checked = plugin.config.check(&config.clone().into(), name, "config");
        checked.map_err(|error| Error::internal(format!("what {name} granted: {error}")))?;
        let mut installation = self.new_installation(community.clone(), name, config)?;
        installation.platform_id = authorized.platform_id;
        if let Some(old) = &old {
            installation.id = old.id;
            installation.slug.clone_from(&old.slug);
        }
        Ok(Grant {
            installation,
            old,
            credentials: authorized.credentials,
            installed: Installed::default(),
            signals: authorized.signals,
        })
    }

    /// What `setup` learns with what was granted, before it is kept.
    async fn set_up_granted(&self, plugin: &Plugin, grant: &Grant) -> Result<Installed> {
        let mut call = self.call(plugin, &grant.installation).await?;
        call.credentials = credentials::given(grant.credentials.clone());
        let installation = &grant.installation;
        call.http.check(&installation.whole_config()).await?;
        let (installed, _) = self.run_step(installation, call, &plugin.setup, ()).await;
        let installed = installed?;
        let proved = &installation.platform_id;
        if !installed.platform_id.is_empty() && installed.platform_id != *proved {
            let name = &plugin.descriptor.name;
            let what = format!("{name} sets up something else than was authorized");
            return Err(Error::internal(what));
        }
        Ok(installed)
    }

    async fn keep_grant(self: &Arc<Self>, plugin: &Plugin, grant: Grant) -> Result<InstallationId> {
        let (gateway, id) = (self.clone(), grant.installation.id);
        let poll_time = self.first_poll(plugin);
        let done = self
            .store
            .write(async move |tx| {
                let new = &grant.installation;
                communities::find(tx, &new.community_id).await?;
                check_unique(tx, new, true).await?;
                let kept = match &grant.old {
                    None => {
                        installations::insert(tx, new, poll_time).await?;
                        installations::make_exclusive(tx, new.id).await?;
                        set_state(tx, new, &grant.installed).await?;
                        tx.event(changed(new, Change::Created));
                        new.clone()
                    }
                    Some(old) => renew(tx, old, new).await?,
                };
                match &grant.credentials {
                    Some(granted) => credential_rows::put(tx, kept.id, granted).await?,
                    None => credential_rows::delete(tx, kept.id).await?,
                }
                let setup = &grant.installed.signals;
                let signals: Vec<Signal> = setup.iter().chain(&grant.signals).cloned().collect();
                signals::apply(&gateway, tx, &kept, &signals).await
            })
            .await?;
        self.do_after(done.after);
        self.wake.notify_one();
        Ok(id)
    }
}

/// An installation that is authorized anew keeps its state and processes.
async fn renew(tx: &Tx, old: &Installation, new: &Installation) -> Result<Installation> {
    let mut current = installations::take(tx, new.id).await?;
    check_etag(&old.etag, &current.etag)?;
    current.config.clone_from(&new.config);
    current.secrets = new.secrets.clone();
    current.secret_names.clone_from(&new.secret_names);
    current.problem = None;
    current.poll_failures = 0;
    touch(tx, &mut current).await?;
    Ok(current)
}
