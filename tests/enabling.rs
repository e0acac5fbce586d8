//! Enabling plugins: what is checked, what is kept, and what nobody gets to see.

use metagov_proto::v1::{
    CheckInstallationRequest, EnablePluginRequest, GetInstallationRequest, Installation,
    ListInstallationsRequest, UpdateInstallationRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use wiremock::ResponseTemplate;

use crate::{
    fakes::{self, Forum},
    harness::{Api, Fault, Gateway, fault, object},
    stage,
};

fn request(plugin: &str, config: Value, request_id: &str) -> EnablePluginRequest {
    EnablePluginRequest {
        community_id: "co-op".into(),
        plugin: plugin.into(),
        config: object(config),
        request_id: request_id.into(),
    }
}

async fn enable(api: &Api, request: EnablePluginRequest) -> Result<Installation, Status> {
    let answer = api.plugins().enable_plugin(request).await?;
    Ok(answer.into_inner().installation.unwrap())
}

async fn installed(api: &Api) -> Vec<Installation> {
    let request = ListInstallationsRequest {
        community_id: "co-op".into(),
        ..Default::default()
    };
    let answer = api.plugins().list_installations(request).await.unwrap();
    answer.into_inner().installations
}

#[tokio::test]
async fn a_configuration_is_checked_before_the_platform_is_asked() {
    let cred = fakes::cred().await;
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    let url = cred.uri();
    let table = [
        ("sourcecred", json!({}), vec!["config/server_url"]),
        (
            "sourcecred",
            json!({ "server_url": url, "wrongkey": "test" }),
            vec!["config/wrongkey"],
        ),
        (
            "sourcecred",
            json!({ "server_url": 5 }),
            vec!["config/server_url"],
        ),
        (
            "randomness",
            json!({ "default_low": "1", "default_high": 2.5, "a/b": 1 }),
            vec!["config/a~1b", "config/default_high", "config/default_low"],
        ),
    ];
    for (plugin, config, expected) in table {
        let refused = fault(enable(&gateway.api, request(plugin, config, "")).await);
        assert!(refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"));
        assert_eq!(refused.metadata["schema_of"], plugin);
        let mut fields = refused.fields;
        fields.sort();
        assert_eq!(fields, expected);
    }
    assert_eq!(installed(&gateway.api).await, []);
    assert_eq!(fakes::asked(&cred, "GET", fakes::ACCOUNTS).await, 0);
}

#[tokio::test]
async fn what_a_schema_cannot_say_is_named_by_its_place_too() {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    let config = json!({ "default_low": 3, "default_high": 3 });
    let refused = fault(enable(&gateway.api, request("randomness", config, "")).await);
    assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(refused.fields, ["config/default_high"]);
    let config = json!({ "server_url": "ftp://example.org" });
    let refused = fault(enable(&gateway.api, request("sourcecred", config, "")).await);
    assert_eq!(refused.fields, ["config/server_url"], "{refused:?}");
    assert_eq!(installed(&gateway.api).await, []);
}

#[tokio::test]
async fn unknown_plugins_and_communities_are_told_apart() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let missing = fault(enable(api, request("ballot", json!({}), "")).await);
    assert!(missing.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    assert_eq!(missing.metadata["community_id"], "co-op");
    api.community("co-op").await;
    let missing = fault(enable(api, request("nonexistent-plugin", json!({}), "")).await);
    assert!(missing.is(Code::NotFound, "PLUGIN_NOT_FOUND"));
    assert_eq!(missing.metadata["name"], "nonexistent-plugin");
    let missing = fault(enable(api, request("", json!({}), "")).await);
    assert!(missing.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(missing.fields, ["plugin"]);
}

#[tokio::test]
async fn one_place_on_a_platform_is_enabled_once() {
    let cred = fakes::cred().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.community("other").await;
    api.enable("co-op", "ballot", json!({})).await;
    let twice = fault(api.try_enable("co-op", "ballot", json!({})).await);
    assert!(twice.is(Code::AlreadyExists, "INSTALLATION_EXISTS"));
    assert_eq!(twice.metadata["plugin"], "ballot");
    let url = cred.uri();
    let first = api
        .enable("co-op", "sourcecred", json!({ "server_url": url }))
        .await;
    assert_eq!(first.platform_id, url);
    let same = json!({ "server_url": format!("{url}/") });
    let twice = fault(api.try_enable("co-op", "sourcecred", same.clone()).await);
    assert!(twice.is(Code::AlreadyExists, "INSTALLATION_EXISTS"));
    assert_eq!(twice.metadata["platform_id"], url);
    assert_eq!(installed(api).await.len(), 2);
    // Another community may share the place.
    api.enable("other", "sourcecred", same).await;
}

#[tokio::test]
async fn of_two_at_once_one_is_enabled() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    let config = json!({ "url": theatre.uri() });
    let both = (0..8).map(|n| {
        let api = gateway.api.clone();
        let request = request("stage", config.clone(), &format!("r{n}"));
        tokio::spawn(async move { enable(&api, request).await })
    });
    let mut made = Vec::new();
    for one in both.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(installation) => made.push(installation),
            lost => assert!(fault(lost).is(Code::AlreadyExists, "INSTALLATION_EXISTS")),
        }
    }
    assert_eq!(installed(&gateway.api).await, made);
    assert_eq!(made.len(), 1);
}

