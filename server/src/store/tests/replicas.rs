//! Stores of several gateways on one database.

use super::*;

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
        assert_eq!(claim(&store, late, &[]).await, []);
        let claimed = claim(&store, living, &[]).await;
        assert_eq!(claimed.len(), 1);
        let again = claim(&store, living, &claimed).await;
        assert_eq!(again, [], "it has it already");
    }
}

/// What of the fetches that are due a gateway can claim that is doing these.
async fn claim(store: &Store, replica: uuid::Uuid, doing: &[claims::Claim]) -> Vec<claims::Claim> {
    let doing = doing.iter().map(|claim| claim.id).collect();
    let wanted = claims::Wanted {
        by: claims::Claimer { replica, doing },
        limit: 10,
        not_of: Vec::new(),
    };
    let work = claims::Work::Fetch;
    let due = claims::next_due(store, work, &wanted, store.now()).await;
    let is_due = due.unwrap().is_some();
    let claimed = store.write(async move |tx| claims::claim_due(tx, work, &wanted).await);
    let claimed = claimed.await.unwrap();
    assert!(is_due || claimed.is_empty(), "nobody would look for it");
    claimed
}

/// A claim of its own of which it was never told, or that it has given up.
#[tokio::test]
async fn what_a_gateway_does_not_know_that_it_has_is_free_for_it_alone() {
    for place in places().await {
        let store = open(&place).await;
        let [own, other] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        let begin = store.write(async move |tx| {
            let until = tx.now.after(Duration::from_secs(60));
            for id in [own, other] {
                let version = "0";
                claims::begin(tx, &claims::Replica { id, version }, until).await?;
            }
            for _ in 0..3 {
                let of = InstallationId(own);
                deliveries::insert_fetch(tx, of, &serde_json::json!({})).await?;
            }
            Ok(())
        });
        begin.await.unwrap();
        let first = claim(&store, own, &[]).await;
        assert_eq!(first.len(), 3);
        assert_eq!(claim(&store, other, &[]).await, []);
        assert_eq!(claim(&store, own, &first).await, []);
        let again = claim(&store, own, &first[1..]).await;
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].id, again[0].number), (first[0].id, 2));
        // Should somebody still do it under the old claim, nothing of that is written.
        let (old, new) = (first[0], again[0]);
        let release = async |claim| {
            let released = store.write(async move |tx| claims::release(tx, &claim).await);
            released.await
        };
        assert_eq!(release(old).await, Err(Error::ClaimLost));
        assert_eq!(release(new).await, Ok(()));
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
    // Timers that are due are done within two seconds, and a busy machine has its share.
    assert!(begun.elapsed() < Duration::from_secs(4));
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
