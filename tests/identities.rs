//! Identities: who is who across platforms.

use metagov_proto::v1::{
    Account, ChangeKind, CreateIdentityRequest, Event, GetIdentityRequest, Identity,
    LinkAccountRequest, LinkMethod, LinkQuality, ListIdentitiesRequest, ListIdentitiesResponse,
    MergeIdentitiesRequest, UnlinkAccountRequest, event::Payload,
};
use serde_json::json;
use tonic::{Code, Status};

use crate::{
    fakes::{self, Forum},
    harness::{Api, Gateway, fault, object},
};

const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn gateway() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    gateway
}

pub(crate) async fn create(
    api: &Api,
    community: &str,
    request_id: &str,
) -> Result<Identity, Status> {
    let request = CreateIdentityRequest {
        community_id: community.into(),
        request_id: request_id.into(),
    };
    let answer = api.identities().create_identity(request).await?;
    Ok(answer.into_inner().identity.unwrap())
}

/// The id of a new identity of the community `co-op`.
async fn new(api: &Api) -> String {
    create(api, "co-op", "").await.unwrap().identity_id
}

pub(crate) async fn get(api: &Api, id: &str) -> Result<Identity, Status> {
    let request = GetIdentityRequest {
        identity_id: id.into(),
    };
    let answer = api.identities().get_identity(request).await?;
    Ok(answer.into_inner().identity.unwrap())
}

pub(crate) async fn merge(api: &Api, primary: &str, secondary: &str) -> Result<Identity, Status> {
    let request = MergeIdentitiesRequest {
        primary_identity_id: primary.into(),
        secondary_identity_id: secondary.into(),
    };
    let answer = api.identities().merge_identities(request).await?;
    Ok(answer.into_inner().identity.unwrap())
}

pub(crate) fn account(provider: &str, user_id: &str) -> Account {
    Account {
        provider: provider.into(),
        user_id: user_id.into(),
        ..Default::default()
    }
}

pub(crate) async fn link(api: &Api, id: &str, account: Account) -> Result<Identity, Status> {
    let request = LinkAccountRequest {
        identity_id: id.into(),
        account: Some(account),
    };
    let answer = api.identities().link_account(request).await?;
    Ok(answer.into_inner().identity.unwrap())
}

async fn unlink(api: &Api, community: &str, account: &Account) -> Result<(), Status> {
    let request = UnlinkAccountRequest {
        community_id: community.into(),
        provider: account.provider.clone(),
        platform_id: account.platform_id.clone(),
        user_id: account.user_id.clone(),
    };
    api.identities().unlink_account(request).await.map(drop)
}

async fn list(api: &Api, request: ListIdentitiesRequest) -> Result<ListIdentitiesResponse, Status> {
    let answer = api.identities().list_identities(request).await?;
    Ok(answer.into_inner())
}

/// A request for all identities of the community `co-op`.
fn all() -> ListIdentitiesRequest {
    ListIdentitiesRequest {
        community_id: "co-op".into(),
        ..Default::default()
    }
}

fn change(event: Event) -> (ChangeKind, Identity) {
    match event.payload {
        Some(Payload::IdentityChanged(it)) => (it.change_kind(), it.identity.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_identity_lives_from_create_to_merge() {
    let gateway = gateway().await;
    let api = &gateway.api;
    let mut watcher = api.watch().await;
    let first = create(api, "co-op", "").await.unwrap();
    assert_eq!(first.community_id, "co-op");
    assert_eq!(first.accounts, []);
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Created, first.clone()));

    let linked = link(api, &first.identity_id, account("github", "ada"));
    let linked = linked.await.unwrap();
    assert_eq!(linked.accounts, [account("github", "ada")]);
    assert_eq!(get(api, &first.identity_id).await.unwrap(), linked);
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Updated, linked.clone()));

    let second = create(api, "co-op", "").await.unwrap();
    let other = link(api, &second.identity_id, account("discourse", "ada"));
    let other = other.await.unwrap();
    watcher.next().await;
    watcher.next().await;
    let merged = merge(api, &second.identity_id, &first.identity_id).await;
    let merged = merged.unwrap();
    assert_eq!(merged.identity_id, second.identity_id);
    let both = [other.accounts, linked.accounts.clone()].concat();
    assert_eq!(merged.accounts, both);
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Deleted, linked), "as it was before");
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Updated, merged.clone()));
    assert_eq!(get(api, &first.identity_id).await.unwrap(), merged);
}

