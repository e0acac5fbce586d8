//! `metagov rekey`: everything under a new key, or nothing.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use super::{
    canary::found_in_folder,
    stored::{Stored, keys_of},
};
use crate::harness::Binary;

const NEW: &str = "--new-master-key-file (METAGOV_NEW_MASTER_KEY_FILE): ";

/// The beginning of what a key has sealed.
fn mark(stored: &Stored, file: &str) -> String {
    format!("v1.{}.", stored.keys(file).id())
}

async fn rekey(stored: &Stored, file: Option<&Path>) -> Result<String, String> {
    let done = metagov::rekey(&stored.config(), file).await;
    done.map_err(|error| error.to_string())
}

fn command(stored: &Stored) -> Command {
    Binary::command(&["rekey", "--data-dir", stored.data().to_str().unwrap()])
}

/// Every sealed text of the database, as it stands there.
async fn everything(stored: &Stored) -> Vec<String> {
    let sql = r#"SELECT secrets || slug FROM installation UNION ALL SELECT value FROM installation_state
        UNION ALL SELECT hook FROM delivery WHERE hook IS NOT NULL UNION ALL SELECT what FROM "fetch"
        UNION ALL SELECT private FROM process UNION ALL SELECT digest || answer FROM request"#;
    let all = stored.ask(sql).await;
    assert!(all.len() >= 6, "{all:?}");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_folder_gets_a_new_key_and_nothing_of_the_old_is_left() {
    let stored = Stored::make().await;
    let old = mark(&stored, "master.key");
    let nothing: Vec<String> = vec![];
    assert_ne!(found_in_folder(&stored.data(), &[&old]), nothing);
    let output = command(&stored).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let kept = format!("master.key.old-{}", &old[3..11]);
    assert!(
        said.starts_with("encrypted ") && said.contains(&kept),
        "{said}"
    );
    let new = mark(&stored, "master.key");
    assert_ne!(old, new);
    assert_eq!(mark(&stored, &kept), old, "the old key is kept");
    assert_eq!(
        found_in_folder(&stored.data(), &[&old]),
        nothing,
        "also in free pages"
    );
    for text in everything(&stored).await {
        assert!(text.contains(&new), "{text}");
    }
    stored.opens().await;
    fs::copy(stored.file(&kept), stored.file("master.key")).unwrap();
    let said = stored.refuses(stored.config()).await;
    assert!(said.contains("another key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_named_is_used_from_then_on() {
    let stored = Stored::make().await;
    let file = stored.file("../next.key");
    let said = rekey(&stored, Some(&file)).await.unwrap_err();
    assert!(
        said.starts_with(NEW) && said.contains("openssl rand -hex 32"),
        "{said}"
    );
    fs::write(&file, "12".repeat(32)).unwrap();
    let output = command(&stored)
        .arg("--new-master-key-file")
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(&format!("serve with --master-key-file {}", file.display())),
        "{said}"
    );
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("every user of this machine may read the master key"),
        "{log}"
    );
    let said = stored.refuses(stored.config()).await;
    assert!(said.contains("another key"), "{said}");
    let mut config = stored.config();
    config.access.master_key_file = Some(file.clone());
    stored.opens_with(config.clone()).await.unwrap();
    // And again: the present key is none to change to, and no key is made unasked.
    let same = metagov::rekey(&config, Some(&file))
        .await
        .unwrap_err()
        .to_string();
    assert!(same.contains("the new key is the present one"), "{same}");
    let unnamed = metagov::rekey(&config, None).await.unwrap_err().to_string();
    assert!(
        unnamed.starts_with(NEW) && unnamed.contains("is needed"),
        "{unnamed}"
    );
    let back = stored.file("master.key");
    metagov::rekey(&config, Some(&back)).await.unwrap();
    stored.opens().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_swapped_rows_are_named_and_nothing_is_changed() {
    let stored = Stored::make().await;
    let process = stored
        .ask("SELECT lower(hex(id)) FROM process")
        .await
        .remove(0);
    stored
        .run("UPDATE process SET private = substr(private, 1, length(private) - 4) || 'AAAA'")
        .await;
    stored
        .run("UPDATE request SET answer = digest WHERE request_id = 'the-open-request'")
        .await;
    stored
        .run("UPDATE installation SET secrets = json_set(secrets, '$.key', json_extract(secrets, '$.keys'))")
        .await;
    stored.run("UPDATE fetch SET what = '\"plain\"'").await;
    let before = everything(&stored).await;
    let key = fs::read(stored.file("master.key")).unwrap();
    let said = rekey(&stored, None).await.unwrap_err();
    assert_eq!(said.lines().count(), 1);
    let id = [&process[..8], &process[8..12], &process[12..16]].join("-");
    for named in [
        "nothing was changed".to_owned(),
        format!("process.private of {id}"),
        "request.answer of ".to_owned(),
        "the-open-request is damaged, or was moved".to_owned(),
        "installation.secrets of a/".to_owned(),
        "/key is damaged".to_owned(),
        "fetch.what of ".to_owned(),
        " is not encrypted".to_owned(),
    ] {
        assert!(said.contains(&named), "{named}: {said}");
    }
    assert!(
        !said.contains("/keys") && !said.contains("installation_state"),
        "{said}"
    );
    assert_eq!(everything(&stored).await, before);
    assert_eq!(fs::read(stored.file("master.key")).unwrap(), key);
}

/// What platforms granted, and what proves that we have asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_is_encrypted_anew_with_the_rest() {
    let stored = Stored::make().await;
    let id = "01900000-0000-7000-8000-000000000001";
    let places = [
        ["credential.granted", id],
        ["authorization.verifier", "hash"],
    ];
    let keys = stored.keys("master.key");
    let [granted, verifier] = places.map(|place| keys.seal(&place, b"a token").unwrap());
    let blob = id.replace('-', "");
    stored
        .run(&format!(
            "INSERT INTO credential (installation_id, granted) VALUES (x'{blob}', '{granted}')"
        ))
        .await;
    let columns = "state_hash, community_id, plugin, purpose, redirect_uri, caller_state, verifier, expire_time";
    let values = format!("'hash', 'a', 'vault', 'install', '', '', '{verifier}', 0");
    let row = format!("INSERT INTO authorization ({columns}) VALUES ({values})");
    stored.run(&row).await;
    // One of a platform without PKCE has nothing to seal.
    stored
        .run(&row.replace("'hash'", "'other'").replace(&verifier, ""))
        .await;
    rekey(&stored, None).await.unwrap();
    let new = stored.keys("master.key");
    let sql =
        "SELECT granted FROM credential UNION ALL SELECT verifier FROM authorization ORDER BY 1";
    let sealed = stored.ask(sql).await;
    let opened: Vec<bool> = sealed
        .iter()
        .map(|text| {
            places
                .iter()
                .any(|place| new.open(place, text).is_ok_and(|it| *it == b"a token"))
        })
        .collect();
    assert_eq!(opened, [false, true, true], "{sealed:?}");
    assert_eq!(sealed[0], "");
}

/// On whichever database, where the key is named.
#[tokio::test(flavor = "multi_thread")]
async fn all_is_under_the_new_key_or_nothing_is() {
    let stored = Stored::make_anywhere().await;
    let (mut config, next) = (stored.config(), stored.file("../next.key"));
    config.access.master_key_file = Some(stored.key_file());
    fs::write(&next, "12".repeat(32)).unwrap();
    let before = everything(&stored).await;
    let running = metagov::run(config.clone(), vec![]).await.ok().unwrap();
    let said = metagov::rekey(&config, Some(&next)).await.unwrap_err();
    assert!(said.to_string().contains(" uses"), "{said}");
    running.stop().await.unwrap();
    assert_eq!(everything(&stored).await, before);

    metagov::rekey(&config, Some(&next)).await.unwrap();
    let new = format!("v1.{}.", keys_of(&next).id());
    for text in everything(&stored).await {
        assert!(text.contains(&new), "{text}");
    }
    let said = stored.refuses(config.clone()).await;
    assert!(said.contains("another key"), "{said}");
    config.access.master_key_file = Some(next);
    stored.opens_with(config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_runs_is_left_alone() {
    let stored = Stored::make().await;
    let running = metagov::run(stored.config(), vec![]).await.ok().unwrap();
    let said = rekey(&stored, None).await.unwrap_err();
    assert!(said.contains("another gateway uses"), "{said}");
    // Also where the folder's lock is another.
    let mut config = stored.config();
    let database = stored.file("metagov.db");
    config.database_url = Some(format!("sqlite://{}?mode=rwc", database.display()));
    config.access.master_key_file = Some(stored.file("master.key"));
    config.data_dir = stored.file("../another");
    let file = stored.file("../next.key");
    fs::write(&file, "12".repeat(32)).unwrap();
    let said = metagov::rekey(&config, Some(&file))
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("stop it first"), "{said}");
    running.stop().await.unwrap();
    metagov::rekey(&config, Some(&file)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rekey_that_was_cut_off_between_its_steps_is_ended_by_the_next_start() {
    let stored = Stored::make().await;
    let [key, next] = ["master.key", "master.key.next"].map(|name| stored.file(name));
    // After the first step: a key that nothing was encrypted with.
    fs::write(&next, "34".repeat(32)).unwrap();
    stored.opens().await;
    // Or half of one.
    fs::write(&next, "34").unwrap();
    stored.opens().await;
    // After the second, the commit: the files are as before.
    for by_rekey in [false, true] {
        let old = fs::read_to_string(&key).unwrap();
        rekey(&stored, None).await.unwrap();
        fs::rename(&key, &next).unwrap();
        fs::write(&key, &old).unwrap();
        let new = fs::read_to_string(&next).unwrap();
        match by_rekey {
            true => _ = rekey(&stored, None).await.unwrap(),
            false => {
                stored.opens().await;
                assert_eq!(fs::read_to_string(&key).unwrap(), new);
            }
        }
        assert!(!next.exists(), "it is in its place");
        stored.opens().await;
        // As after a crash in which the old one was lost altogether.
        if !by_rekey {
            fs::rename(&key, &next).unwrap();
            stored.opens().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rekey_that_is_killed_leaves_a_database_that_opens() {
    let stored = Stored::make().await;
    let installation = stored
        .ask("SELECT id FROM (SELECT hex(id) AS id FROM installation)")
        .await;
    fill(&stored, &installation[0]).await;
    let started = Instant::now();
    assert!(command(&stored).output().unwrap().status.success());
    let whole = started.elapsed();
    let mut killed = 0;
    for tenth in 0..12 {
        let mut child = command(&stored)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * tenth / 10);
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        stored.opens().await;
    }
    assert!(killed >= 3, "{killed} of them in {whole:?}");
}

/// Enough rows that a rekey takes a while.
async fn fill(stored: &Stored, installation: &str) {
    let keys = stored.keys("master.key");
    let id = format!(
        "{}-{}-{}-{}-{}",
        &installation[..8],
        &installation[8..12],
        &installation[12..16],
        &installation[16..20],
        &installation[20..]
    )
    .to_lowercase();
    let rows: Vec<String> = (0..3000)
        .map(|n| {
            let key = format!("row/{n}");
            let place = ["installation_state.value", &id, &key];
            let sealed = keys.seal(&place, b"\"something\"").unwrap();
            format!("(x'{installation}', '{key}', '{sealed}')")
        })
        .collect();
    let insert = format!("INSERT INTO installation_state VALUES {}", rows.join(","));
    assert_eq!(stored.run(&insert).await, 3000);
}