#[tokio::test]
async fn a_retried_enable_sets_up_once() {
    let cred = fakes::cred().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let config = json!({ "server_url": cred.uri() });
    let first = enable(api, request("sourcecred", config.clone(), "r1")).await;
    let again = enable(api, request("sourcecred", config, "r1")).await;
    assert_eq!(first.unwrap(), again.unwrap());
    assert_eq!(fakes::asked(&cred, "GET", fakes::ACCOUNTS).await, 1);
    let other = json!({ "server_url": "https://example.org" });
    let reused = fault(enable(api, request("sourcecred", other, "r1")).await);
    assert!(reused.is(Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(installed(api).await.len(), 1);
}

#[tokio::test]
async fn a_refused_enable_leaves_nothing_and_its_request_id_free() {
    let cred = fakes::cred().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let mut watcher = api.watch().await;
    let config = json!({ "server_url": cred.uri() });
    let broken = fakes::answers(&cred, "GET", fakes::ACCOUNTS, ResponseTemplate::new(503)).await;
    let down = fault(enable(api, request("sourcecred", config.clone(), "r1")).await);
    assert!(down.is(Code::Unavailable, "PLATFORM_UNAVAILABLE"));
    assert_eq!(down.metadata["plugin"], "sourcecred");
    assert!(down.retry.is_some(), "it may be tried again");
    assert_eq!(installed(api).await, []);
    drop(broken);
    let made = enable(api, request("sourcecred", config, "r1"))
        .await
        .unwrap();
    assert_eq!(installed(api).await, [made]);
    watcher.next().await;
    assert_eq!(api.log().await.len(), 2, "a community and an installation");
}

#[tokio::test]
async fn secrets_are_never_returned() {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let made = enable(api, request("discourse", forum.config(), "r1")).await;
    let made = made.unwrap();
    assert_eq!(made.secret_names, ["api_key", "webhook_secret"]);
    let config = crate::harness::plain(made.config.clone());
    assert_eq!(config, json!({ "server_url": forum.server.uri() }));
    let by_id = GetInstallationRequest {
        installation_id: made.installation_id.clone(),
    };
    let got = api.plugins().get_installation(by_id).await.unwrap();
    let seen = format!(
        "{made:?} {:?} {:?} {:?} {}",
        got.into_inner(),
        installed(api).await,
        api.log().await,
        errors_about_secrets(&forum, api, &made).await,
    );
    for secret in [fakes::API_KEY, fakes::WEBHOOK_SECRET] {
        assert!(!seen.contains(secret), "{seen}");
    }
}

/// Every kind of error that has to do with a secret.
async fn errors_about_secrets(forum: &Forum, api: &Api, made: &Installation) -> String {
    let mut errors: Vec<Fault> = Vec::new();
    let mut config = forum.config();
    config["webhook_secret"] = json!([fakes::WEBHOOK_SECRET]);
    errors.push(fault(enable(api, request("discourse", config, "")).await));
    errors.push(fault(
        enable(api, request("discourse", forum.config(), "")).await,
    ));
    for patch in [
        json!({ "server_url": null }),
        json!({ "api_key": { "a": fakes::API_KEY } }),
        json!({ "nothing": fakes::API_KEY }),
        json!({ "api_username": "two\nlines" }),
    ] {
        let request = UpdateInstallationRequest {
            installation_id: made.installation_id.clone(),
            config_patch: object(patch),
            ..Default::default()
        };
        errors.push(fault(api.plugins().update_installation(request).await));
    }
    let list = "/admin/users/list/active.json";
    let _refused = fakes::answers(&forum.server, "GET", list, ResponseTemplate::new(403)).await;
    let request = CheckInstallationRequest {
        installation_id: made.installation_id.clone(),
    };
    let checked = api.plugins().check_installation(request).await.unwrap();
    let checked = checked.into_inner().installation.unwrap();
    assert!(!checked.problem.is_empty());
    format!("{errors:?} {checked:?}")
}

#[tokio::test]
async fn the_webhook_address_is_not_in_events() {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let made = api.enable("co-op", "discourse", forum.config()).await;
    let start = format!("{}/api/hooks/co-op/discourse/", gateway.public);
    let slug = made.webhook_url.strip_prefix(&start).expect("its place");
    assert!(slug.len() >= 22, "it cannot be guessed");
    let log = format!("{:?}", api.log().await);
    assert!(log.contains(&made.installation_id) && !log.contains(slug));
    // A plugin that takes no webhooks has no address.
    assert_eq!(
        api.enable("co-op", "ballot", json!({})).await.webhook_url,
        ""
    );
}
