//! `metagov backup` and `metagov restore`: everything is there again, of one moment, and
//! whatever does not fit is refused before anything is changed.

mod file;
mod load;
mod moved;
mod refused;

use std::{
    fs,
    path::{Path, PathBuf},
};

use metagov::config::Config;
use metagov_proto::v1::{ListEventsRequest, list_events_request::Start};
use tempfile::TempDir;
use tonic::Code;

use crate::{
    harness::{Api, Binary, Gateway, Home, Kind, fault},
    secrets::{
        canary::found,
        stored::Stored,
        vault::{self, BODY, FETCH, HEADER, INNER, KEY, OPERATOR, PRIVATE, RESULT, STATE},
    },
};
use file::Lines;

/// Backs up; what is said.
pub(crate) async fn backup(config: &Config, file: &Path) -> Result<String, String> {
    let done = metagov::backup(config, file, false, &mut |_, _| ()).await;
    done.map_err(|error| error.to_string())
}

/// Restores; what is said.
pub(crate) async fn restore(config: &Config, file: &Path) -> Result<String, String> {
    let done = metagov::restore(config, file, &mut |_, _| ()).await;
    done.map_err(|error| error.to_string())
}

/// A new data folder with the keys of another: what an operator keeps beside backups.
pub(crate) fn new_home(of: &Config) -> (Home, Config) {
    let kind = match of.database_url {
        Some(_) => Kind::Postgres,
        None => Kind::Sqlite,
    };
    let (home, mut config) = (Home::on(kind), of.clone());
    home.furnish(&mut config);
    fs::create_dir_all(&config.data_dir).unwrap();
    let admin = |config: &Config| config.data_dir.join("admin.token");
    for file in [admin, master_key] {
        fs::copy(file(of), file(&config)).unwrap();
    }
    (home, config)
}

/// Where a gateway finds its master key.
fn master_key(config: &Config) -> PathBuf {
    let given = config.access.master_key_file.clone();
    given.unwrap_or_else(|| config.data_dir.join("master.key"))
}

/// A backup of a gateway with something in every table of secrets.
async fn of_vault() -> (Stored, TempDir, PathBuf) {
    let stored = Stored::make().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metagov.backup");
    backup(&stored.config(), &file).await.unwrap();
    (stored, folder, file)
}

async fn cursor(api: &Api) -> String {
    let events = api.events().list_events(ListEventsRequest::default()).await;
    events.unwrap().into_inner().cursor
}

