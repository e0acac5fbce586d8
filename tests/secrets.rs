//! Secrets: they go in, to the platform, and nowhere else.

pub(crate) mod at_rest;
pub(crate) mod canary;
mod master_key;
mod rekey;
pub(crate) mod stored;
pub(crate) mod vault;

use metagov_proto::v1::{
    CheckInstallationRequest, GetInstallationRequest, ListInstallationsRequest,
    UpdateInstallationRequest,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{any, header, path},
};

use crate::{
    fakes,
    harness::{Api, Binary, Home, object},
};

const KEY: &str = "canary-of-the-api-key";
const SECRET: &str = "canary-of-the-webhook";
const NEWER: &str = "canary-that-came-later";
const BODY: &str = "canary-of-the-post";
const HEADER: &str = "canary-of-the-header";
const CANARIES: [&str; 5] = [KEY, SECRET, NEWER, BODY, HEADER];

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
    let closed = |request: &Request| {
        let key = request.headers["api-key"].to_str().unwrap();
        let refusal = format!("The gate is closed to {key}.");
        ResponseTemplate::new(403).set_body_json(json!({ "errors": [refusal] }))
    };
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
    said.push(hooks(&enabled.webhook_url).await);
    said.join("\n")
}

/// Hooks to the secret address and beside it: well signed, badly signed, and too large.
async fn hooks(address: &str) -> String {
    let mut said = Vec::new();
    let body = json!({ "post": { "id": 1, "raw": BODY } }).to_string();
    for (to, secret) in [
        (address.to_owned(), SECRET),
        (address.to_owned(), NEWER),
        (format!("{address}x"), SECRET),
        (format!("{address}/{HEADER}?{HEADER}"), SECRET),
    ] {
        let post = fakes::http().post(to).header("x-secret", HEADER);
        let post = post.header("X-Discourse-Event-Signature", fakes::sign(secret, &body));
        let answer = post.body(body.clone()).send().await.unwrap();
        said.push(answer.text().await.unwrap());
    }
    let large = format!("{BODY}{}", " ".repeat(2 << 20));
    // Refused by its head; who still writes then may be cut off before reading why.
    if let Ok(answer) = fakes::http().post(address).body(large).send().await {
        said.push(answer.text().await.unwrap_or_default());
    }
    said.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_or_logged() {
    let forum = forum().await;
    let home = Home::new();
    let log = ["--log", "trace"];
    let server = Binary::serve(&home, &log);
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
    assert!(said.contains("The gate is closed to [secret]"), "{said}");
    let slug = said.split("/api/hooks/a/discourse/").nth(1).unwrap();
    let slug = &slug[..32];
    for canary in CANARIES.into_iter().chain([slug]) {
        let told = canary != slug && !canary::found(said.as_bytes(), &[canary]).is_empty();
        assert!(!told, "{canary} is in an answer: {said}");
        let logged = !canary::found(lines.as_bytes(), &[canary]).is_empty();
        let line = lines.lines().find(|line| line.contains(canary));
        assert!(!logged, "{canary} is in the log: {line:?}");
    }
    let found = canary::found_in_home(&home, &CANARIES).await;
    assert!(found.is_empty(), "{found:?}");
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
