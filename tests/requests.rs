//! Request ids of StartProcess: a retry never starts a second process.

use std::time::Duration;

use metagov_proto::v1::{
    ListProcessesRequest, ProcessState, StartProcessRequest, WatchProcessRequest,
};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use wiremock::ResponseTemplate;

use crate::{
    harness::{Api, Binary, Gateway, Home, Kind, PATIENCE, fault, object},
    stand::{self, Stand, after, shown, with_stand},
};

fn vote(request_id: &str) -> StartProcessRequest {
    StartProcessRequest {
        community_id: "co-op".into(),
        process_type: "stand.vote".into(),
        parameters: object(json!({"title": "Once?"})),
        request_id: request_id.into(),
        ..Default::default()
    }
}

async fn count(api: &Api) -> usize {
    let all = ListProcessesRequest::default();
    let answer = api.processes().list_processes(all).await.unwrap();
    answer.into_inner().processes.len()
}

#[tokio::test]
async fn a_retry_returns_the_same_process_also_after_a_restart() {
    let (gateway, stand) = with_stand().await;
    let first = gateway.api.start_request(vote("r1")).await.unwrap();
    assert_eq!(gateway.api.start_request(vote("r1")).await.unwrap(), first);
    let gateway = gateway.restart(vec![stand::plugin()]).await;
    assert_eq!(gateway.api.start_request(vote("r1")).await.unwrap(), first);
    let closed = gateway.api.close(&first.process_id).await.unwrap();
    let now = gateway.api.start_request(vote("r1")).await.unwrap();
    assert_eq!(now, closed, "the same process, as it stands now");
    assert_eq!(
        (stand.heard("POST /start").await, count(&gateway.api).await),
        (1, 1)
    );
    let other = gateway.api.start_request(vote("r2")).await.unwrap();
    assert_ne!(other.process_id, first.process_id);
}

/// What is done after the answer is kept fails, as it does if the database goes away just
/// then.
#[tokio::test]
async fn what_fails_after_a_start_starts_no_second_process() {
    let home = Home::on(Kind::Postgres);
    let gateway = Gateway::start_in(home, |_| (), vec![stand::plugin()]).await;
    let stand = Stand::open().await;
    stand.enable(&gateway.api, "co-op").await;
    for sql in [
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'no delivery is hurried'; END $$",
        "CREATE TRIGGER fail BEFORE UPDATE ON delivery FOR EACH STATEMENT
            EXECUTE FUNCTION fail()",
    ] {
        gateway.home().run(sql).await;
    }
    let first = gateway.api.start_request(vote("r1")).await.unwrap();
    assert_eq!(first.state(), ProcessState::Open);
    assert_eq!(gateway.api.start_request(vote("r1")).await.unwrap(), first);
    assert_eq!(
        (stand.heard("POST /start").await, count(&gateway.api).await),
        (1, 1)
    );
}

#[tokio::test]
async fn a_retry_may_come_after_the_close_time() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    let request = StartProcessRequest {
        close_time: Some(after(Duration::from_secs(2))),
        ..vote("r1")
    };
    let first = api.start_request(request.clone()).await.unwrap();
    stand.hears("POST /close", 1).await;
    let again = api.start_request(request).await.unwrap();
    assert_eq!(again.process_id, first.process_id);
    assert_eq!(stand.heard("POST /start").await, 1);
}

#[tokio::test]
async fn twins_start_one_process() {
    let (gateway, stand) = with_stand().await;
    stand.says(
        "POST /start",
        shown("open", 0).set_delay(Duration::from_secs(1)),
    );
    let twins = (0..8).map(|_| {
        let api = gateway.api.clone();
        tokio::spawn(async move { api.start_request(vote("r1")).await })
    });
    let twins: Vec<_> = twins.collect();
    let mut started = Vec::new();
    for twin in twins {
        match twin.await.unwrap() {
            Ok(process) => started.push(process.process_id),
            other => {
                let running = fault(other);
                assert!(
                    running.is(Code::Aborted, "REQUEST_IN_PROGRESS"),
                    "{running:?}"
                );
                assert!(running.retry.is_some());
            }
        }
    }
    assert!(!started.is_empty());
    let late = gateway.api.start_request(vote("r1")).await.unwrap();
    assert!(started.iter().all(|id| *id == late.process_id));
    assert_eq!(
        (stand.heard("POST /start").await, count(&gateway.api).await),
        (1, 1)
    );
}

