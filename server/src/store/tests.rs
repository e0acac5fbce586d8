//! The store on a database of its own: what shares a commit, and what becomes of it.

mod opening;
mod replicas;
mod waiting;

use std::{sync::Arc, time::Duration};

use sea_orm::TransactionTrait;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::model::{
    Change, Community, CommunityId, InstallationId, NewEvent, Payload, Scope, Time,
};

/// Names a Postgres on which each test has a database of its own. Without it the claims
/// are shown on a file alone.
const POSTGRES: &str = "METAGOV_TEST_POSTGRES_URL";

/// Where a store is, for as long as it is needed.
struct Place {
    settings: Settings,
    _folder: Option<TempDir>,
}

fn settings(url: String) -> Settings {
    Settings {
        url,
        readers: 2,
        wait: Duration::from_secs(10),
        poll: Duration::from_secs(60),
        notify: Notify::Channel,
        key: KeySource::Given(Keys::new(&MasterKey::new([7; 32]))),
    }
}

fn file() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/test.db?mode=rwc", folder.path().display());
    Place {
        settings: settings(url),
        _folder: Some(folder),
    }
}

/// A new database on the Postgres of this run, if it has one.
async fn on_postgres() -> Option<Place> {
    let Some(base) = std::env::var(POSTGRES).ok().filter(|url| !url.is_empty()) else {
        eprintln!("SKIPPED on Postgres: {POSTGRES} is not set");
        return None;
    };
    let admin = sea_orm::Database::connect(&base).await.unwrap();
    let name = format!("metagov_test_{}_store", uuid::Uuid::new_v4().simple());
    let create = format!("CREATE DATABASE {name}");
    admin.execute_unprepared(&create).await.unwrap();
    let mut url: url::Url = base.parse().unwrap();
    url.set_path(&name);
    Some(Place {
        settings: settings(url.into()),
        _folder: None,
    })
}

/// One of each kind.
async fn places() -> Vec<Place> {
    [Some(file()), on_postgres().await]
        .into_iter()
        .flatten()
        .collect()
}

async fn open(place: &Place) -> Store {
    Store::open(&place.settings).await.unwrap()
}

fn community(id: &str) -> Community {
    Community {
        id: CommunityId::trusted(id),
        display_name: String::new(),
        create_time: Time(0),
        update_time: Time(0),
        etag: String::new(),
    }
}

/// Adds a community with its event.
async fn add(tx: &Tx, id: &str) -> Result<()> {
    communities::insert(tx, &community(id)).await?;
    let payload = Payload::Community(community(id), Change::Created);
    let community_id = CommunityId::trusted(id);
    tx.event(NewEvent {
        community_id,
        payload,
    });
    Ok(())
}

/// Keeps the writer's thread busy until all changes wait, so that they share a batch.
async fn at_once(store: &Store, changes: usize, change: fn(usize) -> Kind) -> Vec<Result<()>> {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let first = store.clone();
    let first = tokio::spawn(async move {
        first
            .write(async move |_| {
                _ = held.acquire().await;
                Ok(())
            })
            .await
    });
    let running: Vec<_> = (0..changes)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let kind = change(number);
                store
                    .write(async move |tx| {
                        let id = format!("c{number}");
                        add(tx, &id).await?;
                        match kind {
                            Kind::Good => Ok(()),
                            Kind::Failing => Err(Error::Changed),
                            Kind::Panicking => panic!("in the midst of a change"),
                        }
                    })
                    .await
            })
        })
        .collect();
    // Each has run to where it waits for its answer.
    for _ in 0..3 * changes {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1000);
    first.await.unwrap().unwrap();
    let mut results = Vec::new();
    for result in running {
        results.push(result.await.unwrap());
    }
    results
}

/// SQLite then ends the transaction by itself, behind the driver's back.
#[tokio::test]
async fn after_a_full_disk_a_commit_is_a_commit() {
    let place = file();
    let store = open(&place).await;
    let full = store
        .write(async |tx| {
            let limit = "PRAGMA max_page_count = 1";
            let limited = tx.rows().execute_unprepared(limit).await;
            limited.map_err(failed)?;
            let large = Community {
                display_name: "x".repeat(1 << 20),
                ..community("large")
            };
            communities::insert(tx, &large).await
        })
        .await;
    assert_eq!(full, Err(Error::StorageFull));
    // What was begun for this one must end with it.
    let failed = store.write(async |_| Err::<(), _>(Error::Changed)).await;
    assert_eq!(failed, Err(Error::Changed));
    store.write(async |tx| add(tx, "c1").await).await.unwrap();
    // By another connection than the one that wrote.
    let found = communities::find(&store, &CommunityId::trusted("c1")).await;
    assert_eq!(found.unwrap().id, CommunityId::trusted("c1"));
    let feed = events::feed(&store).await.unwrap();
    assert_eq!(feed.position, 1);
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Good,
    Failing,
    Panicking,
}