#[tokio::test]
async fn a_repeated_create_makes_one_identity() {
    let gateway = gateway().await;
    let api = &gateway.api;
    let first = create(api, "co-op", "r1").await.unwrap();
    let linked = link(api, &first.identity_id, account("github", "ada"));
    let linked = linked.await.unwrap();
    let again = create(api, "co-op", "r1").await.unwrap();
    assert_eq!(again, linked, "the same one, as it is now");
    api.community("other").await;
    let reused = fault(create(api, "other", "r1").await);
    assert!(reused.is(Code::InvalidArgument, "REQUEST_ID_REUSED"));
    let missing = fault(create(api, "nowhere", "").await);
    assert!(missing.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    assert_eq!(list(api, all()).await.unwrap().identities, [linked]);
}

#[tokio::test]
async fn what_was_merged_away_answers_with_what_it_became() {
    let gateway = gateway().await;
    let api = &gateway.api;
    let ids = [new(api).await, new(api).await, new(api).await];
    link(api, &ids[0], account("github", "ada")).await.unwrap();
    merge(api, &ids[1], &ids[0]).await.unwrap();
    let last = merge(api, &ids[2], &ids[1]).await.unwrap();
    assert_eq!(last.identity_id, ids[2]);
    assert_eq!(last.accounts, [account("github", "ada")]);
    for id in &ids {
        assert_eq!(get(api, id).await.unwrap(), last);
    }
    assert_eq!(
        list(api, all()).await.unwrap().identities,
        std::slice::from_ref(&last)
    );

    // What is one already stays as it is, without an event.
    let mut watcher = api.watch().await;
    for (primary, secondary) in [(2, 2), (2, 0), (0, 2), (0, 1)] {
        let same = merge(api, &ids[primary], &ids[secondary]).await;
        assert_eq!(same.unwrap(), last);
    }
    let linked = link(api, &ids[0], account("slack", "U1")).await.unwrap();
    assert_eq!(linked.identity_id, ids[2], "a link goes to what it became");
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Updated, linked));
}

