//! `metagov events`: listed, and watched over restarts of either side.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use serde_json::Value;

use super::{list, run, with};
use crate::harness::{Binary, Gateway, PATIENCE};

#[tokio::test]
async fn events_are_listed_oldest_first() {
    let gateway = with(&["randomness", "ballot"]).await;
    let rows = run(&gateway, &["events", "list"]).await.rows();
    let kinds: Vec<&str> = rows.iter().map(|row| row[2].as_str()).collect();
    assert_eq!(kinds, ["community", "installation", "installation"]);
    assert!(rows[1][3].starts_with("randomness "), "{rows:?}");
    let after = ["events", "list", "--after", &rows[1][4], "--output", "json"];
    let answer = run(&gateway, &after).await.json();
    let found = list(&answer, "events");
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0]["installationChanged"]["installation"]["plugin"],
        "ballot"
    );
    for (flags, count) in [
        (&["--limit", "2"][..], 2),
        (&["--kind", "community"], 1),
        (&["--community", "elsewhere"], 0),
        (&["--since", "2001-01-01T00:00:00Z", "--kind", "process"], 0),
        (&["--latest"], 0),
    ] {
        let ran = run(&gateway, &[&["events", "list"], flags].concat()).await;
        match flags[0] {
            "--since" => assert_eq!(ran.code, Some(4), "it is before the log"),
            _ => assert_eq!(ran.rows().len(), count, "{flags:?}"),
        }
    }
    let ran = run(&gateway, &["events", "list", "--after", "nonsense"]).await;
    ran.failed(4, &["events: ", "CURSOR"]);
}

/// A command that goes on, and its lines.
pub(super) struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    pub(super) fn start(gateway: &Gateway, args: &[&str]) -> Self {
        let mut command: Command = Binary::command(args);
        let endpoint = gateway.endpoint();
        command
            .env("METAGOV_ENDPOINT", endpoint)
            .env("METAGOV_DATA_DIR", gateway.data());
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            let mut read = out.lines().map_while(Result::ok);
            read.all(|line| send.send(line).is_ok())
        });
        Self { child, lines }
    }

    /// The next line, of JSON.
    async fn event(self) -> (Self, Value) {
        let (this, line) = tokio::task::spawn_blocking(move || {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line");
            (self, line)
        })
        .await
        .unwrap();
        (this, serde_json::from_str(&line).unwrap())
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().unwrap();
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap());
        ended.await.unwrap().code()
    }
}

fn community(event: &Value) -> &str {
    event["communityId"].as_str().unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_over_a_restart_of_the_gateway() {
    let gateway = Gateway::start_with(|config| config.listen = free(), vec![]).await;
    let watch = ["events", "watch", "--earliest", "--output", "json"];
    gateway.api.community("first").await;
    let watching = Watching::start(&gateway, &watch);
    let (watching, event) = watching.event().await;
    assert_eq!(community(&event), "first");
    let gateway = gateway.restart(vec![]).await;
    gateway.api.community("second").await;
    let (watching, event) = watching.event().await;
    assert_eq!(
        community(&event),
        "second",
        "none is lost, and none comes twice"
    );
    assert_eq!(watching.stop().await, Some(0));
}

/// An address that stays the same over a restart.
fn free() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_cursor_file_keeps_the_place_over_a_restart_of_the_command() {
    let gateway = Gateway::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cursor");
    let path = file.to_str().unwrap();
    let watch = [
        "events",
        "watch",
        "--earliest",
        "--cursor-file",
        path,
        "--output",
        "json",
    ];
    for id in ["a", "b", "c"] {
        gateway.api.community(id).await;
    }
    let two = [&watch[..], &["--count", "2"]].concat();
    let out = run(&gateway, &two).await.done();
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let events: Vec<Value> = out.lines().map(read).collect();
    assert_eq!(events.iter().map(community).collect::<Vec<_>>(), ["a", "b"]);
    let kept = fs::read_to_string(&file).unwrap();
    assert_eq!(kept.trim(), events[1]["cursor"].as_str().unwrap());

    let watching = Watching::start(&gateway, &watch);
    let (watching, event) = watching.event().await;
    assert_eq!(community(&event), "c");
    assert_eq!(watching.stop().await, Some(0));
    let kept = fs::read_to_string(&file).unwrap();
    assert_eq!(kept.trim(), event["cursor"].as_str().unwrap());

    fs::write(&file, "nonsense").unwrap();
    run(&gateway, &watch)
        .await
        .failed(4, &["events: ", "CURSOR"]);
    fs::write(&file, "").unwrap();
    run(&gateway, &watch)
        .await
        .failed(4, &["--cursor-file: ", path]);
}

#[tokio::test]
async fn a_subscription_is_acknowledged_as_it_is_watched() {
    let gateway = Gateway::start().await;
    run(&gateway, &["subscription", "create", "bot"])
        .await
        .done();
    for id in ["a", "b", "c"] {
        gateway.api.community(id).await;
    }
    let watch = ["events", "watch", "--subscription", "bot", "--count", "2"];
    let out = run(&gateway, &watch).await.done();
    assert_eq!(out.lines().count(), 2, "{out}");
    let rows = run(&gateway, &["subscription", "get", "bot"]).await.rows();
    assert_eq!(rows[0][1], "1", "what is left: {rows:?}");
    let unknown = ["events", "watch", "--subscription", "nobody"];
    run(&gateway, &unknown)
        .await
        .failed(4, &["SUBSCRIPTION_NOT_FOUND"]);
}

#[tokio::test]
async fn people_and_yaml_have_events_too() {
    let gateway = Gateway::start().await;
    gateway.api.community("garden").await;
    let watch = ["events", "watch", "--earliest", "--count", "1"];
    let line = run(&gateway, &watch).await.line();
    assert!(line.ends_with("Z  garden  community  created"), "{line}");
    let yaml = [&watch[..], &["--output", "yaml"]].concat();
    let text = run(&gateway, &yaml).await.done();
    assert!(text.starts_with("---\neventId: "), "{text}");
}