#[tokio::test]
async fn a_failed_change_leaves_the_others() {
    for place in places().await {
        let store = open(&place).await;
        let kind = |number: usize| match number % 10 {
            3 => Kind::Failing,
            7 => Kind::Panicking,
            _ => Kind::Good,
        };
        let results = at_once(&store, 50, kind).await;
        let mut kept = Vec::new();
        for (number, result) in results.into_iter().enumerate() {
            match kind(number) {
                Kind::Good => {
                    result.unwrap();
                    kept.push(CommunityId::trusted(format!("c{number}")));
                }
                Kind::Failing => assert_eq!(result, Err(Error::Changed)),
                Kind::Panicking => assert!(matches!(result, Err(Error::Internal(_)))),
            }
        }
        kept.sort();
        let found = communities::list(&store, &Scope::Everywhere, None, 100)
            .await
            .unwrap();
        let found: Vec<_> = found.into_iter().map(|community| community.id).collect();
        assert_eq!(found, kept);
        let log = events::after(&store, 0, 100).await.unwrap();
        let positions: Vec<_> = log.iter().map(|event| event.position).collect();
        assert_eq!(positions, (1..=40).collect::<Vec<i64>>());
        let mut told: Vec<_> = log.into_iter().map(|event| event.community_id).collect();
        told.sort();
        assert_eq!(
            told, kept,
            "an event for each that was kept, and for no other"
        );
        assert_eq!(*store.head().borrow(), 40);
    }
}

#[tokio::test]
async fn changes_that_wait_share_a_commit() {
    for place in places().await {
        let store = open(&place).await;
        let mut head = store.head();
        head.borrow_and_update();
        let results = at_once(&store, 64, |_| Kind::Good).await;
        assert!(results.iter().all(Result::is_ok));
        // The time of a commit is the same for all of it.
        let log = events::after(&store, 0, 100).await.unwrap();
        let mut times: Vec<_> = log.iter().map(|event| event.record_time).collect();
        times.dedup();
        assert_eq!(log.len(), 64);
        assert!(times.len() <= 2, "{} commits for 64 changes", times.len());
    }
}

#[tokio::test]
async fn the_time_of_the_log_never_falls() {
    for place in places().await {
        let store = open(&place).await;
        store.write(async |tx| add(tx, "a").await).await.unwrap();
        // As if the clock had been ahead by an hour then.
        let ahead = Time::now().after(std::time::Duration::from_secs(3600));
        let sql = format!("UPDATE feed SET record_time = {}", ahead.0);
        store.reads.execute_unprepared(&sql).await.unwrap();
        store.write(async |tx| add(tx, "b").await).await.unwrap();
        let log = events::after(&store, 0, 10).await.unwrap();
        assert_eq!(log[1].record_time, ahead);
    }
}

#[tokio::test]
async fn the_last_change_is_never_trimmed() {
    for place in places().await {
        let store = open(&place).await;
        for id in ["a", "b"] {
            store
                .write(async move |tx| add(tx, id).await)
                .await
                .unwrap();
        }
        let both = store.write(async |tx| {
            add(tx, "c").await?;
            add(tx, "d").await
        });
        both.await.unwrap();
        let later = Time(i64::MAX);
        let gone = store.write(async move |tx| events::trim(tx, later, 1000).await);
        assert_eq!(gone.await, Ok(2));
        let left = events::after(&store, 0, 10).await.unwrap();
        let left: Vec<_> = left
            .iter()
            .map(|event| event.community_id.as_str())
            .collect();
        assert_eq!(left, ["c", "d"], "a change is kept whole");
    }
}

#[tokio::test]
async fn a_connection_that_died_costs_no_change() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let store = open(&place).await;
    // Not one of the store's own: those may be dead.
    let killer = sea_orm::Database::connect(&place.settings.url)
        .await
        .unwrap();
    for number in 0..10 {
        let id = format!("c{number}");
        store
            .write(async move |tx| add(tx, &id).await)
            .await
            .unwrap();
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        killer.execute_unprepared(kill).await.unwrap();
    }
    let alive = open(&place).await;
    assert_eq!(events::after(&alive, 0, 100).await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_statement_that_broke_its_transaction_is_never_acknowledged() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let store = open(&place).await;
    let swallowed = store.write(async |tx| {
        communities::insert(tx, &community("a")).await?;
        let nonsense = tx.rows().execute_unprepared("SELECT 1 / 0").await;
        assert!(nonsense.is_err());
        Ok(())
    });
    assert!(swallowed.await.is_err());
    let found = communities::list(&store, &Scope::Everywhere, None, 10).await;
    assert!(found.unwrap().is_empty());
}
