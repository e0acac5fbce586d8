//! `metagov delivery` and `metagov webhook`.

use std::time::SystemTime;

use metagov_proto::v1::{GetInstallationRequest, Installation};
use serde_json::{Value, json};
use wiremock::MockServer;

use super::{UNKNOWN, list, nothing, run};
use crate::{fakes::http, harness::Gateway, stage};

/// A gateway whose community has a stage.
async fn with_stage() -> (Gateway, MockServer, Installation) {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    let config = json!({ "url": theatre.uri() });
    let made = gateway.api.enable("co-op", "stage", config).await;
    (gateway, theatre, made)
}

/// A hook of the stage: the status that it gets.
async fn staged(url: &str, body: &Value) -> u16 {
    let hook = http().post(url).body(body.to_string());
    hook.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn deliveries_are_listed_for_people_and_for_scripts() {
    let (gateway, _theatre, made) = with_stage().await;
    let of = ["delivery", "list", "--community", "co-op"];
    assert_eq!(run(&gateway, &of).await.rows(), Vec::<Vec<String>>::new());
    // The first fails, since the curtain is down.
    for scene in [0, 3] {
        let status = staged(&made.webhook_url, &json!({ "scene": scene })).await;
        assert_eq!(status, 200);
    }
    let rows = run(&gateway, &of).await.rows();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0][1..3], [&made.installation_id, "done"]);
    assert_eq!(rows[1][1..3], [&made.installation_id, "pending"]);
    assert_eq!(rows[0][4..], ["1", "-", "-"]);
    assert!(rows[1][6].contains("the curtain is down"), "{rows:?}");

    let json = [&of[..], &["--output", "json"]].concat();
    let answer = run(&gateway, &json).await.json();
    let found = list(&answer, "deliveries");
    assert_eq!(found[0]["deliveryId"], rows[0][0]);
    assert_eq!(found[0]["state"], "DELIVERY_STATE_DONE");
    assert_eq!(found[1]["attemptCount"], 1);
    for flags in [
        &["--limit", "1"][..],
        &["--state", "pending"],
        &["--state", "parked", "--state", "done"],
    ] {
        let rows = run(&gateway, &[&of, flags].concat()).await.rows();
        assert_eq!(rows.len(), 1, "{flags:?}");
    }
    let both = ["--installation", &made.installation_id];
    let rows = run(&gateway, &[&of[..], &both].concat()).await.rows();
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn a_parked_delivery_is_tried_again() {
    let (gateway, _theatre, made) = with_stage().await;
    staged(&made.webhook_url, &json!({ "scene": 0 })).await;
    let of = ["delivery", "list", "--community", "co-op"];
    let id = run(&gateway, &of).await.rows()[0][0].clone();
    let retry = ["delivery", "retry", &id];
    let said = loop {
        let said = run(&gateway, &retry).await.line();
        if said != format!("delivery {id} pending") {
            break said;
        }
    };
    assert_eq!(said, format!("delivery {id} parked"));
    let parked = [&of[..], &["--state", "parked"]].concat();
    assert_eq!(run(&gateway, &parked).await.rows()[0][0], id);
    // Once the cause is mended, it is done.
    let show = json!({ "scene": 3 });
    let shown = gateway.api.perform("co-op", "stage.show", show).await;
    shown.unwrap();
    let json = [&retry[..], &["--output", "json"]].concat();
    let answer = run(&gateway, &json).await.json();
    assert_eq!(answer["delivery"]["deliveryId"], id);
    assert_eq!(answer["delivery"]["state"], "DELIVERY_STATE_DONE");
    assert!(nothing(&answer["delivery"]["problem"]), "{answer}");
}

#[tokio::test]
async fn a_new_address_is_alone_on_the_standard_output() {
    let (gateway, _theatre, made) = with_stage().await;
    let scene = json!({ "scene": 3 });
    let rotate = ["webhook", "rotate", &made.installation_id];
    let ran = run(&gateway, &rotate).await;
    assert!(ran.error.contains("the old address has ended"), "{ran:?}");
    let second = ran.line();
    assert_ne!(second, made.webhook_url);
    assert_eq!(staged(&made.webhook_url, &scene).await, 404);
    assert_eq!(staged(&second, &scene).await, 200);

    let keep = [&rotate[..], &["--keep-old", "1h"]].concat();
    let ran = run(&gateway, &keep).await;
    assert!(
        ran.error.contains("the old address works until "),
        "{ran:?}"
    );
    let third = ran.line();
    let again = json!({ "scene": 4 });
    assert_eq!(staged(&second, &again).await, 200);
    assert_eq!(staged(&third, &again).await, 200);
    let get = GetInstallationRequest {
        installation_id: made.installation_id.clone(),
    };
    let shown = gateway.api.plugins().get_installation(get).await.unwrap();
    assert_eq!(shown.into_inner().installation.unwrap().webhook_url, third);

    let json = [&rotate[..], &["--output", "json"]].concat();
    let answer = run(&gateway, &json).await.json();
    let url = answer["installation"]["webhookUrl"].as_str().unwrap();
    assert_eq!(staged(url, &json!({ "scene": 5 })).await, 200);
}

#[tokio::test]
async fn an_old_address_is_kept_for_as_long_as_asked() {
    let (gateway, _theatre, made) = with_stage().await;
    let before = SystemTime::now();
    let args = [
        "webhook",
        "rotate",
        &made.installation_id,
        "--keep-old",
        "2h",
    ];
    let ran = run(&gateway, &args).await;
    let until = ran.error.trim().rsplit(' ').next().unwrap();
    let until: jiff::Timestamp = until.parse().unwrap();
    let kept = SystemTime::from(until).duration_since(before).unwrap();
    assert!((7_190..7_300).contains(&kept.as_secs()), "{kept:?}");
}

#[tokio::test]
async fn unknown_ids_are_refused() {
    let (gateway, _theatre, _) = with_stage().await;
    for (args, reason) in [
        (&["delivery", "retry", UNKNOWN][..], "DELIVERY_NOT_FOUND"),
        (&["delivery", "retry", "5"], "delivery_id: "),
        (&["webhook", "rotate", UNKNOWN], "INSTALLATION_NOT_FOUND"),
        (&["webhook", "rotate", "5"], "installation_id: "),
        (
            &["delivery", "list", "--community", "nobody"],
            "COMMUNITY_NOT_FOUND",
        ),
        (
            &[
                "delivery",
                "list",
                "--community",
                "co-op",
                "--installation",
                UNKNOWN,
            ],
            "INSTALLATION_NOT_FOUND",
        ),
    ] {
        run(&gateway, args).await.failed(4, &[reason]);
    }
    let ballot = gateway.api.enable("co-op", "ballot", json!({})).await;
    let args = ["webhook", "rotate", &ballot.installation_id];
    let refused = run(&gateway, &args).await;
    refused.failed(4, &["UNSUPPORTED_BY_PLUGIN"]);
}
