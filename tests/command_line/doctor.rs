//! `metagov doctor`: what is right, and what to do about what is not.

use serde_json::Value;

use super::{run, run_as, run_with, with};
use crate::harness::Gateway;

fn state<'a>(report: &'a Value, check: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|it| it["check"] == check);
    found.unwrap_or_else(|| panic!("{check}: {report}"))["state"]
        .as_str()
        .unwrap()
}

#[tokio::test]
async fn a_gateway_that_is_well_has_nothing_to_do() {
    let gateway = with(&["randomness"]).await;
    let report = run(&gateway, &["doctor", "--output", "json"]).await.json();
    for check in ["endpoint", "TLS", "token", "version", "clock", "database"] {
        assert_eq!(state(&report, check), "right", "{report}");
    }
    assert_eq!(state(&report, "randomness in co-op"), "right");
    let out = run(&gateway, &["doctor"]).await.done();
    assert_eq!(out.lines().count(), 7, "{out}");
    assert!(out.lines().all(|line| line.starts_with("right ")), "{out}");
}

#[tokio::test]
async fn no_gateway_and_a_wrong_token_have_exit_codes_of_their_own() {
    let gateway = Gateway::start().await;
    let ran = run_as(&gateway, "mgv_wrong_0123456789", &["doctor"]).await;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.out.contains("token create"), "{ran:?}");
    assert!(!ran.out.contains("mgv_wrong"), "{ran:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let ran = run_with(&["doctor", "--endpoint", &endpoint], &[]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.out.contains("is the gateway running"), "{ran:?}");
}
