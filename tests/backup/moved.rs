//! From one kind of database into the other, and back: the same two commands.

use std::fs;

use super::{backup, file::Lines, new_home, of_vault, restore};
use crate::harness::{Home, Kind};

#[tokio::test(flavor = "multi_thread")]
async fn it_moves_from_sqlite_to_postgres_and_back_and_loses_nothing() {
    let (stored, folder, file) = of_vault().await;
    let there = Home::on(Kind::Postgres);
    let mut on_postgres = stored.config();
    there.furnish(&mut on_postgres);
    let key = on_postgres.access.master_key_file.clone().unwrap();
    fs::copy(stored.file("master.key"), key).unwrap();
    restore(&on_postgres, &file).await.unwrap();
    let again = restore(&on_postgres, &file).await.unwrap_err();
    assert!(again.contains("it is not empty"), "{again}");
    let second = folder.path().join("of-postgres");
    backup(&on_postgres, &second).await.unwrap();
    let (_home, back) = new_home(&stored.config());
    restore(&back, &second).await.unwrap();
    let third = folder.path().join("back");
    backup(&back, &third).await.unwrap();
    let lines = [&file, &second, &third].map(|file| Lines::of(file));
    for table in lines[0].tables().iter().filter(|table| *table != "feed") {
        let [first, second, third] = [0, 1, 2].map(|at| lines[at].rows(table));
        assert_eq!(first, second, "{table}");
        assert_eq!(first, third, "{table}");
    }
    let [first, second, third] = [0, 1, 2].map(|at| lines[at].column("feed", "feed_id"));
    assert!(first != second && second != third, "each is another feed");
    // Secrets are of use in both.
    stored.opens_with(on_postgres).await.unwrap();
    stored.opens_with(back).await.unwrap();
}
