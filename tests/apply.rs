//! `metagov apply`: the real command against a running gateway.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use metagov_proto::v1::{
    ChangeKind, GetCommunityRequest, Installation, ListInstallationsRequest, event::Payload,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, path},
};

use crate::harness::{Api, Binary, Gateway, plain};

/// What the command printed, and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    lines: Vec<String>,
    error: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let lines = String::from_utf8(output.stdout).unwrap();
        Self {
            code: output.status.code(),
            lines: lines.lines().map(str::to_owned).collect(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended well, and this is what was done.
    #[track_caller]
    fn done(self, starts: &[&str]) -> Self {
        assert_eq!((self.code, &*self.error), (Some(0), ""), "{self:?}");
        self.lines(starts)
    }

    #[track_caller]
    fn lines(self, starts: &[&str]) -> Self {
        let fits = |(line, start): (&String, &&str)| line.starts_with(*start);
        let same = self.lines.len() == starts.len();
        assert!(same && self.lines.iter().zip(starts).all(fits), "{self:?}");
        self
    }

    /// It was refused with these words, and this had been done.
    #[track_caller]
    fn refused(self, words: &[&str], starts: &[&str]) {
        assert_eq!(self.code, Some(4), "{self:?}");
        assert!(self.error.starts_with("error: "), "{self:?}");
        for word in words {
            assert!(self.error.contains(word), "{word}: {self:?}");
        }
        self.lines(starts);
    }
}

/// Applies what comes by the standard input.
async fn apply(gateway: &Gateway, document: &Value) -> Ran {
    apply_with(gateway, &[], &document.to_string()).await
}

async fn apply_with(gateway: &Gateway, flags: &[&str], text: &str) -> Ran {
    let (endpoint, token) = (gateway.endpoint(), gateway.admin_token());
    let args = [&["apply", "-", "--endpoint", &endpoint], flags].concat();
    run(&args, &[("METAGOV_TOKEN", token.as_str())], text).await
}

async fn run(args: &[&str], variables: &[(&str, &str)], text: &str) -> Ran {
    let mut command = Binary::command(args);
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let text = text.to_owned();
    // The gateway runs in this thread: it must not wait.
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // One that does not read it has ended already.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        child.wait_with_output().unwrap()
    });
    Ran::of(ended.await.unwrap())
}

async fn installed(api: &Api, community: &str) -> Vec<Installation> {
    let request = ListInstallationsRequest {
        community_id: community.to_owned(),
        ..Default::default()
    };
    let answer = api.plugins().list_installations(request).await.unwrap();
    answer.into_inner().installations
}

/// Enough of a Discourse to be enabled, and of a SourceCred instance.
async fn platform() -> MockServer {
    let server = MockServer::start().await;
    let users = Mock::given(path("/admin/users/list/active.json"));
    let none = ResponseTemplate::new(200).set_body_json(json!([]));
    users.respond_with(none).mount(&server).await;
    let all = json!({"about": {"title": "The commons"}, "directory_items": [], "accounts": []});
    let all = ResponseTemplate::new(200).set_body_json(all);
    Mock::given(any()).respond_with(all).mount(&server).await;
    server
}

fn forum(server: &MockServer) -> Value {
    json!({"server_url": server.uri(), "api_key": "the key", "webhook_secret": "hush"})
}

fn co_op(forum: &Value) -> Value {
    json!({"name": "my-co-op", "readable_name": "My Co-op", "plugins": [
        {"name": "randomness", "config": {"default_low": 2, "default_high": 200}},
        {"name": "discourse", "config": forum},
        {"name": "ballot"},
    ]})
}

