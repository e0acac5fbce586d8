//! What is secret is not in the data folder, nor in an answer, whatever went wrong.

use metagov::config::Config;
use metagov_proto::v1::{
    CheckInstallationRequest, DisablePluginRequest, Installation, ListDeliveriesRequest,
    ListInstallationsRequest, ListProcessesRequest, PerformActionRequest, ProcessState,
    RetryDeliveryRequest, RotateWebhookRequest, UpdateInstallationRequest,
};
use serde_json::json;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use super::{
    canary::{found, found_in_folder, found_in_home},
    vault::{self, BODY, FETCH, HEADER, INNER, KEY, OPERATOR, PRIVATE, RESULT, STATE},
};
use crate::{
    fakes,
    harness::{Gateway, Home, object},
};

/// What nobody is told. `RESULT` is told to who asks for it.
const UNTOLD: [&str; 8] = [KEY, INNER, OPERATOR, STATE, PRIVATE, FETCH, BODY, HEADER];

/// A platform that lets everybody in, until it repeats in its refusals all that it is told.
async fn platform() -> MockServer {
    let server = MockServer::start().await;
    let well = ResponseTemplate::new(200).set_body_json(json!({}));
    Mock::given(any()).respond_with(well).mount(&server).await;
    server
}

async fn turns_sour(server: &MockServer) {
    let repeats = |request: &Request| {
        let said = String::from_utf8_lossy(&request.body).into_owned();
        ResponseTemplate::new(422).set_body_string(format!("what is this: {said}"))
    };
    let mock = Mock::given(any()).respond_with(repeats);
    mock.with_priority(1).mount(server).await;
}

pub(crate) fn configured(config: &mut Config) {
    let key = ("app_key".to_owned(), json!(OPERATOR));
    let settings = [key].into_iter().collect();
    config.operator.insert("vault".to_owned(), settings);
}

pub(super) struct Vault {
    pub(super) gateway: Gateway,
    pub(super) server: MockServer,
    installation: Installation,
    said: Vec<String>,
}

impl Vault {
    pub(super) async fn open() -> Self {
        Self::open_in(Home::new()).await
    }

    pub(super) async fn open_in(home: Home) -> Self {
        let server = platform().await;
        let gateway = Gateway::start_in(home, configured, vec![vault::plugin()]).await;
        gateway.api.community("a").await;
        let config = json!({"server_url": server.uri(), "key": KEY, "keys": [INNER]});
        let installation = gateway.api.enable("a", "vault", config).await;
        let said = vec![];
        Self {
            gateway,
            server,
            installation,
            said,
        }
    }

    fn id(&self) -> String {
        self.installation.installation_id.clone()
    }

    pub(super) fn slug(&self) -> String {
        slug_of(&self.installation)
    }

    /// Delivers a letter; what it is answered with counts as told.
    async fn hears(&mut self, wish: &str) -> u16 {
        let letter = json!({"do": wish, "body": BODY});
        let post = fakes::http().post(&self.installation.webhook_url);
        let post = post.header("x-secret", HEADER).body(letter.to_string());
        let answer = post.send().await.unwrap();
        let status = answer.status().as_u16();
        self.said.push(answer.text().await.unwrap());
        status
    }

    async fn acts(&mut self, action: &str) {
        let request = PerformActionRequest {
            community_id: "a".into(),
            action: format!("vault.{action}"),
            parameters: object(json!({})),
            request_id: format!("the-{action}-request"),
            ..Default::default()
        };
        let answer = self.gateway.api.perform_request(request).await;
        self.said.push(format!("{answer:?}"));
    }

    /// Everything that can go wrong, with what is said of it.
    pub(super) async fn goes_wrong(&mut self) {
        let api = self.gateway.api.clone();
        let started = api.start("a", "vault.heist", json!({})).await.unwrap();
        self.acts("open").await;
        turns_sour(&self.server).await;
        // The second time it is the kept answer.
        self.acts("ask").await;
        self.acts("ask").await;
        assert_eq!(self.hears("refuse").await, 400);
        for wish in ["fetch", "fold", "fail", "revoke", "nothing"] {
            assert_eq!(self.hears(wish).await, 200, "{wish}");
        }
        let check = CheckInstallationRequest {
            installation_id: self.id(),
        };
        let checked = api.plugins().check_installation(check).await.unwrap();
        let problem = checked.get_ref().installation.as_ref().unwrap();
        assert!(
            format!("{problem:?}").contains("what is this: "),
            "its words are told: {problem:?}"
        );
        self.said.push(format!("{checked:?}"));
        let request = UpdateInstallationRequest {
            installation_id: self.id(),
            config_patch: object(json!({"keys": [INNER, "and another"]})),
            etag: String::new(),
        };
        let updated = api.plugins().update_installation(request).await;
        self.said.push(format!("{updated:?}"));
        let failed = api.process(&started.process_id).await.unwrap();
        assert_eq!(failed.state(), ProcessState::Failed);
        self.said.push(format!("{failed:?}"));
        self.retries().await;
        self.lists().await;
    }

