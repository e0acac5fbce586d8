//! The store on a database of its own: how SQLite is opened, and what shares a commit.

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
        notify: open::Notify::Channel,
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

#[tokio::test]
async fn sqlite_is_durable() {
    let place = file();
    let store = open(&place).await;
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

/// Else it would find its own claim free at once, and claim and do the thing again and
/// again until it notices.
#[tokio::test]
async fn a_gateway_whose_time_ran_out_claims_nothing() {
    for place in places().await {
        let store = open(&place).await;
        let [living, late] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        let begin = store.write(async move |tx| {
            let minute = Duration::from_secs(60);
            for (id, until) in [
                (living, tx.now.after(minute)),
                (late, tx.now.before(minute)),
            ] {
                let version = "0";
                claims::begin(tx, &claims::Replica { id, version }, until).await?;
            }
            deliveries::insert_fetch(tx, InstallationId(living), &serde_json::json!({})).await
        });
        begin.await.unwrap();
        let claim = async |replica| {
            let wanted = claims::Wanted {
                limit: 10,
                not_of: Vec::new(),
            };
            let claimed = store.write(async move |tx| {
                claims::claim_due(tx, replica, claims::Work::Fetch, &wanted).await
            });
            claimed.await.unwrap().len()
        };
        assert_eq!(claim(late).await, 0);
        assert_eq!(claim(living).await, 1);
        assert_eq!(claim(living).await, 0, "it has it already");
    }
}

#[tokio::test]
async fn migrating_twice_takes_no_step() {
    for place in places().await {
        assert!(!migrate(&place.settings).await.unwrap().is_empty());
        let again = migrate(&place.settings).await.unwrap();
        assert_eq!(again, Vec::<String>::new());
    }
}

/// What the next build's steps do at most, while this one runs: they add to every table.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_taken_beside_a_gateway_that_writes() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let store = open(&place).await;
    let (writer, written) = (store.clone(), Arc::new(Semaphore::new(0)));
    let counted = written.clone();
    let writes = tokio::spawn(async move {
        for number in 0..400 {
            let id = format!("c{number}");
            writer.write(async move |tx| add(tx, &id).await).await?;
            counted.add_permits(1);
        }
        Ok::<_, Error>(())
    });
    let database = sea_orm::Database::connect(&place.settings.url).await;
    let database = database.unwrap();
    for round in 0..10 {
        written.acquire_many(20).await.unwrap().forget();
        let step = || async {
            let step = database.begin().await?;
            // In the order in which a change does not take them.
            for table in ["event", "feed", "community"] {
                let add = format!("ALTER TABLE {table} ADD COLUMN later_{round} text");
                step.execute_unprepared(&add).await?;
            }
            step.commit().await
        };
        steps::patiently(step).await.unwrap();
    }
    writes.await.unwrap().unwrap();
    let scope = Scope::Everywhere;
    let all = communities::list(&store, &scope, None, ALL).await.unwrap();
    assert_eq!(all.len(), 400);
}

#[tokio::test]
async fn a_file_has_one_gateway() {
    let place = file();
    let store = open(&place).await;
    let Err(OpenError::Database(error)) = Store::open(&place.settings).await else {
        panic!("two use it");
    };
    assert!(error.to_string().contains("another gateway"), "{error}");
    assert!(error.to_string().contains("test.db"), "{error}");
    store.close().await;
    open(&place).await;
}

#[tokio::test]
async fn a_damaged_file_is_named_and_left_alone() {
    let place = file();
    let path = place._folder.as_ref().unwrap().path().join("test.db");
    let store = open(&place).await;
    store.write(async |tx| add(tx, "a").await).await.unwrap();
    store.close().await;
    let whole = std::fs::read(&path).unwrap();
    let mut torn = whole.clone();
    let half = torn.len() / 2;
    torn[half..].fill(0x5a);
    for damaged in [torn, whole[..half].to_vec(), b"no database".repeat(100)] {
        std::fs::write(&path, &damaged).unwrap();
        let Err(OpenError::Database(error)) = Store::open(&place.settings).await else {
            panic!("it was opened");
        };
        let error = error.to_string();
        assert!(error.contains("test.db is damaged"), "{error}");
        assert!(std::fs::read(&path).unwrap() == damaged, "{error}");
    }
}

/// The driver's task that does so has been seen to hang.
#[tokio::test]
async fn no_pool_closes_connections_by_itself() {
    for place in places().await {
        let store = open(&place).await;
        let [idle, age] = match store.reads.get_database_backend() {
            sea_orm::DbBackend::Sqlite => {
                let pool = store.reads.get_sqlite_connection_pool().options();
                [pool.get_idle_timeout(), pool.get_max_lifetime()]
            }
            _ => {
                let pool = store.reads.get_postgres_connection_pool().options();
                [pool.get_idle_timeout(), pool.get_max_lifetime()]
            }
        };
        assert_eq!([idle, age], [None, None]);
    }
}

