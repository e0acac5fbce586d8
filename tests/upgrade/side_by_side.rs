//! A build and a newer one on one Postgres: what the newer one adds is no matter of the
//! older one, which goes on until it is replaced. And a step that cannot be taken leaves
//! nothing of itself.

use std::time::{Duration, Instant};

use futures::future::join_all;
use metagov_proto::v1::{ProcessState, event::Payload};
use sea_orm::{ConnectionTrait, DbErr, TransactionTrait};
use serde_json::json;
use tonic::Code;

use crate::{
    harness::{Binary, Gateway, Home, Kind, PATIENCE},
    stand::start_until,
};

/// What the steps of a newer build do at most: they add. It is taken again while it loses
/// against changes, as the gateway does.
async fn take_a_newer_step(home: &Home) {
    let until = Instant::now() + PATIENCE;
    while let Err(error) = try_a_newer_step(home).await {
        assert!(error.to_string().contains("deadlock"), "{error}");
        assert!(Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A column to each table, with a default and without, and a table; in one transaction,
/// as every step.
async fn try_a_newer_step(home: &Home) -> Result<(), DbErr> {
    let database = home.database().await;
    let tables = "SELECT tablename::text FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'seaql_migrations'";
    let tables: Vec<String> = home.ask(tables).await;
    assert!(tables.len() > 10, "{tables:?}");
    let step = database.begin().await?;
    for table in tables {
        let add = format!(
            "ALTER TABLE \"{table}\" ADD COLUMN later bigint NOT NULL DEFAULT 7, ADD COLUMN latest text"
        );
        step.execute_unprepared(&add).await?;
    }
    let record = "CREATE TABLE novelty (id uuid PRIMARY KEY);
        INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_newer', 0)";
    step.execute_unprepared(record).await?;
    step.commit().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_goes_on_while_a_newer_build_brings_the_tables_up_to_date() {
    let (first, second) = Gateway::start_two().await;
    first.api.community("co-op").await;
    first.api.enable("co-op", "ballot", json!({})).await;
    let process = start_until(&first.api, "ballot.vote", Duration::from_secs(3600)).await;
    let mut watcher = second.api.watch().await;
    let cast = |number: usize| {
        let api = [&first.api, &second.api][number % 2].clone();
        let ballot = json!({"process_id": process.process_id,
            "voter": format!("voter{number}"), "choices": ["soup"]});
        async move {
            let until = Instant::now() + PATIENCE;
            loop {
                let done = api.perform("co-op", "ballot.cast", ballot.clone()).await;
                match done {
                    // It lost against the step each time: then it is called again, as any
                    // client does.
                    Err(status) if status.code() == Code::Unavailable => {
                        assert!(Instant::now() < until, "{status}");
                    }
                    done => return done,
                }
            }
        }
    };
    // Statements of before, prepared and under way, and of after.
    let before = join_all((0..40).map(cast));
    let (casts, ()) = tokio::join!(before, take_a_newer_step(first.home()));
    let after = join_all((40..80).map(cast)).await;
    for cast in casts.into_iter().chain(after) {
        cast.unwrap();
    }
    let closed = second.api.close(&process.process_id).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    assert_eq!(closed.tally.unwrap().voter_count, Some(80));
    watcher
        .until(|payload| {
            let Payload::ProcessChanged(changed) = payload else {
                return false;
            };
            changed.process.as_ref().unwrap().revision == closed.revision
        })
        .await;
    first.api.community("newcomer").await;
    let limits = json!({"default_low": 0, "default_high": 10});
    second.api.enable("newcomer", "randomness", limits).await;
    let dice = json!({"low": 3, "high": 4});
    let rolled = first.api.perform("newcomer", "randomness.random-int", dice);
    rolled.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_cannot_be_taken_is_named_and_leaves_nothing() {
    let home = Home::bare();
    let serve = || {
        let mut command = Binary::command(&["migrate"]);
        home.let_in(&mut command).output().unwrap()
    };
    // Somebody else's table is in the way of the last step.
    if home.kind() == Kind::Sqlite {
        std::fs::create_dir_all(home.data()).unwrap();
        std::fs::write(home.data().join("metagov.db"), "").unwrap();
    }
    home.run("CREATE TABLE replica (somebody text)").await;
    let refused = serve();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("replica"), "{said}");
    let taken = "SELECT version FROM seaql_migrations ORDER BY version";
    let before: Vec<String> = home.ask(taken).await;
    assert!(
        before.iter().all(|step| !step.contains("replicas")),
        "{before:?}"
    );
    home.run("DROP TABLE replica").await;
    let done = serve();
    assert!(done.status.success(), "{done:?}");
    let after: Vec<String> = home.ask(taken).await;
    assert_eq!(after.len(), 4);
    let server = Binary::serve(&home, &[]);
    assert_eq!(server.terminate(), Some(0));
}

/// It waits for somebody in the midst of the last step, and is killed there.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_killed_half_way_leaves_whole_steps_for_the_next() {
    let home = Home::bare_on(Kind::Postgres);
    let outside = home.database().await;
    let other = outside.begin().await.unwrap();
    let same = "CREATE TABLE replica (somebody text)";
    other.execute_unprepared(same).await.unwrap();
    let mut command = Binary::command(&["migrate"]);
    let mut killed = home.let_in(&mut command).spawn().unwrap();
    home.until_waiting(1).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    other.rollback().await.unwrap();
    let server = Binary::serve(&home, &[]);
    let taken: Vec<i64> = home.ask("SELECT count(*) FROM seaql_migrations").await;
    assert_eq!(taken, [4]);
    server.api().await.community("a").await;
    assert_eq!(server.terminate(), Some(0));
}
