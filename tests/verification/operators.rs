//! Where the credentials are the operator's: whose platform is it?

use metagov_proto::v1::{ListInstallationsRequest, Role, UpdateInstallationRequest};
use serde_json::{Value, json};
use tonic::Code;

use super::{discord, plugins};
use crate::harness::{Gateway, fault, object};

async fn gateway() -> Gateway {
    let gateway = Gateway::start_with(discord::configured, vec![plugins::discord()]).await;
    for community in ["amber", "birch"] {
        gateway.api.community(community).await;
    }
    gateway
}

async fn count(gateway: &Gateway, community: &str) -> usize {
    let request = ListInstallationsRequest {
        community_id: community.into(),
        ..Default::default()
    };
    let answer = gateway.api.plugins().list_installations(request).await;
    answer.unwrap().into_inner().installations.len()
}

#[tokio::test]
async fn the_guild_of_another_community_is_refused() {
    let (gateway, platform) = (gateway().await, discord::platform().await);
    let config = |guild: &str| json!({ "url": platform.uri(), "guild": guild });
    let api = &gateway.api;
    let first = api.enable("amber", "accord", config("501")).await;
    let before = api.log().await.len();
    // Also by another name: what counts is what the platform says.
    for (community, guild) in [("birch", "501"), ("birch", "north"), ("amber", "north")] {
        let refused = fault(api.try_enable(community, "accord", config(guild)).await);
        assert!(
            refused.is(Code::AlreadyExists, "INSTALLATION_EXISTS"),
            "{refused:?}"
        );
        let said = format!("{refused:?}");
        assert!(!said.contains("amber"), "whose it is is not said: {said}");
        assert!(!said.contains(&first.installation_id), "{said}");
    }
    assert_eq!(count(&gateway, "birch").await, 0);
    assert_eq!(count(&gateway, "amber").await, 1);
    assert_eq!(api.log().await.len(), before, "nothing is stored");
    api.enable("birch", "accord", config("502")).await;
}

#[tokio::test]
async fn only_an_admin_of_all_says_which_guild_it_is() {
    let (gateway, platform) = (gateway().await, discord::platform().await);
    let config = || json!({ "url": platform.uri(), "guild": "502" });
    for (role, communities) in [
        (Role::Driver, &["birch"][..]),
        (Role::Driver, &[]),
        (Role::Admin, &["birch"]),
    ] {
        let token = gateway.api.token(role, communities).await;
        let api = gateway.connect_with(&token).await;
        let refused = fault(api.try_enable("birch", "accord", config()).await);
        assert!(
            refused.is(Code::PermissionDenied, "ROLE_TOO_SMALL"),
            "{role:?}: {refused:?}"
        );
    }
    assert_eq!(count(&gateway, "birch").await, 0);
    let asked = platform.received_requests().await.unwrap();
    assert!(asked.is_empty(), "the platform is not even asked");
    gateway.api.enable("birch", "accord", config()).await;
}

#[tokio::test]
async fn an_installation_with_the_operators_credentials_stays_where_it_is() {
    let (gateway, platform) = (gateway().await, discord::platform().await);
    let config = json!({ "url": platform.uri(), "guild": "501" });
    let made = gateway.api.enable("amber", "accord", config).await;
    let patch = async |patch: Value| {
        let request = UpdateInstallationRequest {
            installation_id: made.installation_id.clone(),
            config_patch: object(patch),
            etag: String::new(),
        };
        let answer = gateway.api.plugins().update_installation(request).await?;
        Ok::<_, tonic::Status>(answer.into_inner().installation.unwrap())
    };
    let moved = fault(patch(json!({ "guild": "502" })).await);
    assert!(
        moved.is(Code::FailedPrecondition, "UNSUPPORTED_BY_PLUGIN"),
        "{moved:?}"
    );
    // The same guild by another name is no move.
    let renamed = patch(json!({ "guild": "north" })).await.unwrap();
    assert_eq!(renamed.platform_id, "501");
}
