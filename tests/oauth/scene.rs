//! A gateway and a provider, and what people do between them.

use std::collections::HashMap;

use metagov::{config::Config, plugins::kit::Plugin};
use metagov_proto::v1::{
    AuthorizePluginRequest, AuthorizePluginResponse, AuthorizePurpose, GetInstallationRequest,
    Identity, Installation, ListIdentitiesRequest, ListInstallationsRequest,
};
use reqwest::{
    Client,
    header::{HeaderMap, LOCATION},
    redirect::Policy,
};
use serde_json::json;
use tonic::Status;
use url::Url;

use super::{
    plaza,
    provider::{CLIENT_ID, CLIENT_SECRET, Person, Provider},
};
use crate::harness::{Api, Gateway, Home};

/// Where the dashboard is that people come from.
pub(super) const DONE: &str = "https://dashboard.example/done";
/// The same with a query of its own, and beside it.
pub(super) const THEMED: &str = "https://dashboard.example/done?theme=dark";

pub(super) struct Scene {
    pub(super) gateway: Gateway,
    pub(super) provider: Provider,
}

/// Where a browser was sent, or what it was shown.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Seen {
    /// The address that it was sent to.
    pub(super) fn location(&self) -> Url {
        assert_eq!(self.status, 303, "{self:?}");
        Url::parse(self.headers[LOCATION].to_str().unwrap()).unwrap()
    }

    /// The parameters of it.
    pub(super) fn told(&self) -> HashMap<String, String> {
        self.location().query_pairs().into_owned().collect()
    }

    /// The code of the failure that it was told.
    pub(super) fn error(&self) -> String {
        let mut told = self.told();
        assert!(told.contains_key("error_description"), "{told:?}");
        assert!(!told.contains_key("installation_id"), "{told:?}");
        assert!(!told.contains_key("identity_id"), "{told:?}");
        told.remove("error").unwrap()
    }
}

pub(super) fn configured(config: &mut Config, provider: &Provider) {
    config.access.redirect_uris = vec![DONE.to_owned(), THEMED.to_owned()];
    for name in [
        "plaza",
        "old-plaza",
        "mint-plaza",
        "bot-plaza",
        "login-plaza",
    ] {
        let settings = json!({
            "api_url": provider.uri(), "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        });
        let settings = settings.as_object().unwrap().clone();
        config.operator.insert(name.to_owned(), settings);
    }
}

impl Scene {
    pub(super) async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    pub(super) async fn open_with(set: impl FnOnce(&mut Config)) -> Self {
        Self::open_in(Home::new(), set).await
    }

    pub(super) async fn open_in(home: Home, set: impl FnOnce(&mut Config)) -> Self {
        let provider = Provider::start().await;
        let configure = |config: &mut Config| {
            configured(config, &provider);
            set(config);
        };
        let gateway = Gateway::start_in(home, configure, plugins()).await;
        gateway.api.community("commons").await;
        gateway.api.community("others").await;
        Self { gateway, provider }
    }

    pub(super) fn api(&self) -> &Api {
        &self.gateway.api
    }

    pub(super) async fn begin(
        &self,
        request: AuthorizePluginRequest,
    ) -> Result<AuthorizePluginResponse, Status> {
        let answer = self.api().plugins().authorize_plugin(request).await?;
        Ok(answer.into_inner())
    }

    /// Begins an authorization; the address that the person is sent to.
    pub(super) async fn asked(&self, request: AuthorizePluginRequest) -> String {
        self.begin(request).await.unwrap().authorize_url
    }

    /// A browser goes somewhere.
    pub(super) async fn visit(&self, url: impl AsRef<str>) -> Seen {
        let url = url.as_ref();
        assert!(url.starts_with(&self.gateway.public), "{url}");
        let answer = browser().get(url).send().await.unwrap();
        Seen {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.text().await.unwrap(),
        }
    }

    /// The whole way, with somebody who agrees.
    pub(super) async fn goes(&self, request: AuthorizePluginRequest, person: Person) -> Seen {
        let asked = self.asked(request).await;
        self.visit(self.provider.agree(&asked, person)).await
    }

    /// Enables the plugin so; its installation.
    pub(super) async fn installs(&self, community: &str, person: Person) -> Installation {
        let told = self.goes(install(community), person).await.told();
        let id = told.get("installation_id");
        self.installation(id.unwrap_or_else(|| panic!("{told:?}")))
            .await
    }

    pub(super) async fn installation(&self, id: &str) -> Installation {
        let request = GetInstallationRequest {
            installation_id: id.to_owned(),
        };
        let answer = self.api().plugins().get_installation(request).await;
        answer.unwrap().into_inner().installation.unwrap()
    }

    pub(super) async fn installations(&self, community: &str) -> Vec<Installation> {
        let request = ListInstallationsRequest {
            community_id: community.to_owned(),
            ..Default::default()
        };
        let answer = self.api().plugins().list_installations(request).await;
        answer.unwrap().into_inner().installations
    }

    pub(super) async fn identities(&self, community: &str) -> Vec<Identity> {
        let request = ListIdentitiesRequest {
            community_id: community.to_owned(),
            ..Default::default()
        };
        let answer = self.api().identities().list_identities(request).await;
        answer.unwrap().into_inner().identities
    }

    /// Does something to the rows behind the gateway's back.
    pub(super) async fn change_rows(&self, sql: &str) {
        self.gateway.home().run(sql).await;
    }

    /// How many rows a table has.
    pub(super) async fn count(&self, table: &str) -> i64 {
        let count = format!("SELECT COUNT(*) FROM \"{table}\"");
        self.gateway.home().ask(&count).await[0]
    }

    pub(super) async fn say(&self, plugin: &str) -> Result<serde_json::Value, Status> {
        let words = json!({ "text": "Good morning" });
        self.api()
            .perform("commons", &format!("{plugin}.say"), words)
            .await
    }
}

pub(super) fn plugins() -> Vec<Plugin> {
    vec![
        plaza::plugin(),
        plaza::without_pkce(),
        plaza::with_a_mint(),
        plaza::with_a_bot(),
        plaza::login_only(),
    ]
}

/// A browser that says where it is sent.
pub(super) fn browser() -> Client {
    let client = Client::builder().no_proxy().redirect(Policy::none());
    client.build().unwrap()
}

pub(super) fn install(community: &str) -> AuthorizePluginRequest {
    AuthorizePluginRequest {
        community_id: community.to_owned(),
        plugin: "plaza".to_owned(),
        redirect_uri: DONE.to_owned(),
        purpose: AuthorizePurpose::Install.into(),
        state: "the caller's own & it=alone".to_owned(),
        ..Default::default()
    }
}

pub(super) fn login(community: &str) -> AuthorizePluginRequest {
    AuthorizePluginRequest {
        purpose: AuthorizePurpose::Login.into(),
        ..install(community)
    }
}
