//! Databases that are away, read-only, slow, damaged or somebody else's: what the gateway
//! does then, and that it goes on by itself when they are well again.

mod in_doubt;
mod outage;
mod over_tls;
mod slow;
mod standby;

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use metagov_proto::v1::{
    Community, CreateCommunityRequest, GetCommunityRequest, ListCommunitiesRequest,
};
use reqwest::StatusCode;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tonic::Code;

use crate::{
    harness::{Api, Binary, Cluster, Home, PATIENCE},
    operations,
};

const SECOND: Duration = Duration::from_secs(1);

/// `serve` on a database, with a data folder of its own; it has not been started.
fn serve(home: &Home, data: &Path) -> Command {
    let mut command = Binary::command(&["serve"]);
    home.let_in(&mut command)
        .env("METAGOV_DATA_DIR", data)
        .env("METAGOV_LISTEN", "127.0.0.1:0")
        .env("METAGOV_PUBLIC_LISTEN", "127.0.0.1:0");
    command
}

/// What a start that is refused says, with its log.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    [output.stdout, output.stderr]
        .map(|said| String::from_utf8(said).unwrap())
        .concat()
}

/// The one line with which a start is refused.
fn refusal(command: &mut Command) -> String {
    why(&refused(command))
}

fn why(said: &str) -> String {
    let mut errors = said.lines().filter(|line| line.starts_with("error: "));
    let line = errors.next().expect("it says why").to_owned();
    assert_eq!(errors.next(), None, "{said}");
    line
}

async fn create(api: &Api, id: &str) -> Result<(), Code> {
    let community = Some(Community {
        community_id: id.to_owned(),
        ..Community::default()
    });
    let request = CreateCommunityRequest {
        community,
        request_id: format!("create-{id}"),
    };
    let created = api.communities().create_community(request).await;
    created.map(|_| ()).map_err(|status| status.code())
}

async fn read(api: &Api) -> Result<usize, Code> {
    let list = ListCommunitiesRequest::default();
    let listed = api.communities().list_communities(list).await;
    let listed = listed.map_err(|status| status.code())?;
    Ok(listed.into_inner().communities.len())
}

/// Tries until it is done, for half a minute at most.
async fn until_done(api: &Api, id: &str) {
    let begun = Instant::now();
    while let Err(code) = create(api, id).await {
        assert!(
            [Code::Unavailable, Code::AlreadyExists].contains(&code),
            "{code:?}"
        );
        if code == Code::AlreadyExists {
            return;
        }
        assert!(begun.elapsed() < 30 * SECOND);
        tokio::time::sleep(SECOND / 5).await;
    }
}