#[tokio::test]
async fn a_client_that_goes_away_stops_nothing() {
    let (gateway, stand) = with_stand().await;
    stand.says(
        "POST /start",
        shown("open", 0).set_delay(Duration::from_secs(1)),
    );
    let mut watcher = gateway.api.watch().await;
    let api = gateway.api.clone();
    let call = tokio::spawn(async move { api.start_request(vote("r1")).await });
    stand.hears("POST /start", 1).await;
    call.abort();
    let changed = watcher.payload().await;
    let metagov_proto::v1::event::Payload::ProcessChanged(changed) = changed else {
        panic!("{changed:?}")
    };
    let process = changed.process.unwrap();
    assert_eq!(process.state(), ProcessState::Open);
    let retried = gateway.api.start_request(vote("r1")).await.unwrap();
    assert_eq!(retried.process_id, process.process_id);
    assert_eq!(stand.heard("POST /start").await, 1);
}

/// While the database has it wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_while_its_id_is_claimed_stops_nothing() {
    let home = Home::on(Kind::Postgres);
    let gateway = Gateway::start_in(home, |_| (), vec![stand::plugin()]).await;
    let stand = Stand::open().await;
    stand.enable(&gateway.api, "co-op").await;
    let hold = "WITH held AS (SELECT 1 FROM community FOR UPDATE) SELECT pg_sleep(3) FROM held";
    let goes_away = async {
        let held = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        while gateway.home().ask::<i64>(held).await != [1] {
            sleep(Duration::from_millis(20)).await;
        }
        let call = gateway.api.start_request(vote("r1"));
        timeout(Duration::from_millis(500), call).await
    };
    let (_, gone) = tokio::join!(gateway.home().run(hold), goes_away);
    assert!(gone.is_err(), "{gone:?}");
    let until = Instant::now() + PATIENCE;
    let started = loop {
        match gateway.api.start_request(vote("r1")).await {
            Ok(started) => break started,
            other => {
                let running = fault(other);
                assert!(
                    running.is(Code::Aborted, "REQUEST_IN_PROGRESS"),
                    "{running:?}"
                );
            }
        }
        assert!(Instant::now() < until, "nobody works on it");
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(started.state(), ProcessState::Open);
    assert_eq!(
        (stand.heard("POST /start").await, count(&gateway.api).await),
        (1, 1)
    );
}

#[tokio::test]
async fn another_request_with_the_same_id_is_refused() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    api.start_request(vote("r1")).await.unwrap();
    for other in [
        StartProcessRequest {
            parameters: object(json!({"title": "Twice?"})),
            ..vote("r1")
        },
        StartProcessRequest {
            process_type: "stand.sitting".into(),
            ..vote("r1")
        },
        StartProcessRequest {
            close_time: Some(after(Duration::from_secs(3600))),
            ..vote("r1")
        },
    ] {
        let reused = fault(api.start_request(other).await);
        assert!(
            reused.is(Code::InvalidArgument, "REQUEST_ID_REUSED"),
            "{reused:?}"
        );
    }
    assert_eq!((stand.heard("POST /start").await, count(api).await), (1, 1));
    for bad in ["with space", "é", "line\nbreak", &"x".repeat(129)] {
        let wrong = fault(api.start_request(vote(bad)).await);
        assert!(
            wrong.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{wrong:?}"
        );
        assert_eq!(wrong.fields, ["request_id"]);
    }
    api.start_request(vote(&"x".repeat(128))).await.unwrap();
}

#[tokio::test]
async fn what_the_platform_has_answered_is_remembered() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    let answers = [
        ResponseTemplate::new(422),
        ResponseTemplate::new(401),
        ResponseTemplate::new(500),
        shown("refused", 0),
    ];
    for (place, answer) in answers.into_iter().enumerate() {
        stand.says("POST /start", answer);
        let first = fault(api.start_request(vote(&format!("r{place}"))).await);
        stand.says("POST /start", shown("open", 0));
        let again = fault(api.start_request(vote(&format!("r{place}"))).await);
        assert_eq!(again, first);
        assert_eq!(stand.heard("POST /start").await, place + 1);
    }
}

