//! Secrets: they go in, to the platform, and nowhere else.

mod at_rest;
mod canary;
mod vault;

use metagov_proto::v1::{
    CheckInstallationRequest, GetInstallationRequest, ListInstallationsRequest,
    UpdateInstallationRequest,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, header, path},
};

use crate::harness::{Api, Binary, object};

const KEY: &str = "canary-of-the-api-key";
const SECRET: &str = "canary-of-the-webhook";
const NEWER: &str = "canary-that-came-later";
const CANARIES: [&str; 3] = [KEY, SECRET, NEWER];

/// A forum that lets in who has the key, and only to what set-up reads.
async fn forum() -> MockServer {
    let forum = MockServer::start().await;
    let answer = |place: &str, body: Value| {
        Mock::given(path(place))
            .and(header("api-key", KEY))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
    };
    for mock in [
        answer("/about.json", json!({ "about": { "title": "The garden" } })),
        answer("/admin/users/list/active.json", json!([])),
        answer("/site.json", json!({ "user_fields": [] })),
        answer("/directory_items.json", json!({ "directory_items": [] })),
    ] {
        mock.mount(&forum).await;
    }
    let closed = ResponseTemplate::new(403);
    let closed = closed.set_body_json(json!({ "errors": ["The gate is closed."] }));
    let rest = Mock::given(any()).respond_with(closed).with_priority(200);
    rest.mount(&forum).await;
    forum
}

fn config(forum: &MockServer) -> Value {
    json!({ "server_url": forum.uri(), "api_key": KEY, "webhook_secret": SECRET })
}

/// Everything that a driver is told about the forum, also by errors, as text.
async fn all_answers(api: &Api, forum: &MockServer) -> String {
    api.community("a").await;
    let enabled = api.enable("a", "discourse", config(forum)).await;
    let id = enabled.installation_id.clone();
    let mut plugins = api.plugins();
    let mut said = vec![format!("{enabled:?}")];
    let get = GetInstallationRequest {
        installation_id: id.clone(),
    };
    said.push(format!("{:?}", plugins.get_installation(get).await));
    let list = ListInstallationsRequest {
        community_id: "a".into(),
        ..Default::default()
    };
    said.push(format!("{:?}", plugins.list_installations(list).await));
    let check = CheckInstallationRequest {
        installation_id: id.clone(),
    };
    said.push(format!("{:?}", plugins.check_installation(check).await));
    said.push(format!(
        "{:?}",
        api.try_enable("a", "discourse", config(forum)).await
    ));
    for patch in [
        json!({ "webhook_secret": NEWER }),
        json!({ "webhook_secret": [NEWER] }),
        json!({ "api_key": { "is": NEWER } }),
        json!({ "api_key": NEWER }),
        json!({ "unknown": NEWER }),
        json!({ "server_url": format!("ftp://{NEWER}@forum") }),
    ] {
        let request = UpdateInstallationRequest {
            installation_id: id.clone(),
            config_patch: object(patch),
            etag: String::new(),
        };
        said.push(format!("{:?}", plugins.update_installation(request).await));
    }
    let post = json!({ "raw": "x", "topic_id": 1 });
    said.push(format!(
        "{:?}",
        api.perform("a", "discourse.create-post", post).await
    ));
    said.push(format!("{:?}", api.log().await));
    said.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_or_logged() {
    let forum = forum().await;
    let folder = tempfile::tempdir().unwrap();
    let log = ["--log", "info,metagov=trace"];
    let server = Binary::serve(folder.path(), &log);
    let said = all_answers(&server.api().await, &forum).await;
    assert!(said.contains("api_key"), "the names of secrets are told");
    let lines = server.terminate_with_log().join("\n");
    assert!(
        lines.contains("UpdateInstallation"),
        "the calls were logged"
    );
    let heard = forum.received_requests().await.unwrap();
    assert!(
        heard
            .iter()
            .any(|request| request.headers["api-key"] == KEY)
    );
    for canary in CANARIES {
        assert!(!said.contains(canary), "{canary} is in an answer: {said}");
        assert!(!lines.contains(canary), "{canary} is in the log: {lines}");
    }
}

#[test]
fn a_malformed_setting_is_not_repeated_if_it_may_be_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let url = format!("mysql://root:{KEY}@127.0.0.1:9/x");
    let mut command = Binary::command(&["serve", "--data-dir", data, "--listen", "127.0.0.1:0"]);
    command.args(["--public-listen", "127.0.0.1:0", "--database-url", &url]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        said.contains("--database-url (METAGOV_DATABASE_URL)"),
        "{said}"
    );
    assert!(!said.contains(KEY), "{said}");
}
