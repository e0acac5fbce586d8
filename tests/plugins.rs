//! Plugins: the catalogue, and installations from enable to disable.

use metagov_proto::v1::{
    AuthKind, AuthorizePluginRequest, ChangeKind, CheckInstallationRequest, DisablePluginRequest,
    Event, GetInstallationRequest, GetPluginRequest, Installation, ListInstallationsRequest,
    ListInstallationsResponse, ListPluginsRequest, PerformActionRequest, Plugin, ProcessState,
    UpdateInstallationRequest, event::Payload,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use wiremock::ResponseTemplate;

use crate::{
    fakes::{self, Forum, answers, asked},
    harness::{Api, Gateway, fault, object, plain},
    stage,
};

async fn get(api: &Api, id: &str) -> Result<Installation, Status> {
    let request = GetInstallationRequest {
        installation_id: id.into(),
    };
    let answer = api.plugins().get_installation(request).await?;
    Ok(answer.into_inner().installation.unwrap())
}

async fn patch(api: &Api, it: &Installation, patch: Value) -> Result<Installation, Status> {
    let request = UpdateInstallationRequest {
        installation_id: it.installation_id.clone(),
        config_patch: object(patch),
        etag: String::new(),
    };
    let answer = api.plugins().update_installation(request).await?;
    Ok(answer.into_inner().installation.unwrap())
}

async fn check(api: &Api, it: &Installation) -> Result<Installation, Status> {
    let request = CheckInstallationRequest {
        installation_id: it.installation_id.clone(),
    };
    let answer = api.plugins().check_installation(request).await?;
    Ok(answer.into_inner().installation.unwrap())
}

async fn disable(api: &Api, it: &Installation, etag: &str) -> Result<(), Status> {
    let request = DisablePluginRequest {
        installation_id: it.installation_id.clone(),
        etag: etag.into(),
    };
    api.plugins().disable_plugin(request).await.map(drop)
}

async fn list(api: &Api, plugin: &str, token: &str) -> Result<ListInstallationsResponse, Status> {
    let request = ListInstallationsRequest {
        community_id: "co-op".into(),
        plugin: plugin.into(),
        page_size: 2,
        page_token: token.into(),
    };
    let answer = api.plugins().list_installations(request).await?;
    Ok(answer.into_inner())
}

/// The change of an installation that an event tells of.
fn change(event: Event) -> (ChangeKind, Installation) {
    match event.payload {
        Some(Payload::InstallationChanged(it)) => (it.change_kind(), it.installation.unwrap()),
        other => panic!("{other:?}"),
    }
}

/// As events show it.
fn public(it: &Installation) -> Installation {
    let webhook_url = String::new();
    Installation {
        webhook_url,
        ..it.clone()
    }
}

#[tokio::test]
async fn the_catalogue_says_what_there_is() {
    let gateway = Gateway::start().await;
    let mut plugins = gateway.api.plugins();
    let all = plugins.list_plugins(ListPluginsRequest {}).await.unwrap();
    let all: Vec<Plugin> = all.into_inner().plugins;
    let names: Vec<&str> = all.iter().map(|plugin| plugin.name.as_str()).collect();
    assert_eq!(names, ["ballot", "discourse", "randomness", "sourcecred"]);
    for plugin in &all {
        let request = GetPluginRequest {
            plugin: plugin.name.clone(),
        };
        let one = plugins.get_plugin(request).await.unwrap().into_inner();
        assert_eq!(one.plugin.as_ref(), Some(plugin));
        assert_eq!(plugin.unavailable_reason, "");
        let actions = plugin.actions.iter().map(|a| &a.action);
        let processes = plugin.processes.iter().map(|p| &p.process_type);
        let events = plugin.events.iter().map(|e| &e.event_type);
        for name in actions.chain(processes).chain(events) {
            assert!(name.starts_with(&format!("{}.", plugin.name)), "{name}");
        }
    }
    let discourse = &all[1];
    assert_eq!(discourse.auth_kind(), AuthKind::ApiKey);
    assert!(discourse.uses_webhook && discourse.setup_help.contains("webhook_secret"));
    let schema = plain(discourse.config_schema.clone());
    assert_eq!(schema["properties"]["api_key"]["writeOnly"], json!(true));
}

#[tokio::test]
async fn an_unknown_plugin_is_named() {
    let gateway = Gateway::start().await;
    let get = async |name: &str| {
        let plugin = name.to_owned();
        let request = GetPluginRequest { plugin };
        fault(gateway.api.plugins().get_plugin(request).await)
    };
    let unknown = get("nope").await;
    assert!(unknown.is(Code::NotFound, "PLUGIN_NOT_FOUND"));
    assert_eq!(unknown.metadata["name"], "nope");
    for name in [String::new(), "a".repeat(101), "two\nlines".into()] {
        let wrong = get(&name).await;
        assert!(wrong.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(wrong.fields, ["plugin"]);
    }
}

#[tokio::test]
async fn an_installation_lives_from_enable_to_disable() {
    let (cred, other) = (fakes::cred().await, fakes::cred().await);
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let mut watcher = api.watch().await;
    let config = json!({ "server_url": cred.uri() });
    let made = api.enable("co-op", "sourcecred", config).await;
    assert_eq!(made.platform_id, cred.uri());
    assert_eq!(get(api, &made.installation_id).await.unwrap(), made);
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Created, public(&made)));

    let moved = json!({ "server_url": other.uri() });
    let moved = patch(api, &made, moved).await.unwrap();
    assert_eq!(moved.installation_id, made.installation_id);
    assert_eq!(moved.platform_id, other.uri());
    assert_eq!(moved.create_time, made.create_time);
    assert_ne!(moved.etag, made.etag);
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Updated, public(&moved)));

    let stale = fault(disable(api, &made, &made.etag).await);
    assert!(stale.is(Code::Aborted, "ETAG_MISMATCH"), "{stale:?}");
    disable(api, &made, &moved.etag).await.unwrap();
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Deleted, public(&moved)));
    let gone = fault(get(api, &made.installation_id).await);
    assert!(gone.is(Code::NotFound, "INSTALLATION_NOT_FOUND"));
    assert_eq!(gone.metadata["installation_id"], made.installation_id);
    let again = fault(disable(api, &made, "").await);
    assert!(again.is(Code::NotFound, "INSTALLATION_NOT_FOUND"));
}

