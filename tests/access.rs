//! Tokens: who gets in, where they hold, and when they no longer do.

mod principals;

use std::{os::unix::fs::PermissionsExt, time::Duration};

use metagov::config::Config;
use metagov_proto::v1::{
    Community, CreateCommunityRequest, CreateIdentityRequest, CreateTokenRequest,
    GetCommunityRequest, GetInstallationRequest, ListCommunitiesRequest, ListEventsRequest,
    ListInstallationsRequest, ListProcessesRequest, ListTokensRequest, PerformActionRequest,
    RevokeTokenRequest, Role, Token, UpdateCommunityRequest, WatchEventsRequest,
    WatchProcessRequest,
};
use serde_json::json;
use tonic::{Code, Request, Status};

use crate::{
    harness::{Api, Binary, Gateway, Home, PATIENCE, fault, line},
    stage,
};

async fn get(api: &Api, id: &str) -> Result<(), Status> {
    let request = GetCommunityRequest {
        community_id: id.into(),
    };
    api.communities().get_community(request).await.map(|_| ())
}

async fn create(api: &Api, token: Token) -> Result<(Token, String), Status> {
    let token = Some(token);
    let answer = api
        .access()
        .create_token(CreateTokenRequest { token })
        .await?;
    let answer = answer.into_inner();
    Ok((answer.token.unwrap(), answer.secret))
}

fn token(role: Role, communities: &[&str]) -> Token {
    Token {
        role: role.into(),
        community_ids: communities.iter().map(ToString::to_string).collect(),
        ..Token::default()
    }
}

async fn list(api: &Api) -> Vec<Token> {
    let answer = api.access().list_tokens(ListTokensRequest::default()).await;
    answer.unwrap().into_inner().tokens
}

async fn revoke(api: &Api, token_id: &str) -> Result<(), Status> {
    let token_id = token_id.to_owned();
    let answer = api
        .access()
        .revoke_token(RevokeTokenRequest { token_id })
        .await;
    answer.map(|_| ())
}

/// A gateway with two communities, and a connection with such a token.
async fn with_caller(wanted: Token) -> (Gateway, Api) {
    let gateway = Gateway::start().await;
    for id in ["a", "b"] {
        gateway.api.community(id).await;
    }
    let (_, secret) = create(&gateway.api, wanted).await.unwrap();
    let caller = gateway.connect_with(&secret).await;
    (gateway, caller)
}

#[tokio::test]
async fn the_first_start_makes_an_admin_token_for_its_owner_only() {
    let gateway = Gateway::start().await;
    let file = gateway.data().join("admin.token");
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let made = list(&gateway.api).await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].role(), Role::Admin);
    assert!(made[0].community_ids.is_empty() && made[0].expire_time.is_none());
    let secret = gateway.admin_token();
    let gateway = gateway.restart(vec![]).await;
    assert_eq!(gateway.admin_token(), secret, "the second start makes none");
    assert_eq!(list(&gateway.api).await.len(), 1);
}

#[test]
fn the_first_start_says_where_its_token_is_and_not_what_it_is() {
    let home = Home::new();
    let server = Binary::serve(&home, &[]);
    let token = server.token.clone();
    let secret = token.split('_').nth(2).unwrap().to_owned();
    drop(server);
    let again = Binary::serve(&home, &["--log", "trace"]);
    assert_eq!(again.token, token);
    let log = again.terminate_with_log().join("\n");
    assert!(!log.contains(&secret));
}

