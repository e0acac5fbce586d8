//! Authorizations: a person agrees at a platform, and the platform calls back.
//!
//! What is begun is a row that one callback takes, once, within ten minutes: it says for
//! which community, plugin and purpose the callback is, and where the person goes
//! afterwards. Nothing of that is believed from the callback itself. What a granted
//! installation or account then becomes stands in `grants.rs`; what was granted is kept
//! fresh in `credentials.rs`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::{Gateway, plugins::check_available, steps::only_read};
use crate::{
    error::{Error, Result, Thing, Trouble},
    model::{Authorization, CommunityId, IdentityId, InstallationId, Purpose, Time},
    plugins::kit::{Begun, Client, Consent, Granted, OAuth, Plugin},
    store::{authorizations, communities, identities},
};

/// How long a person may take.
const LIFE: Duration = Duration::from_secs(600);

/// An authorization that is to be begun.
#[derive(Clone, Debug)]
pub struct Authorizing {
    /// For which community.
    pub community_id: CommunityId,
    /// The plugin's name.
    pub plugin: String,
    /// What for.
    pub purpose: Purpose,
    /// For a login: the identity to link; empty to find or create it.
    pub identity_id: Option<IdentityId>,
    /// Where to send the person afterwards.
    pub redirect_uri: String,
    /// The caller's own; comes back with the redirect.
    pub state: String,
}

/// What a platform calls back with.
#[derive(Default)]
pub struct Callback {
    /// What we gave it. Secret.
    pub state: String,
    /// What becomes a token. Secret.
    pub code: Option<String>,
    /// That there is none, in the platform's words.
    pub error: Option<String>,
    /// Who it says that it is (RFC 9207).
    pub iss: Option<String>,
    /// What else it said.
    pub claimed: BTreeMap<String, String>,
}

/// How an authorization ended, and where the person goes now.
pub struct Redirect {
    /// For which community it was.
    pub community_id: CommunityId,
    /// Where the person goes.
    pub redirect_uri: String,
    /// What the caller gave for the way.
    pub caller_state: String,
    /// What came of it.
    pub outcome: Result<Outcome>,
}

/// What came of an authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The plugin is enabled.
    Installed(InstallationId),
    /// The account is linked.
    Linked(IdentityId),
    /// The person said no, or the platform did for them.
    Denied,
}

impl Gateway {
    /// Begins an authorization: where to send the person, and until when that works.
    pub async fn authorize_plugin(&self, wanted: Authorizing) -> Result<(Url, Time)> {
        let community = communities::find(&self.store, &wanted.community_id).await?;
        let plugin = self.plugin(&wanted.plugin)?;
        let consent = self.consent(plugin, wanted.purpose)?;
        if !self.settings.redirect_uris.contains(&wanted.redirect_uri) {
            return Err(Error::RedirectNotAllowed);
        }
        let identity_id = match wanted.identity_id {
            Some(id) => Some(self.identity_of(&community.id, wanted.purpose, id).await?),
            None => None,
        };
        let state = random();
        let begun = Authorization {
            community_id: wanted.community_id,
            plugin: wanted.plugin,
            purpose: wanted.purpose,
            identity_id,
            redirect_uri: wanted.redirect_uri,
            caller_state: wanted.state,
            verifier: consent.pkce.then(random),
            expire_time: self.store.now().after(LIFE),
        };
        let (kept, hash) = (begun.clone(), hash(&state));
        self.store
            .write(async move |tx| {
                communities::find(tx, &kept.community_id).await?;
                authorizations::insert(tx, &hash, &kept).await
            })
            .await?;
        let url = self.client(plugin)?.authorize_url(
            &consent,
            Begun {
                callback_url: &self.callback_url(plugin)?,
                state: &state,
                verifier: begun.verifier.as_deref(),
            },
        );
        Ok((url, begun.expire_time))
    }

    /// Takes a platform's callback. `None` if nothing was begun with its state, or if
    /// that was for another plugin, is over, or was taken before.
    pub async fn end_authorization(
        self: &Arc<Self>,
        plugin: String,
        callback: Callback,
    ) -> Result<Option<Redirect>> {
        let hash = hash(&callback.state);
        // Whoever guesses makes us write nothing.
        if !authorizations::is_begun(&self.store, &hash).await? {
            return Ok(None);
        }
        let gateway = self.clone();
        self.detached(async move {
            let taken = gateway
                .store
                .write(async move |tx| {
                    let taken = authorizations::take(tx, &hash).await?;
                    Ok(taken.filter(|begun| tx.now < begun.expire_time))
                })
                .await?;
            let Some(begun) = taken.filter(|begun| begun.plugin == plugin) else {
                return Ok(None);
            };
            let outcome = gateway.redeem(&begun, callback).await;
            Ok(Some(Redirect {
                community_id: begun.community_id,
                redirect_uri: begun.redirect_uri,
                caller_state: begun.caller_state,
                outcome: outcome.map_err(|error| error.of_plugin(&begun.plugin)),
            }))
        })
        .await
    }

