//! OAuth: a person agrees at a platform, and the community has a plugin or the person an
//! account.

mod credentials;
mod faults;
mod plaza;
mod provider;
mod scene;
mod secrets;

use metagov_proto::v1::{
    AuthKind, AuthorizePluginRequest, ChangeKind, CreateIdentityRequest, DeleteCommunityRequest,
    EnablePluginRequest, GetPluginRequest, LinkMethod, LinkQuality, Role,
    UpdateInstallationRequest, event::Payload,
};
use serde_json::json;
use tonic::Code;

use crate::harness::{Gateway, fault, object, plain};
use provider::{Asked, Person, Provider, steward};
use scene::{DONE, Scene, THEMED, configured, install, login};

#[tokio::test]
async fn a_steward_enables_the_plugin_for_the_community() {
    let scene = Scene::open().await;
    let mut watcher = scene.api().watch().await;
    let begun = scene.begin(install("commons")).await.unwrap();
    let back = scene.provider.agree(&begun.authorize_url, steward("north"));
    let callback = format!("{}/auth/plaza/callback?", scene.gateway.public);
    assert!(back.as_str().starts_with(&callback), "{back}");
    let seen = scene.visit(&back).await;

    let told = seen.told();
    let id = &told["installation_id"];
    assert!(seen.location().as_str().starts_with(&format!("{DONE}?")));
    assert_eq!(told["state"], "the caller's own & it=alone");
    assert_eq!(told["community_id"], "commons");
    assert_eq!(told.len(), 3, "and nothing else: {told:?}");
    assert_eq!(seen.headers["cache-control"], "no-store");
    assert_eq!(seen.headers["referrer-policy"], "no-referrer");
    assert_eq!(
        seen.headers["content-security-policy"],
        "default-src 'none'"
    );
    assert_eq!(seen.body, "");

    let installation = scene.installation(id).await;
    assert_eq!(installation.community_id, "commons");
    assert_eq!(installation.platform_id, "north");
    let config = plain(installation.config.clone());
    assert_eq!(config, json!({ "name": "The north square" }));
    match watcher.next().await.payload.unwrap() {
        Payload::InstallationChanged(event) => {
            assert_eq!(event.change_kind(), ChangeKind::Created);
            let event = event.installation.unwrap();
            assert_eq!(event.installation_id, *id);
        }
        other => panic!("{other:?}"),
    }
    // The plugin says whose account the steward's is.
    match watcher.next().await.payload.unwrap() {
        Payload::IdentityChanged(event) => {
            let account = &event.identity.unwrap().accounts[0];
            assert_eq!(account.user_id, "steward-of-north");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.say("plaza").await.unwrap(), json!({ "said": true }));
}

#[tokio::test]
async fn what_a_person_is_asked_is_what_the_plugin_says() {
    let scene = Scene::open().await;
    let before = now();
    let begun = scene.begin(install("commons")).await.unwrap();
    let life = begun.expire_time.unwrap().seconds - before;
    assert!((595..=605).contains(&life), "ten minutes: {life} s");
    let asked = Asked::read(&begun.authorize_url);
    assert_eq!(asked.of("scope"), Some("bot squares"));
    assert_eq!(asked.of("choose"), Some("a square"));
    let callback = format!("{}/auth/plaza/callback", scene.gateway.public);
    assert_eq!(asked.of("redirect_uri"), Some(callback.as_str()));
    assert_eq!(asked.of("client_secret"), None);
    // 256 bits each, and never the same.
    let again = scene.asked(install("commons")).await;
    let again = Asked::read(&again);
    for secret in ["state", "code_challenge"] {
        assert_eq!(asked.of(secret).unwrap().len(), 43);
        assert_ne!(asked.of(secret), again.of(secret));
    }
    let login = scene.asked(login("commons")).await;
    assert_eq!(Asked::read(&login).of("scope"), Some("me"));
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn a_code_is_proved_to_be_ours() {
    let scene = Scene::open().await;
    scene.installs("commons", steward("north")).await;
    let form = scene.provider.state().forms[0].clone();
    // The provider has compared its hash with the challenge.
    assert_eq!(form["code_verifier"].len(), 43);
    let old = AuthorizePluginRequest {
        plugin: "old-plaza".into(),
        ..install("commons")
    };
    let asked = scene.asked(old).await;
    assert_eq!(Asked::read(&asked).of("code_challenge"), None);
    let seen = scene
        .visit(scene.provider.agree(&asked, steward("north")))
        .await;
    assert!(seen.told().contains_key("installation_id"));
    let form = scene.provider.state().forms[1].clone();
    assert!(!form.contains_key("code_verifier"), "{form:?}");
}

#[tokio::test]
async fn a_person_logs_in_and_the_account_is_linked() {
    let scene = Scene::open().await;
    let mut watcher = scene.api().watch().await;
    let seen = scene.goes(login("commons"), steward("north")).await;
    let told = seen.told();
    assert_eq!(told["state"], "the caller's own & it=alone");
    assert_eq!(told["community_id"], "commons");
    assert_eq!(told.len(), 3, "and nothing else: {told:?}");
    let Payload::IdentityChanged(event) = watcher.next().await.payload.unwrap() else {
        panic!("the identity appears as an event")
    };
    assert_eq!(event.change_kind(), ChangeKind::Created);
    let identity = event.identity.unwrap();
    assert_eq!(identity.identity_id, told["identity_id"]);
    let account = &identity.accounts[0];
    assert_eq!(
        (account.provider.as_str(), account.user_id.as_str()),
        ("plaza", "steward-of-north")
    );
    assert_eq!(account.link_method(), LinkMethod::Oauth);
    assert_eq!(account.link_quality(), LinkQuality::Strong);

    // Whoever comes again is the same, and nothing has changed.
    let again = scene.goes(login("commons"), steward("north")).await.told();
    assert_eq!(again["identity_id"], identity.identity_id);
    let elsewhere = scene.goes(login("others"), steward("north")).await.told();
    assert_ne!(elsewhere["identity_id"], identity.identity_id);
    let Payload::IdentityChanged(event) = watcher.next().await.payload.unwrap() else {
        panic!("only the other community's is an event")
    };
    assert_eq!(event.identity.unwrap().community_id, "others");
    assert_eq!(scene.identities("commons").await.len(), 1);
    assert!(scene.installations("commons").await.is_empty());
}

#[tokio::test]
async fn a_login_is_for_the_identity_that_was_asked_for() {
    let scene = Scene::open().await;
    let create = async |community: &str| {
        let request = CreateIdentityRequest {
            community_id: community.into(),
            ..Default::default()
        };
        let created = scene.api().identities().create_identity(request).await;
        created.unwrap().into_inner().identity.unwrap().identity_id
    };
    let (ann, bob) = (create("commons").await, create("commons").await);
    let of = |id: &str| AuthorizePluginRequest {
        identity_id: id.to_owned(),
        ..login("commons")
    };
    let told = scene.goes(of(&ann), steward("north")).await.told();
    assert_eq!(told["identity_id"], ann);
    let twice = scene.goes(of(&bob), steward("north")).await;
    assert_eq!(twice.error(), "account_linked");
    let stranger = create("others").await;
    let refused = fault(scene.begin(of(&stranger)).await);
    assert!(
        refused.is(Code::NotFound, "IDENTITY_NOT_FOUND"),
        "{refused:?}"
    );
    let for_nobody = AuthorizePluginRequest {
        identity_id: ann.clone(),
        ..install("commons")
    };
    let refused = fault(scene.begin(for_nobody).await);
    assert!(
        refused.is(Code::InvalidArgument, "INVALID_FIELD"),
        "{refused:?}"
    );
    assert_eq!(refused.fields, ["identity_id"]);
    let identities = scene.identities("commons").await;
    let of_bob = identities.iter().find(|one| one.identity_id == bob);
    assert!(of_bob.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn what_cannot_be_begun_says_why() {
    let scene = Scene::open().await;
    let refused = async |change: fn(&mut AuthorizePluginRequest)| {
        let mut request = install("commons");
        change(&mut request);
        fault(scene.begin(request).await)
    };
    let community = refused(|r| r.community_id = "nowhere".into()).await;
    assert!(community.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    let plugin = refused(|r| r.plugin = "nope".into()).await;
    assert!(plugin.is(Code::NotFound, "PLUGIN_NOT_FOUND"));
    for name in ["ballot", "login-plaza"] {
        let request = AuthorizePluginRequest {
            plugin: name.to_owned(),
            ..install("commons")
        };
        let none = fault(scene.begin(request).await);
        assert!(none.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"));
    }
    let nobody = AuthorizePluginRequest {
        plugin: "old-plaza".into(),
        ..login("commons")
    };
    let nobody = fault(scene.begin(nobody).await);
    assert!(nobody.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"));
    for (field, wrong) in [
        ("redirect_uri", refused(|r| r.redirect_uri.clear()).await),
        ("purpose", refused(|r| r.purpose = 7).await),
        (
            "identity_id",
            refused(|r| r.identity_id = "me".into()).await,
        ),
        ("state", refused(|r| r.state = "x".repeat(1025)).await),
        (
            "state",
            refused(|r| r.state = "a\r\nLocation: b".into()).await,
        ),
    ] {
        assert!(
            wrong.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{wrong:?}"
        );
        assert_eq!(wrong.fields, [field]);
    }
}

#[tokio::test]
async fn a_plugin_that_its_operator_has_not_configured_says_so() {
    let provider = Provider::start().await;
    let without_secret = |config: &mut metagov::config::Config| {
        configured(config, &provider);
        let settings = config.operator.get_mut("plaza").unwrap();
        settings.remove("client_secret");
    };
    let gateway = Gateway::start_with(without_secret, vec![plaza::plugin()]).await;
    gateway.api.community("commons").await;
    let name = GetPluginRequest {
        plugin: "plaza".into(),
    };
    let plugin = gateway.api.plugins().get_plugin(name).await.unwrap();
    let plugin = plugin.into_inner().plugin.unwrap();
    assert_eq!(plugin.auth_kind(), AuthKind::Oauth);
    assert!(plugin.unavailable_reason.contains("client_secret"));
    let mut plugins = gateway.api.plugins();
    let refused = fault(plugins.authorize_plugin(install("commons")).await);
    assert!(refused.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"));
    assert!(refused.message.contains("client_secret"), "{refused:?}");
}

/// Exactly what is on the operator's list, and nothing that looks like it.
#[tokio::test]
async fn people_are_sent_only_where_the_operator_allows() {
    let scene = Scene::open().await;
    for evil in [
        "https://evil.example/done",
        "https://dashboard.example.evil/done",
        "https://dashboard.example/",
        "https://dashboard.example/done/",
        "https://dashboard.example/done/../done",
        "https://dashboard.example/done/../../evil",
        "https://dashboard.example/done?next=https://evil.example",
        "https://dashboard.example/done#x",
        "https://dashboard.example/DONE",
        "https://DASHBOARD.example/done",
        "https://dashboard.example:443/done",
        "https://dashboard.example@evil.example/done",
        "https://dashboard.example%2f@evil.example/done",
        "http://dashboard.example/done",
        "//dashboard.example/done",
        "/done",
        "javascript:alert(1)//https://dashboard.example/done",
        "https://dashboard.example/done ",
        "*",
    ] {
        let request = AuthorizePluginRequest {
            redirect_uri: evil.to_owned(),
            ..install("commons")
        };
        let refused = fault(scene.begin(request).await);
        let expected = refused.is(Code::InvalidArgument, "REDIRECT_NOT_ALLOWED")
            || refused.is(Code::FailedPrecondition, "REDIRECT_NOT_ALLOWED");
        assert!(expected, "{evil}: {refused:?}");
        assert!(!refused.message.contains("evil"), "{refused:?}");
    }
    let themed = AuthorizePluginRequest {
        redirect_uri: THEMED.to_owned(),
        ..install("commons")
    };
    let seen = scene.goes(themed, steward("north")).await;
    assert_eq!(seen.told()["theme"], "dark");
    assert!(seen.told().contains_key("installation_id"));
}

#[tokio::test]
async fn nobody_is_sent_anywhere_without_a_list() {
    let scene = Scene::open_with(|config| config.access.redirect_uris.clear()).await;
    let refused = fault(scene.begin(install("commons")).await);
    assert_eq!(refused.reason, "REDIRECT_NOT_ALLOWED", "{refused:?}");
}

#[tokio::test]
async fn a_square_is_of_one_community() {
    let scene = Scene::open().await;
    let first = scene.installs("commons", steward("north")).await;
    let second = scene.goes(install("others"), steward("north")).await;
    assert_eq!(second.error(), "wrong_community");
    assert!(scene.installations("others").await.is_empty());
    assert!(scene.identities("others").await.is_empty());
    // What the first has set up there was left alone.
    assert!(scene.provider.state().left_with.is_empty());
    assert_eq!(scene.installation(&first.installation_id).await, first);
    // Another square is another installation, and a square that was left is free.
    scene.installs("others", steward("south")).await;
    let disable = metagov_proto::v1::DisablePluginRequest {
        installation_id: first.installation_id,
        etag: String::new(),
    };
    scene.api().plugins().disable_plugin(disable).await.unwrap();
    scene.installs("others", steward("north")).await;
    assert_eq!(scene.installations("others").await.len(), 2);
}

/// Row of the bad-input table: "a driver of B enables Discord with the guild id of A".
#[tokio::test]
async fn what_the_operators_credentials_reach_is_proved_not_configured() {
    let scene = Scene::open().await;
    let request = EnablePluginRequest {
        community_id: "others".into(),
        plugin: "plaza".into(),
        config: object(json!({ "move_to": "north" })),
        request_id: String::new(),
    };
    for (role, communities) in [
        (Role::Driver, vec!["others"]),
        (Role::Driver, vec![]),
        (Role::Admin, vec!["others"]),
    ] {
        let token = scene.api().token(role, &communities).await;
        let driver = scene.gateway.connect_with(&token).await;
        let refused = fault(driver.plugins().enable_plugin(request.clone()).await);
        assert!(
            refused.is(Code::PermissionDenied, "ROLE_TOO_SMALL"),
            "{refused:?}"
        );
    }
    // An admin may say it, but the platform proves nothing to them.
    let refused = fault(scene.api().plugins().enable_plugin(request).await);
    assert!(
        refused.is(Code::FailedPrecondition, "PLATFORM_UNAUTHORIZED"),
        "{refused:?}"
    );
    assert!(scene.installations("others").await.is_empty());

    let installed = scene.installs("others", steward("south")).await;
    let request = UpdateInstallationRequest {
        installation_id: installed.installation_id.clone(),
        config_patch: object(json!({ "move_to": "north" })),
        etag: String::new(),
    };
    let refused = fault(scene.api().plugins().update_installation(request).await);
    assert!(
        refused.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"),
        "{refused:?}"
    );
    assert_eq!(
        scene.installation(&installed.installation_id).await,
        installed
    );
}

#[tokio::test]
async fn a_square_that_is_claimed_is_not_believed() {
    let scene = Scene::open().await;
    let asked = scene.asked(install("commons")).await;
    let mut back = scene.provider.agree(&asked, steward("north"));
    back.query_pairs_mut().append_pair("square", "south");
    let told = scene.visit(back).await.told();
    let installation = scene.installation(&told["installation_id"]).await;
    assert_eq!(installation.platform_id, "north");
}

/// Where the operator's own token is used, only the proof is wanted.
#[tokio::test]
async fn a_bot_needs_no_credentials_of_a_community() {
    let scene = Scene::open().await;
    let of_bot = |community| AuthorizePluginRequest {
        plugin: "bot-plaza".into(),
        ..install(community)
    };
    let told = scene.goes(of_bot("commons"), steward("north")).await.told();
    let id = &told["installation_id"];
    assert_eq!(scene.installation(id).await.platform_id, "north");
    assert_eq!(scene.count("credential").await, 0);
    let taken = scene.goes(of_bot("others"), steward("north")).await;
    assert_eq!(taken.error(), "wrong_community");
    // A plugin that sets up nothing still knows whose square it is.
    let request = UpdateInstallationRequest {
        installation_id: id.clone(),
        config_patch: object(json!({ "greeting": "Beep" })),
        etag: String::new(),
    };
    let updated = scene.api().plugins().update_installation(request).await;
    let updated = updated.unwrap().into_inner().installation.unwrap();
    assert_eq!(updated.platform_id, "north");
}

#[tokio::test]
async fn who_authorizes_again_keeps_the_installation() {
    let scene = Scene::open().await;
    let first = scene.installs("commons", steward("north")).await;
    let request = UpdateInstallationRequest {
        installation_id: first.installation_id.clone(),
        config_patch: object(json!({ "name": "Ours", "greeting": "Hello" })),
        etag: String::new(),
    };
    scene
        .api()
        .plugins()
        .update_installation(request)
        .await
        .unwrap();
    let mut watcher = scene.api().watch().await;
    let second = scene.installs("commons", steward("north")).await;
    assert_eq!(second.installation_id, first.installation_id);
    assert_eq!(second.webhook_url, first.webhook_url);
    assert_eq!(
        plain(second.config),
        json!({ "name": "Ours", "greeting": "Hello" })
    );
    assert_eq!(scene.installations("commons").await.len(), 1);
    let Payload::InstallationChanged(event) = watcher.next().await.payload.unwrap() else {
        panic!("the change is an event")
    };
    assert_eq!(event.change_kind(), ChangeKind::Updated);
    // The provider knows the newer token alone.
    scene.say("plaza").await.unwrap();
}

#[tokio::test]
async fn somebody_whom_the_plugin_does_not_take_leaves_nothing() {
    let scene = Scene::open().await;
    let visitor = Person {
        is_steward: false,
        ..steward("north")
    };
    let seen = scene.goes(install("commons"), visitor).await;
    assert_eq!(seen.error(), "refused");
    assert!(scene.installations("commons").await.is_empty());
    assert!(scene.identities("commons").await.is_empty());
}

#[tokio::test]
async fn a_community_that_is_gone_gets_nothing() {
    let scene = Scene::open().await;
    let asked = scene.asked(install("commons")).await;
    let delete = DeleteCommunityRequest {
        community_id: "commons".into(),
        etag: String::new(),
    };
    scene
        .api()
        .communities()
        .delete_community(delete)
        .await
        .unwrap();
    scene.api().community("commons").await;
    let seen = scene
        .visit(scene.provider.agree(&asked, steward("north")))
        .await;
    assert_eq!(seen.status, 400, "what was begun went with it");
    assert!(scene.installations("commons").await.is_empty());
}
