//! People of one community, merged and linked at two gateways at the same time.

use std::collections::BTreeSet;

use futures::future::join_all;
use metagov_proto::v1::{ChangeKind, Identity, event::Payload};
use tonic::Code;

use crate::{
    harness::{Api, Gateway},
    identities::{account, create, get, link, merge},
};

/// The id of an identity with one account.
async fn with_account(api: &Api, user_id: &str) -> String {
    let id = create(api, "co-op", "").await.unwrap().identity_id;
    link(api, &id, account("forum", user_id)).await.unwrap();
    id
}

fn users(identity: &Identity) -> BTreeSet<String> {
    let users = identity.accounts.iter();
    users.map(|account| account.user_id.clone()).collect()
}

/// Each into each other, at both gateways, while accounts are linked to all of them.
#[tokio::test(flavor = "multi_thread")]
async fn merges_in_every_direction_leave_one_identity_with_all_accounts() {
    let (first, second) = Gateway::start_two().await;
    let apis = [&first.api, &second.api];
    first.api.community("co-op").await;
    for round in 0..5 {
        let mut people = Vec::new();
        let mut known = BTreeSet::new();
        for person in 0..4 {
            let user = format!("{round}-{person}");
            people.push(with_account(&first.api, &user).await);
            known.insert(user);
        }
        let merges = (0..4).flat_map(|one| (0..4).map(move |other| (one, other)));
        let merges = merges.filter(|(one, other)| one != other).enumerate();
        let merges =
            merges.map(|(n, (one, other))| merge(apis[n % 2], &people[one], &people[other]));
        let more: Vec<_> = (0..8)
            .map(|number| format!("{round}-{number}-more"))
            .collect();
        let links = more.iter().enumerate();
        let links =
            links.map(|(n, user)| link(apis[n % 2], &people[n % 4], account("forum", user)));
        let (merged, linked) = tokio::join!(join_all(merges), join_all(links));
        for done in merged.into_iter().chain(linked) {
            done.unwrap();
        }
        known.extend(more);
        let one = get(&second.api, &people[0]).await.unwrap();
        assert_eq!(users(&one), known);
        for id in &people {
            assert_eq!(
                get(&first.api, id).await.unwrap(),
                one,
                "each id is that of the one"
            );
        }
        let gone = first
            .api
            .log()
            .await
            .into_iter()
            .filter(|event| match &event.payload {
                Some(Payload::IdentityChanged(changed)) => {
                    let id = &changed.identity.as_ref().unwrap().identity_id;
                    changed.change_kind() == ChangeKind::Deleted && people.contains(id)
                }
                _ => false,
            });
        assert_eq!(gone.count(), 3, "one stays");
    }
}

/// Of those who link one account to themselves at the same time, one has it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_both_link_has_one_identity() {
    let (first, second) = Gateway::start_two().await;
    first.api.community("co-op").await;
    let ada = with_account(&first.api, "ada").await;
    let grace = with_account(&first.api, "grace").await;
    for number in 0..20 {
        let user = format!("wanted-{number}");
        let (one, other) = tokio::join!(
            link(&first.api, &ada, account("forum", &user)),
            link(&second.api, &grace, account("forum", &user))
        );
        let refused = match (one, other) {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
            both => panic!("{both:?}"),
        };
        assert_eq!(refused.code(), Code::AlreadyExists);
    }
    let ada = get(&first.api, &ada).await.unwrap();
    let grace = get(&second.api, &grace).await.unwrap();
    assert!(users(&ada).is_disjoint(&users(&grace)));
    assert_eq!(users(&ada).len() + users(&grace).len(), 22);
}
