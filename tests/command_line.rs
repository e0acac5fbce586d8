//! The verbs that are clients of a running gateway: the real command, as people and
//! scripts use it. `apply` has a module of its own.

mod audit;
mod hooks;
mod over_tls;
mod tokens;

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Binary, Gateway};

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Ran {
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
    fn line(self) -> String {
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
async fn run(gateway: &Gateway, args: &[&str]) -> Ran {
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

/// Every verb, with what it needs.
const VERBS: [&[&str]; 8] = [
    &["token", "create", "--role", "reader"],
    &["token", "list"],
    &["token", "revoke", "0123456789abcdef"],
    &["audit", "list"],
    &["audit", "verify"],
    &["delivery", "list", "--community", "co-op"],
    &["delivery", "retry", "01890a5d-ac96-774b-bcce-b302099a8057"],
    &["webhook", "rotate", "01890a5d-ac96-774b-bcce-b302099a8057"],
];

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

/// What JSON leaves out is empty.
fn nothing(value: &Value) -> bool {
    [&json!(null), &json!(""), &json!([])].contains(&value)
}
