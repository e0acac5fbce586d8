//! Platforms that sign nothing: the address is the secret, and what comes is a hint.

use serde_json::json;
use wiremock::{Mock, MockServer, matchers::path};

use super::{Site, plugins, send};
use crate::{
    fakes::{self, asked},
    harness::PATIENCE,
};

async fn site() -> (Site, MockServer) {
    let server = fakes::server().await;
    for (id, status) in [(1, "PAID"), (2, "PENDING")] {
        let expense = Mock::given(path(format!("/expenses/{id}")));
        let expense = expense.respond_with(fakes::ok(&json!({ "status": status })));
        expense.mount(&server).await;
    }
    let site = Site::of(plugins::treasury(), json!({ "url": server.uri() })).await;
    (site, server)
}

fn paid(expense: u64) -> String {
    json!({ "type": "expense.paid", "expense": expense }).to_string()
}

#[tokio::test]
async fn a_wrong_slug_is_answered_byte_for_byte_as_an_unknown_hook() {
    let (site, server) = site().await;
    let address = site.installation.webhook_url.clone();
    let slug = address.rsplit('/').next().unwrap();
    assert_eq!(slug.len(), 32, "128 bits");
    let first = if slug.starts_with('0') { '1' } else { '0' };
    let near = format!("{first}{}", &slug[1..]);
    let hooks = format!("{}/api/hooks", site.gateway.public);
    let unknown = send(&format!("{hooks}/nowhere/nothing/{slug}"), &[], paid(1)).await;
    assert_eq!(unknown.fault(), (404, "WEBHOOK_NOT_FOUND".to_owned()));
    for at in [
        format!("commons/treasury/{near}"),
        format!("commons/treasury/{}", &slug[..31]),
        format!("commons/treasury/{slug}0"),
        format!(
            "commons/treasury/{}",
            slug.to_uppercase()
                .replace(|c: char| c.is_ascii_digit(), "A")
        ),
        "commons/treasury/%00".to_owned(),
        "commons/treasury".to_owned(),
        "treasury".to_owned(),
        format!("commons/octo/{slug}"),
        format!("elsewhere/treasury/{slug}"),
    ] {
        let answer = send(&format!("{hooks}/{at}"), &[], paid(1)).await;
        assert_eq!(answer, unknown, "{at}");
    }
    site.is_untouched().await;
    assert_eq!(asked(&server, "GET", "/expenses/1").await, 0);
}

#[tokio::test]
async fn a_forged_payment_emits_nothing_unless_the_platform_shows_it() {
    let (site, server) = site().await;
    let mut watcher = site.gateway.api.watch().await;
    for expense in [2, 3, 1] {
        let answer = site.send(&[], paid(expense)).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{expense}");
    }
    // The one that is so is an event, and it is the only one: the others were asked for.
    let event = watcher.next().await;
    let metagov_proto::v1::event::Payload::Platform(event) = event.payload.unwrap() else {
        panic!()
    };
    assert_eq!(event.event_type, "treasury.paid");
    let until = tokio::time::Instant::now() + PATIENCE;
    for at in ["/expenses/2", "/expenses/3"] {
        while asked(&server, "GET", at).await == 0 {
            assert!(tokio::time::Instant::now() < until, "{at} is not asked for");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    assert_eq!(site.reported().await, [json!({ "text": "1" })]);
}
