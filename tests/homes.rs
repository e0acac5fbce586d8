//! What the tests live in: a database of one's own, of either kind, for one gateway or more.

use metagov_proto::v1::GetCommunityRequest;

use crate::harness::{Api, Binary, Cluster, Gateway, Home, Kind};

async fn knows(api: &Api, community: &str) -> bool {
    let request = GetCommunityRequest {
        community_id: community.to_owned(),
    };
    api.communities().get_community(request).await.is_ok()
}

#[tokio::test]
async fn a_gateway_has_the_kind_of_database_that_the_run_is_about() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let of_postgres = Kind::of_this_run() == Kind::Postgres;
    assert_eq!(gateway.home().kind(), Kind::of_this_run());
    assert_eq!(gateway.data().join("metagov.db").exists(), !of_postgres);
    let found: Vec<String> = gateway.home().ask("SELECT id FROM community").await;
    assert_eq!(found, ["a"]);
    if of_postgres {
        let version = gateway.home().ask::<String>("SELECT version()").await;
        assert!(version[0].starts_with("PostgreSQL "), "{version:?}");
    }
}

#[tokio::test]
async fn no_two_tests_share_a_database() {
    let (first, second) = (Gateway::start().await, Gateway::start().await);
    first.api.community("a").await;
    assert!(!knows(&second.api, "a").await);
    let key = "SELECT cursor_key FROM feed";
    let one: Vec<String> = first.home().ask(key).await;
    let other: Vec<String> = second.home().ask(key).await;
    assert_eq!((one.len(), other.len()), (1, 1));
    assert_ne!(one, other, "each made its own feed");
}

#[tokio::test]
async fn two_gateways_may_have_one_postgres() {
    let (first, second) = Gateway::start_two().await;
    assert_eq!(first.admin_token(), second.admin_token());
    first.api.community("a").await;
    assert!(knows(&second.api, "a").await);
    // One that starts again is still one of the two.
    let second = second.restart(vec![]).await;
    assert!(knows(&second.api, "a").await);
}

#[tokio::test]
async fn two_programs_may_have_one_postgres() {
    let home = Home::on(Kind::Postgres);
    let first = Binary::serve(&home, &[]);
    let second = Binary::replica(&home, &[], &[]);
    first.api().await.community("a").await;
    first.kill();
    assert!(knows(&second.api().await, "a").await);
}

#[tokio::test]
async fn a_cluster_of_ones_own_keeps_what_it_held_when_it_is_stopped() {
    let cluster = Cluster::start(&["work_mem=5MB"]);
    let set = Home::at(cluster.url()).ask::<String>("SHOW work_mem").await;
    assert_eq!(set, ["5MB"]);
    let gateway = Gateway::start_in(Home::at(cluster.url()), |_| (), vec![]).await;
    gateway.api.community("a").await;
    let home = gateway.stop().await;
    cluster.stop("immediate");
    cluster.start_again(&["work_mem=6MB"]);
    assert_eq!(home.ask::<String>("SHOW work_mem").await, ["6MB"]);
    let kept: Vec<String> = home.ask("SELECT id FROM community").await;
    assert_eq!(kept, ["a"]);
}
