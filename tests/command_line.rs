//! The verbs that are clients of a running gateway: the real command, as people and
//! scripts use it. `apply` has a module of its own.

mod actions;
mod audit;
mod communities;
mod doctor;
mod events;
mod forward;
mod hooks;
mod identities;
mod over_tls;
mod plugins;
mod processes;
mod shell;
mod subscriptions;
mod tokens;
mod written;

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Binary, Gateway};

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended well, with this on its standard output.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// The one line that it printed, ended by a line break.
    #[track_caller]
    pub(crate) fn line(self) -> String {
        let out = self.done();
        let line = out.strip_suffix('\n').expect("a line");
        assert!(!line.is_empty() && !line.contains('\n'), "{line}");
        line.to_owned()
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// It ended with this code and these words, and printed nothing else.
    #[track_caller]
    fn failed(self, code: i32, words: &[&str]) -> String {
        assert_eq!((self.code, &*self.out), (Some(code), ""), "{self:?}");
        assert!(self.error.starts_with("error: "), "{self:?}");
        for word in words {
            assert!(self.error.contains(word), "{word}: {self:?}");
        }
        self.error
    }

    /// The cells of a table below its head. No cell here has two spaces.
    #[track_caller]
    fn rows(self) -> Vec<Vec<String>> {
        let out = self.done();
        let cells = |line: &str| -> Vec<String> {
            let cells = line.split("  ").filter(|cell| !cell.is_empty());
            cells.map(|cell| cell.trim().to_owned()).collect()
        };
        out.lines().skip(1).map(cells).collect()
    }
}

/// Runs a command as the gateway's operator does, in whose folder the token is.
pub(crate) async fn run(gateway: &Gateway, args: &[&str]) -> Ran {
    let (endpoint, data) = (gateway.endpoint(), gateway.data());
    let data = data.to_str().unwrap();
    let variables = [
        ("METAGOV_ENDPOINT", endpoint.as_str()),
        ("METAGOV_DATA_DIR", data),
    ];
    run_with(args, &variables).await
}

/// Runs a command with somebody's token.
async fn run_as(gateway: &Gateway, token: &str, args: &[&str]) -> Ran {
    let endpoint = gateway.endpoint();
    let variables = [
        ("METAGOV_ENDPOINT", endpoint.as_str()),
        ("METAGOV_TOKEN", token),
    ];
    run_with(args, &variables).await
}

async fn run_with(args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Binary::command(args);
    command.envs(variables.iter().copied());
    command.stdin(Stdio::null());
    // The gateway runs in this thread: it must not wait.
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
    Ran::of(ended.await.unwrap())
}

/// An id of nothing.
const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Every verb, with what it needs.
const VERBS: [&[&str]; 44] = [
    &["token", "create", "--role", "reader"],
    &["token", "list"],
    &["token", "revoke", "0123456789abcdef"],
    &["audit", "list"],
    &["audit", "verify"],
    &["delivery", "list", "--community", "co-op"],
    &["delivery", "retry", UNKNOWN],
    &["webhook", "rotate", UNKNOWN],
    &["community", "create", "co-op"],
    &["community", "get", "co-op"],
    &["community", "list"],
    &["community", "update", "co-op", "--name", "Ours"],
    &["community", "delete", "co-op"],
    &["plugin", "list"],
    &["plugin", "get", "ballot"],
    &["plugin", "enable", "ballot", "--community", "co-op"],
    &["plugin", "configure", UNKNOWN, "a=b"],
    &["plugin", "disable", UNKNOWN],
    &["plugin", "installations", "--community", "co-op"],
    &["plugin", "check", UNKNOWN],
    &["action", "list"],
    &["action", "describe", "ballot.cast"],
    &[
        "action",
        "perform",
        "randomness.random-int",
        "--community",
        "co-op",
    ],
    &["process", "list"],
    &["process", "get", UNKNOWN],
    &["process", "describe", "ballot.vote"],
    &["process", "start", "ballot.vote", "--community", "co-op"],
    &["process", "watch", UNKNOWN],
    &["process", "close", UNKNOWN],
    &["process", "cancel", UNKNOWN],
    &["process", "forward", "--to", "http://127.0.0.1:9", UNKNOWN],
    &["events", "forward", "--to", "http://127.0.0.1:9"],
    &["events", "list"],
    &["events", "watch", "--count", "1", "--earliest"],
    &["subscription", "create", "bot"],
    &["subscription", "get", "bot"],
    &["subscription", "list"],
    &["subscription", "seek", "bot", "--earliest"],
    &["subscription", "acknowledge", "bot", "cursor"],
    &["subscription", "delete", "bot"],
    &["identity", "create", "--community", "co-op"],
    &["identity", "list", "--community", "co-op"],
    &["identity", "get", UNKNOWN],
    &["identity", "merge", UNKNOWN, UNKNOWN],
];

