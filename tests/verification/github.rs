//! Hooks signed as GitHub signs.

use serde_json::json;

use super::{Site, digest, plugins, send, unsigned};

const SECRET: &str = "it stays between us";
const BODY: &str = r#"{ "text": "投票 ✓", "id": 1 }"#;

async fn site() -> Site {
    Site::of(plugins::github(), json!({ "secret": SECRET })).await
}

fn signature(body: &str) -> String {
    format!("sha256={}", digest(SECRET, body.as_bytes()))
}

#[tokio::test]
async fn a_github_hook_with_anything_but_its_own_signature_is_refused() {
    let site = site().await;
    let good = signature(BODY);
    let digits = &good["sha256=".len()..];
    let reserialised: serde_json::Value = serde_json::from_str(BODY).unwrap();
    let of_reserialised = signature(&reserialised.to_string());
    let sha1 = "sha1=0123456789012345678901234567890123456789";
    let with = |value: &str| vec![("X-Hub-Signature-256", value.to_owned())];
    let table = [
        ("no signature", vec![]),
        ("SHA-1 only", vec![("X-Hub-Signature", sha1.to_owned())]),
        ("SHA-1 in its place", with(sha1)),
        ("63 hex digits", with(&good[..good.len() - 1])),
        ("62 hex digits", with(&good[..good.len() - 2])),
        ("65 hex digits", with(&format!("{good}0"))),
        ("of the body written otherwise", with(&of_reserialised)),
        (
            "of another secret",
            with(&format!("sha256={}", digest("guess", BODY.as_bytes()))),
        ),
        (
            "of no secret",
            with(&format!("sha256={}", digest("", BODY.as_bytes()))),
        ),
        (
            "upper case",
            with(&format!("sha256={}", digits.to_uppercase())),
        ),
        ("no prefix", with(digits)),
        ("empty", with("")),
        ("a prefix alone", with("sha256=")),
        ("two in one", with(&format!("{good},{good}"))),
        ("twice", [with(&good), with(&good)].concat()),
        ("a second one", [with(&good), with("sha256=00")].concat()),
        (
            "a second one before it",
            [with("sha256=00"), with(&good)].concat(),
        ),
    ];
    for (what, headers) in table {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        for to in site.addresses() {
            let answer = send(&to, &headers, BODY).await;
            assert_eq!(answer.fault(), unsigned(), "{what}");
        }
    }
    let changed = BODY.replace('1', "2");
    let answer = site.send(&[("X-Hub-Signature-256", &good)], changed).await;
    assert_eq!(answer.fault(), unsigned());
    site.is_untouched().await;
    for to in site.addresses() {
        let answer = send(&to, &[("X-Hub-Signature-256", &good)], BODY).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    assert_eq!(site.reported().await, [json!({ "text": "投票 ✓" })]);
}

#[tokio::test]
async fn an_installation_without_a_secret_takes_nothing() {
    let site = Site::of(plugins::github(), json!({})).await;
    let empty = format!("sha256={}", digest("", BODY.as_bytes()));
    for headers in [vec![], vec![("X-Hub-Signature-256", empty.as_str())]] {
        for to in site.addresses() {
            let answer = send(&to, &headers, BODY).await;
            assert_eq!(answer.fault(), unsigned());
        }
    }
    site.is_untouched().await;
}

#[tokio::test]
async fn a_replay_with_a_new_delivery_id_makes_no_second_event() {
    let site = site().await;
    let good = signature(BODY);
    for (delivery, event) in [
        ("1", "push"),
        ("1", "push"),
        ("2", "push"),
        ("3", "fork"),
        ("", ""),
    ] {
        let headers = [
            ("X-Hub-Signature-256", good.as_str()),
            ("X-GitHub-Delivery", delivery),
            ("X-GitHub-Event", event),
        ];
        for to in site.addresses() {
            assert_eq!(send(&to, &headers, BODY).await.status, 200, "{delivery}");
        }
    }
    assert_eq!(site.deliveries().await.len(), 1);
    assert_eq!(site.reported().await.len(), 1);
    // Another body is another hook, whatever its id says.
    let other = BODY.replace('1', "2");
    let headers = [
        ("X-Hub-Signature-256", &*signature(&other)),
        ("X-GitHub-Delivery", "1"),
    ];
    assert_eq!(site.send(&headers, other).await.status, 200);
    assert_eq!(site.reported().await.len(), 2);
}