#[tokio::test]
async fn text_is_ordered_by_its_bytes() {
    for place in places().await {
        let store = open(&place).await;
        for id in ["b", "a-b", "B", "a", "aa", "ab"] {
            store
                .write(async move |tx| add(tx, id).await)
                .await
                .unwrap();
        }
        let found = communities::list(&store, &Scope::Everywhere, None, 10).await;
        let found: Vec<_> = found
            .unwrap()
            .into_iter()
            .map(|c| c.id.to_string())
            .collect();
        assert_eq!(found, ["B", "a", "a-b", "aa", "ab", "b"]);
    }
}

#[tokio::test]
async fn gateways_that_start_at_once_make_the_tables_once() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let starts = (0..4).map(|_| Store::open(&place.settings));
    for started in futures::future::join_all(starts).await {
        started.unwrap();
    }
}

#[tokio::test]
async fn what_another_commits_is_heard_of_at_once() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let (here, there) = (open(&place).await, open(&place).await);
    let mut head = there.head();
    // It has begun to listen once it has heard something.
    let mut told = 0;
    while *head.borrow_and_update() == 0 {
        here.write(async move |tx| add(tx, &format!("c{told}")).await)
            .await
            .unwrap();
        told += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    here.write(async |tx| add(tx, "last").await).await.unwrap();
    let last = *here.head().borrow();
    let heard = head.wait_for(|head| *head == last);
    let in_time = tokio::time::timeout(Duration::from_secs(5), heard).await;
    in_time
        .expect("not by the poll, which is a minute")
        .unwrap();
}

#[tokio::test]
async fn what_is_not_told_is_found_by_looking() {
    let Some(mut place) = on_postgres().await else {
        return;
    };
    place.settings.poll = Duration::from_millis(50);
    let (here, there) = (open(&place).await, open(&place).await);
    here.write(async |tx| add(tx, "a").await).await.unwrap();
    // As if somebody wrote who tells nobody.
    let forward = "UPDATE feed SET position = position + 1";
    here.reads.execute_unprepared(forward).await.unwrap();
    let mut head = there.head();
    let found = head.wait_for(|head| *head == 2);
    let in_time = tokio::time::timeout(Duration::from_secs(5), found).await;
    in_time.unwrap().unwrap();
}

#[tokio::test]
async fn of_twins_at_two_gateways_one_works_and_both_get_its_answer() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let stores = [open(&place).await, open(&place).await];
    for number in 0..50 {
        let twins = stores.iter().map(|store| {
            store.write(async move |tx| {
                let id = CommunityId::trusted(format!("c{number}"));
                if let Ok(known) = communities::find(tx, &id).await {
                    return Ok(known.display_name);
                }
                let mut community = community(id.as_str());
                community.display_name = uuid::Uuid::new_v4().to_string();
                communities::insert(tx, &community).await?;
                Ok(community.display_name)
            })
        });
        let answers = futures::future::join_all(twins).await;
        assert!(answers[0].is_ok(), "{answers:?}");
        assert_eq!(answers[0], answers[1]);
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

#[tokio::test]
async fn a_paused_gateway_does_not_hold_the_others() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let other = open(&place).await;
    other.write(async |tx| add(tx, "a").await).await.unwrap();
    // As if another stopped in the midst of a transaction that holds the log.
    let server = postgres::parse(&place.settings.url).unwrap();
    let paused = postgres::pool(&server, postgres::Role::Writes, 1);
    let held = sea_orm::TransactionTrait::begin(&paused).await.unwrap();
    let lock = "UPDATE feed SET position = position";
    held.execute_unprepared(lock).await.unwrap();
    let begun = std::time::Instant::now();
    other.write(async |tx| add(tx, "b").await).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn the_time_is_the_databases() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let store = open(&place).await;
    let asked = clock::ask(&store.reads).await.unwrap();
    let now = store.now();
    assert!(
        now.since(asked) < Duration::from_secs(1) && asked.since(now) == Duration::ZERO
            || asked.since(now) < Duration::from_secs(1)
    );
    let in_a_change = store.write(async |tx| Ok(tx.now)).await.unwrap();
    assert!(in_a_change >= asked);
}

#[tokio::test]
async fn a_session_of_postgres_waits_for_the_disk() {
    let Some(place) = on_postgres().await else {
        return;
    };
    let store = open(&place).await;
    drop(store);
    let admin = sea_orm::Database::connect(&place.settings.url)
        .await
        .unwrap();
    let off = "DO $$ BEGIN EXECUTE format(
        'ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
    admin.execute_unprepared(off).await.unwrap();
    let store = open(&place).await;
    let sql = "SELECT current_setting('synchronous_commit')";
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
    let row = store.reads.query_one_raw(statement).await.unwrap().unwrap();
    let said: String = row.try_get_by_index(0).unwrap();
    assert_eq!(said, "on", "each session sets it for itself");
}