/// Its database holds one community, and takes no other; a balancer is told.
async fn is_only_read(gateway: &Binary, api: &Api) {
    // Each connection of before is found dead once.
    let until = Instant::now() + PATIENCE;
    while read(api).await != Ok(1) {
        assert!(Instant::now() < until, "it is not read");
    }
    assert_eq!(create(api, "b").await, Err(Code::Unavailable));
    let said = json!({"ready": false, "reason": "read_only"});
    operations::until(&gateway.endpoint, (StatusCode::SERVICE_UNAVAILABLE, said)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_its_database() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    cluster.stop("fast");
    let (gateway, waited) = thread::scope(|scope| {
        let begun = Instant::now();
        let start = scope.spawn(|| Binary::serve(&home, &[]));
        thread::sleep(3 * SECOND);
        cluster.start_again(&[]);
        (start.join().unwrap(), begun.elapsed())
    });
    assert!(waited >= 3 * SECOND);
    create(&gateway.api().await, "a").await.unwrap();
}

#[test]
fn a_start_waits_for_its_database_no_longer_than_it_is_told() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    cluster.stop("fast");
    let begun = Instant::now();
    let mut command = serve(&home, &home.data());
    let said = refused(command.args(["--database-wait", "2s"]));
    assert!(begun.elapsed() >= 2 * SECOND && begun.elapsed() < 20 * SECOND);
    assert!(said.contains("waiting for the database"), "{said}");
    let line = why(&said);
    assert!(
        line.starts_with("error: --database-url (METAGOV_DATABASE_URL): ")
            && line.contains("--database-wait"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_away_is_unavailable_until_it_is_back() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    let gateway = Binary::serve(&home, &[]);
    let api = gateway.api().await;
    create(&api, "before").await.unwrap();
    for round in 0..3 {
        cluster.stop("immediate");
        assert_eq!(create(&api, "lost").await, Err(Code::Unavailable));
        assert_eq!(read(&api).await, Err(Code::Unavailable));
        cluster.start_again(&[]);
        until_done(&api, &format!("after-{round}")).await;
    }
    // Nothing that was acknowledged is gone, and "lost" may be there or not. Each
    // connection of before is found dead once.
    let until = Instant::now() + PATIENCE;
    let there = loop {
        match read(&api).await {
            Ok(there) => break there,
            Err(code) => assert!(
                code == Code::Unavailable && Instant::now() < until,
                "{code:?}"
            ),
        }
    };
    assert!(there >= 4);
    let get = GetCommunityRequest {
        community_id: "before".to_owned(),
    };
    while let Err(status) = api.communities().get_community(get.clone()).await {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(Instant::now() < until);
    }
    assert_eq!(gateway.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_read() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    let gateway = Binary::serve(&home, &[]);
    let api = gateway.api().await;
    create(&api, "a").await.unwrap();
    let set = |value: &str| {
        format!(
            "BEGIN READ WRITE;
             ALTER DATABASE postgres SET default_transaction_read_only = {value};
             COMMIT;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    };
    home.run(&set("on")).await;
    assert_eq!(create(&api, "b").await, Err(Code::Unavailable));
    is_only_read(&gateway, &api).await;
    let mut log = std::iter::from_fn(|| gateway.log.recv_timeout(PATIENCE).ok());
    assert!(log.any(|line| line.contains("read-only")));
    home.run(&set("off")).await;
    until_done(&api, "c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_connection_is_told_so() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    let gateway = Binary::serve(&home, &["--database-connections", "1"]);
    let api = gateway.api().await;
    create(&api, "a").await.unwrap();
    let held = home.database().await;
    let lock = "BEGIN; LOCK TABLE community IN ACCESS EXCLUSIVE MODE";
    held.execute_unprepared(lock).await.unwrap();
    let both = tokio::join!(read(&api), read(&api));
    assert_eq!(both, (Err(Code::Unavailable), Err(Code::Unavailable)));
    held.execute_unprepared("COMMIT").await.unwrap();
    let begun = Instant::now();
    while read(&api).await.is_err() {
        assert!(begun.elapsed() < 20 * SECOND);
    }
}

#[test]
fn a_database_that_loses_commits_is_refused() {
    for setting in ["fsync", "full_page_writes"] {
        let cluster = Cluster::start(&[&format!("{setting}=off")]);
        let home = Home::at(cluster.url());
        let line = refusal(&mut serve(&home, &home.data()));
        assert!(
            line.contains(setting) && line.contains("set it to on"),
            "{line}"
        );
    }
}

#[test]
fn a_database_of_several_gateways_needs_a_master_key() {
    let cluster = Cluster::start(&[]);
    let home = Home::at(cluster.url());
    let mut command = serve(&home, &home.data());
    let line = refusal(command.env_remove("METAGOV_MASTER_KEY_FILE"));
    let named = "error: --master-key-file (METAGOV_MASTER_KEY_FILE): ";
    assert!(line.starts_with(named), "{line}");
}

#[test]
fn a_password_is_not_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Binary::command(&["serve", "--database-wait", "0s"]);
    command
        .env("METAGOV_DATA_DIR", folder.path())
        .env("METAGOV_LISTEN", "127.0.0.1:0")
        .env("METAGOV_PUBLIC_LISTEN", "127.0.0.1:0")
        .env("METAGOV_MASTER_KEY", "5e".repeat(32))
        .env(
            "METAGOV_DATABASE_URL",
            "postgres://me:hunter2@127.0.0.1:1/none",
        );
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(said.contains("error: --database-url"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_file_that_another_gateway_uses_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let start = |data: &str, file: &str| {
        let url = format!("sqlite://{}/{file}?mode=rwc", folder.path().display());
        let mut command = Binary::command(&["serve"]);
        command
            .env("METAGOV_DATA_DIR", folder.path().join(data))
            .env("METAGOV_LISTEN", "127.0.0.1:0")
            .env("METAGOV_PUBLIC_LISTEN", "127.0.0.1:0")
            .env("METAGOV_DATABASE_URL", url);
        command
    };
    let mut first = start("a", "one.db").spawn().unwrap();
    let begun = Instant::now();
    while !folder.path().join("a/admin.token").exists() {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(SECOND / 20);
    }
    // However it is called.
    symlink("one.db", folder.path().join("link.db")).unwrap();
    let refused = ["one.db", "link.db"].map(|file| refusal(&mut start("b", file)));
    first.kill().unwrap();
    first.wait().unwrap();
    for line in refused {
        assert!(
            line.contains("another gateway uses") && line.contains("one.db"),
            "{line}"
        );
    }
}