#[tokio::test]
async fn a_document_makes_a_community() {
    let (gateway, platform) = (Gateway::start().await, platform().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("co-op.json");
    std::fs::write(&file, co_op(&forum(&platform)).to_string()).unwrap();
    let (endpoint, token) = (gateway.endpoint(), gateway.admin_token());
    let variables = [
        ("METAGOV_ENDPOINT", endpoint.as_str()),
        ("METAGOV_TOKEN", token.as_str()),
    ];
    let ran = run(&["apply", file.to_str().unwrap()], &variables, "").await;
    let ran = ran.done(&[
        "community my-co-op created",
        "plugin randomness enabled ",
        "plugin discourse enabled ",
        "plugin ballot enabled ",
    ]);

    let get = GetCommunityRequest {
        community_id: "my-co-op".into(),
    };
    let community = gateway.api.communities().get_community(get).await.unwrap();
    let community = community.into_inner().community.unwrap();
    assert_eq!(community.display_name, "My Co-op");
    let installed = installed(&gateway.api, "my-co-op").await;
    let told: Vec<String> = installed
        .iter()
        .map(|i| format!("plugin {} enabled {}", i.plugin, i.installation_id))
        .collect();
    assert_eq!(ran.lines[1..], told);
    let config = plain(installed[0].config.clone());
    assert_eq!(config, json!({"default_low": 2, "default_high": 200}));
    assert_eq!(installed[1].secret_names, ["api_key", "webhook_secret"]);
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let (gateway, platform) = (Gateway::start().await, platform().await);
    let document = co_op(&forum(&platform));
    apply(&gateway, &document).await;
    let log = gateway.api.log().await;
    let before = installed(&gateway.api, "my-co-op").await;
    let asked = platform.received_requests().await.unwrap().len();
    for flags in [&[][..], &["--prune"]] {
        apply_with(&gateway, flags, &document.to_string())
            .await
            .done(&[
                "community my-co-op unchanged",
                "plugin randomness unchanged ",
                "plugin discourse unchanged ",
                "plugin ballot unchanged ",
            ]);
    }
    assert_eq!(gateway.api.log().await, log, "no event");
    assert_eq!(installed(&gateway.api, "my-co-op").await, before);
    let now = platform.received_requests().await.unwrap().len();
    assert_eq!(
        now, asked,
        "the same secrets are no reason to ask the platform"
    );
}

#[tokio::test]
async fn only_what_differs_is_changed() {
    let (gateway, platform) = (Gateway::start().await, platform().await);
    let mut config = forum(&platform);
    apply(&gateway, &co_op(&config)).await;
    let before = installed(&gateway.api, "my-co-op").await;
    let mut watcher = gateway.api.watch().await;
    config["api_username"] = json!("steward");
    let mut document = co_op(&config);
    document["readable_name"] = json!("Our Co-op");
    document["plugins"][0]["config"] = json!({"default_high": 300});
    let id = |at: usize| &before[at].installation_id;
    apply(&gateway, &document).await.done(&[
        "community my-co-op updated",
        &format!("plugin randomness updated {}", id(0)),
        &format!("plugin discourse updated {}", id(1)),
        &format!("plugin ballot unchanged {}", id(2)),
    ]);
    let after = installed(&gateway.api, "my-co-op").await;
    let numbers = json!({"default_low": 2, "default_high": 300});
    assert_eq!(plain(after[0].config.clone()), numbers);
    assert_eq!(plain(after[1].config.clone())["api_username"], "steward");
    assert_eq!(after[1].secret_names, before[1].secret_names);
    assert!(matches!(
        watcher.payload().await,
        Payload::CommunityChanged(_)
    ));
    for at in [0, 1] {
        let Payload::InstallationChanged(event) = watcher.payload().await else {
            panic!()
        };
        assert_eq!(event.change_kind(), ChangeKind::Updated);
        assert_eq!(event.installation.unwrap().installation_id, *id(at));
    }

    // A new secret is a change, and null removes a key.
    let config = json!({"webhook_secret": "another", "api_username": null});
    let document =
        json!({"slug": "my-co-op", "plugins": [{"name": "discourse", "config": config}]});
    let updated = format!("plugin discourse updated {}", id(1));
    apply(&gateway, &document)
        .await
        .done(&["community my-co-op unchanged", &updated]);
    let after = installed(&gateway.api, "my-co-op").await;
    assert_eq!(after.len(), 3, "what is not mentioned stays");
    let config = plain(after[1].config.clone());
    assert_eq!(config, json!({"server_url": platform.uri()}));
}

#[tokio::test]
async fn what_is_not_mentioned_goes_only_with_prune() {
    let (gateway, platform) = (Gateway::start().await, platform().await);
    apply(&gateway, &co_op(&forum(&platform))).await;
    let before = installed(&gateway.api, "my-co-op").await;
    let less = json!({"name": "my-co-op", "plugins": [{"name": "ballot"}]});
    let kept = ["community my-co-op unchanged", "plugin ballot unchanged "];
    apply(&gateway, &less).await.done(&kept);
    assert_eq!(installed(&gateway.api, "my-co-op").await, before);
    apply_with(&gateway, &["--prune"], &less.to_string())
        .await
        .done(&[
            kept[0],
            kept[1],
            &format!("plugin randomness disabled {}", before[0].installation_id),
            &format!("plugin discourse disabled {}", before[1].installation_id),
        ]);
    let after = installed(&gateway.api, "my-co-op").await;
    assert_eq!(after, before[2..]);
    let community = gateway
        .api
        .log()
        .await
        .into_iter()
        .filter(|event| matches!(&event.payload, Some(Payload::CommunityChanged(_))));
    assert_eq!(community.count(), 1, "the community itself stays as it is");
}

#[tokio::test]
async fn several_installations_of_one_plugin_are_told_apart_by_their_address() {
    let gateway = Gateway::start().await;
    let (one, two) = (platform().await, platform().await);
    let entry = |server: &MockServer| {
        let config = json!({"server_url": server.uri()});
        json!({"name": "sourcecred", "config": config})
    };
    let both = json!({"name": "garden", "plugins": [entry(&one), entry(&two)]});
    let enabled = "plugin sourcecred enabled ";
    let made = apply(&gateway, &both).await;
    made.done(&["community garden created", enabled, enabled]);
    let ids = installed(&gateway.api, "garden").await;
    let line = |at: usize| format!("plugin sourcecred unchanged {}", ids[at].installation_id);
    let swapped = json!({"name": "garden", "plugins": [entry(&two), entry(&one)]});
    let kept = apply(&gateway, &swapped).await;
    kept.done(&["community garden unchanged", &line(1), &line(0)]);
}

#[tokio::test]
async fn a_bad_document_does_nothing() {
    let gateway = Gateway::start().await;
    for (text, words) in [
        ("", &["standard input", "no JSON object"][..]),
        ("[]", &["no JSON object"]),
        ("{\"name\": \"c\"", &["EOF"]),
        ("{\"readable_name\": \"C\"}", &["name is missing"]),
        ("{\"name\": \"\"}", &["name is missing"]),
        ("{\"name\": \"c\", \"slug\": \"d\"}", &["name", "slug"]),
        ("{\"name\": \"c\", \"plugin\": []}", &["`plugin`"]),
        (
            "{\"name\": \"c\", \"plugins\": [{\"name\": \"ballot\", \"cfg\": {}}]}",
            &["`cfg`"],
        ),
        (
            "{\"name\": \"c\", \"plugins\": [{\"config\": {}}]}",
            &["`name`"],
        ),
        (
            "{\"name\": \"c\", \"plugins\": [{\"name\": \"ballot\", \"config\": {\"a\": [140750062325202944]}}]}",
            &["plugins/0/config/a/0"],
        ),
        (
            "{\"name\": \"Not An Id\"}",
            &["community_id: ", "INVALID_FIELD"],
        ),
    ] {
        let ran = apply_with(&gateway, &["--prune"], text).await;
        ran.refused(words, &[]);
    }
    assert!(gateway.api.log().await.is_empty(), "nothing was created");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let ran = run(&["apply", "no/such/file.json"], &[], "").await;
    ran.refused(&["no/such/file.json"], &[]);
    let ran = run(&["apply"], &[], "").await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = run(&["apply", "-", "--prun"], &[], "").await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.error.contains("--prun"), "{ran:?}");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_told_apart() {
    // Bound and let go: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let document = json!({"name": "c"}).to_string();
    for (args, variables) in [
        (&["apply", "-", "--endpoint", &endpoint][..], &[][..]),
        (&["apply", "-"], &[("METAGOV_ENDPOINT", endpoint.as_str())]),
        // A flag wins over a variable.
        (
            &["apply", "-", "--endpoint", &endpoint],
            &[("METAGOV_ENDPOINT", "http://127.0.0.1:1")],
        ),
    ] {
        let ran = run(args, variables, &document).await;
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.error.contains(&endpoint), "{ran:?}");
        assert!(ran.lines.is_empty());
    }
}

