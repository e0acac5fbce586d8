//! The gateway inside the test's process.

use std::sync::Arc;

use metagov::{
    Running,
    config::Config,
    plugins::{self, kit::Plugin},
};
use metagov_proto::{
    json,
    v1::{
        access_service_client::AccessServiceClient, action_service_client::ActionServiceClient,
        community_service_client::CommunityServiceClient, event_service_client::EventServiceClient,
        identity_service_client::IdentityServiceClient, plugin_service_client::PluginServiceClient,
        process_service_client::ProcessServiceClient,
        subscription_service_client::SubscriptionServiceClient, *,
    },
};
use serde_json::Value;
use tonic::Status;

use super::{Home, Kind, Line, Watcher, admin_token, line, object};

/// A gateway that serves, on a database of its own.
pub(crate) struct Gateway {
    /// Clients of all services.
    pub(crate) api: Api,
    /// Where webhooks and public actions are, as in `http://127.0.0.1:1234`.
    pub(crate) public: String,
    running: Running,
    home: Arc<Home>,
    config: Config,
}

impl Gateway {
    /// With every plugin and the default settings.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| (), vec![]).await
    }

    /// With settings changed and plugins added.
    pub(crate) async fn start_with(set: impl FnOnce(&mut Config), more: Vec<Plugin>) -> Self {
        Self::start_in(Home::new(), set, more).await
    }

    /// The same in a place that the test chose.
    pub(crate) async fn start_in(
        home: impl Into<Arc<Home>>,
        set: impl FnOnce(&mut Config),
        more: Vec<Plugin>,
    ) -> Self {
        let home = home.into();
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_listen: "127.0.0.1:0".parse().unwrap(),
            ..Config::default()
        };
        // Platforms are faked on this machine, over http.
        config.outgoing.allow_http = true;
        config.outgoing.allow_cidr = vec!["127.0.0.0/8".parse().unwrap()];
        home.furnish(&mut config);
        set(&mut config);
        Self::run(home, config, more).await
    }

    /// Two with every plugin and the default settings, on one Postgres.
    pub(crate) async fn start_two() -> (Self, Self) {
        let first = Self::start_in(Home::on(Kind::Postgres), |_| (), vec![]).await;
        let second = first.replica(|_| (), vec![]).await;
        (first, second)
    }

    /// One more on the database of this one, which must be a Postgres, with its settings
    /// and a data folder of its own.
    pub(crate) async fn replica(&self, set: impl FnOnce(&mut Config), more: Vec<Plugin>) -> Self {
        let mut config = self.config.clone();
        config.data_dir = self.home.another_data();
        set(&mut config);
        Self::run(self.home.clone(), config, more).await
    }

    /// Stops it, which drains, and starts it again on the same database.
    pub(crate) async fn restart(self, more: Vec<Plugin>) -> Self {
        self.running.stop().await.unwrap();
        Self::run(self.home, self.config, more).await
    }

    /// Stops it, lets some time pass or something be done, and starts it again.
    pub(crate) async fn restart_after(self, meanwhile: impl AsyncFnOnce(&Home)) -> Self {
        self.running.stop().await.unwrap();
        meanwhile(&self.home).await;
        Self::run(self.home, self.config, vec![]).await
    }

    /// Stops it, which drains; what it kept stays as long as this is held.
    pub(crate) async fn stop(self) -> Arc<Home> {
        self.running.stop().await.unwrap();
        self.home
    }

    /// With these settings, on what is there, with its token.
    pub(crate) async fn open(
        home: impl Into<Arc<Home>>,
        config: Config,
        more: Vec<Plugin>,
    ) -> Self {
        Self::run(home.into(), config, more).await
    }

    /// The settings that it runs with.
    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    async fn run(home: Arc<Home>, config: Config, more: Vec<Plugin>) -> Self {
        let all = plugins::all().into_iter().chain(more).collect();
        let running = metagov::run(config.clone(), all).await.unwrap();
        let endpoint = format!("http://{}", running.api);
        let api = Api::connect(&endpoint, &admin_token(&home.data())).await;
        let public = format!("http://{}", running.public);
        Self {
            api,
            public,
            running,
            home,
            config,
        }
    }

    /// Where it keeps what it keeps.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Where gRPC is served, as in `http://127.0.0.1:1234`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.running.api)
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Api {
        self.connect_with(&self.admin_token()).await
    }

    /// A connection of somebody else.
    pub(crate) async fn connect_with(&self, token: &str) -> Api {
        Api::connect(&self.endpoint(), token).await
    }

    /// The token that the first start on its database made.
    pub(crate) fn admin_token(&self) -> String {
        admin_token(&self.home.data())
    }

    /// Its data folder; on SQLite the one with the database.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.config.data_dir.clone()
    }
}

/// Clients of all services, with short words for what every test does.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) channel: Line,
}

impl Api {
    /// With a token; none if it is empty.
    pub(crate) async fn connect(endpoint: &str, token: &str) -> Self {
        let channel = line(endpoint, token).await;
        Self { channel }
    }

    pub(crate) fn access(&self) -> AccessServiceClient<Line> {
        AccessServiceClient::new(self.channel.clone())
    }

    pub(crate) fn communities(&self) -> CommunityServiceClient<Line> {
        CommunityServiceClient::new(self.channel.clone())
    }

