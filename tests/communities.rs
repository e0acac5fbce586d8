//! Communities: created, changed, deleted with all they own.

use metagov_proto::v1::{
    ChangeKind, Community, CreateCommunityRequest, DeleteCommunityRequest, GetCommunityRequest,
    event::Payload,
};
use serde_json::json;
use tonic::Code;

use crate::harness::{Gateway, fault};

fn create(id: &str, request_id: &str) -> CreateCommunityRequest {
    CreateCommunityRequest {
        community: Some(Community {
            community_id: id.to_owned(),
            ..Default::default()
        }),
        request_id: request_id.to_owned(),
    }
}

#[tokio::test]
async fn a_community_lives_from_create_to_delete() {
    let gateway = Gateway::start().await;
    let mut watcher = gateway.api.watch().await;
    let created = gateway.api.community("co-op").await;
    assert!(!created.etag.is_empty() && created.create_time.is_some());
    let Payload::CommunityChanged(event) = watcher.payload().await else {
        panic!()
    };
    assert_eq!(event.change_kind(), ChangeKind::Created);
    assert_eq!(event.community, Some(created));

    gateway.api.enable("co-op", "ballot", json!({})).await;
    let request = DeleteCommunityRequest {
        community_id: "co-op".into(),
        etag: String::new(),
    };
    gateway
        .api
        .communities()
        .delete_community(request)
        .await
        .unwrap();
    let deleted = watcher
        .until(|payload| matches!(payload, Payload::CommunityChanged(_)))
        .await;
    let Some(Payload::CommunityChanged(event)) = deleted.payload else {
        panic!()
    };
    assert_eq!(event.change_kind(), ChangeKind::Deleted);

    let get = GetCommunityRequest {
        community_id: "co-op".into(),
    };
    let gone = fault(gateway.api.communities().get_community(get).await);
    assert!(gone.is(Code::NotFound, "COMMUNITY_NOT_FOUND"), "{gone:?}");
}

#[tokio::test]
async fn a_taken_id_is_refused_unless_it_is_a_retry() {
    let gateway = Gateway::start().await;
    let mut communities = gateway.api.communities();
    let first = communities
        .create_community(create("co-op", "r1"))
        .await
        .unwrap();
    let again = communities
        .create_community(create("co-op", "r1"))
        .await
        .unwrap();
    assert_eq!(first.into_inner(), again.into_inner());
    let taken = fault(communities.create_community(create("co-op", "r2")).await);
    assert!(
        taken.is(Code::AlreadyExists, "COMMUNITY_EXISTS"),
        "{taken:?}"
    );
    let other = fault(communities.create_community(create("other", "r1")).await);
    assert!(
        other.is(Code::InvalidArgument, "REQUEST_ID_REUSED"),
        "{other:?}"
    );
}