#[tokio::test]
async fn a_failure_that_reached_nobody_may_be_retried() {
    let (gateway, stand) = with_stand().await;
    let api = &gateway.api;
    stand.says(
        "POST /start",
        ResponseTemplate::new(429).insert_header("retry-after", "1"),
    );
    let limited = fault(api.start_request(vote("r1")).await);
    assert!(
        limited.is(Code::ResourceExhausted, "PLATFORM_RATE_LIMITED"),
        "{limited:?}"
    );
    assert_eq!(limited.retry, Some(Duration::from_secs(1)));
    stand.says("POST /start", shown("open", 0));
    // Before that the platform is not asked again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let started = api.start_request(vote("r1")).await.unwrap();
    assert_eq!(api.start_request(vote("r1")).await.unwrap(), started);
    assert_eq!(stand.heard("POST /start").await, 2);
}

/// A stand that is a forum as far as it takes to enable `discourse`.
async fn forum() -> Stand {
    let forum = Stand::open().await;
    for (call, answer) in [
        ("GET /about.json", json!({"about": {"title": "Forum"}})),
        ("GET /admin/users/list/active.json", json!([])),
        ("GET /site.json", json!({"user_fields": []})),
        ("GET /directory_items.json", json!({"directory_items": []})),
    ] {
        forum.says(call, ResponseTemplate::new(200).set_body_json(answer));
    }
    forum
}

fn poll() -> StartProcessRequest {
    let parameters = json!({"title": "Which day suits us best?", "options": ["May", "June"]});
    StartProcessRequest {
        process_type: "discourse.poll".into(),
        parameters: object(parameters),
        ..vote("r1")
    }
}

#[tokio::test]
async fn a_start_in_whose_midst_the_gateway_died_counts_as_unknown() {
    let (forum, home) = (forum().await, Home::new());
    let hangs = ResponseTemplate::new(200).set_delay(Duration::from_secs(600));
    forum.says("POST /posts.json", hangs);
    let settings = ["--step-timeout", "5s"];
    let binary = Binary::serve(&home, &settings);
    let api = binary.api().await;
    api.community("co-op").await;
    let config = json!({"server_url": forum.url(), "api_key": "k", "webhook_secret": "s"});
    api.enable("co-op", "discourse", config).await;
    let call = tokio::spawn(async move { api.start_request(poll()).await });
    forum.hears("POST /posts.json", 1).await;
    binary.kill();
    call.await.unwrap().unwrap_err();

    let binary = Binary::serve(&home, &settings);
    let api = binary.api().await;
    let running = fault(api.start_request(poll()).await);
    assert!(
        running.is(Code::Aborted, "REQUEST_IN_PROGRESS"),
        "{running:?}"
    );
    let all = ListProcessesRequest::default();
    let found = api
        .processes()
        .list_processes(all)
        .await
        .unwrap()
        .into_inner();
    let [process] = &found.processes[..] else {
        panic!("{found:?}")
    };
    assert_eq!(process.state(), ProcessState::Starting);
    let request = WatchProcessRequest {
        process_id: process.process_id.clone(),
        heartbeat_interval: None,
    };
    let mut stream = api
        .processes()
        .watch_process(request)
        .await
        .unwrap()
        .into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = message.process;
    }
    let lost = last.unwrap();
    assert_eq!(lost.state(), ProcessState::Failed);
    let error = lost.error.unwrap();
    assert_eq!(error.reason, "ERROR_REASON_OUTCOME_UNKNOWN");
    assert!(
        error.message.contains("the gateway stopped"),
        "{}",
        error.message
    );

    let unknown = fault(api.start_request(poll()).await);
    assert!(unknown.is(Code::Aborted, "OUTCOME_UNKNOWN"), "{unknown:?}");
    assert_eq!(
        (&*unknown.metadata["plugin"], unknown.retry),
        ("discourse", None)
    );
    assert_eq!(forum.heard("POST /posts.json").await, 1);
}
