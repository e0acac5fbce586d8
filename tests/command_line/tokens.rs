//! `metagov token`, and who may call.

use std::{fs, os::unix::fs::PermissionsExt, time::SystemTime};

use serde_json::{Value, json};

use super::{FOR_ADMINS, Ran, VERBS, list, nothing, run, run_as, run_with};
use crate::harness::Gateway;

async fn tokens(gateway: &Gateway) -> Vec<Value> {
    let answer = run(gateway, &["token", "list", "--output", "json"]).await;
    list(&answer.json(), "tokens").to_vec()
}

/// The token's id, as it stands in it.
fn id(secret: &str) -> &str {
    secret.split('_').nth(1).expect("mg_<id>_…")
}

#[tokio::test]
async fn the_token_of_the_data_folder_is_found() {
    let gateway = Gateway::start().await;
    let file = gateway.data().join("admin.token");
    let secret = fs::read_to_string(&file).unwrap();
    let rows = run(&gateway, &["token", "list"]).await.rows();
    assert!(rows.iter().any(|row| row[0] == id(&secret)), "{rows:?}");

    // One that is given goes before it, a flag before a variable.
    let endpoint = gateway.endpoint();
    let data = gateway.data();
    let variables = [
        ("METAGOV_ENDPOINT", endpoint.as_str()),
        ("METAGOV_DATA_DIR", data.to_str().unwrap()),
        ("METAGOV_TOKEN", "mg_wrong"),
    ];
    let ran = run_with(&["token", "list"], &variables).await;
    ran.failed(4, &["TOKEN_INVALID"]);
    let args = ["token", "list", "--token", secret.trim()];
    run_with(&args, &variables).await.done();
}

