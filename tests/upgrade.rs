//! The data of every release opens in this build, and all that was begun goes on.
//!
//! `tests/upgrade/<version>/` holds what a gateway of that release left on SQLite, and
//! `<version>-postgres/` on Postgres: its database as it was while it served, packed with
//! gzip; a backup of it; its keys; and what its API said of it. `tests/upgrade/make` adds
//! those of this build, see there.

mod content;
mod side_by_side;

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use metagov::{config::Config, plugins};
use metagov_proto::v1::{ListEventsRequest, ProcessState, list_events_request::Start};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    backup::restore,
    command_line, fakes,
    harness::{Gateway, Home, Kind, PATIENCE, fault},
    secrets::vault,
    stage,
};

/// Where the fixture of this build is to be kept, if it is.
const KEEP: &str = "METAGOV_TESTS_FIXTURE";
const FILES: [&str; 4] = ["backup", "master.key", "admin.token", "answers.json"];

/// The database in the folder of a release, which says on what kind it was.
fn database(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "metagov.db.gz",
        Kind::Postgres => "metagov.sql.gz",
    }
}

fn kind(release: &Path) -> Kind {
    match release.join(database(Kind::Postgres)).exists() {
        true => Kind::Postgres,
        false => Kind::Sqlite,
    }
}

fn releases() -> Vec<PathBuf> {
    let folder = crate::root().join("tests/upgrade");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut releases: Vec<PathBuf> = entries
        .filter(|path| path.join("answers.json").exists())
        .collect();
    releases.sort();
    releases
}

/// What keeps old things, and lets the plugins of the tests run.
fn configured(config: &mut Config) {
    crate::secrets::at_rest::configured(config);
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.public_listen = "127.0.0.1:0".parse().unwrap();
    config.event_retention = Duration::from_secs(36_000 * 24 * 3600);
    config.outgoing.allow_http = true;
    config.outgoing.allow_cidr = vec!["127.0.0.0/8".parse().unwrap()];
}

/// A place with the keys of a release, and nothing else.
fn home(release: &Path, kind: Kind) -> (Home, Config) {
    let home = Home::bare_on(kind);
    let mut config = Config::default();
    home.furnish(&mut config);
    configured(&mut config);
    let data = config.data_dir.clone();
    fs::create_dir_all(&data).unwrap();
    fs::copy(release.join("admin.token"), data.join("admin.token")).unwrap();
    let key = config.access.master_key_file.clone();
    let key = key.unwrap_or_else(|| data.join("master.key"));
    fs::copy(release.join("master.key"), key).unwrap();
    (home, config)
}

fn more() -> Vec<plugins::kit::Plugin> {
    vec![vault::plugin(), stage::plugin()]
}

fn answers(release: &Path) -> Value {
    serde_json::from_slice(&fs::read(release.join("answers.json")).unwrap()).unwrap()
}

