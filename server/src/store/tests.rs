//! The store on a database of its own: how SQLite is opened, and what shares a commit.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::model::{Change, Community, CommunityId, NewEvent, Payload, Scope, Time};

async fn open() -> (Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        url: format!("sqlite://{}/test.db?mode=rwc", folder.path().display()),
        readers: 2,
        key: KeySource::Given(Keys::new(&MasterKey::new([7; 32]))),
    };
    (Store::open(&settings).await.unwrap(), folder)
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

#[tokio::test]
async fn sqlite_is_durable() {
    let (store, _folder) = open().await;
    let ask = async |sql: &str| {
        let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, sql);
        let row = store.reads.query_one_raw(statement).await.unwrap();
        row.unwrap()
    };
    let version: String = ask("SELECT sqlite_version()")
        .await
        .try_get_by_index(0)
        .unwrap();
    let numbers: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    assert!(numbers.as_slice() >= &[3, 51, 3][..], "{version}");
    let journal: String = ask("PRAGMA journal_mode")
        .await
        .try_get_by_index(0)
        .unwrap();
    assert_eq!(journal, "wal");
    let full: i32 = ask("PRAGMA synchronous").await.try_get_by_index(0).unwrap();
    assert_eq!(full, 2, "FULL");
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

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Good,
    Failing,
    Panicking,
}

#[tokio::test]
async fn a_failed_change_leaves_the_others() {
    let (store, _folder) = open().await;
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

#[tokio::test]
async fn changes_that_wait_share_a_commit() {
    let (store, _folder) = open().await;
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

#[tokio::test]
async fn the_time_of_the_log_never_falls() {
    let (store, _folder) = open().await;
    store.write(async |tx| add(tx, "a").await).await.unwrap();
    // As if the clock had been ahead by an hour then.
    let ahead = Time::now().after(std::time::Duration::from_secs(3600));
    let sql = format!("UPDATE feed SET record_time = {}", ahead.0);
    store.reads.execute_unprepared(&sql).await.unwrap();
    store.write(async |tx| add(tx, "b").await).await.unwrap();
    let log = events::after(&store, 0, 10).await.unwrap();
    assert_eq!(log[1].record_time, ahead);
}

#[tokio::test]
async fn the_last_change_is_never_trimmed() {
    let (store, _folder) = open().await;
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

#[tokio::test]
async fn migrating_twice_takes_no_step() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        url: format!("sqlite://{}/test.db?mode=rwc", folder.path().display()),
        readers: 1,
        key: KeySource::Given(Keys::new(&MasterKey::new([7; 32]))),
    };
    assert!(!migrate(&settings).await.unwrap().is_empty());
    assert_eq!(migrate(&settings).await.unwrap(), Vec::<String>::new());
}