#[tokio::test]
async fn who_has_no_token_is_told_where_one_comes_from() {
    let gateway = Gateway::start().await;
    let endpoint = gateway.endpoint();
    for verb in VERBS {
        let args = [verb, &["--endpoint", &endpoint, "--data-dir", "no/such"]].concat();
        let words = [
            "METAGOV_TOKEN",
            "--token",
            "admin.token",
            "metagov token create",
        ];
        run_with(&args, &[]).await.failed(4, &words);
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_not_repeated() {
    let gateway = Gateway::start().await;
    let secret = fs::read_to_string(gateway.data().join("admin.token")).unwrap();
    let secret = secret.trim();
    let long = "x".repeat(4000);
    let cut = &secret[..secret.len() - 1];
    for wrong in [
        "s3cret",
        cut,
        &long,
        "two words",
        "line\nbreak",
        "\u{fc}ber",
    ] {
        let args = ["token", "list", "--token", wrong];
        let error = run(&gateway, &args).await.failed(4, &["--token"]);
        assert!(!error.contains(wrong), "{error}");
    }
    let ran = run(&gateway, &["token", "list", "--token", ""]).await;
    ran.failed(4, &["--token (METAGOV_TOKEN): "]);
    // A file that holds no token is named.
    fs::write(gateway.data().join("admin.token"), "two words\n").unwrap();
    let ran = run(&gateway, &["token", "list"]).await;
    ran.failed(4, &["admin.token: "]);
}

#[tokio::test]
async fn a_new_secret_is_alone_on_the_standard_output_and_works() {
    let gateway = Gateway::start().await;
    let args = [
        "token",
        "create",
        "--role",
        "admin",
        "--name",
        "The steward's",
    ];
    let ran = run(&gateway, &args).await;
    assert!(
        ran.error.contains("admin in every community, for ever"),
        "{ran:?}"
    );
    let secret = ran.line();
    assert!(secret.starts_with("mg_"), "{secret}");
    let rows = run_as(&gateway, &secret, &["token", "list"]).await.rows();
    let row = rows.iter().find(|row| row[0] == id(&secret)).unwrap();
    assert_eq!(row[1..4], ["admin", "(all)", "The steward's"]);
    let text = run(&gateway, &["token", "list"]).await.done();
    let hidden = secret.split('_').nth(2).unwrap();
    assert!(!text.contains(hidden), "the secret is shown once");
}

#[tokio::test]
async fn a_token_is_made_as_asked() {
    let gateway = Gateway::start().await;
    for community in ["garden", "kitchen"] {
        gateway.api.community(community).await;
    }
    let args = [
        "token",
        "create",
        "--role",
        "driver",
        "--community",
        "garden",
        "--community",
        "kitchen",
        "--expires",
        "2100-01-01T00:00:00Z",
        "--principal",
        "the-bot",
        "--output",
        "json",
    ];
    let answer = run(&gateway, &args).await.json();
    let secret = answer["secret"].as_str().unwrap();
    let made = &answer["token"];
    assert_eq!(made["tokenId"], id(secret));
    assert_eq!(made["role"], "ROLE_DRIVER");
    assert_eq!(made["communityIds"], json!(["garden", "kitchen"]));
    assert_eq!(made["expireTime"], "2100-01-01T00:00:00Z");
    assert_eq!(made["principal"], "the-bot");
    let found = tokens(&gateway).await;
    let found = found.iter().find(|token| token["tokenId"] == id(secret));
    assert_eq!(found, Some(made));
    let of = ["delivery", "list", "--community", "garden"];
    run_as(&gateway, secret, &of).await.done();

    let before = SystemTime::now();
    let args = ["token", "create", "--role", "reader", "--expires", "90d"];
    let ran = run(&gateway, &args).await;
    let until = ran.error.trim().rsplit(' ').next().unwrap();
    let until: jiff::Timestamp = until.parse().unwrap();
    let lives = SystemTime::from(until).duration_since(before).unwrap();
    let days = 90 * 24 * 60 * 60;
    assert!((days - 10..days + 100).contains(&lives.as_secs()));
}

#[tokio::test]
async fn a_secret_is_written_into_a_file_of_its_owner_only() {
    let gateway = Gateway::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("driver.token");
    let path = file.to_str().unwrap();
    let create = ["token", "create", "--role", "driver", "--out", path];
    let ran = run(&gateway, &create).await;
    assert_eq!(ran.done(), "", "it is in the file, and nowhere else");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    assert!(secret.ends_with('\n'));
    let count = tokens(&gateway).await.len();

    // What is there already is left alone, and no token is made.
    run(&gateway, &create).await.failed(4, &["--out: ", path]);
    assert_eq!(fs::read_to_string(&file).unwrap(), secret);
    let nowhere = folder.path().join("no/such/folder");
    let nowhere = [
        "token",
        "create",
        "--role",
        "driver",
        "--out",
        nowhere.to_str().unwrap(),
    ];
    run(&gateway, &nowhere).await.failed(4, &["--out: "]);
    assert_eq!(tokens(&gateway).await.len(), count);

    // With JSON it is not in the answer either.
    let other = folder.path().join("other.token");
    let path = other.to_str().unwrap();
    let args = [
        "token", "create", "--role", "reader", "--out", path, "--output", "json",
    ];
    let answer = run(&gateway, &args).await.json();
    assert!(nothing(&answer["secret"]), "{answer}");
    let secret = fs::read_to_string(&other).unwrap();
    assert_eq!(answer["token"]["tokenId"], id(&secret));
}

#[tokio::test]
async fn a_token_that_is_refused_leaves_no_file() {
    let gateway = Gateway::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let path = file.to_str().unwrap();
    let args = [
        "token",
        "create",
        "--role",
        "driver",
        "--community",
        "Not An Id",
        "--out",
        path,
    ];
    run(&gateway, &args).await.failed(4, &["community_ids"]);
    assert!(!file.exists());
    let args = [
        "token",
        "create",
        "--role",
        "reader",
        "--expires",
        "2001-01-01T00:00:00Z",
    ];
    run(&gateway, &args).await.failed(4, &["expire_time"]);
}

#[tokio::test]
async fn a_revoked_token_works_no_more() {
    let gateway = Gateway::start().await;
    let create = ["token", "create", "--role", "admin"];
    for whole in [false, true] {
        let secret = run(&gateway, &create).await.line();
        run_as(&gateway, &secret, &["token", "list"]).await.done();
        let named = if whole { &secret } else { id(&secret) };
        let said = run(&gateway, &["token", "revoke", named]).await.line();
        assert_eq!(said, format!("token {} revoked", id(&secret)));
        let ran = run_as(&gateway, &secret, &["token", "list"]).await;
        let error = ran.failed(4, &["METAGOV_TOKEN"]);
        assert!(!error.contains(&secret), "{error}");
        let left = tokens(&gateway).await;
        assert!(left.iter().all(|token| token["tokenId"] != id(&secret)));
    }
    let revoke = |id: &'static str| run_owned(&gateway, ["token", "revoke", id]);
    revoke("0123456789abcdef")
        .await
        .failed(4, &["TOKEN_NOT_FOUND"]);
    revoke("5").await.failed(4, &["token_id"]);
    // Its secret goes nowhere.
    let error = revoke("mg_0123456789abcdef_s3cret_x").await;
    let error = error.failed(4, &["0123456789abcdef"]);
    assert!(!error.contains("s3cret"), "{error}");
}

async fn run_owned(gateway: &Gateway, args: [&'static str; 3]) -> Ran {
    run(gateway, &args).await
}

#[tokio::test]
async fn a_role_that_is_too_small_is_named() {
    let gateway = Gateway::start().await;
    let create = ["token", "create", "--role", "reader"];
    let reader = run(&gateway, &create).await.line();
    for verb in FOR_ADMINS {
        let ran = run_as(&gateway, &reader, verb).await;
        let error = ran.failed(4, &["error: "]);
        let named = error.contains("ROLE_TOO_SMALL") || error.contains("NOT_FOUND");
        assert!(named, "{error}");
    }
}
