//! `metagov events forward` and `metagov process forward`: what a driver that can only take
//! HTTP is sent, and what becomes of it when the driver is away.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::method};

use super::{events::Watching, run, with};
use crate::{
    fakes::{self, Forum, post},
    harness::{Gateway, PATIENCE},
};

/// A driver that takes everything.
async fn driver() -> MockServer {
    let driver = fakes::server().await;
    let all = Mock::given(method("POST")).respond_with(ResponseTemplate::new(204));
    all.mount(&driver).await;
    driver
}

/// What it was sent, in order.
async fn taken(driver: &MockServer) -> Vec<Value> {
    let requests: Vec<Request> = driver.received_requests().await.unwrap();
    let bodies = requests.iter().map(|request| request.body_json().unwrap());
    bodies.collect()
}

/// What it was sent, once that are so many.
async fn taken_until(driver: &MockServer, count: usize) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let taken = taken(driver).await;
        if taken.len() >= count {
            return taken;
        }
        assert!(Instant::now() < until, "{taken:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn voted(gateway: &Gateway) -> String {
    let start = [
        "process",
        "start",
        "ballot.vote",
        "title=Lunch?",
        "options=soup",
        "options=bread",
        "--community",
        "co-op",
    ];
    let vote = run(gateway, &start).await.line();
    let process = format!("process_id={vote}");
    let cast = [
        "action",
        "perform",
        "ballot.cast",
        &process,
        "voter=ada",
        "choices=soup",
        "--community",
        "co-op",
    ];
    run(gateway, &cast).await.done();
    vote
}

#[tokio::test]
async fn what_a_platform_reports_is_forwarded_once_also_over_a_stop() {
    let gateway = with(&[]).await;
    let (driver, forum) = (driver().await, Forum::start().await);
    let enabled = gateway.api.enable("co-op", "discourse", forum.config());
    let path = enabled.await.webhook_url;
    let (_, path) = path.split_once("/api/hooks/").unwrap();
    let hooks = format!("{}/api/hooks/{path}", gateway.public);
    let file = gateway.data().join("place");
    let (to, file) = (driver.uri(), file.to_str().unwrap());
    let forward = [
        "events",
        "forward",
        "--to",
        &to,
        "--earliest",
        "--cursor-file",
        file,
    ];
    for round in 1..=3 {
        let sent = forum.hook(&hooks, "post_created", &post(round, "ada"));
        assert_eq!(sent.send().await.unwrap().status(), 200);
        let before = fs::read(file).ok();
        let forwarding = Watching::start(&gateway, &forward);
        let taken = taken_until(&driver, round as usize).await;
        // It was answered; its place is kept a moment later.
        let until = Instant::now() + PATIENCE;
        while fs::read(file).ok() == before {
            assert!(Instant::now() < until, "the place is not kept");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(forwarding.stop().await, Some(0));
        assert_eq!(taken.len(), round as usize, "none comes twice");
        let last = taken.last().unwrap();
        assert_eq!(last["community"], "co-op");
        assert_eq!(last["source"], "discourse");
        assert_eq!(last["event_type"], "post_created");
        assert_eq!(last["data"]["id"], round);
        assert_eq!(last["initiator"]["user_id"], "ada");
        assert!(last["timestamp"].as_str().unwrap().parse::<f64>().unwrap() > 1e9);
    }
}

#[tokio::test]
async fn a_process_is_forwarded_to_its_end() {
    let gateway = with(&["ballot"]).await;
    let (driver, vote) = (driver().await, voted(&gateway).await);
    let to = driver.uri();
    let forward = ["process", "forward", "--to", &to, &vote];
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        run(&gateway, &["process", "close", &vote]).await.done();
    };
    let (ran, ()) = tokio::join!(run(&gateway, &forward), meanwhile);
    ran.done();
    let last = taken(&driver).await.pop().unwrap();
    assert_eq!(last["id"], json!(vote));
    assert_eq!(last["name"], "ballot.vote");
    assert_eq!(last["community"], "co-op");
    assert_eq!(last["status"], "completed");
    assert_eq!(last["errors"], json!({}));
    assert_eq!(last["outcome"]["winners"], json!(["soup"]));

    // Its end is told to whoever asks later, too.
    run(&gateway, &forward).await.done();
    assert_eq!(taken(&driver).await.pop().unwrap(), last);
}

#[tokio::test]
async fn a_driver_that_is_away_gets_it_later_and_one_that_refuses_stops_it() {
    let gateway = with(&["ballot"]).await;
    let (driver, vote) = (driver().await, voted(&gateway).await);
    run(&gateway, &["process", "close", &vote]).await.done();
    let to = driver.uri();
    let forward = ["process", "forward", "--to", &to, &vote];
    let refuses = fakes::answers(&driver, "POST", "/", ResponseTemplate::new(400)).await;
    run(&gateway, &forward)
        .await
        .failed(4, &["400", "nothing was skipped"]);
    drop(refuses);
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "2");
    let busy = fakes::answers(&driver, "POST", "/", busy).await;
    let before = taken(&driver).await.len();
    let start = Instant::now();
    let meanwhile = async {
        while taken(&driver).await.len() == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(busy);
    };
    let (ran, ()) = tokio::join!(run(&gateway, &forward), meanwhile);
    ran.done();
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "it waits as asked"
    );
    assert_eq!(taken(&driver).await.len(), before + 2);
}

#[tokio::test]
async fn a_process_that_does_not_exist_and_an_address_that_is_none_are_refused() {
    let gateway = with(&[]).await;
    let nothing = "01890a5d-ac96-774b-bcce-b302099a8057";
    let ran = run(
        &gateway,
        &["process", "forward", "--to", "http://127.0.0.1:1", nothing],
    )
    .await;
    ran.failed(4, &["PROCESS_NOT_FOUND"]);
    for to in ["ftp://example.org", "127.0.0.1:80", ""] {
        let ran = run(&gateway, &["events", "forward", "--to", to]).await;
        assert_eq!(ran.code, Some(2), "{to}: {ran:?}");
    }
    let file = gateway.data().join("cursor");
    fs::write(&file, "damaged").unwrap();
    let file = file.to_str().unwrap();
    let forward = [
        "events",
        "forward",
        "--to",
        "http://127.0.0.1:1",
        "--cursor-file",
        file,
    ];
    run(&gateway, &forward).await.failed(4, &["CURSOR"]);
}
