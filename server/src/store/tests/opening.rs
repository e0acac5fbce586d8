//! How a database is opened, and what is asserted of it.

use super::*;

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
