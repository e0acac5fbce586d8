//! In what manner servers are asked: so many requests at once, none while one was told
//! to wait, without cookies or proxies, and with one line of the log for each.

use std::time::{Duration, SystemTime};

use metagov::config::Config;
use serde_json::json;
use tonic::Code;

use super::{
    INSIDE, commons, enabled, envoy, read,
    server::{Answer, Server, ok, says},
    write,
};
use crate::harness::{Binary, Gateway, Home, PATIENCE, fault};

#[tokio::test]
async fn a_server_is_asked_so_many_things_at_once() {
    let server = Server::start(INSIDE, |_| Answer::Waits).await;
    let other = Server::start(INSIDE, |_| ok()).await;
    let gateway = enabled(&server, |config| config.outgoing.platform_concurrency = 2).await;
    gateway.api.community("elsewhere").await;
    let config = json!({"server_url": server.url, "asks": false});
    gateway.api.enable("elsewhere", "envoy", config).await;
    // Of two communities: they share the turns.
    let ask = |n: usize| {
        let community = ["commons", "elsewhere"][n % 2];
        let api = gateway.api.clone();
        async move {
            api.perform(community, "envoy.read", json!({"path": "/"}))
                .await
        }
    };
    let asking: Vec<_> = (0..8).map(|n| tokio::spawn(ask(n))).collect();
    server.until_heard(2).await;
    // Another server has turns of its own.
    for _ in 0..8 {
        assert!(super::go(&gateway, &other.url).await.is_ok());
    }
    assert_eq!(server.heard().len(), 2);
    server.let_go(8);
    for asked in asking {
        assert_eq!(asked.await.unwrap().unwrap(), json!({}));
    }
    assert_eq!((server.heard().len(), server.most()), (8, 2));
}

#[tokio::test]
async fn waiting_for_a_turn_counts_into_the_time() {
    let server = Server::start(INSIDE, |_| Answer::Waits).await;
    let gateway = enabled(&server, |config| {
        config.outgoing.platform_concurrency = 1;
        config.outgoing.call_timeout = Duration::from_millis(300);
    })
    .await;
    let (api, parameters) = (gateway.api.clone(), json!({"path": "/"}));
    let ask = || {
        let (api, parameters) = (api.clone(), parameters.clone());
        async move { api.perform("commons", "envoy.read", parameters).await }
    };
    let asking: Vec<_> = (0..5).map(|_| tokio::spawn(ask())).collect();
    for asked in asking {
        let said = fault(asked.await.unwrap());
        let reason = "PLATFORM_UNAVAILABLE";
        assert!(said.is(Code::Unavailable, reason), "{said:?}");
        assert!(said.message.contains("took too long"), "{said:?}");
    }
}

/// Two communities with the plugin at a server that says this.
async fn limited(answer: Answer) -> (Gateway, Server) {
    let server = Server::start(INSIDE, move |head| match head.starts_with("GET /free") {
        true => ok(),
        false => answer.clone(),
    })
    .await;
    let gateway = enabled(&server, |_| ()).await;
    gateway.api.community("elsewhere").await;
    let config = json!({"server_url": server.url, "asks": false});
    gateway.api.enable("elsewhere", "envoy", config).await;
    (gateway, server)
}

#[tokio::test]
async fn who_was_told_to_wait_asks_no_more_until_then() {
    let date = |seconds| {
        let time = SystemTime::now() + Duration::from_secs(seconds);
        httpdate::fmt_http_date(time)
    };
    for (head, code, reason, longest) in [
        (
            "429 Slow\r\nretry-after: 100".into(),
            Code::ResourceExhausted,
            "PLATFORM_RATE_LIMITED",
            100,
        ),
        (
            format!("429 Slow\r\nretry-after: {}", date(100)),
            Code::ResourceExhausted,
            "PLATFORM_RATE_LIMITED",
            100,
        ),
        (
            "503 Busy\r\nretry-after: 100".into(),
            Code::Unavailable,
            "PLATFORM_UNAVAILABLE",
            100,
        ),
        // A day is the most that is believed, and an hour the most that is waited.
        (
            "429 Slow\r\nretry-after: 99999999999999999999".into(),
            Code::ResourceExhausted,
            "PLATFORM_RATE_LIMITED",
            86_400,
        ),
    ] {
        let (gateway, server) = limited(says(&head, b"")).await;
        let first = fault(read(&gateway, "/").await);
        assert!(first.is(code, reason), "{first:?}");
        let wait = first.retry.unwrap();
        let longest = Duration::from_secs(longest);
        assert!(wait <= longest && wait + PATIENCE > longest, "{first:?}");
        for again in [read(&gateway, "/free").await, write(&gateway, "/").await] {
            let again = fault(again);
            assert!(again.is(code, reason), "{again:?}");
            // A time is whole seconds from now on, so it may be one more.
            let second = Duration::from_secs(1);
            assert!(again.retry.unwrap() <= wait + second, "{again:?}");
            assert!(again.retry.unwrap() > 10 * second, "{again:?}");
        }
        assert_eq!(server.heard().len(), 1);
        // Another installation has a limit of its own.
        let other = gateway
            .api
            .perform("elsewhere", "envoy.read", json!({"path": "/free"}));
        assert!(other.await.is_ok());
        // So has another server.
        let elsewhere = Server::start(INSIDE, |_| ok()).await;
        assert!(super::go(&gateway, &elsewhere.url).await.is_ok());
    }
}