#[tokio::test]
async fn installations_are_listed_oldest_first_in_pages() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.community("other").await;
    let range = json!({ "default_low": 1, "default_high": 3 });
    let first = api.enable("co-op", "randomness", range).await;
    let second = api.enable("co-op", "ballot", json!({})).await;
    api.enable("other", "ballot", json!({})).await;
    let cred = fakes::cred().await;
    let config = json!({ "server_url": cred.uri() });
    let third = api.enable("co-op", "sourcecred", config).await;
    let page = list(api, "", "").await.unwrap();
    assert_eq!(page.installations, [first, second.clone()]);
    let page = list(api, "", &page.next_page_token).await.unwrap();
    assert_eq!(page.installations, [third]);
    assert_eq!(page.next_page_token, "");
    let page = list(api, "ballot", "").await.unwrap();
    assert_eq!(page.installations, [second]);
    let unknown = fault(list(api, "nope", "").await);
    assert!(unknown.is(Code::NotFound, "PLUGIN_NOT_FOUND"));
}

#[tokio::test]
async fn authorize_is_unsupported() {
    let gateway = Gateway::start().await;
    let authorize = async |community: &str, plugin: &str| {
        let request = AuthorizePluginRequest {
            community_id: community.into(),
            plugin: plugin.into(),
            redirect_uri: "https://example.org".into(),
            ..Default::default()
        };
        fault(gateway.api.plugins().authorize_plugin(request).await)
    };
    gateway.api.community("co-op").await;
    for plugin in ["ballot", "discourse", "randomness", "sourcecred"] {
        let refused = authorize("co-op", plugin).await;
        assert!(refused.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"));
        assert_eq!(refused.metadata["plugin"], plugin);
    }
    let unknown = authorize("co-op", "nope").await;
    assert!(unknown.is(Code::NotFound, "PLUGIN_NOT_FOUND"));
    let unknown = authorize("other", "ballot").await;
    assert!(unknown.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
}

#[tokio::test]
async fn several_installations_must_be_told_apart() {
    let (one, two) = (fakes::cred().await, fakes::cred().await);
    let nobody = fakes::ok(&json!({ "accounts": [] }));
    let _empty = answers(&two, "GET", fakes::ACCOUNTS, nobody).await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let mut ids = Vec::new();
    for server in [&one, &two] {
        let config = json!({ "server_url": server.uri() });
        let made = api.enable("co-op", "sourcecred", config).await;
        ids.push(made.installation_id);
    }
    let unclear = fault(
        api.perform("co-op", "sourcecred.total-cred", json!({}))
            .await,
    );
    assert!(unclear.is(Code::FailedPrecondition, "INSTALLATION_AMBIGUOUS"));
    assert_eq!(unclear.metadata["installation_ids"], ids.join(","));
    for (id, cred) in ids.iter().zip([42.5, 0.0]) {
        let request = PerformActionRequest {
            community_id: "co-op".into(),
            action: "sourcecred.total-cred".into(),
            installation_id: id.clone(),
            ..Default::default()
        };
        let total = api.perform_request(request).await.unwrap();
        assert_eq!(total["value"].as_f64(), Some(cred));
    }
}

/// The forum's hook about the one user, answered with 200.
async fn user_updated(forum: &Forum, it: &Installation, town: &str) {
    let user = json!({ "user": { "id": 5, "username": "ada", "user_fields": { "1": town } } });
    let hook = forum.hook(&it.webhook_url, "user_updated", &user);
    assert_eq!(hook.send().await.unwrap().status(), 200);
}

/// Starts a poll on a forum that lets it.
async fn poll(forum: &Forum, api: &Api) -> String {
    let post = json!({ "id": 31, "topic_id": 9, "topic_slug": "a", "post_number": 1 });
    let _created = answers(&forum.server, "POST", "/posts.json", fakes::ok(&post)).await;
    let parameters = json!({ "title": "Lunch?", "options": ["yes", "no"], "category": 1 });
    let process = api.start("co-op", "discourse.poll", parameters).await;
    process.unwrap().process_id
}

#[tokio::test]
async fn a_patch_keeps_secrets_state_and_processes() {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let made = api.enable("co-op", "discourse", forum.config()).await;
    user_updated(&forum, &made, "north").await;
    let process = poll(&forum, api).await;

    let named = patch(api, &made, json!({ "api_username": "clerk" })).await;
    let named = named.unwrap();
    assert_eq!(named.installation_id, made.installation_id);
    assert_eq!(named.secret_names, made.secret_names);
    assert_eq!(named.webhook_url, made.webhook_url);
    let config = json!({ "server_url": forum.server.uri(), "api_username": "clerk" });
    assert_eq!(plain(named.config), config);
    let requests = forum.server.received_requests().await.unwrap();
    let headers = &requests.last().unwrap().headers;
    assert_eq!(headers["api-key"], fakes::API_KEY);
    assert_eq!(headers["api-username"], "clerk");

    assert_eq!(
        api.process(&process).await.unwrap().state(),
        ProcessState::Open
    );
    let mut watcher = api.watch().await;
    user_updated(&forum, &made, "south").await;
    let Payload::Platform(event) = watcher.payload().await else {
        panic!()
    };
    let before = plain(event.data)["old_user_fields"].clone();
    assert_eq!(before, json!({ "1": "north" }), "the state was kept");

    let unnamed = patch(api, &made, json!({ "api_username": null })).await;
    let config = json!({ "server_url": forum.server.uri() });
    assert_eq!(plain(unnamed.unwrap().config), config, "null removes");
}

#[tokio::test]
async fn a_patch_without_effect_does_nothing() {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let made = api.enable("co-op", "discourse", forum.config()).await;
    let calls = forum.server.received_requests().await.unwrap().len();
    let mut watcher = api.watch().await;
    let nothing = [
        json!({}),
        json!({ "server_url": forum.server.uri() }),
        json!({ "api_username": null }),
        json!({ "api_key": fakes::API_KEY }),
    ];
    for nothing in nothing {
        assert_eq!(patch(api, &made, nothing).await.unwrap(), made);
    }
    let after = forum.server.received_requests().await.unwrap().len();
    assert_eq!(after, calls, "the platform was not asked");
    let changed = patch(api, &made, json!({ "api_username": "clerk" })).await;
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Updated, public(&changed.unwrap())));
}