    async fn retries(&mut self) {
        let api = self.gateway.api.clone();
        let request = ListDeliveriesRequest {
            community_id: "a".into(),
            ..Default::default()
        };
        let listed = api.plugins().list_deliveries(request.clone()).await;
        let waiting = listed.unwrap().into_inner().deliveries.into_iter();
        let waiting: Vec<_> = waiting.filter(|it| !it.problem.is_empty()).collect();
        assert_eq!(waiting.len(), 1, "{waiting:?}");
        let delivery_id = waiting[0].delivery_id.clone();
        let again = RetryDeliveryRequest { delivery_id };
        let again = api.plugins().retry_delivery(again).await;
        self.said.push(format!("{again:?}"));
        let listed = api.plugins().list_deliveries(request).await;
        self.said.push(format!("{listed:?}"));
    }

    async fn lists(&mut self) {
        let api = self.gateway.api.clone();
        let request = ListInstallationsRequest {
            community_id: "a".into(),
            ..Default::default()
        };
        let listed = api.plugins().list_installations(request).await;
        self.said.push(format!("{listed:?}"));
        let request = ListProcessesRequest::default();
        let listed = api.processes().list_processes(request).await;
        self.said.push(format!("{listed:?}"));
        self.said.push(format!("{:?}", api.log().await));
    }

    /// What is secret and can be found in what is kept.
    async fn found_in_kept(&self, slugs: &[&str]) -> Vec<String> {
        let canaries = [&UNTOLD[..], &[RESULT], slugs].concat();
        found_in_home(self.gateway.home(), &canaries).await
    }
}

fn slug_of(installation: &Installation) -> String {
    let (_, slug) = installation.webhook_url.rsplit_once('/').unwrap();
    assert_eq!(slug.len(), 32, "128 bits");
    slug.to_owned()
}

const NOTHING: Vec<String> = Vec::new();

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_whatever_the_platform_repeats() {
    let mut vault = Vault::open().await;
    vault.goes_wrong().await;
    let heard = vault.server.received_requests().await.unwrap();
    let last = &heard.last().unwrap().body;
    assert_eq!(
        found(last, &UNTOLD),
        [KEY, INNER, OPERATOR],
        "they are used"
    );
    let said = vault.said.join("\n");
    assert!(said.contains("[secret]"), "{said}");
    assert!(found(said.as_bytes(), &UNTOLD).is_empty(), "{said}");
    // The address is told with the installation and nowhere else.
    let of_installation = |said: &&String| said.contains("webhook_url");
    let slug = vault.slug();
    for said in vault.said.iter().filter(|said| !of_installation(said)) {
        assert!(found(said.as_bytes(), &[&slug]).is_empty(), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_stands_in_the_database_or_the_data_folder() {
    let mut vault = Vault::open().await;
    let first = vault.slug();
    assert_eq!(
        vault.found_in_kept(&[&first]).await,
        NOTHING,
        "when it is new"
    );
    vault.goes_wrong().await;
    assert_eq!(vault.found_in_kept(&[&first]).await, NOTHING);
    let open = vault.server.uri();
    let found = found_in_home(vault.gateway.home(), &[&open]).await;
    assert!(!found.is_empty(), "what is no secret is found");
    let rotate = RotateWebhookRequest {
        installation_id: vault.id(),
        old_expire_time: Some(later(std::time::SystemTime::now().into())),
    };
    let mut plugins = vault.gateway.api.plugins();
    let rotated = plugins.rotate_webhook(rotate).await.unwrap().into_inner();
    let second = slug_of(&rotated.installation.unwrap());
    assert_ne!(first, second);
    let slugs = [first.as_str(), second.as_str()];
    assert_eq!(vault.found_in_kept(&slugs).await, NOTHING, "after rotation");
    // The last connection that is closed writes the log into the database.
    vault.gateway = vault.gateway.restart(vec![vault::plugin()]).await;
    assert_eq!(
        vault.found_in_kept(&slugs).await,
        NOTHING,
        "after a restart"
    );
    vault.acts("open").await;
    let kept = vault.said.last().unwrap();
    assert!(kept.contains(RESULT), "a kept answer can be read: {kept}");
    let disable = DisablePluginRequest {
        installation_id: vault.id(),
        ..Default::default()
    };
    let mut plugins = vault.gateway.api.plugins();
    plugins.disable_plugin(disable).await.unwrap();
    assert_eq!(
        vault.found_in_kept(&slugs).await,
        NOTHING,
        "after it was disabled"
    );
}

fn later(time: prost_types::Timestamp) -> prost_types::Timestamp {
    let seconds = time.seconds + 3600;
    prost_types::Timestamp { seconds, ..time }
}

/// A new plugin with secrets is to be tried here, too.
#[test]
fn every_plugin_with_secrets_is_known_here() {
    let plugins = metagov::plugins::all();
    let secrets: Vec<(String, Vec<String>, Vec<String>)> = plugins
        .iter()
        .map(|plugin| {
            let name = plugin.descriptor.name.clone();
            (
                name,
                plugin.config.secret_names(),
                plugin.operator.secret_names(),
            )
        })
        .filter(|(_, config, operator)| !config.is_empty() || !operator.is_empty())
        .collect();
    let known = json!([["discourse", ["api_key", "webhook_secret"], []]]);
    assert_eq!(serde_json::to_value(secrets).unwrap(), known);
}

#[test]
fn no_golden_file_holds_a_secret() {
    let golden = crate::root().join("tests/golden");
    let canaries = [&UNTOLD[..], &super::CANARIES].concat();
    assert_eq!(found_in_folder(&golden, &canaries), NOTHING);
}
