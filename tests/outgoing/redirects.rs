//! Redirects: how many are followed, where to, and what goes along.

use serde_json::json;
use tonic::Code;

use super::{
    INSIDE, OUTSIDE, enabled,
    envoy::CANARY,
    only_outside, read,
    server::{Answer, Identity, Server, moved, ok, says},
    write,
};
use crate::harness::{Binary, Fault, Home, fault};

#[track_caller]
fn is_rejected(said: &Fault, status: u16) {
    let what = (Code::FailedPrecondition, "PLATFORM_REJECTED");
    assert!(said.is(what.0, what.1), "{said:?}");
    assert_eq!(said.metadata["platform_status"], status.to_string());
}

/// A server where `/n` leads to `/n-1`, and `/0` is there.
async fn stairs() -> Server {
    Server::start(OUTSIDE, |head| {
        let step = head.split([' ', '/']).nth(2).unwrap_or_default();
        match step.parse::<u32>() {
            Ok(step @ 1..) => moved(302, &format!("/{}", step - 1)),
            _ => ok(),
        }
    })
    .await
}

#[tokio::test]
async fn so_many_redirects_are_followed_and_no_more() {
    for most in [3, 0] {
        let server = stairs().await;
        let gateway = enabled(&server, |config| {
            only_outside(config);
            config.outgoing.max_redirects = most;
        })
        .await;
        assert!(read(&gateway, &format!("/{most}")).await.is_ok());
        let asked = usize::from(most) + 1;
        assert_eq!(server.heard().len(), asked);
        is_rejected(&fault(read(&gateway, &format!("/{}", most + 1)).await), 302);
        assert_eq!(server.heard().len(), 2 * asked);
        // On the same server everything goes along.
        assert!(server.heard().iter().all(|head| head.contains(CANARY)));
    }
}

#[tokio::test]
async fn a_loop_ends() {
    let server = Server::start(OUTSIDE, |_| moved(301, "/again")).await;
    let gateway = enabled(&server, only_outside).await;
    is_rejected(&fault(read(&gateway, "/").await), 301);
    assert_eq!(server.heard().len(), 4);
}

#[tokio::test]
async fn no_redirect_leads_inside() {
    let canary = Server::start(INSIDE, |_| ok()).await;
    for host in [
        "127.0.0.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "localhost",
        "inside.test",
    ] {
        for scheme in ["http", "https"] {
            let location = format!("{scheme}://{host}:{}/", canary.port);
            let to = location.clone();
            let server = Server::start(OUTSIDE, move |_| moved(302, &to)).await;
            let gateway = enabled(&server, |config| {
                only_outside(config);
                config.outgoing.resolver = super::names(&[("inside.test", &[INSIDE])]);
            })
            .await;
            let said = fault(read(&gateway, "/").await);
            let refused = said.is(Code::FailedPrecondition, "ADDRESS_NOT_ALLOWED");
            // What is not even followed is the platform's refusal.
            let kept = said.is(Code::FailedPrecondition, "PLATFORM_REJECTED");
            assert!(
                refused || kept && host == "inside.test",
                "{location}: {said:?}"
            );
            assert_eq!(server.heard().len(), 1);
        }
    }
    assert!(canary.heard().is_empty());
}

#[tokio::test]
async fn no_redirect_leads_to_what_only_the_operators_settings_allow() {
    let inside = Server::start(INSIDE, |_| ok()).await;
    let to = format!("{}/admin", inside.url);
    let server = Server::start(OUTSIDE, move |_| moved(302, &to)).await;
    let gateway = enabled(&server, |config| {
        only_outside(config);
        let named = [("note".to_owned(), inside.url.clone().into())];
        config
            .operator
            .insert("envoy".into(), named.into_iter().collect());
    })
    .await;
    let said = fault(read(&gateway, "/").await);
    assert!(
        said.is(Code::FailedPrecondition, "ADDRESS_NOT_ALLOWED"),
        "{said:?}"
    );
    assert!(inside.heard().is_empty());
}

#[tokio::test]
async fn no_redirect_leads_to_another_server_over_http() {
    let other = Server::start(OUTSIDE, |_| ok()).await;
    for status in [301, 302, 303, 307, 308] {
        let to = other.url.clone();
        let server = Server::start(OUTSIDE, move |_| moved(status, &to)).await;
        let gateway = enabled(&server, only_outside).await;
        is_rejected(&fault(read(&gateway, "/").await), status);
    }
    assert!(other.heard().is_empty());
}

#[tokio::test]
async fn what_may_write_is_sent_once() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start(OUTSIDE, move |_| moved(status, "/elsewhere")).await;
        let gateway = enabled(&server, only_outside).await;
        is_rejected(&fault(write(&gateway, "/here").await), status);
        let heard = server.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(heard[0].starts_with("POST /here "), "{heard:?}");
    }
}

/// What a forum says to set-up.
fn forum(head: &str) -> Answer {
    let body = match head.split([' ', '?']).nth(1).unwrap_or_default() {
        "/about.json" => json!({"about": {"title": "The garden"}}),
        "/admin/users/list/active.json" => json!([]),
        _ => json!({"directory_items": [], "user_fields": []}),
    };
    says("200 OK", body.to_string().as_bytes())
}

#[tokio::test]
async fn another_server_is_asked_without_our_secrets_and_only_to_read() {
    let identity = Identity::new();
    let other = Server::start_tls(&identity, forum).await;
    let to = other.url.clone();
    let first = Server::start_tls(&identity, move |head| {
        moved(302, &format!("{to}{}", head.split(' ').nth(1).unwrap()))
    })
    .await;
    let home = Home::new();
    let trusted = home.path().join("trusted.pem");
    std::fs::write(&trusted, &identity.certificate).unwrap();
    // Where the system's certificates are looked for.
    let environment = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
    let program = Binary::serve_in(&home, &[], &environment);
    let api = program.api().await;
    api.community("commons").await;
    let config = json!({
        "server_url": first.url, "api_key": "canary-key", "api_username": "canary-name",
        "webhook_secret": "canary-secret",
    });
    api.enable("commons", "discourse", config).await;
    assert!(first.heard().iter().all(|head| head.contains("canary-key")));
    let count = other.heard().len();
    assert_eq!((first.heard().len(), count), (4, 4));
    for head in other.heard() {
        let head = head.to_lowercase();
        assert!(!head.contains("canary") && !head.contains("api-"), "{head}");
        assert!(!head.contains("referer"), "{head}");
        assert!(head.contains("accept: application/json"), "{head}");
    }
    let post = api.perform(
        "commons",
        "discourse.create-post",
        json!({"raw": "I agree", "topic_id": 9}),
    );
    is_rejected(&fault(post.await), 302);
    assert_eq!((first.heard().len(), other.heard().len()), (5, count));
}

#[tokio::test]
async fn no_redirect_leads_from_https_to_http() {
    let identity = Identity::new();
    let plain = Server::start(INSIDE, forum).await;
    let to = plain.url.clone();
    let first = Server::start_tls(&identity, move |_| moved(307, &to)).await;
    let home = Home::new();
    let trusted = home.path().join("trusted.pem");
    std::fs::write(&trusted, &identity.certificate).unwrap();
    let environment = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
    let program = Binary::serve_in(&home, &[], &environment);
    let api = program.api().await;
    api.community("commons").await;
    let config = json!({"server_url": first.url});
    is_rejected(
        &fault(api.try_enable("commons", "sourcecred", config).await),
        307,
    );
    assert_eq!((first.heard().len(), plain.heard().len()), (1, 0));
}