#[tokio::test]
async fn a_refused_config_names_its_field_and_what_was_done_before() {
    let gateway = Gateway::start().await;
    let document = json!({"name": "co-op", "plugins": [
        {"name": "ballot"},
        {"name": "randomness", "config": {"default_low": "two", "colour": "red"}},
        {"name": "sourcecred", "config": {"server_url": "http://127.0.0.1:1"}},
    ]});
    let done = ["community co-op created", "plugin ballot enabled "];
    let words = [
        "plugin randomness: ",
        "[ERROR_REASON_SCHEMA_MISMATCH]",
        "\n  config/default_low: ",
        "\n  config/colour: ",
    ];
    apply(&gateway, &document).await.refused(&words, &done);
    let left = installed(&gateway.api, "co-op").await;
    let left: Vec<&str> = left.iter().map(|i| i.plugin.as_str()).collect();
    assert_eq!(left, ["ballot"]);

    // Once corrected it goes on from there.
    let corrected = json!({"name": "co-op", "plugins": [
        {"name": "ballot"},
        {"name": "randomness", "config": {"default_low": 2, "default_high": 9}},
        {"name": "nonsense"},
    ]});
    let done = [
        "community co-op unchanged",
        "plugin ballot unchanged ",
        "plugin randomness enabled ",
    ];
    let words = ["plugin nonsense: ", "[ERROR_REASON_PLUGIN_NOT_FOUND]"];
    apply(&gateway, &corrected).await.refused(&words, &done);
}

#[tokio::test]
async fn a_platform_that_does_not_answer_is_for_another_time() {
    let gateway = Gateway::start().await;
    let document = json!({"name": "garden", "plugins": [
        {"name": "sourcecred", "config": {"server_url": "http://127.0.0.1:1"}},
    ]});
    let ran = apply(&gateway, &document).await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.error.contains("PLATFORM_UNAVAILABLE"), "{ran:?}");
    ran.lines(&["community garden created"]);
}
