//! Where requests may go: looked at when it is configured, and whenever it is used.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use metagov::config::Resolver;
use metagov_proto::v1::{ListInstallationsRequest, UpdateInstallationRequest, event::Payload};
use serde_json::{Value, json};
use tonic::Code;

use super::{
    INSIDE, OUTSIDE, commons, enabled, envoy, go, names, only_outside, read,
    server::{Server, ok},
};
use crate::harness::{Fault, Gateway, fault, object};

/// Spellings of 127.0.0.1 and of other inside addresses, without a port.
const SPELLINGS: [&str; 26] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "0",
    "localhost",
    "LOCALHOST.",
    "canary.localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "169.254.169.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "224.0.0.1",
];

#[track_caller]
fn is_refused(said: &Fault, what: &str) {
    assert!(
        said.is(Code::FailedPrecondition, "ADDRESS_NOT_ALLOWED"),
        "{what}: {said:?}"
    );
    // And no more than that.
    assert_eq!(said.message, "address not allowed", "{what}");
    let metadata: Vec<_> = said.metadata.iter().collect();
    assert_eq!(
        metadata,
        [(&"plugin".to_owned(), &"envoy".to_owned())],
        "{what}"
    );
    assert_eq!((&said.fields, said.retry), (&vec![], None), "{what}");
}

async fn enable(gateway: &Gateway, url: &str, asks: bool) -> Result<(), tonic::Status> {
    let config = json!({"server_url": url, "asks": asks});
    let enabled = gateway.api.try_enable("commons", "envoy", config).await;
    enabled.map(drop)
}

async fn has_nothing(gateway: &Gateway) {
    let request = ListInstallationsRequest {
        community_id: "commons".into(),
        ..Default::default()
    };
    let left = gateway.api.plugins().list_installations(request).await;
    assert!(left.unwrap().into_inner().installations.is_empty());
    let log = gateway.api.log().await;
    let only: Vec<_> = log.iter().map(|event| event.payload.as_ref()).collect();
    assert!(
        matches!(only[..], [Some(Payload::CommunityChanged(_))]),
        "{only:?}"
    );
}

#[tokio::test]
async fn an_inside_address_is_refused_when_it_is_configured() {
    let canary = Server::start(INSIDE, |_| ok()).await;
    let gateway = commons(only_outside).await;
    for host in SPELLINGS {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{}/", canary.port);
            // Whether set-up asks there or not.
            for asks in [true, false] {
                is_refused(&fault(enable(&gateway, &url, asks).await), &url);
            }
        }
    }
    has_nothing(&gateway).await;
    assert_eq!(canary.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn an_inside_address_is_refused_when_it_is_used() {
    let canary = Server::start(INSIDE, |_| ok()).await;
    let outside = Server::start(OUTSIDE, |_| ok()).await;
    let gateway = enabled(&outside, only_outside).await;
    assert!(go(&gateway, &outside.url).await.is_ok());
    for host in SPELLINGS {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{}/", canary.port);
            is_refused(&fault(go(&gateway, &url).await), &url);
        }
    }
    for url in [
        format!("http://ada:word@{OUTSIDE}:{}/", outside.port),
        "file:///etc/passwd".to_owned(),
        "ftp://platform.example/".to_owned(),
    ] {
        is_refused(&fault(go(&gateway, &url).await), &url);
    }
    assert_eq!((canary.heard().len(), outside.heard().len()), (0, 1));
}

#[tokio::test]
async fn an_update_cannot_lead_inside() {
    let outside = Server::start(OUTSIDE, |_| ok()).await;
    let gateway = commons(only_outside).await;
    let config = json!({"server_url": outside.url, "asks": false});
    let installation = gateway.api.enable("commons", "envoy", config).await;
    let before = gateway.api.log().await.len();
    for patch in [
        json!({"server_url": "http://127.0.0.1"}),
        json!({"server_url": "https://169.254.169.254/latest"}),
        json!({"mirrors": [{"of": "https://[::ffff:10.0.0.1]"}]}),
    ] {
        let request = UpdateInstallationRequest {
            installation_id: installation.installation_id.clone(),
            config_patch: object(patch.clone()),
            ..Default::default()
        };
        let updated = gateway.api.plugins().update_installation(request).await;
        is_refused(&fault(updated), &patch.to_string());
    }
    assert_eq!(gateway.api.log().await.len(), before);
    assert!(read(&gateway, "/still-there").await.is_ok());
}

