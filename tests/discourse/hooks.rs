//! Webhooks: what a forum reports becomes events, and nobody else can report.

use metagov_proto::v1::{PlatformEvent, UpdateInstallationRequest, event::Payload};
use serde_json::{Value, json};

use super::forum::{Forum, POST_CREATED, SECRET, TOPIC_CREATED, Webhook, sign};
use crate::harness::{Gateway, Watcher, object, plain};

/// The next event of a platform.
pub(super) async fn platform(watcher: &mut Watcher) -> PlatformEvent {
    let event = watcher
        .until(|payload| matches!(payload, Payload::Platform(_)))
        .await;
    match event.payload {
        Some(Payload::Platform(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// A gateway with a forum, its webhook's address, and a reader.
async fn listening() -> (Gateway, Forum, String, Watcher) {
    let (gateway, forum) = (Gateway::start().await, Forum::start().await);
    let address = forum.join(&gateway.api, "commons").await.webhook_url;
    let watcher = gateway.api.watch().await;
    (gateway, forum, address, watcher)
}

fn post(id: i64, username: &str) -> String {
    let post =
        json!({"id": id, "username": username, "raw": "Hi", "topic_id": 12, "post_number": 1});
    json!({ "post": post }).to_string()
}

#[tokio::test]
async fn a_new_post_is_an_event_with_its_address() {
    let (_gateway, forum, address, mut watcher) = listening().await;
    let hook = Webhook::of(&forum, "post_created", POST_CREATED);
    assert_eq!(hook.send(&address).await, (200, String::new()));
    let event = platform(&mut watcher).await;
    assert_eq!(event.event_type, "discourse.post_created");
    let expected = json!({
        "raw": "I propose a *shared* tool shed.",
        "topic_id": 12,
        "id": 57,
        "url": format!("{}/t/tool-shed/12/3", forum.url()),
    });
    assert_eq!(plain(event.data), expected);
    let initiator = event.initiator.unwrap();
    assert_eq!(
        (&*initiator.user_id, &*initiator.provider),
        ("ada", "discourse")
    );
    assert!(!event.by_gateway && !event.data_omitted);
    let time = event.occur_time.unwrap();
    assert_eq!((time.seconds, time.nanos), (1_772_600_767, 891_000_000));
}

#[tokio::test]
async fn a_new_topic_is_an_event_with_its_tags() {
    let (_gateway, forum, address, mut watcher) = listening().await;
    let hook = Webhook::of(&forum, "topic_created", TOPIC_CREATED);
    assert_eq!(hook.send(&address).await.0, 200);
    let event = platform(&mut watcher).await;
    assert_eq!(event.event_type, "discourse.topic_created");
    let expected = json!({
        "title": "Tool shed",
        "id": 12,
        "tags": ["tools", "winter"],
        "category": 4,
        "url": format!("{}/t/tool-shed/12", forum.url()),
    });
    assert_eq!(plain(event.data), expected);
    // The account that the gateway acts as, however it is spelled.
    assert!(event.by_gateway);
}

#[tokio::test]
async fn only_our_own_account_is_by_gateway() {
    let (_gateway, forum, address, mut watcher) = listening().await;
    for (id, username, ours) in [
        (1, "ada", false),
        (2, "STEWARD", true),
        (3, "stewards", false),
    ] {
        let hook = Webhook::of(&forum, "post_created", &post(id, username));
        assert_eq!(hook.send(&address).await.0, 200);
        assert_eq!(platform(&mut watcher).await.by_gateway, ours, "{username}");
    }
}

#[tokio::test]
async fn only_a_change_of_a_users_fields_is_an_event() {
    let (_gateway, forum, address, mut watcher) = listening().await;
    let update = |name: &str, fields: Value, seen: i64| {
        let user = json!({"id": 7, "username": name, "user_fields": fields, "seen": seen});
        Webhook::of(&forum, "user_updated", &json!({ "user": user }).to_string())
    };
    let (north, south) = (json!({"1": "north"}), json!({"1": "south", "2": ""}));
    for (name, fields, seen) in [
        ("ada", &north, 1),
        ("ada", &north, 2),
        ("countess", &north, 3),
        ("countess", &south, 4),
        ("countess", &south, 5),
        ("countess", &north, 6),
    ] {
        let sent = update(name, fields.clone(), seen).send(&address).await;
        assert_eq!(sent.0, 200);
    }
    for (username, fields, old) in [
        ("ada", &north, Value::Null),
        ("countess", &south, north.clone()),
        ("countess", &north, south.clone()),
    ] {
        let event = platform(&mut watcher).await;
        assert_eq!(event.event_type, "discourse.user_fields_changed");
        let expected = json!({"id": 7, "username": username, "user_fields": fields,
            "old_user_fields": old});
        assert_eq!(plain(event.data), expected);
    }
}

#[tokio::test]
async fn an_installation_that_moves_forgets_the_forum_it_left() {
    let (gateway, old, address, mut watcher) = listening().await;
    let new = Forum::start().await;
    let update = |forum: &Forum, direction: &str| {
        let user = json!({"id": 7, "username": "ada", "user_fields": {"1": direction}});
        Webhook::of(forum, "user_updated", &json!({ "user": user }).to_string())
    };
    assert_eq!(update(&old, "north").send(&address).await.0, 200);
    let told = platform(&mut watcher).await;
    let request = UpdateInstallationRequest {
        installation_id: told.installation_id,
        config_patch: object(json!({ "server_url": new.url() })),
        etag: String::new(),
    };
    let moved = gateway.api.plugins().update_installation(request).await;
    assert_eq!(
        moved
            .unwrap()
            .into_inner()
            .installation
            .unwrap()
            .platform_id,
        new.url()
    );
    assert_eq!(update(&new, "south").send(&address).await.0, 200);
    let told = plain(platform(&mut watcher).await.data);
    assert_eq!(
        told["old_user_fields"],
        Value::Null,
        "not those of the other forum's user"
    );
}

#[tokio::test]
async fn what_is_not_signed_is_refused_and_makes_no_event() {
    let (gateway, forum, address, mut watcher) = listening().await;
    let good = Webhook::of(&forum, "post_created", POST_CREATED);
    let reserialised: Value = serde_json::from_str(POST_CREATED).unwrap();
    let signed = |signature: Option<String>| Webhook {
        signature,
        ..good.clone()
    };
    let from = |instance: Option<&str>| Webhook {
        instance: instance.map(str::to_owned),
        ..good.clone()
    };
    let bad = [
        signed(None),
        signed(Some(String::new())),
        signed(Some("sha256=".into())),
        signed(Some(sign("a guess", POST_CREATED))),
        signed(Some(sign(SECRET, POST_CREATED).replace("sha256=", ""))),
        signed(Some(sign(SECRET, POST_CREATED)[..40].to_owned())),
        Webhook {
            body: serde_json::to_string_pretty(&reserialised).unwrap(),
            ..good.clone()
        },
        Webhook {
            body: POST_CREATED.replace("shared", "private"),
            ..good.clone()
        },
        from(None),
        from(Some("https://forum.example.com")),
        from(Some(&format!("{}.example.com", forum.url()))),
    ];
    let short = format!("{}/api/hooks/commons/discourse", gateway.public);
    for hook in &bad {
        for to in [&address, &short] {
            let (status, body) = hook.send(to).await;
            assert_eq!(status, 401, "{:?} {:?}", hook.signature, hook.instance);
            let error: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(error["error"]["reason"], "SIGNATURE_INVALID", "{error}");
        }
    }
    // What came first is the one that holds, and it is the only one.
    let last = Webhook::of(&forum, "post_created", &post(99, "ada"));
    assert_eq!(last.send(&address).await.0, 200);
    assert_eq!(plain(platform(&mut watcher).await.data)["id"], 99);
}

#[tokio::test]
async fn a_replay_is_one_event() {
    let (_gateway, forum, address, mut watcher) = listening().await;
    for id in [1, 1, 1, 2] {
        let hook = Webhook::of(&forum, "post_created", &post(id, "ada"));
        assert_eq!(hook.send(&address).await.0, 200);
    }
    for id in [1, 2] {
        assert_eq!(plain(platform(&mut watcher).await.data)["id"], id);
    }
}

#[tokio::test]
async fn other_hooks_are_taken_and_mean_nothing() {
    let (_gateway, forum, address, mut watcher) = listening().await;
    for (event, body) in [
        ("ping", r#"{"ping":"OK"}"#),
        ("post_liked", r#"{"like":{"post":{"id":57}}}"#),
        ("post_destroyed", POST_CREATED),
        ("", "{}"),
    ] {
        let hook = Webhook::of(&forum, event, body);
        assert_eq!(hook.send(&address).await.0, 200, "{event}");
    }
    for (event, body) in [
        ("post_created", "not JSON"),
        ("post_created", ""),
        ("post_created", r#"{"post": {"id": "57"}}"#),
        ("topic_created", r#"{"post": {"id": 57}}"#),
        ("user_updated", "[]"),
    ] {
        let hook = Webhook::of(&forum, event, body);
        let (status, said) = hook.send(&address).await;
        assert_eq!(status, 400, "{event} {body}");
        let error: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(error["error"]["reason"], "ERROR_REASON_INVALID_FIELD");
    }
    let last = Webhook::of(&forum, "post_created", &post(99, "ada"));
    assert_eq!(last.send(&address).await.0, 200);
    assert_eq!(plain(platform(&mut watcher).await.data)["id"], 99);
}

#[tokio::test]
async fn a_hook_without_a_slug_finds_the_forum_that_signed_it() {
    let gateway = Gateway::start().await;
    let (first, second) = (Forum::start().await, Forum::start().await);
    first.join(&gateway.api, "commons").await;
    let mut config = second.config();
    config["webhook_secret"] = json!("another secret");
    let installation = gateway.api.enable("commons", "discourse", config).await;
    let mut watcher = gateway.api.watch().await;
    let address = format!("{}/api/hooks/commons/discourse", gateway.public);
    let mut hook = Webhook::of(&second, "post_created", POST_CREATED);
    assert_eq!(hook.send(&address).await.0, 401, "the secret of the other");
    hook.signature = Some(sign("another secret", POST_CREATED));
    assert_eq!(hook.send(&address).await.0, 200);
    let event = platform(&mut watcher).await;
    assert_eq!(event.installation_id, installation.installation_id);
    let url = format!("{}/t/tool-shed/12/3", second.url());
    assert_eq!(plain(event.data)["url"], url);
}