#[tokio::test]
async fn only_what_exists_here_is_merged() {
    let gateway = gateway().await;
    let api = &gateway.api;
    api.community("other").await;
    let here = new(api).await;
    let there = create(api, "other", "").await.unwrap().identity_id;
    for (primary, secondary, missing) in [
        (here.as_str(), NOBODY, NOBODY),
        (NOBODY, here.as_str(), NOBODY),
        (here.as_str(), there.as_str(), there.as_str()),
    ] {
        let refused = fault(merge(api, primary, secondary).await);
        assert!(refused.is(Code::NotFound, "IDENTITY_NOT_FOUND"));
        assert_eq!(refused.metadata["identity_id"], missing);
    }
    for (primary, secondary, field) in [
        ("", here.as_str(), "primary_identity_id"),
        (here.as_str(), "5", "secondary_identity_id"),
    ] {
        let wrong = fault(merge(api, primary, secondary).await);
        assert!(wrong.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(wrong.fields, [field]);
    }
    assert_eq!(get(api, &there).await.unwrap().community_id, "other");
}

#[tokio::test]
async fn the_quality_of_a_link_never_falls() {
    let gateway = gateway().await;
    let api = &gateway.api;
    let id = new(api).await;
    let of = |method: LinkMethod, quality: LinkQuality, data: &str| Account {
        link_method: method.into(),
        link_quality: quality.into(),
        custom_data: object(json!({ data: 1 })),
        ..account("github", "ada")
    };
    use LinkMethod::{Email, Manual, Oauth};
    use LinkQuality::{Strong, Unconfirmed, Weak};
    // What is linked, and what it is then: method and quality go together.
    let table = [
        (of(Email, Unconfirmed, "a"), of(Email, Unconfirmed, "a")),
        (of(Manual, Weak, "b"), of(Manual, Weak, "b")),
        (of(Email, Unconfirmed, "c"), of(Manual, Weak, "c")),
        (of(Oauth, Strong, "d"), of(Oauth, Strong, "d")),
        (account("github", "ada"), {
            let kept = of(Oauth, Strong, "d");
            let custom_data = None;
            Account {
                custom_data,
                ..kept
            }
        }),
    ];
    let mut watcher = api.watch().await;
    for (linked, expected) in table {
        let identity = link(api, &id, linked.clone()).await.unwrap();
        assert_eq!(identity.accounts, [expected]);
        assert_eq!(change(watcher.next().await).1, identity);
        let again = link(api, &id, linked).await.unwrap();
        assert_eq!(again, identity);
    }
    new(api).await;
    let (kind, _) = change(watcher.next().await);
    assert_eq!(kind, ChangeKind::Created, "the repeats made no event");
}

#[tokio::test]
async fn an_account_has_one_owner() {
    let gateway = gateway().await;
    let api = &gateway.api;
    let (owner, other) = (new(api).await, new(api).await);
    link(api, &owner, account("github", "ada")).await.unwrap();
    let taken = fault(link(api, &other, account("github", "ada")).await);
    assert!(taken.is(Code::AlreadyExists, "ACCOUNT_LINKED"), "{taken:?}");
    assert_eq!(taken.metadata["identity_id"], owner);
    assert_eq!(get(api, &other).await.unwrap().accounts, []);
    // The provider, the community there and the account name it together.
    let elsewhere = Account {
        platform_id: "T1".into(),
        ..account("github", "ada")
    };
    link(api, &other, elsewhere).await.unwrap();
    link(api, &other, account("gitlab", "ada")).await.unwrap();
    link(api, &other, account("github", "Ada")).await.unwrap();
    // In another community it is another account.
    api.community("other").await;
    let there = create(api, "other", "").await.unwrap().identity_id;
    link(api, &there, account("github", "ada")).await.unwrap();
}

#[tokio::test]
async fn a_missing_link_may_be_removed() {
    let gateway = gateway().await;
    let api = &gateway.api;
    api.community("other").await;
    let id = new(api).await;
    let ada = account("github", "ada");
    let linked = link(api, &id, ada.clone()).await.unwrap();
    let mut watcher = api.watch().await;
    unlink(api, "other", &ada).await.unwrap();
    unlink(api, "co-op", &account("github", "bob"))
        .await
        .unwrap();
    assert_eq!(get(api, &id).await.unwrap(), linked, "neither was this");
    unlink(api, "co-op", &ada).await.unwrap();
    unlink(api, "co-op", &ada).await.unwrap();
    let left = get(api, &id).await.unwrap();
    assert_eq!(left.accounts, []);
    let told = change(watcher.next().await);
    assert_eq!(told, (ChangeKind::Updated, left));
    let second = new(api).await;
    let (kind, _) = change(watcher.next().await);
    assert_eq!(kind, ChangeKind::Created, "there was one event");
    link(api, &second, ada.clone()).await.unwrap();
    let missing = fault(unlink(api, "nowhere", &ada).await);
    assert!(missing.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
}

#[tokio::test]
async fn a_list_is_filtered_by_accounts() {
    let gateway = gateway().await;
    let api = &gateway.api;
    let ids = [new(api).await, new(api).await, new(api).await];
    let oauth = Account {
        platform_id: "T1".into(),
        link_method: LinkMethod::Oauth.into(),
        link_quality: LinkQuality::Strong.into(),
        ..account("slack", "U1")
    };
    let manual = Account {
        link_method: LinkMethod::Manual.into(),
        link_quality: LinkQuality::Weak.into(),
        ..account("github", "U1")
    };
    link(api, &ids[0], oauth).await.unwrap();
    link(api, &ids[0], account("github", "U2")).await.unwrap();
    link(api, &ids[1], manual).await.unwrap();
    let fits = async |request: ListIdentitiesRequest| -> Vec<usize> {
        let found = list(api, request).await.unwrap().identities;
        let place = |it: &Identity| ids.iter().position(|id| *id == it.identity_id);
        found.iter().map(|it| place(it).unwrap()).collect()
    };
    assert_eq!(fits(all()).await, [0, 1, 2]);
    // Provider, user, platform, method, quality: one account must fit them all.
    let table = [
        (("slack", "", "", 0, 0), vec![0]),
        (("github", "", "", 0, 0), vec![0, 1]),
        (("github", "U1", "", 0, 0), vec![1]),
        (("github", "nobody", "", 0, 0), vec![]),
        (("", "", "T1", 0, 0), vec![0]),
        (("github", "", "T1", 0, 0), vec![]),
        (("", "", "", 1, 0), vec![0]),
        (("github", "", "", 1, 0), vec![]),
        (("", "", "", 3, 0), vec![]),
        (("", "", "", 0, 2), vec![0, 1]),
        (("", "", "", 0, 3), vec![0]),
        (("github", "", "", 0, 3), vec![]),
    ];
    for ((provider, user_id, platform_id, link_method, quality), expected) in table {
        let request = ListIdentitiesRequest {
            provider: provider.into(),
            user_id: user_id.into(),
            platform_id: platform_id.into(),
            link_method,
            min_link_quality: quality,
            ..all()
        };
        assert_eq!(fits(request.clone()).await, expected, "{request:?}");
    }
    let of = |wanted: &[&String]| ListIdentitiesRequest {
        identity_ids: wanted.iter().map(ToString::to_string).collect(),
        ..all()
    };
    assert_eq!(fits(of(&[&ids[2], &ids[0]])).await, [0, 2]);
    assert_eq!(fits(of(&[&NOBODY.to_owned()])).await, [0; 0]);
    let provider = "github".into();
    let both = ListIdentitiesRequest {
        provider,
        ..of(&[&ids[1], &ids[2]])
    };
    assert_eq!(fits(both).await, [1]);
}

#[tokio::test]
async fn a_list_comes_in_pages_of_its_community() {
    let gateway = gateway().await;
    let api = &gateway.api;
    api.community("other").await;
    let ids = [new(api).await, new(api).await, new(api).await];
    create(api, "other", "").await.unwrap();
    let mut seen = Vec::new();
    let mut page_token = String::new();
    for _ in 0..2 {
        let request = ListIdentitiesRequest {
            page_size: 2,
            page_token,
            ..all()
        };
        let page = list(api, request).await.unwrap();
        seen.extend(page.identities.into_iter().map(|it| it.identity_id));
        page_token = page.next_page_token;
    }
    assert_eq!(seen, ids);
    assert_eq!(page_token, "");
    let elsewhere = ListIdentitiesRequest {
        community_id: "other".into(),
        identity_ids: ids.to_vec(),
        ..all()
    };
    assert_eq!(list(api, elsewhere).await.unwrap().identities, []);
    let missing = ListIdentitiesRequest {
        community_id: "nowhere".into(),
        ..all()
    };
    let missing = fault(list(api, missing).await);
    assert!(missing.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
}

#[tokio::test]
async fn what_is_malformed_is_named() {
    let gateway = gateway().await;
    let api = &gateway.api;
    let id = new(api).await;
    let long = "a".repeat(201);
    let table = [
        (account("", "ada"), "account.provider"),
        (account("github", ""), "account.user_id"),
        (account(&long, "ada"), "account.provider"),
        (account("github", "two\nlines"), "account.user_id"),
        (
            Account {
                link_method: 99,
                ..account("github", "ada")
            },
            "account.link_method",
        ),
        (
            Account {
                link_quality: -1,
                ..account("github", "ada")
            },
            "account.link_quality",
        ),
    ];
    for (wrong, field) in table {
        let refused = fault(link(api, &id, wrong).await);
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, [field]);
    }
    let nothing = LinkAccountRequest {
        identity_id: id.clone(),
        account: None,
    };
    let refused = fault(api.identities().link_account(nothing).await);
    assert_eq!(refused.fields, ["account"]);
    let missing = fault(link(api, NOBODY, account("github", "ada")).await);
    assert!(missing.is(Code::NotFound, "IDENTITY_NOT_FOUND"));
    let lonely = ListIdentitiesRequest {
        user_id: "ada".into(),
        ..all()
    };
    assert_eq!(fault(list(api, lonely).await).fields, ["provider"]);
    let wrong = ListIdentitiesRequest {
        identity_ids: vec![id, "5".into()],
        ..all()
    };
    let wrong = fault(list(api, wrong).await);
    assert!(wrong.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert!(wrong.fields[0].starts_with("identity_ids"), "{wrong:?}");
}

#[tokio::test]
async fn an_event_names_the_identity_of_who_did_it() {
    let forum = Forum::start().await;
    let gateway = gateway().await;
    let api = &gateway.api;
    let made = api.enable("co-op", "discourse", forum.config()).await;
    let ada = new(api).await;
    let there = Account {
        platform_id: made.platform_id.clone(),
        ..account("discourse", "ada")
    };
    link(api, &ada, there.clone()).await.unwrap();
    let bob = new(api).await;
    link(api, &bob, account("discourse", "bob")).await.unwrap();
    let mut watcher = api.watch().await;
    let mut said = async |id: i64, user: &str| {
        let post = fakes::post(id, user);
        let hook = forum.hook(&made.webhook_url, "post_created", &post);
        assert_eq!(hook.send().await.unwrap().status(), 200);
        let event = watcher
            .until(|payload| matches!(payload, Payload::Platform(_)))
            .await;
        let Some(Payload::Platform(event)) = event.payload else {
            panic!()
        };
        let initiator = event.initiator.unwrap();
        assert_eq!(initiator.user_id, user);
        assert_eq!(initiator.provider, "discourse");
        initiator.identity_id
    };
    assert_eq!(said(1, "ada").await, ada, "on that forum");
    assert_eq!(said(2, "bob").await, bob, "on any forum");
    assert_eq!(said(3, "eve").await, "", "nobody knows");
    merge(api, &bob, &ada).await.unwrap();
    assert_eq!(said(4, "ada").await, bob);
    unlink(api, "co-op", &there).await.unwrap();
    assert_eq!(said(5, "ada").await, "");
}
