//! Communities: created, changed, deleted with all they own.

use metagov_proto::v1::{
    ChangeKind, Community, CreateCommunityRequest, DeleteCommunityRequest, Event,
    GetCommunityRequest, ListCommunitiesRequest, ListCommunitiesResponse, ListInstallationsRequest,
    UpdateCommunityRequest, UpdateCommunityResponse, event::Payload,
};
use prost_types::FieldMask;
use serde_json::json;
use tonic::{Code, Status};

use crate::harness::{Api, Gateway, fault};

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

async fn get(api: &Api, id: &str) -> Result<Community, Status> {
    let request = GetCommunityRequest {
        community_id: id.into(),
    };
    let answer = api.communities().get_community(request).await?;
    Ok(answer.into_inner().community.unwrap())
}

async fn delete(api: &Api, id: &str, etag: &str) -> Result<(), Status> {
    let request = DeleteCommunityRequest {
        community_id: id.into(),
        etag: etag.into(),
    };
    api.communities().delete_community(request).await.map(drop)
}

async fn list(api: &Api, page_size: i32, token: &str) -> Result<ListCommunitiesResponse, Status> {
    let request = ListCommunitiesRequest {
        page_size,
        page_token: token.into(),
    };
    let answer = api.communities().list_communities(request).await?;
    Ok(answer.into_inner())
}

fn ids(page: &ListCommunitiesResponse) -> Vec<&str> {
    page.communities
        .iter()
        .map(|c| c.community_id.as_str())
        .collect()
}

/// A change of the name, masked by these paths.
fn rename(id: &str, name: &str, paths: &[&str]) -> UpdateCommunityRequest {
    let paths = paths.iter().map(ToString::to_string).collect();
    UpdateCommunityRequest {
        community: Some(Community {
            community_id: id.into(),
            display_name: name.into(),
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths }),
        allow_missing: false,
    }
}

async fn update(
    api: &Api,
    request: UpdateCommunityRequest,
) -> Result<UpdateCommunityResponse, Status> {
    let answer = api.communities().update_community(request).await?;
    Ok(answer.into_inner())
}

fn change(event: &Event) -> Option<(ChangeKind, &str)> {
    match &event.payload {
        Some(Payload::CommunityChanged(it)) => {
            let community = it.community.as_ref().unwrap();
            Some((it.change_kind(), &community.display_name))
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_list_comes_in_pages_oldest_first() {
    let gateway = Gateway::start().await;
    for id in ["e", "b", "d", "a", "c"] {
        gateway.api.community(id).await;
    }
    let first = list(&gateway.api, 2, "").await.unwrap();
    assert_eq!(ids(&first), ["e", "b"]);
    gateway.api.community("0-a-new-one").await;
    delete(&gateway.api, "b", "").await.unwrap();
    let second = list(&gateway.api, 2, &first.next_page_token).await.unwrap();
    assert_eq!(ids(&second), ["d", "a"]);
    let third = list(&gateway.api, 2, &second.next_page_token)
        .await
        .unwrap();
    assert_eq!(ids(&third), ["c", "0-a-new-one"]);
    assert_eq!(third.next_page_token, "", "a full page may be the last");
    let all = list(&gateway.api, 0, "").await.unwrap();
    assert_eq!(ids(&all), ["e", "d", "a", "c", "0-a-new-one"]);
    assert_eq!(all.next_page_token, "");
}

#[tokio::test]
async fn pages_need_a_size_and_a_token_of_this_list() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    gateway.api.community("b").await;
    for size in [-1, 1001, i32::MIN, i32::MAX] {
        let refused = fault(list(&gateway.api, size, "").await);
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, ["page_size"], "{size}");
    }
    let token = list(&gateway.api, 1, "").await.unwrap().next_page_token;
    let request = ListInstallationsRequest {
        community_id: "a".into(),
        page_token: token.clone(),
        ..Default::default()
    };
    let other = fault(gateway.api.plugins().list_installations(request).await);
    assert_eq!(other.fields, ["page_token"], "a token of another list");
    let damaged = &token[..token.len() - 3];
    for wrong in ["nonsense!", "bm9uc2Vuc2U", damaged, "\u{e4}"] {
        let refused = fault(list(&gateway.api, 1, wrong).await);
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, ["page_token"], "{wrong}");
    }
}

