//! Something of everything, and what the API says of it.

use std::time::Duration;

use metagov_proto::v1::{
    Account, CancelProcessRequest, CreateIdentityRequest, DeleteCommunityRequest,
    LinkAccountRequest, ListCommunitiesRequest, ListEventsRequest, ListIdentitiesRequest,
    ListInstallationsRequest, ListProcessesRequest, MergeIdentitiesRequest, PerformActionRequest,
    ProcessState, Role,
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    fakes,
    harness::{Api, Gateway, PATIENCE, object, plain},
    secrets::vault::{INNER, KEY},
};

/// Fills a gateway; what must be known to go on.
pub(super) async fn fill(gateway: &Gateway) -> Value {
    let api = &gateway.api;
    for id in ["garden", "orchard", "gone"] {
        api.community(id).await;
    }
    let gone = DeleteCommunityRequest {
        community_id: "gone".into(),
        ..Default::default()
    };
    api.communities().delete_community(gone).await.unwrap();
    let cursor = cursor(api, 3).await;
    people(api).await;
    api.token(Role::Reader, &["garden"]).await;
    api.token(Role::Driver, &[]).await;
    api.enable(
        "garden",
        "randomness",
        json!({"default_low": 1, "default_high": 7}),
    )
    .await;
    let open_vote = votes(api).await;
    let slug = secrets(gateway).await;
    let starting = starting(api).await;
    let end = self::cursor(api, 1000).await;
    json!({"open_vote": open_vote, "slug": slug, "starting": starting, "cursors": [cursor, end]})
}

async fn cursor(api: &Api, events: i32) -> String {
    let request = ListEventsRequest {
        page_size: events,
        ..Default::default()
    };
    let read = api.events().list_events(request).await.unwrap();
    read.into_inner().cursor
}

/// Somebody with two accounts, and another who became the same.
async fn people(api: &Api) {
    let mut ids = Vec::new();
    for user_id in ["ada", "bob"] {
        let request = CreateIdentityRequest {
            community_id: "garden".into(),
            request_id: format!("for-{user_id}"),
        };
        let made = api.identities().create_identity(request).await.unwrap();
        let identity_id = made.into_inner().identity.unwrap().identity_id;
        let account = Account {
            provider: "slack".into(),
            user_id: user_id.into(),
            ..Default::default()
        };
        let request = LinkAccountRequest {
            identity_id: identity_id.clone(),
            account: Some(account),
        };
        api.identities().link_account(request).await.unwrap();
        ids.push(identity_id);
    }
    let request = MergeIdentitiesRequest {
        primary_identity_id: ids.remove(0),
        secondary_identity_id: ids.remove(0),
    };
    api.identities().merge_identities(request).await.unwrap();
}

/// One that was closed, and one that is open; its id.
async fn votes(api: &Api) -> String {
    api.enable("garden", "ballot", json!({})).await;
    let mut last = String::new();
    for title in ["What did we plant?", "What shall we plant?"] {
        if !last.is_empty() {
            api.close(&last).await.unwrap();
        }
        let question = json!({"title": title, "options": ["Beans", "Tomatoes"]});
        let vote = api.start("garden", "ballot.vote", question).await.unwrap();
        last = vote.process_id;
        for (voter, choice) in [("ann", "Beans"), ("bob", "Tomatoes"), ("ann", "Tomatoes")] {
            let ballot = json!({"process_id": last, "voter": voter, "choices": [choice]});
            api.perform("garden", "ballot.cast", ballot).await.unwrap();
        }
    }
    last
}

/// An installation with secrets in every place; the secret part of its address.
async fn secrets(gateway: &Gateway) -> String {
    let api = &gateway.api;
    let server = MockServer::start().await;
    let well = ResponseTemplate::new(200).set_body_json(json!({}));
    Mock::given(any()).respond_with(well).mount(&server).await;
    let config = json!({"server_url": server.uri(), "key": KEY, "keys": [INNER]});
    let installation = api.enable("garden", "vault", config).await;
    let failed = api.start("garden", "vault.heist", json!({})).await.unwrap();
    for action in ["open", "ask"] {
        let request = PerformActionRequest {
            community_id: "garden".into(),
            action: format!("vault.{action}"),
            parameters: object(json!({})),
            request_id: format!("the-{action}-request"),
            ..Default::default()
        };
        api.perform_request(request).await.unwrap();
    }
    for wish in ["nothing", "fail", "fold"] {
        let letter = json!({"do": wish}).to_string();
        let post = fakes::http().post(&installation.webhook_url).body(letter);
        assert_eq!(post.send().await.unwrap().status(), 200, "{wish}");
    }
    let failed = api.process(&failed.process_id).await.unwrap();
    assert_eq!(failed.state(), ProcessState::Failed);
    let (_, slug) = installation.webhook_url.rsplit_once('/').unwrap();
    slug.to_owned()
}