#[tokio::test]
async fn a_bad_token_is_refused_whatever_is_wrong_with_it() {
    let gateway = Gateway::start().await;
    let good = gateway.admin_token();
    let last = if good.ends_with('0') { "1" } else { "0" };
    let wrong_sum = format!("{}{last}", &good[..good.len() - 1]);
    // A good sum over a secret that is another.
    let forged = metagov::model::Bearer::new(
        hex::decode(good.split('_').nth(1).unwrap())
            .unwrap()
            .try_into()
            .unwrap(),
        [7; 32],
    );
    let unknown = metagov::model::Bearer::new([7; 8], [7; 32]);
    let headers = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Basic {good}"),
        good.clone(),
        format!("Bearer  {good}"),
        format!("Bearer {good} "),
        format!("Bearer {}", good.to_uppercase()),
        format!("Bearer {wrong_sum}"),
        format!("Bearer {}", forged.text()),
        format!("Bearer {}", unknown.text()),
        format!("Bearer {}", "x".repeat(8000)),
    ];
    let mut words = Vec::new();
    for header in headers {
        let mut request = Request::new(ListCommunitiesRequest::default());
        let metadata = request.metadata_mut();
        metadata.insert("authorization", header.parse().unwrap());
        let answer = gateway.api.communities().list_communities(request).await;
        let refused = fault(answer);
        let invalid = refused.is(Code::Unauthenticated, "TOKEN_INVALID");
        assert!(invalid, "{header}: {refused:?}");
        words.push(refused.message);
    }
    words.dedup();
    assert_eq!(words.len(), 1, "{words:?}");
    let mut request = Request::new(ListCommunitiesRequest::default());
    let header = format!("bearer {good}").parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    assert!(
        gateway
            .api
            .communities()
            .list_communities(request)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_huge_token_is_refused_and_the_gateway_lives() {
    let gateway = Gateway::start().await;
    let mut request = Request::new(ListCommunitiesRequest::default());
    let header = format!("Bearer {}", "x".repeat(1 << 20)).parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    // Over the limit of headers: it may be cut off before anybody reads a token.
    let other = gateway.connect_with("").await;
    assert!(other.communities().list_communities(request).await.is_err());
    assert!(get(&gateway.api, "a").await.unwrap_err().code() == Code::NotFound);
}

#[tokio::test]
async fn a_token_is_told_once_and_kept_as_a_hash() {
    let gateway = Gateway::start().await;
    let wanted = Token {
        display_name: "the bot".into(),
        principal: "bot".into(),
        ..token(Role::Driver, &["a", "b"])
    };
    let (made, secret) = create(&gateway.api, wanted).await.unwrap();
    let found = list(&gateway.api).await;
    assert_eq!(found[1], made, "oldest first");
    assert_eq!(made.community_ids, ["a", "b"]);
    assert_eq!(
        (made.display_name.as_str(), made.principal.as_str()),
        ("the bot", "bot")
    );
    let home = gateway.stop().await;
    for (place, bytes) in home.kept().await {
        let part = secret.split('_').nth(2).unwrap().as_bytes();
        let told = bytes.windows(part.len()).any(|window| window == part);
        assert!(!told, "{place}");
    }
}

#[tokio::test]
async fn lists_show_what_is_ones_own() {
    let (gateway, caller) = with_caller(token(Role::Driver, &["a"])).await;
    for id in ["a", "b"] {
        gateway.api.enable(id, "ballot", json!({})).await;
        let vote = json!({ "title": id, "options": ["yes", "no"] });
        gateway.api.start(id, "ballot.vote", vote).await.unwrap();
    }
    let request = ListCommunitiesRequest::default();
    let answer = caller.communities().list_communities(request).await;
    let communities = answer.unwrap().into_inner().communities;
    assert_eq!(communities.len(), 1);
    assert_eq!(communities[0].community_id, "a");
    let request = ListProcessesRequest::default();
    let answer = caller.processes().list_processes(request).await;
    let processes = answer.unwrap().into_inner().processes;
    assert!(processes.len() == 1 && processes[0].title == "a");
    let events = caller.log().await;
    assert!(events.len() >= 3 && events.iter().all(|event| event.community_id == "a"));
    let all = gateway.api.log().await;
    assert!(all.iter().any(|event| event.community_id == "b"));
}

#[tokio::test]
async fn a_filter_cannot_reach_beyond_a_token() {
    let (gateway, caller) = with_caller(token(Role::Reader, &["a"])).await;
    let mut filter = metagov_proto::v1::EventFilter {
        community_ids: vec!["b".into()],
        ..Default::default()
    };
    let request = |filter| ListEventsRequest {
        filter: Some(filter),
        ..Default::default()
    };
    let page = caller
        .events()
        .list_events(request(filter.clone()))
        .await
        .unwrap();
    assert_eq!(page.into_inner().events, []);
    let page = gateway
        .api
        .events()
        .list_events(request(filter.clone()))
        .await
        .unwrap();
    assert_eq!(page.into_inner().events.len(), 1);
    filter.community_ids = vec!["nowhere".into()];
    let page = caller.events().list_events(request(filter)).await.unwrap();
    assert_eq!(page.into_inner().events, []);
}

#[tokio::test]
async fn a_reader_is_not_shown_where_hooks_are_taken() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("a").await;
    let config = json!({ "url": theatre.uri() });
    let made = gateway.api.enable("a", "stage", config).await;
    for (role, shown) in [
        (Role::Reader, ""),
        (Role::Driver, made.webhook_url.as_str()),
    ] {
        let secret = gateway.api.token(role, &["a"]).await;
        let caller = gateway.connect_with(&secret).await;
        let get = GetInstallationRequest {
            installation_id: made.installation_id.clone(),
        };
        let got = caller.plugins().get_installation(get).await.unwrap();
        assert_eq!(got.into_inner().installation.unwrap().webhook_url, shown);
        let list = ListInstallationsRequest {
            community_id: "a".into(),
            ..Default::default()
        };
        let listed = caller.plugins().list_installations(list).await.unwrap();
        assert_eq!(listed.into_inner().installations[0].webhook_url, shown);
    }
}

