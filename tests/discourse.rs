//! Discourse: set-up and the eight actions here; webhooks and polls in their own files.

mod forum;
mod hooks;
mod poll;

use metagov::config::Config;
use metagov_proto::v1::ListInstallationsRequest;
use serde_json::{Value, json};
use tonic::Code;
use wiremock::{Request, ResponseTemplate};

use crate::harness::{Api, Gateway, fault};
use forum::{CREATED, Forum, USER_UPDATED, Webhook};

/// A gateway whose community `commons` has a forum.
async fn commons() -> (Gateway, Forum) {
    let (gateway, forum) = (Gateway::start().await, Forum::start().await);
    forum.join(&gateway.api, "commons").await;
    (gateway, forum)
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

async fn installed(api: &Api, community: &str) -> usize {
    let request = ListInstallationsRequest {
        community_id: community.to_owned(),
        ..Default::default()
    };
    let answer = api.plugins().list_installations(request).await.unwrap();
    answer.into_inner().installations.len()
}

#[tokio::test]
async fn enabling_proves_the_forum_and_shows_no_secret() {
    let (gateway, forum) = (Gateway::start().await, Forum::start().await);
    let installation = forum.join(&gateway.api, "commons").await;
    assert_eq!(installation.platform_id, forum.url());
    assert_eq!(installation.secret_names, ["api_key", "webhook_secret"]);
    let shown = format!("{:?}", installation.config);
    assert!(!shown.contains("the key") && !shown.contains(forum::SECRET));
    let base = format!("{}/api/hooks/commons/discourse/", gateway.public);
    assert!(installation.webhook_url.starts_with(&base));
    for request in forum.requests().await {
        assert_eq!(request.method.as_str(), "GET", "setting up only reads");
        assert_eq!(header(&request, "api-key"), Some("the key"));
        assert_eq!(header(&request, "api-username"), Some("Steward"));
    }
}

#[tokio::test]
async fn a_key_that_is_refused_leaves_nothing() {
    let gateway = Gateway::start().await;
    gateway.api.community("commons").await;
    for (place, status) in [
        ("/about.json", 401),
        ("/about.json", 403),
        ("/admin/users/list/active.json", 403),
        // To those who are no administrators Discourse denies that there is such a page.
        ("/admin/users/list/active.json", 404),
    ] {
        let forum = Forum::start().await;
        let refusal = json!({"errors": ["You are not permitted to view this."]});
        let refusal = ResponseTemplate::new(status).set_body_json(refusal);
        forum.answer_first(place, refusal).await;
        let enabled = gateway
            .api
            .try_enable("commons", "discourse", forum.config());
        let refused = fault(enabled.await);
        let expected = refused.is(Code::FailedPrecondition, "PLATFORM_UNAUTHORIZED");
        assert!(expected, "{place} {status}: {refused:?}");
        assert_eq!(refused.metadata["plugin"], "discourse");
        assert_eq!(refused.retry, None);
    }
    assert_eq!(installed(&gateway.api, "commons").await, 0);
    let elsewhere = Forum::start().await;
    let missing = ResponseTemplate::new(404);
    elsewhere.answer_first("/about.json", missing).await;
    let enabled = gateway
        .api
        .try_enable("commons", "discourse", elsewhere.config());
    let refused = fault(enabled.await);
    assert!(
        refused.is(Code::FailedPrecondition, "PLATFORM_REJECTED"),
        "{refused:?}"
    );
    assert_eq!(refused.metadata["platform_status"], "404");
    assert_eq!(installed(&gateway.api, "commons").await, 0);
}

#[tokio::test]
async fn a_directory_that_is_switched_off_hinders_nothing() {
    let (gateway, forum) = (Gateway::start().await, Forum::start().await);
    let off = ResponseTemplate::new(403);
    forum.answer_first("/directory_items.json", off).await;
    forum.join(&gateway.api, "commons").await;
}

#[tokio::test]
async fn hundreds_of_users_take_few_requests() {
    let (gateway, forum) = (Gateway::start().await, Forum::with_users(430).await);
    let installation = forum.join(&gateway.api, "commons").await;
    let requests = forum.requests().await;
    assert!(requests.len() <= 12, "{} requests", requests.len());
    let pages = requests
        .iter()
        .filter(|r| r.url.path() == "/directory_items.json");
    assert_eq!(pages.count(), 9, "50 users a page");

    // Number 400 is known with the fields from before.
    let mut watcher = gateway.api.watch().await;
    let changed = Webhook::of(&forum, "user_updated", USER_UPDATED);
    assert_eq!(changed.send(&installation.webhook_url).await.0, 200);
    let event = hooks::platform(&mut watcher).await;
    assert_eq!(event.event_type, "discourse.user_fields_changed");
    let data = crate::harness::plain(event.data);
    assert_eq!(data["old_user_fields"], json!({"1": "north"}));
}

/// An action, its parameters, and the request that it is to make.
type Line = (&'static str, Value, &'static str, &'static str, Value);

fn postings() -> Vec<Line> {
    let message = json!({"raw": "Hello", "title": "About the shed", "is_warning": true,
        "target_usernames": ["ada", "grace"]});
    let sent = json!({"raw": "Hello", "title": "About the shed", "is_warning": true,
        "target_recipients": "ada,grace", "archetype": "private_message"});
    let reply = json!({"raw": "Yes", "target_usernames": ["ada"], "topic_id": 9});
    let replied = json!({"raw": "Yes", "topic_id": 9, "target_recipients": "ada",
        "archetype": "regular"});
    let post = json!({"raw": "I **agree**", "topic_id": 9});
    let topic = json!({"raw": "Let us build it", "title": "A tool shed", "category": 4});
    let at = "/posts.json";
    vec![
        ("create-message", message, "POST", at, sent),
        ("create-message", reply, "POST", at, replied),
        ("create-post", post.clone(), "POST", at, post),
        ("create-topic", topic.clone(), "POST", at, topic),
    ]
}

#[tokio::test]
async fn postings_are_sent_as_discourse_takes_them() {
    let (gateway, forum) = commons().await;
    forum.answer(200, CREATED).await;
    for (action, parameters, method, path, body) in postings() {
        let name = format!("discourse.{action}");
        let result = gateway.api.perform("commons", &name, parameters).await;
        let url = format!("{}/t/which-day-suits-you/9/1", forum.url());
        let expected = json!({"url": url, "topic_id": 9, "post_id": 31});
        assert_eq!(result.unwrap(), expected, "{action}");
        let request = forum.last().await;
        assert_eq!(
            (request.method.as_str(), request.url.path()),
            (method, path)
        );
        assert_eq!(request.body_json::<Value>().unwrap(), body, "{action}");
        assert_eq!(header(&request, "content-type"), Some("application/json"));
        assert_eq!(header(&request, "api-key"), Some("the key"));
        assert_eq!(header(&request, "api-username"), Some("Steward"));
    }
}

#[tokio::test]
async fn what_is_done_to_posts_and_topics_is_one_request_each() {
    let (gateway, forum) = commons().await;
    forum.answer(200, r#"{"locked": true}"#).await;
    for (action, parameters, method, path, body, result) in [
        (
            "delete-post",
            json!({"id": 31}),
            "DELETE",
            "/posts/31.json",
            "",
            json!({}),
        ),
        (
            "delete-topic",
            json!({"id": 9}),
            "DELETE",
            "/t/9.json",
            "",
            json!({}),
        ),
        (
            "recover-post",
            json!({"id": 31}),
            "PUT",
            "/posts/31/recover",
            "",
            json!({}),
        ),
        (
            "recover-topic",
            json!({"id": 9}),
            "PUT",
            "/t/9/recover",
            "",
            json!({}),
        ),
        (
            "lock-post",
            json!({"id": 31, "locked": true}),
            "PUT",
            "/posts/31/locked",
            "locked=true",
            json!({"locked": true}),
        ),
    ] {
        let before = forum.requests().await.len();
        let name = format!("discourse.{action}");
        let done = gateway.api.perform("commons", &name, parameters).await;
        assert_eq!(done.unwrap(), result, "{action}");
        let request = forum.last().await;
        assert_eq!(
            (request.method.as_str(), request.url.path()),
            (method, path)
        );
        assert_eq!(String::from_utf8(request.body.clone()).unwrap(), body);
        assert_eq!(header(&request, "api-key"), Some("the key"));
        assert_eq!(forum.requests().await.len(), before + 1);
    }
}

#[tokio::test]
async fn unlocking_says_what_discourse_says() {
    let (gateway, forum) = commons().await;
    forum.answer(200, r#"{"locked": false}"#).await;
    let unlock = json!({"id": 31, "locked": false});
    let done = gateway
        .api
        .perform("commons", "discourse.lock-post", unlock)
        .await;
    assert_eq!(done.unwrap(), json!({"locked": false}));
    assert_eq!(forum.last().await.body, b"locked=false");
}

#[tokio::test]
async fn discourse_says_why_it_refuses() {
    for (status, reason) in [
        (401, "PLATFORM_UNAUTHORIZED"),
        (403, "PLATFORM_UNAUTHORIZED"),
        (404, "PLATFORM_REJECTED"),
        (409, "PLATFORM_REJECTED"),
        (422, "PLATFORM_REJECTED"),
    ] {
        let (gateway, forum) = commons().await;
        let said =
            json!({"action": "create_post", "errors": ["Body is too short", "Title is taken"]});
        forum.answer(status, &said.to_string()).await;
        for (action, parameters) in [
            ("create-post", json!({"raw": "?", "topic_id": 9})),
            (
                "create-topic",
                json!({"raw": "?", "title": "?", "category": 4}),
            ),
            (
                "create-message",
                json!({"raw": "?", "title": "?", "target_usernames": ["a"]}),
            ),
            ("delete-post", json!({"id": 31})),
            ("delete-topic", json!({"id": 9})),
            ("recover-post", json!({"id": 31})),
            ("recover-topic", json!({"id": 9})),
            ("lock-post", json!({"id": 31, "locked": true})),
        ] {
            let name = format!("discourse.{action}");
            let refused = fault(gateway.api.perform("commons", &name, parameters).await);
            let expected = refused.is(Code::FailedPrecondition, reason);
            assert!(expected, "{status} {action}: {refused:?}");
            let words = "Body is too short; Title is taken";
            assert!(refused.message.contains(words), "{refused:?}");
            let told = refused.metadata.get("platform_status").map(String::as_str);
            let expected = (reason == "PLATFORM_REJECTED").then(|| status.to_string());
            assert_eq!(told, expected.as_deref());
        }
    }
}

#[tokio::test]
async fn a_post_that_waits_for_review_is_no_success() {
    let (gateway, forum) = commons().await;
    forum
        .answer(200, r#"{"action": "enqueued", "pending_count": 1}"#)
        .await;
    let post = json!({"raw": "Buy now", "topic_id": 9});
    let refused = fault(
        gateway
            .api
            .perform("commons", "discourse.create-post", post)
            .await,
    );
    assert!(
        refused.is(Code::FailedPrecondition, "PLUGIN_REFUSED"),
        "{refused:?}"
    );
    assert!(refused.metadata["why"].contains("review"), "{refused:?}");
}

#[tokio::test]
async fn what_does_not_fit_is_not_sent() {
    let (gateway, forum) = commons().await;
    forum.answer(200, CREATED).await;
    let before = forum.requests().await.len();
    for (action, parameters, fields) in [
        (
            "create-post",
            json!({"raw": "", "topic_id": 9}),
            &["parameters/raw"][..],
        ),
        (
            "create-post",
            json!({"topic_id": "9"}),
            &["parameters/raw", "parameters/topic_id"],
        ),
        (
            "create-topic",
            json!({"raw": "a", "title": "b"}),
            &["parameters/category"],
        ),
        ("delete-post", json!({"id": 0}), &["parameters/id"]),
        ("delete-topic", json!({"id": 1.5}), &["parameters/id"]),
        (
            "lock-post",
            json!({"id": 1, "locked": true, "by": "me"}),
            &["parameters/by"],
        ),
        (
            "create-message",
            json!({"raw": "a", "title": "b", "target_usernames": ["a,b"]}),
            &["parameters/target_usernames/0"],
        ),
    ] {
        let name = format!("discourse.{action}");
        let bad = fault(gateway.api.perform("commons", &name, parameters).await);
        assert!(
            bad.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
            "{action}: {bad:?}"
        );
        let mut named = bad.fields.clone();
        named.sort();
        assert_eq!(named, fields, "{action}");
        assert_eq!(bad.metadata["schema_of"], name);
    }
    assert_eq!(forum.requests().await.len(), before);
}

#[tokio::test]
async fn an_operator_may_send_requests_elsewhere_and_people_do_not_see_it() {
    let forum = Forum::start().await;
    let api_url = json!(format!("{}/", forum.url()));
    let set = |config: &mut Config| {
        let settings = [("api_url".to_owned(), api_url)].into_iter().collect();
        config.operator.insert("discourse".to_owned(), settings);
    };
    let gateway = Gateway::start_with(set, vec![]).await;
    gateway.api.community("commons").await;
    let mut config = forum.config();
    config["server_url"] = json!("https://forum.commons.invalid/");
    let installation = gateway.api.enable("commons", "discourse", config).await;
    assert_eq!(installation.platform_id, "https://forum.commons.invalid");
    forum.answer(200, CREATED).await;
    let post = json!({"raw": "I agree", "topic_id": 9});
    let posted = gateway
        .api
        .perform("commons", "discourse.create-post", post)
        .await;
    let url = "https://forum.commons.invalid/t/which-day-suits-you/9/1";
    assert_eq!(posted.unwrap()["url"], url);
    assert_eq!(forum.last().await.url.path(), "/posts.json");
    // Hooks are of the forum that people know.
    let mut watcher = gateway.api.watch().await;
    let mut hook = Webhook::of(&forum, "post_created", forum::POST_CREATED);
    assert_eq!(hook.send(&installation.webhook_url).await.0, 401);
    hook.instance = Some("https://forum.commons.invalid".into());
    assert_eq!(hook.send(&installation.webhook_url).await.0, 200);
    let event = hooks::platform(&mut watcher).await;
    let data = crate::harness::plain(event.data);
    assert_eq!(
        data["url"],
        "https://forum.commons.invalid/t/tool-shed/12/3"
    );
}
