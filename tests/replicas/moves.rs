//! An installation moves to another platform at one gateway, and a process of it is started
//! at another.

use std::time::Duration;

use metagov_proto::v1::{Installation, Process, UpdateInstallationRequest};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Code, Status};

use super::two_with_stand;
use crate::{
    acceptance::installed,
    harness::{Api, fault, object},
    stand::Stand,
};

fn moving(api: &Api, it: &Installation, to: &Stand) -> JoinHandle<Result<(), Status>> {
    let request = UpdateInstallationRequest {
        installation_id: it.installation_id.clone(),
        config_patch: object(json!({ "url": to.url() })),
        etag: String::new(),
    };
    let api = api.clone();
    tokio::spawn(async move { api.plugins().update_installation(request).await.map(drop) })
}

fn starting(api: &Api) -> JoinHandle<Result<Process, Status>> {
    let api = api.clone();
    tokio::spawn(async move { api.start("co-op", "stand.vote", json!({})).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_does_not_move_while_a_start_is_written_down() {
    let (first, second, _stand) = two_with_stand().await;
    let (it, other) = (installed(&first.api).await.remove(0), Stand::open().await);
    let database = first.home().database().await;
    let held = database.begin().await.unwrap();
    let lock = "LOCK TABLE process IN SHARE MODE";
    held.execute_unprepared(lock).await.unwrap();
    let starting = starting(&first.api);
    first.home().until_waiting(1).await;
    let mut moved = moving(&second.api, &it, &other);
    let too_early = timeout(Duration::from_secs(1), &mut moved).await;
    held.rollback().await.unwrap();
    starting.await.unwrap().unwrap();
    assert!(too_early.is_err(), "{too_early:?}");
    let busy = fault(moved.await.unwrap());
    assert!(
        busy.is(Code::FailedPrecondition, "INSTALLATION_BUSY"),
        "{busy:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_goes_to_where_its_installation_has_moved() {
    let (first, second, stand) = two_with_stand().await;
    let (it, other) = (installed(&first.api).await.remove(0), Stand::open().await);
    let database = first.home().database().await;
    let held = database.begin().await.unwrap();
    let lock = "SELECT id FROM installation FOR UPDATE";
    held.execute_unprepared(lock).await.unwrap();
    let moved = moving(&second.api, &it, &other);
    first.home().until_waiting(1).await;
    let starting = starting(&first.api);
    first.home().until_waiting(2).await;
    held.rollback().await.unwrap();
    moved.await.unwrap().unwrap();
    starting.await.unwrap().unwrap();
    let heard = [&stand, &other].map(|stand| stand.heard("POST /start"));
    let [old, new] = heard;
    assert_eq!((old.await, new.await), (0, 1));
}