/// The database of a release, as that left it.
async fn opened(release: &Path) -> Gateway {
    let kind = kind(release);
    let (home, config) = home(release, kind);
    let left = unpack(&release.join(database(kind)));
    match kind {
        Kind::Sqlite => fs::write(config.data_dir.join("metagov.db"), left).unwrap(),
        Kind::Postgres => {
            let dump = String::from_utf8(left).unwrap();
            // What begins so is for psql, not for the server.
            let statements = dump.lines().filter(|line| !line.starts_with('\\'));
            home.run(&statements.collect::<Vec<_>>().join("\n")).await;
        }
    }
    Gateway::open(home, config, more()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_every_release_opens_and_goes_on() {
    for wanted in [Kind::Sqlite, Kind::Postgres] {
        assert!(releases().iter().any(|release| kind(release) == wanted));
    }
    for release in releases() {
        let gateway = opened(&release).await;
        let said = answers(&release);
        assert_eq!(
            content::of(&gateway.api).await,
            said["content"],
            "{release:?}"
        );
        cursors_go_on(&gateway, &said).await;
        goes_on(&gateway, &said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backup_of_every_release_is_restored_and_goes_on() {
    for release in releases() {
        for kind in [Kind::Sqlite, Kind::Postgres] {
            let (home, config) = home(&release, kind);
            restore(&config, &release.join("backup")).await.unwrap();
            let gateway = Gateway::open(home, config, more()).await;
            let said = answers(&release);
            let content = content::of(&gateway.api).await;
            assert_eq!(content, said["content"], "{release:?} {kind:?}");
            let foreign = fault(after(&gateway, &said["cursors"][0]).await);
            let expected = foreign.is(Code::FailedPrecondition, "CURSOR_FOREIGN");
            assert!(expected, "{foreign:?}");
            goes_on(&gateway, &said).await;
        }
    }
}

async fn after(gateway: &Gateway, cursor: &Value) -> Result<Vec<String>, tonic::Status> {
    let request = ListEventsRequest {
        start: Some(Start::AfterCursor(cursor.as_str().unwrap().to_owned())),
        page_size: 1000,
        ..Default::default()
    };
    let events = gateway.api.events().list_events(request).await?;
    let events = events.into_inner().events.into_iter();
    Ok(events.map(|event| event.event_id).collect())
}

/// A cursor of then reads all that came after it, and what comes now.
async fn cursors_go_on(gateway: &Gateway, said: &Value) {
    let events = said["content"]["events"].as_array().unwrap();
    let ids: Vec<&str> = events
        .iter()
        .map(|event| event[0].as_str().unwrap())
        .collect();
    for (cursor, from) in [(0, 3), (1, ids.len())] {
        let read = after(gateway, &said["cursors"][cursor]).await.unwrap();
        assert_eq!(&read[..ids.len() - from], &ids[from..]);
    }
}

/// Votes, secrets, requests and the audit are of use.
async fn goes_on(gateway: &Gateway, said: &Value) {
    let vote = said["open_vote"].as_str().unwrap();
    let ballot = json!({"process_id": vote, "voter": "cleo", "choices": ["Beans"]});
    let api = &gateway.api;
    api.perform("garden", "ballot.cast", ballot).await.unwrap();
    let closed = api.close(vote).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(
        closed.tally.unwrap().voter_count,
        Some(3),
        "two are of then"
    );
    // The key of the plugin is opened, or it could not be masked; and so is the slug.
    let slug = said["slug"].as_str().unwrap();
    let hook = format!("{}/api/hooks/garden/vault/{slug}", gateway.public);
    let letter = json!({"do": "refuse"}).to_string();
    let answer = fakes::http().post(hook).body(letter).send().await.unwrap();
    let told = answer.text().await.unwrap();
    assert!(told.contains("the letter has the wrong [secret]"), "{told}");
    // Nobody knows what became of a start that was under way.
    let lost = said["starting"].as_str().unwrap();
    let until = std::time::Instant::now() + PATIENCE;
    while api.process(lost).await.unwrap().state() == ProcessState::Starting {
        assert!(std::time::Instant::now() < until, "it stays STARTING");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lost = api.process(lost).await.unwrap();
    assert_eq!(lost.state(), ProcessState::Failed);
    let head = command_line::run(gateway, &["audit", "verify"])
        .await
        .line();
    let (number, _) = head.split_once(':').unwrap();
    let then = said["audit"].as_str().unwrap().split_once(':').unwrap().0;
    assert!(number.parse::<i64>().unwrap() >= then.parse::<i64>().unwrap());
}

/// On the kind that this run is about. With METAGOV_TESTS_FIXTURE it is kept there.
/// Without, this shows that one can be made.
#[tokio::test(flavor = "multi_thread")]
async fn a_fixture_can_be_made_of_this_build() {
    let folder = tempfile::tempdir().unwrap();
    let release = match std::env::var_os(KEEP) {
        Some(kept) => PathBuf::from(kept),
        None => folder.path().join("this"),
    };
    fs::create_dir(&release).expect("a release is never changed");
    let kind = Kind::of_this_run();
    make(&release, kind).await;
    for name in [database(kind)].into_iter().chain(FILES) {
        let size = fs::metadata(release.join(name)).unwrap().len();
        assert!(size < 150_000, "{name}: {size}");
    }
    let gateway = opened(&release).await;
    let said = answers(&release);
    assert_eq!(content::of(&gateway.api).await, said["content"]);
}

async fn make(release: &Path, kind: Kind) {
    let gateway = Gateway::start_in(Home::on(kind), configured, more()).await;
    let mut said = content::fill(&gateway).await;
    said["content"] = content::of(&gateway.api).await;
    said["audit"] = command_line::run(&gateway, &["audit", "verify"])
        .await
        .line()
        .into();
    // Of one moment, while it serves.
    let left = match kind {
        Kind::Sqlite => copy(&gateway).await,
        Kind::Postgres => gateway.home().dump(),
    };
    pack(&left, &release.join(database(kind)));
    crate::backup::backup(&gateway.config(), &release.join("backup"))
        .await
        .unwrap();
    let token = gateway.data().join("admin.token");
    let key = gateway.config().access.master_key_file;
    let key = key.unwrap_or_else(|| gateway.data().join("master.key"));
    fs::copy(token, release.join("admin.token")).unwrap();
    fs::copy(key, release.join("master.key")).unwrap();
    let text = serde_json::to_string_pretty(&said).unwrap();
    fs::write(release.join("answers.json"), text + "\n").unwrap();
}

/// The file of SQLite.
async fn copy(gateway: &Gateway) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metagov.db");
    let db = format!("sqlite://{}/metagov.db", gateway.data().display());
    let db = Database::connect(db).await.unwrap();
    let copy = format!("VACUUM INTO '{}'", file.display());
    db.execute_unprepared(&copy).await.unwrap();
    db.close().await.unwrap();
    fs::read(file).unwrap()
}

fn pack(bytes: &[u8], file: &Path) {
    let packed = fs::File::create(file).unwrap();
    let mut packed = GzEncoder::new(packed, Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap();
}

fn unpack(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = fs::File::open(file).unwrap();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}
