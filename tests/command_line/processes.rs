//! `metagov process`: a vote from its start to its outcome.

use std::process::Stdio;

use super::{Ran, UNKNOWN, list, run, with};
use crate::harness::{Binary, Gateway};

/// Starts a vote and returns its id.
async fn started(gateway: &Gateway, more: &[&str]) -> String {
    let start = [
        "process",
        "start",
        "ballot.vote",
        "title=Lunch?",
        "--community",
        "co-op",
    ];
    let options = ["options=soup", "options=bread"];
    let ran = run(gateway, &[&start[..], &options, more].concat()).await;
    assert_eq!(ran.error, "open: Lunch?\n");
    ran.line()
}

async fn cast(gateway: &Gateway, vote: &str, voter: &str, choice: &str) {
    let of = [
        format!("process_id={vote}"),
        format!("voter={voter}"),
        format!("choices={choice}"),
    ];
    let of = of.each_ref().map(String::as_str);
    let cast = ["action", "perform", "ballot.cast", "--community", "co-op"];
    run(gateway, &[&cast[..], &of].concat()).await.done();
}

#[tokio::test]
async fn a_vote_runs_to_its_outcome() {
    let gateway = with(&["ballot"]).await;
    let vote = started(&gateway, &["--closes", "1h"]).await;
    cast(&gateway, &vote, "ada", "soup").await;
    let page = run(&gateway, &["process", "get", &vote]).await.done();
    for words in [
        "Lunch?",
        "open, closes at ",
        ", 1 voted",
        "* soup   ████████████████████████ 1",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let open = [
        "process",
        "list",
        "--state",
        "open",
        "--type",
        "ballot.vote",
    ];
    let rows = run(&gateway, &open).await.rows();
    assert_eq!(rows[0][..4], [&vote, "co-op", "ballot.vote", "open"]);

    let close = ["process", "close", &vote, "--output", "json"];
    let answer = run(&gateway, &close).await.json();
    assert_eq!(answer["process"]["state"], "PROCESS_STATE_COMPLETED");
    assert_eq!(answer["process"]["tally"]["leadingOptions"][0], "soup");
    assert_eq!(answer["process"]["outcome"]["turnout"]["voters"], 1);
    assert_eq!(run(&gateway, &open).await.rows(), Vec::<Vec<String>>::new());
    let of = [
        "process",
        "list",
        "--community",
        "co-op",
        "--output",
        "json",
    ];
    let answer = run(&gateway, &of).await.json();
    assert_eq!(list(&answer, "processes").len(), 1);
    // What is completed stays so.
    let cancel = ["process", "cancel", &vote, "--reason", "too late"];
    run(&gateway, &cancel).await.failed(4, &["PROCESS_DONE"]);
}

#[tokio::test]
async fn a_type_of_process_is_described() {
    let gateway = with(&[]).await;
    let describe = ["process", "describe", "ballot.vote"];
    let page = run(&gateway, &describe).await.done();
    for words in [
        "a vote: yes",
        "options",
        "list of string",
        "single or approval",
        "OUTCOME",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let ran = run(&gateway, &["process", "describe", "ballot.veto"]).await;
    ran.failed(4, &["the plugin ballot has ballot.vote"]);
}

#[tokio::test]
async fn a_start_that_does_not_fit_sends_nothing() {
    let gateway = with(&["ballot"]).await;
    let start = [
        "process",
        "start",
        "ballot.vote",
        "options=soup",
        "--community",
        "co-op",
    ];
    let ran = run(&gateway, &start).await;
    ran.failed(
        4,
        &["title: is missing", "options: ", "What is being decided."],
    );
    for verb in ["get", "watch", "close", "cancel"] {
        let ran = run(&gateway, &["process", verb, UNKNOWN]).await;
        ran.failed(4, &[&format!("process {UNKNOWN}: "), "PROCESS_NOT_FOUND"]);
    }
}

#[tokio::test]
async fn each_change_is_one_line_where_there_is_no_terminal() {
    let gateway = with(&["ballot"]).await;
    let vote = started(&gateway, &[]).await;
    let watch = ["process", "watch", &vote];
    let meanwhile = async {
        cast(&gateway, &vote, "ada", "soup").await;
        run(&gateway, &["process", "close", &vote]).await.done();
    };
    let (ran, ()) = tokio::join!(run(&gateway, &watch), meanwhile);
    let out = ran.done();
    let last = format!("{vote} completed: a driver closed it, 1 voted; soup 1, bread 0\n");
    assert!(out.ends_with(&last), "{out}");
    assert!(out.lines().all(|line| line.starts_with(&vote)), "{out}");

    // Once it is done, it is said once; for scripts as one line of JSON.
    let json = [&watch[..], &["--output", "json"]].concat();
    let line = run(&gateway, &json).await.line();
    assert!(
        line.contains("\"state\":\"PROCESS_STATE_COMPLETED\""),
        "{line}"
    );
}

#[tokio::test]
async fn what_ends_without_an_outcome_ends_a_watch_with_code_1() {
    let gateway = with(&["ballot"]).await;
    let vote = started(&gateway, &[]).await;
    let cancel = ["process", "cancel", &vote, "--reason", "no lunch"];
    let said = run(&gateway, &cancel).await.line();
    assert_eq!(said, format!("process {vote} cancelled"));
    let ran = run(&gateway, &["process", "watch", &vote]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.error.contains("cancelled: no lunch"), "{ran:?}");
}

/// `script` gives it a terminal.
#[tokio::test]
async fn on_a_terminal_the_tally_moves_in_its_place() {
    let gateway = with(&["ballot"]).await;
    let vote = started(&gateway, &[]).await;
    let command = format!("{} process watch {vote}", Binary::path().display());
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]);
    terminal
        .env("METAGOV_ENDPOINT", gateway.endpoint())
        .env("METAGOV_DATA_DIR", gateway.data());
    let terminal = terminal
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let terminal = terminal.stderr(Stdio::piped()).spawn().unwrap();
    let ended = tokio::task::spawn_blocking(move || terminal.wait_with_output().unwrap());
    // It may have seen the beginning by now; what matters is the end.
    cast(&gateway, &vote, "ada", "bread").await;
    run(&gateway, &["process", "close", &vote]).await.done();
    let out = Ran::of(ended.await.unwrap()).done();
    assert!(out.contains("* bread"), "{out}");
    assert!(
        out.contains("completed: a driver closed it, 1 voted"),
        "{out}"
    );
}
