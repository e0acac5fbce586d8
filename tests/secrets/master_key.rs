//! The master key: made once, known by its fingerprint, and no other will do.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use metagov::config::Config;

use super::{
    canary::{found, found_in_folder},
    stored::{Stored, keys_of},
    vault::{BODY, FETCH, INNER, KEY, PRIVATE, RESULT, STATE},
};

const FILE: &str = "--master-key-file (METAGOV_MASTER_KEY_FILE): ";
const GIVEN: &str = "--master-key (METAGOV_MASTER_KEY): ";

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn with_file(stored: &Stored, file: PathBuf) -> Config {
    let mut config = stored.config();
    config.access.master_key_file = Some(file);
    config
}

fn with_key(stored: &Stored, key: &str) -> Config {
    let mut config = stored.config();
    config.access.master_key = Some(key.to_owned());
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_makes_a_key_for_its_owner_only() {
    let stored = Stored::make().await;
    let file = stored.file("master.key");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.trim().len(), 64);
    stored.opens().await;
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        text,
        "the same key stays"
    );
    let files = fs::read_dir(stored.data()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let keys: Vec<String> = names.filter(|name| name.starts_with("master")).collect();
    assert_eq!(keys, ["master.key"], "and no draft of it");
    let fingerprint = stored.ask("SELECT fingerprint FROM master_key").await;
    assert_eq!(fingerprint, [keys_of(&file).fingerprint()]);
    assert!(
        !text.contains(&fingerprint[0]),
        "it says nothing of the key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_another_or_a_damaged_key_is_refused() {
    let stored = Stored::make().await;
    let file = stored.file("master.key");
    let right = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let said = stored.refuses(stored.config()).await;
    let missing = format!("{FILE}{} is missing; put back the key", file.display());
    assert!(said.starts_with(&missing), "{said}");
    assert!(!file.exists(), "none is made where one is needed");

    let other = "ab".repeat(32);
    write(&file, &other);
    let said = stored.refuses(stored.config()).await;
    let id = &keys_of_text(&right)[..8];
    let why = format!("another key, whose fingerprint begins with {id}; give that one");
    assert!(said.starts_with(FILE) && said.contains(&why), "{said}");

    for damaged in [
        "",
        "abc",
        &right[..63],
        &format!("{}zz", &right[2..64]),
        &"ab".repeat(33),
    ] {
        write(&file, damaged);
        let said = stored.refuses(stored.config()).await;
        assert!(said.starts_with(FILE), "{said}");
        assert!(
            said.contains("does not hold 64 hex digits; put back"),
            "{said}"
        );
        assert!(damaged.is_empty() || !said.contains(damaged), "{said}");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let said = stored.refuses(stored.config()).await;
    assert!(
        said.starts_with(FILE) && said.contains("cannot be read"),
        "{said}"
    );
    fs::remove_dir(&file).unwrap();
    write(&file, &right);
    stored.opens().await;
}

fn keys_of_text(text: &str) -> String {
    let keys = metagov::store::Keys::from_hex(text).unwrap();
    keys.fingerprint().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_be_given_in_another_file_or_itself() {
    let stored = Stored::make().await;
    let (own, elsewhere) = (stored.file("master.key"), stored.file("../elsewhere"));
    let key = fs::read_to_string(&own).unwrap();
    fs::rename(&own, &elsewhere).unwrap();
    stored
        .opens_with(with_file(&stored, elsewhere.clone()))
        .await
        .unwrap();
    stored
        .opens_with(with_key(&stored, key.trim()))
        .await
        .unwrap();
    assert!(!own.exists(), "no other is made");

    let said = stored
        .refuses(with_file(&stored, stored.file("nowhere")))
        .await;
    assert!(
        said.starts_with(FILE) && said.contains("nowhere is missing"),
        "{said}"
    );
    let said = stored.refuses(with_key(&stored, "not-this-secret")).await;
    assert!(
        said.starts_with(GIVEN) && said.contains("not 64 hex digits"),
        "{said}"
    );
    assert!(!said.contains("not-this-secret"), "{said}");
    let said = stored.refuses(with_key(&stored, &"cd".repeat(32))).await;
    assert!(
        said.starts_with(GIVEN) && said.contains("another key"),
        "{said}"
    );
    assert!(!said.contains("cdcd"), "{said}");
}

/// Such as one of which only the database is kept on the volume.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_elsewhere_has_its_key_in_the_data_folder() {
    let stored = Stored::make().await;
    let moved = stored.file("../moved.db");
    fs::rename(stored.file("metagov.db"), &moved).unwrap();
    let mut config = stored.config();
    config.database_url = Some(format!("sqlite://{}?mode=rwc", moved.display()));
    stored.opens_with(config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fingerprint_that_was_removed_lets_no_other_key_in() {
    let stored = Stored::make().await;
    stored.run("DELETE FROM master_key").await;
    let said = stored.refuses(with_key(&stored, &"cd".repeat(32))).await;
    assert!(said.contains("nothing was changed"), "{said}");
    stored.opens().await;
    assert_eq!(
        stored.ask("SELECT fingerprint FROM master_key").await.len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_before_is_encrypted_at_the_start() {
    let stored = Stored::make().await;
    stored.unseal().await;
    let plain = [
        KEY,
        INNER,
        STATE,
        PRIVATE,
        FETCH,
        BODY,
        RESULT,
        &stored.slug,
    ];
    let names = |found: Vec<String>| -> Vec<String> {
        let names = found.into_iter().map(|it| it.replace(" in metagov.db", ""));
        names.collect()
    };
    let before = found_in_folder(&stored.data(), &plain);
    // The hook's body is bytes in JSON, so no text.
    let seen: Vec<&str> = plain.into_iter().filter(|it| *it != BODY).collect();
    assert_eq!(names(before), seen, "they were in plain text");
    stored.opens().await;
    let nothing: Vec<String> = vec![];
    assert_eq!(found_in_folder(&stored.data(), &plain), nothing);
    stored.opens().await;
}

/// The same on whichever database: there the file is no matter of ours.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_plain_in_a_database_is_encrypted_at_the_start() {
    let stored = Stored::make_anywhere().await;
    let nothing: [&str; 0] = [];
    let plain = [KEY, INNER, STATE, PRIVATE, FETCH, RESULT, &stored.slug];
    assert_eq!(stored.holds(&plain).await, nothing);
    stored.unseal().await;
    assert_eq!(stored.holds(&plain).await, plain, "they are in plain text");
    stored.opens().await;
    assert_eq!(stored.holds(&plain).await, nothing);
    stored.opens().await;
}

/// A start that ended between the commit and the new file makes it at the next one.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_plain_is_swept_out_of_the_file_even_if_that_was_cut_off() {
    let stored = Stored::make().await;
    stored.run("CREATE TABLE litter (text TEXT)").await;
    let canary = "canary-in-a-free-page";
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO litter SELECT '{canary}' || i FROM n"
    );
    stored.run(&many).await;
    stored.run("DROP TABLE litter").await;
    let file = || fs::read(stored.file("metagov.db")).unwrap();
    assert_eq!(
        found(&file(), &[canary]),
        [canary],
        "it is still in the file"
    );
    stored.opens().await;
    assert_eq!(
        found(&file(), &[canary]),
        [canary],
        "and stays without the mark"
    );
    stored.run("PRAGMA user_version = 1").await;
    stored.opens().await;
    assert!(found(&file(), &[canary]).is_empty());
    assert_eq!(
        stored
            .ask("SELECT CAST(user_version AS TEXT) FROM pragma_user_version")
            .await,
        ["0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_copied_over_another_is_not_used() {
    let stored = Stored::make().await;
    let heard = stored.server.received_requests().await.unwrap().len();
    // The key of this installation as if it were the list of keys, and the slug as the key.
    for swap in [
        "UPDATE installation SET secrets = json_object('key', json_extract(secrets, '$.keys'), 'keys', json_extract(secrets, '$.key'))",
        "UPDATE installation SET old_slug = slug, old_slug_expire_time = 9000000000000000",
    ] {
        stored
            .run("CREATE TABLE kept AS SELECT * FROM installation")
            .await;
        stored.run(swap).await;
        let running = metagov::run(stored.config(), vec![super::vault::plugin()]).await;
        let Ok(running) = running else {
            panic!("it starts: other communities go on")
        };
        let address = format!(
            "http://{}/api/hooks/a/vault/{}",
            running.public, stored.slug
        );
        let letter = r#"{"do": "refuse"}"#;
        let answer = crate::fakes::http()
            .post(address)
            .body(letter)
            .send()
            .await
            .unwrap();
        // The platform shall send it again.
        assert_eq!(answer.status(), 503);
        let said = answer.text().await.unwrap();
        assert!(
            found(said.as_bytes(), &[KEY, INNER, &stored.slug]).is_empty(),
            "{said}"
        );
        running.stop().await.unwrap();
        stored
            .run("UPDATE installation SET secrets = kept.secrets, old_slug = NULL FROM kept")
            .await;
        stored.run("DROP TABLE kept").await;
    }
    let now = stored.server.received_requests().await.unwrap().len();
    assert_eq!(now, heard, "the platform was not asked with it");
    stored.opens().await;
}