    async fn redeem(
        self: &Arc<Self>,
        begun: &Authorization,
        callback: Callback,
    ) -> Result<Outcome> {
        match callback.error.as_deref() {
            None => {}
            Some("access_denied") => return Ok(Outcome::Denied),
            Some(word) => return Err(unasked(word)),
        }
        let plugin = self.plugin(&begun.plugin)?;
        let client = self.client(plugin)?;
        if client.issuer.is_some() && client.issuer != callback.iss {
            return Err(Error::internal(
                "the callback is not of the platform that was asked",
            ));
        }
        let code = callback.code.filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| unasked("a callback without a code"))?;
        let granted = Granted {
            answer: self.exchange(plugin, client, (begun, code)).await?,
            claimed: callback.claimed,
        };
        match begun.purpose {
            Purpose::Install => {
                let installed = self.install(plugin, &begun.community_id, granted).await?;
                Ok(Outcome::Installed(installed))
            }
            Purpose::Login => Ok(Outcome::Linked(self.log_in(plugin, begun, granted).await?)),
        }
    }

    async fn exchange(
        &self,
        plugin: &Plugin,
        client: Client,
        (begun, code): (&Authorization, String),
    ) -> Result<Value> {
        let (callback_url, verifier) = (self.callback_url(plugin)?, begun.verifier.clone());
        let http = self.way_out(plugin);
        let exchange = async {
            let begun = Begun {
                callback_url: &callback_url,
                // It is not told again.
                state: "",
                verifier: verifier.as_deref(),
            };
            client.exchange(&http, &code, begun).await
        };
        let limit = self.settings.step_timeout;
        let granted = tokio::time::timeout(limit, exchange).await;
        granted
            .unwrap_or_else(|_| Err(late(limit)))
            .map_err(only_read)
    }

    /// What a person is asked, if the plugin asks anything for this.
    fn consent(&self, plugin: &Plugin, purpose: Purpose) -> Result<Consent> {
        let name = &plugin.descriptor.name;
        let why = match purpose {
            Purpose::Install => {
                format!("{name} is not enabled by an authorization; use EnablePlugin")
            }
            Purpose::Login => format!("nobody can log in with {name}"),
        };
        let unsupported = || Error::Unsupported {
            plugin: name.clone(),
            why,
        };
        let ask = plugin.oauth.as_ref().and_then(|oauth| match purpose {
            Purpose::Install => oauth.install.as_ref().map(|flow| &flow.ask),
            Purpose::Login => oauth.login.as_ref().map(|flow| &flow.ask),
        });
        let ask = ask.ok_or_else(unsupported)?;
        check_available(plugin)?;
        ask(self.settings.of_plugin(name)).map_err(|error| misconfigured(name, &error))
    }

    fn client(&self, plugin: &Plugin) -> Result<Client> {
        let name = &plugin.descriptor.name;
        let oauth = self.oauth(plugin)?;
        (oauth.client)(self.settings.of_plugin(name)).map_err(|error| misconfigured(name, &error))
    }

    pub(super) fn oauth<'a>(&self, plugin: &'a Plugin) -> Result<&'a OAuth> {
        let name = &plugin.descriptor.name;
        let none = || Error::internal(format!("{name} has no oauth"));
        plugin.oauth.as_ref().ok_or_else(none)
    }

    /// Where the platform calls back: what its operator registers there.
    fn callback_url(&self, plugin: &Plugin) -> Result<Url> {
        let base = self.settings.public_url.as_str().trim_end_matches('/');
        let url = format!("{base}/auth/{}/callback", plugin.descriptor.name);
        Url::parse(&url).map_err(Error::internal)
    }

    /// The identity that a login is for, if it is one of the community.
    async fn identity_of(
        &self,
        community: &CommunityId,
        purpose: Purpose,
        id: IdentityId,
    ) -> Result<IdentityId> {
        if purpose != Purpose::Login {
            let why = "is for a login only; leave it empty";
            return Err(Error::invalid("identity_id", why));
        }
        let identity = identities::find(&self.store, id).await?;
        if identity.community_id != *community {
            return Err(Error::NotFound(Thing::Identity(id)));
        }
        Ok(identity.id)
    }
}

/// 256 random bits, as they may stand in an address.
fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn hash(state: &str) -> String {
    hex::encode(Sha256::digest(state))
}

/// The platform would not ask the person. What it said was not chosen by us, so it is
/// repeated only where we know the word (RFC 6749, section 4.1.2.1).
fn unasked(word: &str) -> Error {
    let plugin = String::new();
    let trouble = match word {
        "temporarily_unavailable" | "server_error" => {
            Trouble::Unavailable("it cannot ask anyone now".to_owned())
        }
        _ => Trouble::Rejected {
            status: 0,
            why: "it did not ask the person".to_owned(),
        },
    };
    Error::Platform { plugin, trouble }
}

fn late(limit: Duration) -> Error {
    let plugin = String::new();
    let trouble = Trouble::Unavailable(format!("it took more than {limit:?}"));
    Error::Platform { plugin, trouble }
}

fn misconfigured(name: &str, error: &Error) -> Error {
    let why = format!("the operator has not configured {name}: {error}");
    let plugin = name.to_owned();
    Error::Unsupported { plugin, why }
}
