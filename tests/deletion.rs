//! Deleting a community: what it owned is gone at once, and never seen again.

use metagov_proto::v1::{
    CreateIdentityRequest, DeleteCommunityRequest, EnablePluginRequest, Event, GetIdentityRequest,
    GetInstallationRequest, ListIdentitiesRequest, ListInstallationsRequest, ListProcessesRequest,
    PerformActionRequest, StartAt, WatchEventsRequest, event::Payload, watch_events_request::Start,
};
use serde_json::json;
use tonic::{Code, Status};

use crate::{
    fakes,
    harness::{Api, Gateway, fault, object},
    stage,
};

async fn delete(api: &Api, id: &str) -> Result<(), Status> {
    let request = DeleteCommunityRequest {
        community_id: id.into(),
        etag: String::new(),
    };
    api.communities().delete_community(request).await.map(drop)
}

#[tokio::test]
async fn deleting_cancels_open_processes_first() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    let config = json!({ "url": theatre.uri() });
    gateway.api.enable("co-op", "stage", config).await;
    let play = json!({ "title": "Hamlet" });
    gateway
        .api
        .start("co-op", "stage.play", play)
        .await
        .unwrap();
    delete(&gateway.api, "co-op").await.unwrap();
    assert_eq!(stage::told(&theatre).await, ["start", "cancel", "teardown"]);
}

#[tokio::test]
async fn deleting_does_not_need_the_platform() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    gateway.api.community("co-op").await;
    let config = json!({ "url": theatre.uri() });
    gateway.api.enable("co-op", "stage", config).await;
    let play = json!({ "title": "Hamlet" });
    let process = gateway.api.start("co-op", "stage.play", play).await;
    let broken = wiremock::ResponseTemplate::new(500);
    let _cancel = fakes::answers(&theatre, "POST", "/cancel", broken.clone()).await;
    let _teardown = fakes::answers(&theatre, "POST", "/teardown", broken).await;
    delete(&gateway.api, "co-op").await.unwrap();
    let gone = fault(gateway.api.process(&process.unwrap().process_id).await);
    assert!(gone.is(Code::NotFound, "PROCESS_NOT_FOUND"), "{gone:?}");
    assert_eq!(stage::told(&theatre).await, ["start", "cancel", "teardown"]);
}

/// A community with something of each kind: its installation, process and identity.
async fn furnished(api: &Api, id: &str) -> (String, String, String) {
    api.community(id).await;
    let installation = api.enable(id, "ballot", json!({})).await;
    let question = json!({ "title": "Lunch?", "options": ["yes", "no"] });
    let process = api.start(id, "ballot.vote", question).await.unwrap();
    let request = CreateIdentityRequest {
        community_id: id.into(),
        ..Default::default()
    };
    let identity = api.identities().create_identity(request).await.unwrap();
    let identity = identity.into_inner().identity.unwrap();
    (
        installation.installation_id,
        process.process_id,
        identity.identity_id,
    )
}

#[tokio::test]
async fn deleting_hides_all_that_was_owned() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let (installation_id, process_id, identity_id) = furnished(api, "co-op").await;
    let (_, kept, _) = furnished(api, "other").await;
    delete(api, "co-op").await.unwrap();

    let request = GetInstallationRequest { installation_id };
    let gone = fault(api.plugins().get_installation(request).await);
    assert!(gone.is(Code::NotFound, "INSTALLATION_NOT_FOUND"));
    let gone = fault(api.process(&process_id).await);
    assert!(gone.is(Code::NotFound, "PROCESS_NOT_FOUND"));
    let request = GetIdentityRequest { identity_id };
    let gone = fault(api.identities().get_identity(request).await);
    assert!(gone.is(Code::NotFound, "IDENTITY_NOT_FOUND"));
    let gone = fault(api.try_enable("co-op", "ballot", json!({})).await);
    assert!(gone.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    let again = fault(delete(api, "co-op").await);
    assert!(again.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));

    let all = ListProcessesRequest::default();
    let processes = api.processes().list_processes(all).await.unwrap();
    let left = processes.into_inner().processes;
    assert_eq!(left.len(), 1, "the other community has its process");
    assert_eq!(left[0].process_id, kept);
}