#[tokio::test]
async fn http_is_refused_unless_the_operator_allows_it() {
    let outside = Server::start(OUTSIDE, |_| ok()).await;
    let gateway = commons(|config| {
        only_outside(config);
        config.outgoing.allow_http = false;
    })
    .await;
    for url in [
        &outside.url[..],
        "http://platform.example",
        "HTTP://1.1.1.1",
    ] {
        is_refused(&fault(enable(&gateway, url, false).await), url);
    }
    has_nothing(&gateway).await;
    assert!(outside.heard().is_empty());
}

#[tokio::test]
async fn an_address_with_a_password_is_refused_by_its_place() {
    let gateway = commons(only_outside).await;
    for url in [
        "https://ada:canary@platform.example",
        "https://canary@127.0.0.1",
    ] {
        let said = fault(enable(&gateway, url, false).await);
        assert!(said.is(Code::InvalidArgument, "INVALID_FIELD"), "{said:?}");
        assert_eq!(said.fields, ["config/server_url"]);
        assert!(!said.message.contains("canary"), "{said:?}");
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_both_kinds_is_refused() {
    let [outside, inside] = Server::pair([OUTSIDE, INSIDE]).await;
    let gateway = commons(|config| {
        only_outside(config);
        config.outgoing.resolver = names(&[
            ("good.test", &[OUTSIDE]),
            ("inside.test", &[INSIDE]),
            ("both.test", &[OUTSIDE, INSIDE]),
            ("too.test", &[INSIDE, OUTSIDE]),
            ("mapped.test", &[OUTSIDE, "::ffff:127.0.0.1"]),
            ("six.test", &[OUTSIDE, "fd00:ec2::254"]),
        ]);
    })
    .await;
    let at = |name: &str| format!("http://{name}:{}", outside.port);
    let bad = [
        "inside.test",
        "both.test",
        "too.test",
        "mapped.test",
        "six.test",
    ];
    for name in bad {
        for asks in [true, false] {
            is_refused(&fault(enable(&gateway, &at(name), asks).await), name);
        }
    }
    has_nothing(&gateway).await;
    enable(&gateway, &at("good.test"), true).await.unwrap();
    for name in bad {
        is_refused(&fault(go(&gateway, &at(name)).await), name);
    }
    assert_eq!((outside.heard().len(), inside.heard().len()), (1, 0));
}

/// What a name stands for, one answer for each time it is asked, and how often it was.
fn changing(answers: &'static [&'static str]) -> (Resolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let resolver = Resolver(Some(Arc::new(move |_| {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        let address: IpAddr = answers[turn % answers.len()].parse().unwrap();
        Some(vec![address])
    })));
    (resolver, asked)
}

#[tokio::test]
async fn a_name_that_later_leads_inside_is_refused_when_it_is_used() {
    let [outside, inside] = Server::pair([OUTSIDE, INSIDE]).await;
    // When it is configured, and by set-up; then inside.
    let (resolver, asked) = changing(&[OUTSIDE, OUTSIDE, INSIDE]);
    let gateway = commons(|config| {
        only_outside(config);
        config.outgoing.resolver = resolver;
    })
    .await;
    let url = format!("http://rebinding.test:{}", outside.port);
    enable(&gateway, &url, true).await.unwrap();
    is_refused(&fault(read(&gateway, "/").await), "read");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!((outside.heard().len(), inside.heard().len()), (1, 0));
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    let [outside, inside] = Server::pair([OUTSIDE, INSIDE]).await;
    let (resolver, asked) = changing(&[OUTSIDE, INSIDE]);
    let gateway = commons(|config| {
        only_outside(config);
        config.outgoing.resolver = resolver;
    })
    .await;
    // Set-up does not ask: the first look is that at the configuration.
    let url = format!("http://flipping.test:{}", outside.port);
    enable(&gateway, &url, false).await.unwrap();
    for turn in 1..9 {
        let answer = read(&gateway, "/").await;
        // One request is one look, so a second one cannot say anything else.
        assert_eq!(asked.load(Ordering::SeqCst), turn + 1);
        match turn % 2 {
            0 => assert_eq!(answer.unwrap(), json!({})),
            _ => is_refused(&fault(answer), "inside"),
        }
    }
    assert_eq!((outside.heard().len(), inside.heard().len()), (4, 0));
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_no_address_that_is_not_allowed() {
    let gateway = commons(|config| {
        only_outside(config);
        config.outgoing.resolver = names(&[("empty.test", &[])]);
    })
    .await;
    // Not needed now, so it may be configured before it is there.
    enable(&gateway, "https://empty.test", false).await.unwrap();
    let said = fault(read(&gateway, "/").await);
    assert!(
        said.is(Code::Unavailable, "PLATFORM_UNAVAILABLE"),
        "{said:?}"
    );
}

/// A setting of the operator's that names an address.
fn named(url: &str) -> serde_json::Map<String, Value> {
    [("api_url".to_owned(), json!(url))].into_iter().collect()
}

#[tokio::test]
async fn an_address_that_the_operators_settings_name_is_allowed() {
    let inside = Server::start(INSIDE, |_| ok()).await;
    let other = Server::start(INSIDE, |_| ok()).await;
    let gateway = commons(|config| {
        config.outgoing.allow_http = false;
        config.outgoing.allow_cidr = vec![];
        config.operator.insert("envoy".into(), named(&inside.url));
        config.outgoing.resolver = names(&[("forum.test", &["93.184.215.14"])]);
    })
    .await;
    enable(&gateway, "https://forum.test", true).await.unwrap();
    assert!(read(&gateway, "/a").await.is_ok());
    assert_eq!(inside.heard().len(), 2);
    // The server that it names, and no other.
    for url in [
        &other.url,
        &inside.url.replace("http:", "https:"),
        &inside.url.replace(INSIDE, OUTSIDE),
        &inside.url.replace(INSIDE, "localhost"),
    ] {
        is_refused(&fault(go(&gateway, url).await), url);
        is_refused(&fault(enable(&gateway, url, false).await), url);
    }
    assert_eq!((inside.heard().len(), other.heard().len()), (2, 0));
}

#[tokio::test]
async fn what_the_operator_names_for_one_plugin_is_closed_to_others() {
    let inside = Server::start(INSIDE, |_| {
        // The connection stays open, for whoever may use it.
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        super::server::Answer::Says(text.to_vec())
    })
    .await;
    let url = format!("http://forum.inside:{}", inside.port);
    let plugins = vec![envoy::plugin("envoy"), envoy::plugin("rival")];
    let set = |config: &mut metagov::config::Config| {
        only_outside(config);
        config.operator.insert("rival".into(), named(&url));
        config.outgoing.resolver = names(&[("forum.inside", &[INSIDE])]);
    };
    let gateway = Gateway::start_with(set, plugins).await;
    gateway.api.community("commons").await;
    let config = json!({"server_url": "https://platform.example", "asks": true});
    gateway.api.enable("commons", "rival", config).await;
    is_refused(&fault(enable(&gateway, &url, false).await), "configured");
    let config = json!({"server_url": format!("http://{OUTSIDE}"), "asks": false});
    gateway.api.enable("commons", "envoy", config).await;
    is_refused(&fault(go(&gateway, &url).await), "used");
    assert_eq!(inside.heard().len(), 1);
}

#[tokio::test]
async fn a_failed_enable_frees_its_request_id() {
    let outside = Server::start(OUTSIDE, |_| ok()).await;
    let (resolver, _) = changing(&[INSIDE, OUTSIDE]);
    let gateway = commons(|config| {
        only_outside(config);
        config.outgoing.resolver = resolver;
    })
    .await;
    let enable = || {
        let url = format!("http://moving.test:{}", outside.port);
        let request = metagov_proto::v1::EnablePluginRequest {
            community_id: "commons".into(),
            plugin: "envoy".into(),
            config: object(json!({"server_url": url, "asks": false})),
            request_id: "once".into(),
        };
        let mut plugins = gateway.api.plugins();
        async move { plugins.enable_plugin(request).await }
    };
    is_refused(&fault(enable().await), "inside");
    assert!(enable().await.is_ok());
}