#[tokio::test]
async fn an_update_changes_what_is_masked() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let created = api.community("co-op").await;
    let mut watcher = api.watch().await;
    let mut etag = created.etag;
    // What is masked, what is sent, what it is then.
    let table: [(&[&str], &str, &str); 5] = [
        (&["display_name"], "The garden", "The garden"),
        (&[], "By what is set", "By what is set"),
        (&["*"], "By all", "By all"),
        (&["display_name", "display_name"], "Twice", "Twice"),
        (&["display_name"], "", ""),
    ];
    for (paths, name, expected) in table {
        let updated = update(api, rename("co-op", name, paths)).await.unwrap();
        assert!(!updated.created);
        let community = updated.community.unwrap();
        assert_eq!(community.display_name, expected, "{paths:?}");
        assert_ne!(community.etag, etag, "a change has a new etag");
        assert_eq!(community.create_time, created.create_time);
        assert_eq!(get(api, "co-op").await.unwrap(), community);
        let event = watcher.next().await;
        assert_eq!(change(&event), Some((ChangeKind::Updated, expected)));
        etag = community.etag;
    }
}

#[tokio::test]
async fn only_the_name_can_be_masked() {
    let gateway = Gateway::start().await;
    let before = gateway.api.community("co-op").await;
    for path in ["community_id", "etag", "create_time", "nonsense", ""] {
        let request = rename("co-op", "A name", &["display_name", path]);
        let refused = fault(update(&gateway.api, request).await);
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, ["update_mask"], "{path}");
    }
    assert_eq!(get(&gateway.api, "co-op").await.unwrap(), before);
}

#[tokio::test]
async fn an_update_that_changes_nothing_leaves_no_trace() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("co-op").await;
    let named = update(api, rename("co-op", "The garden", &[]))
        .await
        .unwrap();
    let mut watcher = api.watch().await;
    let nothing = [
        rename("co-op", "The garden", &["display_name"]),
        rename("co-op", "The garden", &["*"]),
        rename("co-op", "", &[]),
    ];
    for request in nothing {
        let same = update(api, request).await.unwrap();
        assert_eq!(same, named);
    }
    update(api, rename("co-op", "The orchard", &[]))
        .await
        .unwrap();
    let event = watcher.next().await;
    let expected = Some((ChangeKind::Updated, "The orchard"));
    assert_eq!(change(&event), expected, "the first event is this change");
}

#[tokio::test]
async fn a_stale_etag_is_refused() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let stale = api.community("co-op").await.etag;
    let with = |etag: &str, name: &str| {
        let mut request = rename("co-op", name, &[]);
        request.community.as_mut().unwrap().etag = etag.into();
        request
    };
    let first = update(api, with(&stale, "First")).await.unwrap();
    let fresh = first.community.unwrap().etag;
    let lost = fault(update(api, with(&stale, "Second")).await);
    assert!(lost.is(Code::Aborted, "ETAG_MISMATCH"), "{lost:?}");
    assert_eq!(lost.retry, None, "a retry of the same cannot succeed");
    assert_eq!(get(api, "co-op").await.unwrap().display_name, "First");
    let kept = fault(delete(api, "co-op", &stale).await);
    assert!(kept.is(Code::Aborted, "ETAG_MISMATCH"), "{kept:?}");
    assert_eq!(get(api, "co-op").await.unwrap().etag, fresh);
    update(api, with(&fresh, "Second")).await.unwrap();
    let fresh = get(api, "co-op").await.unwrap().etag;
    delete(api, "co-op", &fresh).await.unwrap();
}

