//! The kit: a plugin is one file and one line, and everything that it may ask for is
//! done. Here what it is and how it is enabled; hooks, signals and votes have their own
//! files.

mod hall;
mod replicas;
mod signals;
mod townhall;
mod votes;

use metagov_proto::v1::{
    AuthKind, CheckInstallationRequest, CloseTimeSupport, DisablePluginRequest, GetPluginRequest,
    Plugin, event::Payload,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{Gateway, fault, plain};
use hall::{APP_SECRET, Hall, asked, config, gateway, instead, platform, post, says};

async fn described(gateway: &Gateway) -> Plugin {
    let request = GetPluginRequest {
        plugin: "townhall".into(),
    };
    let answer = gateway.api.plugins().get_plugin(request).await.unwrap();
    answer.into_inner().plugin.unwrap()
}

#[tokio::test]
async fn one_file_makes_a_plugin() {
    // The one line.
    let plugins = vec![townhall::plugin()];
    let gateway = Gateway::start_with(hall::configured, plugins).await;
    let plugin = described(&gateway).await;
    assert_eq!(plugin.auth_kind(), AuthKind::ApiKey);
    assert!(plugin.uses_webhook && plugin.unavailable_reason.is_empty());
    let config = plain(plugin.config_schema);
    assert_eq!(config["required"], json!(["server_url", "hall", "token"]));
    assert_eq!(config["properties"]["token"]["writeOnly"], true);
    assert_eq!(config["properties"]["hall"]["description"], "Which hall.");
    let events: Vec<&str> = plugin.events.iter().map(|e| &*e.event_type).collect();
    let names = ["spoke", "opened", "minutes", "gavel_passed"];
    assert_eq!(events, names.map(|name| format!("townhall.{name}")));
    let [motion, assembly] = &plugin.processes[..] else {
        panic!("{:?}", plugin.processes)
    };
    assert_eq!(motion.process_type, "townhall.motion");
    assert!(motion.is_vote && motion.closable && motion.cancellable);
    assert_eq!(motion.close_time_support(), CloseTimeSupport::Optional);
    assert!(!assembly.is_vote && !assembly.closable && !assembly.cancellable);

    let server = platform().await;
    gateway.api.community("commons").await;
    let config = hall::config(&server, "north");
    let installation = gateway.api.enable("commons", "townhall", config).await;
    assert_eq!(installation.platform_id, "north");
    assert_eq!(installation.secret_names, ["token"]);
    let shown = plain(installation.config);
    assert_eq!(shown, json!({"server_url": server.uri(), "hall": "north"}));
    let speech = json!({"text": "Order!"});
    let heard = gateway.api.perform("commons", "townhall.speak", speech);
    assert_eq!(heard.await.unwrap(), json!({"greeting": "Hear, hear"}));
    let speeches = asked(&server, "POST", "/speeches").await;
    assert_eq!(speeches[0].headers["authorization"], "open sesame");
}

#[tokio::test]
async fn a_plugin_without_its_operators_settings_cannot_be_enabled() {
    let gateway = Gateway::start_with(|_| (), vec![townhall::plugin()]).await;
    let plugin = described(&gateway).await;
    let reason = plugin.unavailable_reason;
    assert!(reason.contains("app_secret"), "{reason}");
    let server = platform().await;
    gateway.api.community("commons").await;
    let enabled = gateway
        .api
        .try_enable("commons", "townhall", config(&server, "north"));
    let refused = fault(enabled.await);
    assert!(
        refused.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"),
        "{refused:?}"
    );
    assert_eq!(refused.metadata["plugin"], "townhall");
    assert!(refused.message.contains("app_secret"), "{refused:?}");
    assert!(server.received_requests().await.unwrap().is_empty());
}

fn address(request: &wiremock::Request) -> Value {
    request.body_json::<Value>().unwrap()["url"].clone()
}

#[tokio::test]
async fn setup_tells_where_hooks_go_and_what_follows() {
    let hall = Hall::open().await;
    let registered = hall.asked("POST", "/hooks").await;
    assert_eq!(registered.len(), 1);
    assert_eq!(
        address(&registered[0]),
        json!(hall.installation.webhook_url)
    );
    // The event of set-up follows the one of the installation.
    let log = hall.gateway.api.log().await;
    let kinds: Vec<_> = log.iter().map(|event| event.payload.as_ref()).collect();
    let [
        Some(Payload::CommunityChanged(_)),
        Some(Payload::InstallationChanged(_)),
        Some(Payload::Platform(opened)),
    ] = &kinds[..]
    else {
        panic!("{kinds:?}")
    };
    assert_eq!(opened.event_type, "townhall.opened");
    assert_eq!(opened.installation_id, hall.installation.installation_id);
}

#[tokio::test]
async fn disabling_undoes_what_setup_registered() {
    let hall = Hall::open().await;
    hall.motion().await;
    let request = DisablePluginRequest {
        installation_id: hall.installation.installation_id.clone(),
        ..Default::default()
    };
    hall.gateway
        .api
        .plugins()
        .disable_plugin(request)
        .await
        .unwrap();
    let removed = hall.asked("DELETE", "/hooks").await;
    assert_eq!(removed.len(), 1);
    assert_eq!(address(&removed[0]), json!(hall.installation.webhook_url));
    let cancelled = hall.asked("DELETE", "/motions/m1").await;
    assert_eq!(cancelled.len(), 1, "its processes go first");
    let (status, _) = hall.hear(&json!({"told": []})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_setup_registered_is_undone_if_it_cannot_be_kept() {
    let hall = Hall::open().await;
    let again = config(&hall.server, "north");
    let again = fault(
        hall.gateway
            .api
            .try_enable("commons", "townhall", again)
            .await,
    );
    assert!(
        again.is(Code::AlreadyExists, "INSTALLATION_EXISTS"),
        "{again:?}"
    );
    assert_eq!(again.metadata["platform_id"], "north");
    let registered = hall.asked("POST", "/hooks").await;
    let removed = hall.asked("DELETE", "/hooks").await;
    let removed: Vec<Value> = removed.iter().map(address).collect();
    assert_eq!(
        removed,
        [address(&registered[1])],
        "the second, and not the first"
    );
    assert_ne!(removed[0], json!(hall.installation.webhook_url));
    assert_eq!(
        hall.hears(json!({"kind": "spoke", "user": "ada", "text": "!"}))
            .await["heard"],
        true
    );
}

#[tokio::test]
async fn a_withdrawn_credential_is_a_problem_until_it_works_again() {
    let mut hall = Hall::open().await;
    let why = "the hall threw us out";
    hall.hears(json!({"kind": "banned", "why": why})).await;
    let Payload::InstallationChanged(event) = hall.watcher.payload().await else {
        panic!()
    };
    let troubled = event.installation.unwrap();
    assert_eq!(troubled.problem, why);
    assert!(troubled.problem_time.is_some());
    let check = CheckInstallationRequest {
        installation_id: troubled.installation_id,
    };
    let mut plugins = hall.gateway.api.plugins();
    let checked = plugins.check_installation(check.clone()).await.unwrap();
    let checked = checked.into_inner().installation.unwrap();
    assert_eq!((&*checked.problem, checked.problem_time), ("", None));
    let Payload::InstallationChanged(event) = hall.watcher.payload().await else {
        panic!()
    };
    assert_eq!(event.installation.unwrap().problem, "");
    instead(&hall.server, ("POST", "/hooks"), None, says(401, json!({}))).await;
    let checked = plugins.check_installation(check).await.unwrap();
    let checked = checked.into_inner().installation.unwrap();
    assert!(
        checked.problem.contains("credentials"),
        "{}",
        checked.problem
    );
}

#[tokio::test]
async fn the_hook_of_all_communities_goes_where_the_plugin_says() {
    let (gateway, server) = (gateway().await, platform().await);
    for community in ["east", "west"] {
        gateway.api.community(community).await;
        let config = config(&server, community);
        gateway.api.enable(community, "townhall", config).await;
    }
    let mut watcher = gateway.api.watch().await;
    let to = format!("{}/api/hooks/townhall", gateway.public);
    let tell = async |body: Value, secret: Option<&str>| post(&to, &body, secret).await;

    let (status, error) = tell(json!({"challenge": "abc"}), None).await;
    assert_eq!(
        (status, &error["error"]["reason"]),
        (401, &json!("SIGNATURE_INVALID"))
    );
    let (status, _) = tell(json!({"challenge": "abc"}), Some("a guess")).await;
    assert_eq!(status, 401);
    let answer = tell(json!({"challenge": "abc"}), Some(APP_SECRET)).await;
    assert_eq!(answer, (200, json!({"challenge": "abc"})));
    let answer = tell(json!({"anything": "else"}), Some(APP_SECRET)).await;
    assert_eq!(answer, (200, Value::Null));

    let told = json!([{"kind": "spoke", "user": "ada", "text": "Hello, west"}]);
    let nowhere = json!({"hall": "south", "told": told});
    assert_eq!(tell(nowhere, Some(APP_SECRET)).await.0, 200);
    let west = json!({"hall": "west", "told": told});
    let answer = tell(west, Some(APP_SECRET)).await;
    assert_eq!(answer, (200, json!({"heard": true})));
    let event = watcher.next().await;
    assert_eq!(event.community_id, "west");

    // Others have no such address.
    let (status, error) = post(&to.replace("townhall", "ballot"), &json!({}), None).await;
    assert_eq!(
        (status, &error["error"]["reason"]),
        (404, &json!("WEBHOOK_NOT_FOUND"))
    );
}