/// Those that only an admin may call, and about what is there in no test.
const FOR_ADMINS: [&[&str]; 5] = [VERBS[0], VERBS[1], VERBS[2], VERBS[3], VERBS[4]];

#[tokio::test]
async fn every_verb_says_that_no_gateway_is_there() {
    // Bound and let go: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for verb in VERBS {
        let ran = run_with(&[verb, &["--endpoint", &endpoint]].concat(), &[]).await;
        ran.failed(3, &["no gateway answers at ", &endpoint]);
    }
}

#[tokio::test]
async fn every_verb_refuses_to_send_a_token_in_plaintext_to_elsewhere() {
    // Addresses for documentation, where nobody is: it is refused before it is tried.
    let variables = [
        ("METAGOV_ENDPOINT", "http://192.0.2.1:50051"),
        ("METAGOV_TOKEN", "mg_s3cret"),
    ];
    for verb in VERBS {
        let ran = run_with(verb, &variables).await;
        let error = ran.failed(4, &["https://", "--insecure-plaintext"]);
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn what_is_missing_or_malformed_is_misuse() {
    let hash = "0".repeat(64);
    for args in [
        &["token"][..],
        &["token", "create"],
        &["token", "create", "--role", "king"],
        &["token", "create", "--role", "reader", "--expires", "soon"],
        &["token", "create", "--role", "reader", "--expires", "0s"],
        &["token", "revoke"],
        &["audit", "list", "--limit", "0"],
        &["audit", "list", "--limit", "-1"],
        &["audit", "list", "--output", "xml"],
        &["audit", "verify", "--anchor", "5"],
        &["audit", "verify", "--anchor", &format!("-5:{hash}")],
        &["audit", "verify", "--anchor", &format!("5:{hash}0")],
        &["delivery", "list"],
        &["delivery", "list", "--community", "a", "--state", "lost"],
        &["delivery", "retry"],
        &["webhook", "rotate"],
        &["webhook", "rotate", "x", "--keep-old", "tomorrow"],
        &["community", "create"],
        &["community", "update", "co-op"],
        &["plugin", "enable", "ballot"],
        &[
            "plugin",
            "enable",
            "ballot",
            "novalue",
            "--community",
            "co-op",
        ],
        &["plugin", "configure", "x", "a:={"],
        &["action", "perform", "randomness.random-int"],
        &[
            "process",
            "start",
            "ballot.vote",
            "--community",
            "a",
            "--closes",
            "soon",
        ],
        &["process", "list", "--state", "lost"],
        &["events", "list", "--kind", "rumour"],
        &["events", "list", "--since", "yesterday"],
        &["events", "watch", "--after", "x", "--earliest"],
        &["events", "watch", "--subscription", "bot", "--latest"],
        &["events", "watch", "--count", "0"],
        &["identity", "list", "--community", "a", "--user", "ada"],
        &[
            "identity",
            "link",
            "x",
            "slack",
            "ada",
            "--quality",
            "certain",
        ],
        &["completions", "tcsh"],
    ] {
        let ran = run_with(args, &[]).await;
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{args:?}: {ran:?}");
        assert!(!ran.error.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn a_flag_of_one_verb_is_no_variable() {
    let variables = [("METAGOV_ROLE", "admin")];
    let ran = run_with(&["token", "create"], &variables).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.error.contains("--role"), "{ran:?}");
}

/// A JSON array as a list.
fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    // Protobuf's JSON leaves an empty list out.
    answer.get(key).map_or(&[], |list| list.as_array().unwrap())
}

/// With a community in which plugins are enabled, by the command line.
async fn with(plugins: &[&str]) -> Gateway {
    let gateway = Gateway::start().await;
    run(&gateway, &["community", "create", "co-op"])
        .await
        .done();
    for plugin in plugins {
        let enable = ["plugin", "enable", plugin, "--community", "co-op"];
        let config: &[&str] = match *plugin {
            "randomness" => &["default_low=1", "default_high=7"],
            _ => &[],
        };
        run(&gateway, &[&enable[..], config].concat()).await.done();
    }
    gateway
}

/// What JSON leaves out is empty.
fn nothing(value: &Value) -> bool {
    [&json!(null), &json!(""), &json!([])].contains(&value)
}