#[tokio::test]
async fn when_the_wait_is_over_it_is_asked_again() {
    let (gateway, server) = limited(says("429 Slow\r\nretry-after: 1", b"")).await;
    fault(read(&gateway, "/").await);
    let until = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = read(&gateway, "/free").await {
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert!(tokio::time::Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn a_wait_that_is_not_said_is_none() {
    for head in [
        "429 Slow",
        "429 Slow\r\nretry-after: soon",
        "429 Slow\r\nretry-after: -5",
        "503 Busy",
        "429 Slow\r\nretry-after: 0",
        "200 OK\r\nretry-after: 100",
    ] {
        let (gateway, server) = limited(says(head, b"{}")).await;
        let _ = read(&gateway, "/").await;
        assert!(read(&gateway, "/free").await.is_ok(), "{head}");
        assert_eq!(server.heard().len(), 2);
    }
}

#[tokio::test]
async fn a_write_that_is_told_to_wait_may_be_repeated() {
    let (gateway, _server) = limited(says("429 Slow\r\nretry-after: 100", b"")).await;
    for _ in 0..2 {
        let said = fault(write(&gateway, "/").await);
        let reason = "PLATFORM_RATE_LIMITED";
        assert!(said.is(Code::ResourceExhausted, reason), "{said:?}");
    }
}

#[tokio::test]
async fn cookies_are_not_kept() {
    let server = Server::start(INSIDE, |_| says("200 OK\r\nset-cookie: a=b; path=/", b"{}")).await;
    let gateway = enabled(&server, |_| ()).await;
    for _ in 0..2 {
        read(&gateway, "/").await.unwrap();
    }
    let heard = server.heard();
    assert_eq!(heard.len(), 2);
    assert!(
        heard
            .iter()
            .all(|head| !head.to_lowercase().contains("cookie")),
        "{heard:?}"
    );
}

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let proxy = Server::start(INSIDE, |_| ok()).await;
    let platform = crate::fakes::cred().await;
    let home = Home::new();
    let names = [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ];
    let environment = names.map(|name| (name, proxy.url.as_str()));
    let program = Binary::serve_in(&home, &[], &environment);
    let api = program.api().await;
    api.community("commons").await;
    let config = json!({"server_url": platform.uri()});
    api.enable("commons", "sourcecred", config).await;
    assert!(proxy.heard().is_empty());
}

#[tokio::test]
async fn every_request_is_one_line_of_the_log_without_secrets() {
    let server = Server::start(INSIDE, |head| match head.contains("/canary-of-moving/") {
        true => super::server::moved(302, "/canary-of-the-path/output/accounts.json"),
        false => says(
            "200 OK\r\nx-canary: canary-of-the-answer",
            br#"{"accounts": []}"#,
        ),
    })
    .await;
    let home = Home::new();
    let program = Binary::serve(
        &home,
        &["--log", "info,metagov=trace,reqwest=trace,hyper_util=trace"],
    );
    let api = program.api().await;
    api.community("commons").await;
    let config = json!({"server_url": format!("{}/canary-of-moving", server.url)});
    let installation = api.enable("commons", "sourcecred", config).await;
    let log = program.terminate_with_log();
    let lines = log.iter().filter(|line| line.contains("asked a platform"));
    let lines: Vec<serde_json::Value> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
    // One for the redirect, and one for the file.
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, status) in lines.iter().zip([302, 200]) {
        assert_eq!(line["plugin"], "sourcecred");
        assert_eq!(line["installation_id"], installation.installation_id);
        assert_eq!(line["method"], "GET");
        assert_eq!(line["host"], server.url.replace("http://", ""));
        assert_eq!(line["status"], status);
        assert_eq!(line["bytes_out"], 0);
        assert!(
            line["millis"].is_number() && line["bytes_in"].is_number(),
            "{line}"
        );
    }
    assert_eq!(lines[1]["bytes_in"], 16);
    let leak = log.iter().find(|line| line.contains("canary"));
    assert_eq!(leak, None);
}

#[tokio::test]
async fn an_error_repeats_no_address() {
    let set = |config: &mut Config| config.outgoing.call_timeout = Duration::from_millis(300);
    let gateway = commons(set).await;
    let closed = Server::start(INSIDE, |_| ok()).await.url.clone();
    let slow = Server::start(INSIDE, |_| Answer::Waits).await;
    let config = json!({"server_url": slow.url, "asks": false});
    gateway.api.enable("commons", "envoy", config).await;
    for server in [
        &closed,
        &slow.url,
        "http://127.0.0.1:1",
        "https://nowhere.invalid",
    ] {
        let url = format!("{server}/canary-path?key=canary-query");
        let said = fault(super::go(&gateway, &url).await);
        assert!(!said.message.contains("canary"), "{said:?}");
        let said = fault(write(&gateway, "/canary-path?key=canary-query").await);
        assert!(!said.message.contains("canary"), "{said:?}");
        assert!(!said.message.contains(envoy::CANARY), "{said:?}");
    }
}