    pub(crate) fn plugins(&self) -> PluginServiceClient<Line> {
        PluginServiceClient::new(self.channel.clone())
    }

    pub(crate) fn actions(&self) -> ActionServiceClient<Line> {
        ActionServiceClient::new(self.channel.clone())
    }

    pub(crate) fn processes(&self) -> ProcessServiceClient<Line> {
        ProcessServiceClient::new(self.channel.clone())
    }

    pub(crate) fn events(&self) -> EventServiceClient<Line> {
        EventServiceClient::new(self.channel.clone())
    }

    pub(crate) fn identities(&self) -> IdentityServiceClient<Line> {
        IdentityServiceClient::new(self.channel.clone())
    }

    pub(crate) fn subscriptions(&self) -> SubscriptionServiceClient<Line> {
        SubscriptionServiceClient::new(self.channel.clone())
    }

    /// Creates a token; its secret.
    pub(crate) async fn token(&self, role: Role, communities: &[&str]) -> String {
        let token = Token {
            role: role.into(),
            community_ids: communities.iter().map(ToString::to_string).collect(),
            ..Token::default()
        };
        let token = Some(token);
        let answer = self
            .access()
            .create_token(CreateTokenRequest { token })
            .await;
        answer.unwrap().into_inner().secret
    }

    /// Creates a community.
    pub(crate) async fn community(&self, id: &str) -> Community {
        let community = Community {
            community_id: id.to_owned(),
            ..Community::default()
        };
        let request = CreateCommunityRequest {
            community: Some(community),
            ..Default::default()
        };
        let answer = self.communities().create_community(request).await.unwrap();
        answer.into_inner().community.unwrap()
    }

    /// Enables a plugin.
    pub(crate) async fn enable(
        &self,
        community: &str,
        plugin: &str,
        config: Value,
    ) -> Installation {
        self.try_enable(community, plugin, config).await.unwrap()
    }

    pub(crate) async fn try_enable(
        &self,
        community: &str,
        plugin: &str,
        config: Value,
    ) -> Result<Installation, Status> {
        let request = EnablePluginRequest {
            community_id: community.to_owned(),
            plugin: plugin.to_owned(),
            config: object(config),
            request_id: String::new(),
        };
        let answer = self.plugins().enable_plugin(request).await?;
        Ok(answer.into_inner().installation.unwrap())
    }

    /// Performs an action.
    pub(crate) async fn perform(
        &self,
        community: &str,
        action: &str,
        parameters: Value,
    ) -> Result<Value, Status> {
        let request = PerformActionRequest {
            community_id: community.to_owned(),
            action: action.to_owned(),
            parameters: object(parameters),
            ..Default::default()
        };
        self.perform_request(request).await
    }

    pub(crate) async fn perform_request(
        &self,
        request: PerformActionRequest,
    ) -> Result<Value, Status> {
        let answer = self.actions().perform_action(request).await?;
        Ok(json::value_to_json(answer.into_inner().result.unwrap()))
    }

    /// Starts a process.
    pub(crate) async fn start(
        &self,
        community: &str,
        process_type: &str,
        parameters: Value,
    ) -> Result<Process, Status> {
        let request = StartProcessRequest {
            community_id: community.to_owned(),
            process_type: process_type.to_owned(),
            parameters: object(parameters),
            ..Default::default()
        };
        self.start_request(request).await
    }

    pub(crate) async fn start_request(
        &self,
        request: StartProcessRequest,
    ) -> Result<Process, Status> {
        let answer = self.processes().start_process(request).await?;
        Ok(answer.into_inner().process.unwrap())
    }

    pub(crate) async fn process(&self, id: &str) -> Result<Process, Status> {
        let request = GetProcessRequest {
            process_id: id.to_owned(),
        };
        let answer = self.processes().get_process(request).await?;
        Ok(answer.into_inner().process.unwrap())
    }

    pub(crate) async fn close(&self, id: &str) -> Result<Process, Status> {
        let request = CloseProcessRequest {
            process_id: id.to_owned(),
        };
        let answer = self.processes().close_process(request).await?;
        Ok(answer.into_inner().process.unwrap())
    }

    pub(crate) async fn cancel(&self, id: &str) -> Result<Process, Status> {
        let request = CancelProcessRequest {
            process_id: id.to_owned(),
            reason: "a test".into(),
        };
        let answer = self.processes().cancel_process(request).await?;
        Ok(answer.into_inner().process.unwrap())
    }

    /// Follows everything from now on. The hello was received when this returns.
    pub(crate) async fn watch(&self) -> Watcher {
        self.watch_request(WatchEventsRequest::default())
            .await
            .unwrap()
    }

    pub(crate) async fn watch_request(
        &self,
        request: WatchEventsRequest,
    ) -> Result<Watcher, Status> {
        let stream = self.events().watch_events(request).await?.into_inner();
        Watcher::new(stream).await
    }

    /// Everything that is in the log.
    pub(crate) async fn log(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut start = None;
        loop {
            let request = ListEventsRequest {
                page_size: 1000,
                start,
                ..Default::default()
            };
            let page = self
                .events()
                .list_events(request)
                .await
                .unwrap()
                .into_inner();
            events.extend(page.events);
            if page.caught_up {
                return events;
            }
            start = Some(list_events_request::Start::AfterCursor(page.cursor));
        }
    }
}