#[tokio::test]
async fn only_allow_missing_creates() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let missing = fault(update(api, rename("co-op", "A name", &[])).await);
    assert!(missing.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    assert_eq!(missing.metadata["community_id"], "co-op");
    let allowed = |etag: &str| {
        let mut request = rename("co-op", "A name", &[]);
        request.allow_missing = true;
        request.community.as_mut().unwrap().etag = etag.into();
        request
    };
    // Who has an etag has seen it: it was deleted since.
    let deleted = fault(update(api, allowed("0123")).await);
    assert!(deleted.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    let mut watcher = api.watch().await;
    let created = update(api, allowed("")).await.unwrap();
    assert!(created.created);
    let event = watcher.next().await;
    assert_eq!(change(&event), Some((ChangeKind::Created, "A name")));
    let again = update(api, allowed("")).await.unwrap();
    assert!(!again.created);
    assert_eq!(again.community, created.community);
}

#[tokio::test]
async fn a_malformed_id_is_refused_everywhere() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let long = "a".repeat(64);
    for id in [
        "", "-a", "A", "a_b", "a b", "a.b", "a/b", "\u{e4}", "a\n", "a\0", &long,
    ] {
        let answers = [
            fault(api.communities().create_community(create(id, "")).await),
            fault(update(api, rename(id, "A name", &[])).await),
            fault(get(api, id).await),
            fault(delete(api, id, "").await),
        ];
        let field = ["community.community_id", "community_id"];
        for (refused, field) in answers.iter().zip([field[0], field[0], field[1], field[1]]) {
            assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"), "{id:?}");
            assert_eq!(refused.fields, [field], "{id:?}");
        }
    }
    let nothing = CreateCommunityRequest::default();
    let refused = fault(api.communities().create_community(nothing).await);
    assert_eq!(refused.fields, ["community"]);
    for id in ["a", "0", "a-", "0--9", &long[..63]] {
        assert_eq!(api.community(id).await.community_id, id);
    }
}

#[tokio::test]
async fn a_refused_create_leaves_nothing() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let named = |name: &str| {
        let mut request = create("co-op", "r1");
        request.community.as_mut().unwrap().display_name = name.into();
        request
    };
    let mut watcher = api.watch().await;
    for name in ["\u{e4}".repeat(201), "two\nlines".into(), "a\u{7}".into()] {
        let refused = fault(api.communities().create_community(named(&name)).await);
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, ["community.display_name"]);
        let missing = fault(get(api, "co-op").await);
        assert!(missing.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    }
    // The request id is still free, and 200 characters are not 200 bytes.
    let longest = "\u{e4}".repeat(200);
    let created = api.communities().create_community(named(&longest)).await;
    let created = created.unwrap().into_inner().community.unwrap();
    assert_eq!(created.display_name, longest);
    let event = watcher.next().await;
    assert_eq!(
        change(&event),
        Some((ChangeKind::Created, longest.as_str()))
    );
    let log = api.log().await;
    assert_eq!(log.len(), 1, "{log:?}");
}

#[tokio::test]
async fn a_race_has_one_winner() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let all = (0..16).map(|_| {
        let api = api.clone();
        tokio::spawn(async move {
            api.communities()
                .create_community(create("co-op", ""))
                .await
        })
    });
    let mut made = 0;
    for one in all.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(_) => made += 1,
            lost => assert!(fault(lost).is(Code::AlreadyExists, "COMMUNITY_EXISTS")),
        }
    }
    assert_eq!(made, 1);
    let etag = get(api, "co-op").await.unwrap().etag;
    let all = (0..16).map(|n| {
        let (api, mut request) = (api.clone(), rename("co-op", &format!("Name {n}"), &[]));
        request.community.as_mut().unwrap().etag = etag.clone();
        tokio::spawn(async move { update(&api, request).await })
    });
    let mut changed = Vec::new();
    for one in all.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(updated) => changed.push(updated.community.unwrap()),
            lost => assert!(fault(lost).is(Code::Aborted, "ETAG_MISMATCH")),
        }
    }
    assert_eq!(changed, [get(api, "co-op").await.unwrap()]);
    assert_eq!(api.log().await.len(), 2, "one was created, one changed it");
}