/// A process that was cancelled, one that is open, and one whose start is under way; its
/// id.
async fn starting(api: &Api) -> String {
    let theatre = MockServer::start().await;
    let well = || ResponseTemplate::new(200).set_body_json(json!({}));
    Mock::given(any())
        .respond_with(well())
        .mount(&theatre)
        .await;
    api.enable("orchard", "stage", json!({"url": theatre.uri()}))
        .await;
    for title in ["Macbeth", "Hamlet"] {
        let programme = json!({"title": title});
        let play = api.start("orchard", "stage.play", programme).await.unwrap();
        if title == "Macbeth" {
            let request = CancelProcessRequest {
                process_id: play.process_id,
                reason: "it brings bad luck".into(),
            };
            api.processes().cancel_process(request).await.unwrap();
        }
    }
    theatre.reset().await;
    let slow = well().set_delay(Duration::from_secs(3600));
    Mock::given(any()).respond_with(slow).mount(&theatre).await;
    let other = api.clone();
    tokio::spawn(async move {
        // Nobody answers; the gateway is gone first, and the theatre stays till then.
        let programme = json!({"title": "Godot"});
        _ = other.start("orchard", "stage.play", programme).await;
        drop(theatre);
    });
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        assert!(std::time::Instant::now() < until, "it does not start");
        let all = processes(api).await.into_iter();
        let mut starting = all.filter(|it| it.state() == ProcessState::Starting);
        if let Some(process) = starting.next() {
            return process.process_id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn processes(api: &Api) -> Vec<metagov_proto::v1::Process> {
    let mut all = Vec::new();
    for community_id in ["garden", "orchard"] {
        let request = ListProcessesRequest {
            community_ids: vec![community_id.into()],
            page_size: 100,
            ..Default::default()
        };
        let listed = api.processes().list_processes(request).await.unwrap();
        all.extend(listed.into_inner().processes);
    }
    all
}

/// What the API says of all that does not change by itself.
pub(super) async fn of(api: &Api) -> Value {
    let request = ListCommunitiesRequest::default();
    let listed = api.communities().list_communities(request).await.unwrap();
    let communities = listed.into_inner().communities.into_iter();
    let communities = communities.map(|it| json!([it.community_id, it.display_name, it.etag]));
    let mut installations = Vec::new();
    let mut identities = Vec::new();
    for community_id in ["garden", "orchard"] {
        let request = ListInstallationsRequest {
            community_id: community_id.into(),
            ..Default::default()
        };
        let listed = api.plugins().list_installations(request).await.unwrap();
        installations.extend(listed.into_inner().installations.into_iter().map(|it| {
            json!([
                it.installation_id,
                it.plugin,
                it.secret_names,
                plain(it.config)
            ])
        }));
        let request = ListIdentitiesRequest {
            community_id: community_id.into(),
            ..Default::default()
        };
        let listed = api.identities().list_identities(request).await.unwrap();
        identities.extend(listed.into_inner().identities.into_iter().map(|it| {
            let accounts = it.accounts.iter();
            let accounts: Vec<Value> = accounts.map(|a| json!([a.provider, a.user_id])).collect();
            json!([it.identity_id, accounts])
        }));
    }
    let processes = processes(api).await.into_iter();
    let lasting =
        processes.filter(|it| it.state() != ProcessState::Starting && it.title != "Godot");
    let processes: Vec<Value> = lasting.map(process).collect();
    // A start that was lost ends after the release was left, with events of its own.
    let all = api.log().await.into_iter();
    let events: Vec<Value> = all
        .map(|it| json!([it.event_id, it.community_id, it.payload.is_some()]))
        .take(EVENTS)
        .collect();
    json!({
        "communities": communities.collect::<Vec<Value>>(),
        "installations": installations,
        "identities": identities,
        "processes": processes,
        "events": events,
    })
}

/// How many events are compared: fewer than there are.
const EVENTS: usize = 20;

fn process(it: metagov_proto::v1::Process) -> Value {
    json!([
        it.process_id,
        it.process_type,
        it.state().as_str_name(),
        it.revision,
        it.title,
        it.tally.as_ref().map(|tally| tally.voter_count),
        plain(it.outcome.clone()),
        it.end_reason,
    ])
}
