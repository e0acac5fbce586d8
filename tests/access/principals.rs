//! Who may make a token for which principal: what that has is its own.

use metagov_proto::v1::{
    CreateIdentityRequest, CreateSubscriptionRequest, EventFilter, Role, Subscription, Token,
};
use tonic::Code;

use super::{create, revoke, token, with_caller};
use crate::harness::fault;

#[tokio::test]
async fn a_principal_of_others_cannot_be_taken() {
    let (gateway, caller) = with_caller(token(Role::Admin, &["a"])).await;
    let wanted = |communities: &[&str]| Token {
        principal: "bot".into(),
        ..token(Role::Driver, communities)
    };
    create(&gateway.api, wanted(&["b"])).await.unwrap();
    let refused = fault(create(&caller, wanted(&["a"])).await);
    assert_eq!(refused.fields, ["token.principal"]);
    assert!(create(&gateway.api, wanted(&["a"])).await.is_ok());
}

/// Where its tokens held is forgotten with them; its subscriptions are not.
#[tokio::test]
async fn a_principal_whose_tokens_are_gone_cannot_be_taken() {
    let (gateway, caller) = with_caller(token(Role::Admin, &["b"])).await;
    let everywhere = token(Role::Driver, &[]);
    let (gone, secret) = create(&gateway.api, everywhere).await.unwrap();
    let driver = gateway.connect_with(&secret).await;
    let request = CreateSubscriptionRequest {
        subscription: Some(Subscription {
            subscription_id: "of-a".into(),
            filter: Some(EventFilter {
                community_ids: vec!["a".into()],
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let made = driver.subscriptions().create_subscription(request).await;
    made.unwrap();
    revoke(&gateway.api, &gone.token_id).await.unwrap();
    let wanted = || Token {
        principal: gone.principal.clone(),
        ..token(Role::Driver, &["b"])
    };
    let refused = fault(create(&caller, wanted()).await);
    assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(refused.fields, ["token.principal"]);
    assert!(create(&gateway.api, wanted()).await.is_ok());
}

#[tokio::test]
async fn a_principal_with_request_ids_elsewhere_cannot_be_taken() {
    let (gateway, caller) = with_caller(token(Role::Admin, &["b"])).await;
    let (_, secret) = create(&gateway.api, token(Role::Admin, &["a"]))
        .await
        .unwrap();
    let of_a = gateway.connect_with(&secret).await;
    let wanted = |community: &str| Token {
        principal: "bot".into(),
        ..token(Role::Driver, &[community])
    };
    let (gone, secret) = create(&gateway.api, wanted("a")).await.unwrap();
    let bot = gateway.connect_with(&secret).await;
    let request = CreateIdentityRequest {
        community_id: "a".into(),
        request_id: "r1".into(),
    };
    bot.identities().create_identity(request).await.unwrap();
    revoke(&gateway.api, &gone.token_id).await.unwrap();
    let refused = fault(create(&caller, wanted("b")).await);
    assert_eq!(refused.fields, ["token.principal"]);
    assert!(create(&of_a, wanted("a")).await.is_ok(), "it is all of a");
}
