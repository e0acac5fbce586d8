//! Backups under load: each is of one moment.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use metagov_proto::v1::ProcessState;
use serde_json::{Value, json};

use super::{backup, file::Lines, new_home, restore};
use crate::harness::{Api, Gateway};

const WRITERS: usize = 6;
const BACKUPS: usize = 5;

/// Makes communities and votes until it is told to stop; how many of each were answered.
async fn write(api: Api, writer: usize, vote: String, stop: Arc<AtomicBool>) -> usize {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        api.community(&format!("w{writer}-{done}")).await;
        let ballot =
            json!({"process_id": vote, "voter": format!("w{writer}-{done}"), "choices": ["a"]});
        api.perform("hall", "ballot.cast", ballot).await.unwrap();
        done += 1;
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_a_consistent_prefix() {
    let gateway = Gateway::start().await;
    gateway.api.community("hall").await;
    gateway.api.enable("hall", "ballot", json!({})).await;
    let question = json!({"title": "Which?", "options": ["a", "b"]});
    let vote = gateway
        .api
        .start("hall", "ballot.vote", question)
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let api = gateway.connect().await;
        let (vote, stop) = (vote.process_id.clone(), stop.clone());
        writers.push(tokio::spawn(write(api, writer, vote, stop)));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut positions = BTreeSet::new();
    for number in 0..BACKUPS {
        let file = folder.path().join(number.to_string());
        backup(&gateway.config(), &file).await.unwrap();
        let lines = Lines::of(&file);
        positions.insert(prefix(&lines));
        let (home, config) = new_home(&gateway.config());
        restore(&config, &file).await.unwrap();
        let restored = Gateway::open(home, config, vec![]).await;
        agrees(&restored, &vote.process_id, &lines).await;
        restored.stop().await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    assert_eq!(positions.len(), BACKUPS, "it was written all the while");
    assert!(written > BACKUPS, "{written}");
}

/// The file has the events of the positions 1 to p and no more; p.
fn prefix(lines: &Lines) -> i64 {
    let position = lines.0[0]["position"].as_i64().unwrap();
    let events = lines.column("event", "position");
    let all: Vec<Value> = (1..=position).map(Value::from).collect();
    assert_eq!(events, all);
    assert_eq!(lines.column("feed", "position"), [json!(position)]);
    position
}

/// The rows are those that the events tell of.
async fn agrees(restored: &Gateway, vote: &str, lines: &Lines) {
    let of_communities = lines.column("community", "id");
    let of_events: BTreeSet<String> = lines
        .column("event", "community_id")
        .iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect();
    let of_communities: BTreeSet<String> = of_communities
        .iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(of_communities, of_events, "each community has its event");
    // The running tally was written with each ballot; at the close the rows are counted.
    let ballots = lines.rows("ballot").len() as i64;
    let running = restored.api.process(vote).await.unwrap();
    assert_eq!(running.tally.as_ref().unwrap().voter_count, Some(ballots));
    let closed = restored.api.close(vote).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(closed.tally.unwrap().voter_count, Some(ballots));
    assert_eq!(closed.revision, running.revision + 1);
}