#[tokio::test]
async fn a_stream_shows_what_is_ones_own() {
    let (gateway, caller) = with_caller(token(Role::Reader, &["a"])).await;
    let mut watcher = caller.watch().await;
    for id in ["b", "a"] {
        gateway.api.enable(id, "ballot", json!({})).await;
    }
    assert_eq!(watcher.next().await.community_id, "a");
}

#[tokio::test]
async fn only_who_holds_everywhere_creates_communities() {
    let (gateway, caller) = with_caller(token(Role::Driver, &["a", "new"])).await;
    let community = |id: &str| {
        Some(Community {
            community_id: id.into(),
            display_name: "x".into(),
            ..Default::default()
        })
    };
    let request = CreateCommunityRequest {
        community: community("new"),
        request_id: String::new(),
    };
    let refused = fault(caller.communities().create_community(request.clone()).await);
    assert!(refused.is(Code::PermissionDenied, "ROLE_TOO_SMALL"));
    assert_eq!(refused.metadata["needs"], "driver in every community");
    let update = |id| UpdateCommunityRequest {
        community: community(id),
        update_mask: None,
        allow_missing: true,
    };
    assert!(
        caller
            .communities()
            .update_community(update("a"))
            .await
            .is_ok()
    );
    let refused = fault(caller.communities().update_community(update("new")).await);
    assert!(refused.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    let secret = gateway.api.token(Role::Driver, &[]).await;
    let everywhere = gateway.connect_with(&secret).await;
    assert!(
        everywhere
            .communities()
            .create_community(request)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_admin_of_some_makes_tokens_for_those_only() {
    let (gateway, caller) = with_caller(token(Role::Admin, &["a"])).await;
    assert!(create(&caller, token(Role::Admin, &["a"])).await.is_ok());
    for wanted in [token(Role::Reader, &[]), token(Role::Reader, &["a", "b"])] {
        let refused = fault(create(&caller, wanted).await);
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{refused:?}"
        );
        assert_eq!(refused.fields, ["token.community_ids"]);
    }
    let seen = list(&caller).await;
    assert_eq!(seen.len(), 2, "its own and the one that it made: {seen:?}");
    let all = list(&gateway.api).await;
    assert_eq!(all.len(), 3);
    let refused = fault(revoke(&caller, &all[0].token_id).await);
    assert!(refused.is(Code::NotFound, "TOKEN_NOT_FOUND"));
    assert!(revoke(&caller, &all[2].token_id).await.is_ok());
}

#[tokio::test]
async fn what_a_token_cannot_be_is_named() {
    let gateway = Gateway::start().await;
    let past = prost_types::Timestamp {
        seconds: 1,
        nanos: 0,
    };
    for (wanted, field) in [
        (Token::default(), "token.role"),
        (token(Role::Reader, &["A"]), "token.community_ids"),
        (
            Token {
                expire_time: Some(past),
                ..token(Role::Reader, &[])
            },
            "token.expire_time",
        ),
        (
            Token {
                principal: "(anybody)".into(),
                ..token(Role::Reader, &[])
            },
            "token.principal",
        ),
        (
            Token {
                display_name: "a\nb".into(),
                ..token(Role::Reader, &[])
            },
            "token.display_name",
        ),
    ] {
        let refused = fault(create(&gateway.api, wanted).await);
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, [field]);
    }
    let request = CreateTokenRequest { token: None };
    let refused = fault(gateway.api.access().create_token(request).await);
    assert_eq!(refused.fields, ["token"]);
}

#[tokio::test]
async fn request_ids_belong_to_the_principal() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let mut identities = Vec::new();
    for principal in ["one", "one", "other"] {
        let wanted = Token {
            principal: principal.into(),
            ..token(Role::Driver, &["a"])
        };
        let (_, secret) = create(&gateway.api, wanted).await.unwrap();
        let api = gateway.connect_with(&secret).await;
        let request = CreateIdentityRequest {
            community_id: "a".into(),
            request_id: "r1".into(),
        };
        let made = api.identities().create_identity(request).await.unwrap();
        identities.push(made.into_inner().identity.unwrap().identity_id);
    }
    assert_eq!(
        identities[0], identities[1],
        "another token of the same principal"
    );
    assert_ne!(identities[0], identities[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_tokens_calls_fail_and_its_streams_end() {
    let (gateway, caller) = with_caller(token(Role::Reader, &["a"])).await;
    gateway.api.enable("a", "ballot", json!({})).await;
    let vote = json!({ "title": "x", "options": ["yes", "no"] });
    let process = gateway.api.start("a", "ballot.vote", vote).await.unwrap();
    let request = WatchProcessRequest {
        process_id: process.process_id,
        heartbeat_interval: None,
    };
    let watched = caller.processes().watch_process(request).await;
    let mut watched = watched.unwrap().into_inner();
    let request = WatchEventsRequest::default();
    let mut events = caller
        .events()
        .watch_events(request)
        .await
        .unwrap()
        .into_inner();
    assert!(events.message().await.is_ok() && watched.message().await.is_ok());
    let mut mine = gateway.api.watch().await;

    let token_id = list(&gateway.api).await[1].token_id.clone();
    revoke(&gateway.api, &token_id).await.unwrap();
    let refused = fault(get(&caller, "a").await);
    assert!(refused.is(Code::Unauthenticated, "TOKEN_INVALID"));
    // The heartbeat comes after 15 s only: it is the revocation that ends them.
    let limit = Duration::from_secs(5);
    let ended = tokio::time::timeout(limit, events.message()).await.unwrap();
    let ended = fault(ended);
    assert!(
        ended.is(Code::Unauthenticated, "TOKEN_INVALID"),
        "{ended:?}"
    );
    let ended = tokio::time::timeout(limit, watched.message())
        .await
        .unwrap();
    assert!(fault(ended).is(Code::Unauthenticated, "TOKEN_INVALID"));

    gateway.api.community("c").await;
    assert_eq!(mine.next().await.community_id, "c", "others go on");
    let refused = fault(revoke(&gateway.api, &token_id).await);
    assert!(refused.is(Code::NotFound, "TOKEN_NOT_FOUND"));
    assert_eq!(refused.metadata["token_id"], token_id);
}

/// As another gateway on the same database would.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_gone_from_the_database_ends_its_streams_too() {
    let (gateway, caller) = with_caller(token(Role::Reader, &["a"])).await;
    let request = WatchEventsRequest::default();
    let mut events = caller
        .events()
        .watch_events(request)
        .await
        .unwrap()
        .into_inner();
    assert!(events.message().await.is_ok());
    let delete = "DELETE FROM token WHERE role = 'reader'";
    gateway.home().run(delete).await;
    let ended = tokio::time::timeout(PATIENCE, events.message())
        .await
        .unwrap();
    assert!(fault(ended).is(Code::Unauthenticated, "TOKEN_INVALID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_none_and_its_stream_ends() {
    let soon = std::time::SystemTime::now() + Duration::from_secs(3);
    let wanted = Token {
        expire_time: Some(soon.into()),
        ..token(Role::Reader, &["a"])
    };
    let (_gateway, caller) = with_caller(wanted).await;
    let request = WatchEventsRequest::default();
    let mut events = caller
        .events()
        .watch_events(request)
        .await
        .unwrap()
        .into_inner();
    assert!(events.message().await.is_ok());
    let ended = tokio::time::timeout(PATIENCE, events.message())
        .await
        .unwrap();
    assert!(fault(ended).is(Code::Unauthenticated, "TOKEN_INVALID"));
    let refused = fault(get(&caller, "a").await);
    assert!(refused.is(Code::Unauthenticated, "TOKEN_INVALID"));
}

#[tokio::test]
async fn who_needs_no_token_is_health_and_reflection_of_a_loopback() {
    let gateway = Gateway::start().await;
    let nobody = line(&gateway.endpoint(), "").await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(nobody);
    assert!(
        health
            .check(tonic_health::pb::HealthCheckRequest::default())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn without_a_token_one_performs_what_anybody_may() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("a").await;
    let config = json!({ "url": theatre.uri() });
    gateway.api.enable("a", "stage", config).await;
    let nobody = gateway.connect_with("").await;
    assert!(
        nobody
            .perform("a", "stage.applaud", json!({}))
            .await
            .is_ok()
    );
    let elsewhere = fault(nobody.perform("b", "stage.applaud", json!({})).await);
    assert!(elsewhere.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    let refused = fault(
        nobody
            .perform("a", "randomness.random-int", json!({}))
            .await,
    );
    assert!(refused.is(Code::Unauthenticated, "TOKEN_INVALID"));
    let request = PerformActionRequest {
        community_id: "a".into(),
        action: "stage.applaud".into(),
        request_id: "r".into(),
        ..Default::default()
    };
    let refused = fault(nobody.perform_request(request).await);
    assert_eq!(refused.fields, ["request_id"]);
}

#[tokio::test]
async fn without_tokens_everybody_on_this_machine_may_do_everything() {
    let set = |config: &mut Config| config.access.insecure_no_auth = true;
    let gateway = Gateway::start_with(set, vec![]).await;
    assert!(!gateway.data().join("admin.token").exists());
    gateway.connect_with("").await.community("a").await;
}

#[tokio::test]
async fn when_a_token_was_used_is_told_to_the_minute() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let gateway = gateway.restart(vec![]).await;
    let used = list(&gateway.api).await[0].last_use_time.unwrap();
    assert!(used.seconds % 60 == 0 && used.nanos == 0);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(used.seconds.unsigned_abs()) < 180, "{used:?}");
}