#[tokio::test]
async fn a_refused_patch_changes_nothing() {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let made = api.enable("co-op", "discourse", forum.config()).await;
    let wrong = json!({ "server_url": null, "api_key": 5, "nothing": true });
    let refused = fault(patch(api, &made, wrong).await);
    assert!(refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"));
    let mut fields = refused.fields;
    fields.sort();
    let places = ["api_key", "nothing", "server_url"];
    assert_eq!(fields, places.map(|name| format!("config_patch/{name}")));

    let list = "/admin/users/list/active.json";
    let denied = answers(&forum.server, "GET", list, ResponseTemplate::new(403)).await;
    let refused = fault(patch(api, &made, json!({ "api_key": "wrong" })).await);
    assert!(refused.is(Code::FailedPrecondition, "PLATFORM_UNAUTHORIZED"));
    assert_eq!(refused.metadata["plugin"], "discourse");
    drop(denied);
    let request = UpdateInstallationRequest {
        installation_id: made.installation_id.clone(),
        config_patch: object(json!({ "api_username": "clerk" })),
        etag: "stale".into(),
    };
    let stale = fault(api.plugins().update_installation(request).await);
    assert!(stale.is(Code::Aborted, "ETAG_MISMATCH"), "{stale:?}");
    assert_eq!(get(api, &made.installation_id).await.unwrap(), made);
}

#[tokio::test]
async fn an_installation_with_open_processes_stays_where_it_is() {
    let (forum, other) = (Forum::start().await, Forum::start().await);
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let made = api.enable("co-op", "discourse", forum.config()).await;
    let process = poll(&forum, api).await;
    let elsewhere = json!({ "server_url": other.server.uri() });
    let busy = fault(patch(api, &made, elsewhere.clone()).await);
    assert!(busy.is(Code::FailedPrecondition, "INSTALLATION_BUSY"));
    assert_eq!(busy.metadata["installation_id"], made.installation_id);
    assert_eq!(get(api, &made.installation_id).await.unwrap(), made);
    api.cancel(&process).await.unwrap();
    let moved = patch(api, &made, elsewhere).await.unwrap();
    assert_eq!(moved.platform_id, other.server.uri());
}

#[tokio::test]
async fn a_check_notes_a_problem_and_its_end() {
    let forum = Forum::start().await;
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let made = api.enable("co-op", "discourse", forum.config()).await;
    let mut watcher = api.watch().await;
    assert_eq!(check(api, &made).await.unwrap(), made, "all is well");
    let list = "/admin/users/list/active.json";
    let denied = answers(&forum.server, "GET", list, ResponseTemplate::new(403)).await;
    let bad = check(api, &made).await.unwrap();
    assert!(bad.problem.ends_with("403 Forbidden"), "{}", bad.problem);
    assert!(bad.problem_time.is_some());
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Updated, public(&bad)));
    assert_eq!(check(api, &made).await.unwrap(), bad, "no news, no change");
    drop(denied);

    // A platform that does not answer says nothing about the credentials.
    let down = answers(&forum.server, "GET", list, ResponseTemplate::new(502)).await;
    let unknown = fault(check(api, &made).await);
    assert!(unknown.is(Code::Unavailable, "PLATFORM_UNAVAILABLE"));
    assert_eq!(get(api, &made.installation_id).await.unwrap(), bad);
    drop(down);

    let good = check(api, &made).await.unwrap();
    assert!(good.problem.is_empty() && good.problem_time.is_none());
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Updated, public(&good)));
    assert!(asked(&forum.server, "GET", list).await >= 6);
}

#[tokio::test]
async fn disabling_cancels_open_processes() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    let api = &gateway.api;
    api.community("co-op").await;
    let config = json!({ "url": theatre.uri() });
    let made = api.enable("co-op", "stage", config).await;
    let play = json!({ "title": "Hamlet" });
    let process = api.start("co-op", "stage.play", play).await.unwrap();
    let mut watcher = api.watch().await;
    disable(api, &made, "").await.unwrap();
    assert_eq!(stage::told(&theatre).await, ["start", "cancel", "teardown"]);
    let Payload::ProcessChanged(event) = watcher.payload().await else {
        panic!("the process comes first")
    };
    assert_eq!(event.process.unwrap().state(), ProcessState::Cancelled);
    let (kind, _) = change(watcher.next().await);
    assert_eq!(kind, ChangeKind::Deleted);
    let left = api.process(&process.process_id).await.unwrap();
    assert_eq!(left.state(), ProcessState::Cancelled);
    assert!(!left.end_reason.is_empty() && left.end_time.is_some());
}