/// What is left of a community in a stream from the oldest event on.
async fn streamed(gateway: &Gateway, id: &str, last: &str) -> Vec<Event> {
    let request = WatchEventsRequest {
        start: Some(Start::StartAt(StartAt::Earliest.into())),
        ..Default::default()
    };
    let mut watcher = gateway.api.watch_request(request).await.unwrap();
    let mut found = Vec::new();
    loop {
        let event = watcher.next().await;
        if event.event_id == last {
            return found;
        }
        if event.community_id == id {
            found.push(event);
        }
    }
}

#[tokio::test]
async fn only_the_last_event_of_a_deleted_community_stays() {
    let gateway = Gateway::start().await;
    furnished(&gateway.api, "co-op").await;
    let mut watcher = gateway.api.watch().await;
    delete(&gateway.api, "co-op").await.unwrap();
    let deleted = watcher
        .until(|payload| matches!(payload, Payload::CommunityChanged(_)))
        .await;
    gateway.api.community("other").await;
    let last = watcher.next().await.event_id;

    let of_it = |events: Vec<Event>| {
        let mut events = events;
        events.retain(|event| event.community_id == "co-op");
        events
    };
    assert_eq!(
        of_it(gateway.api.log().await),
        std::slice::from_ref(&deleted)
    );
    assert_eq!(
        streamed(&gateway, "co-op", &last).await,
        std::slice::from_ref(&deleted)
    );
    // From the table, too, and not only from what the server held in memory.
    let gateway = gateway.restart(vec![]).await;
    assert_eq!(
        of_it(gateway.api.log().await),
        std::slice::from_ref(&deleted)
    );
    assert_eq!(streamed(&gateway, "co-op", &last).await, [deleted]);
}

#[tokio::test]
async fn a_community_created_again_is_another_one() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let enable = EnablePluginRequest {
        community_id: "co-op".into(),
        plugin: "randomness".into(),
        config: object(json!({ "default_low": 1, "default_high": 3 })),
        request_id: "enable".into(),
    };
    let act = PerformActionRequest {
        community_id: "co-op".into(),
        action: "randomness.set-lucky-number".into(),
        parameters: object(json!({ "lucky_number": 7 })),
        request_id: "act".into(),
        ..Default::default()
    };
    furnished(api, "co-op").await;
    let first = api.plugins().enable_plugin(enable.clone()).await.unwrap();
    api.perform_request(act.clone()).await.unwrap();
    delete(api, "co-op").await.unwrap();
    api.community("co-op").await;

    let request = ListInstallationsRequest {
        community_id: "co-op".into(),
        ..Default::default()
    };
    let listed = api.plugins().list_installations(request).await.unwrap();
    assert_eq!(listed.into_inner().installations, []);
    let request = ListProcessesRequest {
        community_ids: vec!["co-op".into()],
        ..Default::default()
    };
    let listed = api.processes().list_processes(request).await.unwrap();
    assert_eq!(listed.into_inner().processes, []);
    let request = ListIdentitiesRequest {
        community_id: "co-op".into(),
        ..Default::default()
    };
    let listed = api.identities().list_identities(request).await.unwrap();
    assert_eq!(listed.into_inner().identities, []);

    // Nor is it answered with what the old one was answered.
    let off = fault(api.perform_request(act).await);
    assert!(off.is(Code::FailedPrecondition, "PLUGIN_NOT_ENABLED"));
    let second = api.plugins().enable_plugin(enable).await.unwrap();
    let id = |it: tonic::Response<metagov_proto::v1::EnablePluginResponse>| {
        it.into_inner().installation.unwrap().installation_id
    };
    assert_ne!(id(second), id(first));
}