async fn after(api: &Api, cursor: &str) -> Result<(), tonic::Status> {
    let request = ListEventsRequest {
        start: Some(Start::AfterCursor(cursor.to_owned())),
        ..Default::default()
    };
    api.events().list_events(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_is_what_was_backed_up() {
    let (stored, folder, file) = of_vault().await;
    let (_home, config) = new_home(&stored.config());
    let said = restore(&config, &file).await.unwrap();
    assert!(said.starts_with("restored "), "{said}");
    let again = folder.path().join("again");
    backup(&config, &again).await.unwrap();
    let (before, after) = (Lines::of(&file), Lines::of(&again));
    assert!(before.tables().len() >= 17, "{:?}", before.tables());
    assert_eq!(before.tables(), after.tables());
    for table in before.tables() {
        let (before, after) = (before.rows(&table), after.rows(&table));
        match table.as_str() {
            "feed" => assert_eq!(before[0][3], after[0][3], "the position goes on"),
            _ => assert_eq!(before, after, "{table}"),
        }
    }
    assert_ne!(
        before.rows("feed"),
        after.rows("feed"),
        "but the feed is another"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_of_use_with_the_same_key() {
    let (stored, _folder, file) = of_vault().await;
    let (_home, config) = new_home(&stored.config());
    restore(&config, &file).await.unwrap();
    // It lets the gateway use the webhook's address and the plugin's key.
    stored.opens_with(config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_master_key_nor_a_plain_secret_is_in_the_file() {
    let (stored, _folder, file) = of_vault().await;
    let text = Lines::of(&file).text();
    let key = fs::read_to_string(stored.file("master.key")).unwrap();
    let token = fs::read_to_string(stored.file("admin.token")).unwrap();
    let cursor_key = stored.ask("SELECT cursor_key FROM feed").await.remove(0);
    let bytes = String::from_utf8_lossy(&hex::decode(key.trim()).unwrap()).into_owned();
    let mut canaries = vec![
        KEY, INNER, OPERATOR, STATE, PRIVATE, FETCH, BODY, HEADER, RESULT,
    ];
    canaries.extend([key.trim(), token.trim(), &cursor_key, &bytes, &stored.slug]);
    assert_eq!(found(text.as_bytes(), &canaries), Vec::<&str>::new());
    // What is no secret is found, so the search sees what there is.
    let open = stored.server.uri();
    assert_eq!(found(text.as_bytes(), &[&open]), [open.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_another_and_cursors_of_before_are_foreign() {
    let gateway = Gateway::start().await;
    gateway.api.community("garden").await;
    let old = cursor(&gateway.api).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    backup(&gateway.config(), &file).await.unwrap();
    // What comes after the backup is not in it.
    gateway.api.community("orchard").await;
    let newest = cursor(&gateway.api).await;
    let log = gateway.api.log().await;
    let (home, config) = new_home(&gateway.config());
    restore(&config, &file).await.unwrap();
    let restored = Gateway::open(home, config, vec![]).await;
    for cursor in [&old, &newest] {
        let refused = fault(after(&restored.api, cursor).await);
        assert!(
            refused.is(Code::FailedPrecondition, "CURSOR_FOREIGN"),
            "{refused:?}"
        );
    }
    let kept = restored.api.log().await;
    let ids = |events: &[metagov_proto::v1::Event]| {
        let ids = events.iter().map(|event| event.event_id.clone());
        ids.collect::<Vec<String>>()
    };
    assert_eq!(ids(&kept), ids(&log[..kept.len()]));
    assert_eq!(kept.len() + 1, log.len());
    // And it goes on from there, under cursors of its own.
    let own = cursor(&restored.api).await;
    restored.api.community("meadow").await;
    after(&restored.api, &own).await.unwrap();
    assert_eq!(restored.api.log().await.len(), kept.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_write_and_read_files_and_pipes() {
    let (stored, folder, _) = of_vault().await;
    let data = stored.data();
    let data = data.to_str().unwrap();
    let file = folder.path().join("by-command");
    let named = file.to_str().unwrap();
    let output = Binary::command(&["backup", named, "--data-dir", data]).output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("wrote "), "{said}");
    let piped = Binary::command(&["backup", "-", "--data-dir", data]).output();
    let piped = piped.unwrap();
    assert!(piped.status.success(), "{piped:?}");
    let (_home, config) = new_home(&stored.config());
    let mut restore = Binary::command(&["restore", "-", "--data-dir"]);
    restore.arg(&config.data_dir);
    let through = folder.path().join("piped");
    fs::write(&through, &piped.stdout).unwrap();
    restore.stdin(fs::File::open(&through).unwrap());
    let output = restore.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && said.starts_with("restored "),
        "{said}"
    );
    assert!(
        said.contains("event ") && said.contains("installation 1"),
        "{said}"
    );
    let (one, other) = (Lines::of(&file), Lines::of(&through));
    assert_eq!(one.tables(), other.tables());
    // A file that is there already is not overwritten, unless that is said.
    let output = Binary::command(&["backup", named, "--data-dir", data]).output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(
        said.contains("is there already") && said.contains("--force"),
        "{said}"
    );
    let forced = Binary::command(&["backup", named, "--force", "--data-dir", data]).output();
    assert!(forced.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_gateway_serves_with_the_tokens_of_before() {
    let gateway = Gateway::start_in(Home::on(Kind::Sqlite), |_| (), vec![vault::plugin()]).await;
    gateway.api.community("garden").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    backup(&gateway.config(), &file).await.unwrap();
    let (home, config) = new_home(&gateway.config());
    restore(&config, &file).await.unwrap();
    let restored = Gateway::open(home, config, vec![]).await;
    assert_eq!(
        restored.api.log().await.len(),
        gateway.api.log().await.len()
    );
    let ran = crate::command_line::run(&restored, &["audit", "verify"]).await;
    assert!(ran.line().contains(':'), "the chain of the audit holds");
}
