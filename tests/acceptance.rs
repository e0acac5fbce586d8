//! What the original gateway was accepted by, with the outcome that its authors meant.

use std::time::{Duration, SystemTime};

use metagov_proto::v1::{
    AuthKind, CloseTimeSupport, Community, CreateCommunityRequest, DisablePluginRequest,
    EnablePluginRequest, Event, GetPluginRequest, Installation, ListInstallationsRequest, Process,
    ProcessState, StartProcessRequest, UpdateCommunityRequest, UpdateInstallationRequest,
    event::Payload,
};
use serde_json::{Value, json};
use tonic::Code;
use wiremock::{
    Mock,
    matchers::{method, path},
};

use crate::{
    fakes::{self, Forum, answers, http},
    harness::{Api, Gateway, Watcher, fault, object, plain},
    stage,
};

async fn community() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.api.community("co-op").await;
    gateway
}

/// What `co-op` has enabled.
pub(crate) async fn installed(api: &Api) -> Vec<Installation> {
    let request = ListInstallationsRequest {
        community_id: "co-op".into(),
        ..Default::default()
    };
    let answer = api.plugins().list_installations(request).await.unwrap();
    answer.into_inner().installations
}

fn range() -> Value {
    json!({ "default_low": 2, "default_high": 200 })
}

fn process(event: Event) -> Process {
    match event.payload {
        Some(Payload::ProcessChanged(changed)) => changed.process.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// As events show it.
fn public(process: &Process) -> Process {
    Process {
        parameters: None,
        ..process.clone()
    }
}

#[tokio::test]
async fn the_cases_of_the_original_hold() {
    let cred = fakes::cred().await;
    let gateway = community().await;
    let api = &gateway.api;
    let miriam = json!({ "username": "miriam" });
    let off = fault(
        api.perform("co-op", "sourcecred.user-cred", miriam.clone())
            .await,
    );
    assert!(off.is(Code::FailedPrecondition, "PLUGIN_NOT_ENABLED"));
    let config = json!({ "server_url": cred.uri() });
    let made = api.enable("co-op", "sourcecred", config).await;
    assert_eq!(made.platform_id, cred.uri());
    let by_name = api.perform("co-op", "sourcecred.user-cred", miriam).await;
    assert_eq!(by_name.unwrap(), json!({ "value": 12.5 }));
    let discord = json!({ "id": "140750062325202944" });
    let by_id = api.perform("co-op", "sourcecred.user-cred", discord).await;
    assert_eq!(by_id.unwrap(), json!({ "value": 12.5 }));

    api.enable("co-op", "randomness", range()).await;
    assert_eq!(installed(api).await.len(), 2);
    let low_high = json!({ "low": 3, "high": 4 });
    let three = api
        .perform("co-op", "randomness.random-int", low_high)
        .await;
    assert_eq!(three.unwrap(), json!({ "value": 3 }));

    let options = ["one", "two", "three"];
    let vote = json!({ "options": options, "delay": 2 });
    let mut watcher = api.watch().await;
    let vote = api.start("co-op", "randomness.delayed-stochastic-vote", vote);
    let vote = vote.await.unwrap();
    assert_eq!(vote.state(), ProcessState::Open);
    assert_eq!(api.process(&vote.process_id).await.unwrap(), vote);
    let closed = api.close(&vote.process_id).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    let outcome = plain(closed.outcome.clone());
    assert!(options.contains(&outcome["winner"].as_str().unwrap()));
    let opened = process(watcher.next().await);
    assert_eq!(opened, public(&vote));
    assert_eq!(process(watcher.next().await), public(&closed));
    // Once more is no error, changes nothing and tells nobody.
    let again = api.close(&vote.process_id).await.unwrap();
    assert_eq!(again, closed);
    api.community("other").await;
    let next = watcher.next().await.payload;
    assert!(matches!(next, Some(Payload::CommunityChanged(_))));
}

#[tokio::test]
async fn a_community_needs_an_id() {
    let gateway = Gateway::start().await;
    let request = CreateCommunityRequest {
        community: Some(Community {
            display_name: "new community".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = fault(gateway.api.communities().create_community(request).await);
    assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(refused.fields, ["community.community_id"]);
    assert_eq!(gateway.api.log().await, [], "nothing was made");
}

#[tokio::test]
async fn an_unknown_community_is_created_only_where_that_is_allowed() {
    let gateway = Gateway::start().await;
    let mut communities = gateway.api.communities();
    let mut request = UpdateCommunityRequest {
        community: Some(Community {
            community_id: "nonexistent".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let missing = fault(communities.update_community(request.clone()).await);
    assert!(missing.is(Code::NotFound, "COMMUNITY_NOT_FOUND"));
    request.allow_missing = true;
    let made = communities.update_community(request).await.unwrap();
    assert!(made.into_inner().created);
}

#[tokio::test]
async fn a_taken_id_says_so() {
    let gateway = community().await;
    let request = CreateCommunityRequest {
        community: Some(Community {
            community_id: "co-op".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let taken = fault(gateway.api.communities().create_community(request).await);
    assert!(taken.is(Code::AlreadyExists, "COMMUNITY_EXISTS"));
    assert_eq!(taken.metadata["community_id"], "co-op");
}

#[tokio::test]
async fn a_plugin_that_does_not_exist_cannot_be_enabled() {
    let gateway = community().await;
    let refused = gateway
        .api
        .try_enable("co-op", "nonexistent-plugin", json!({}));
    let refused = fault(refused.await);
    assert!(refused.is(Code::NotFound, "PLUGIN_NOT_FOUND"));
    assert!(
        refused.message.contains("nonexistent-plugin"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_unexpected_key_of_a_configuration_is_named() {
    let gateway = community().await;
    let wrong = json!({ "server_url": "https://example.org", "wrongkey": "test" });
    let refused = fault(gateway.api.try_enable("co-op", "sourcecred", wrong).await);
    assert!(refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"));
    assert_eq!(refused.fields, ["config/wrongkey"]);
    assert_eq!(installed(&gateway.api).await, []);
}

#[tokio::test]
async fn an_action_without_a_community_is_refused() {
    let gateway = community().await;
    let miriam = json!({ "username": "miriam" });
    let refused = fault(
        gateway
            .api
            .perform("", "sourcecred.user-cred", miriam)
            .await,
    );
    assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(refused.fields, ["community_id"]);
    let at = format!("{}/api/action/sourcecred.user-cred", gateway.public);
    let refused = http().post(at).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 400);
    let text = refused.text().await.unwrap();
    assert!(text.contains("X-Metagov-Community"), "{text}");
}

#[tokio::test]
async fn cred_is_of_a_user_with_a_name_or_an_id() {
    let cred = fakes::cred().await;
    let gateway = community().await;
    let config = json!({ "server_url": cred.uri() });
    gateway.api.enable("co-op", "sourcecred", config).await;
    let nobody = gateway
        .api
        .perform("co-op", "sourcecred.user-cred", json!({}));
    let nobody = fault(nobody.await);
    assert!(nobody.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert!(nobody.message.contains("username or an id"), "{nobody:?}");
}

#[tokio::test]
async fn a_vote_without_delay_ends_by_itself() {
    let gateway = community().await;
    let api = &gateway.api;
    api.enable("co-op", "randomness", range()).await;
    let mut watcher = api.watch().await;
    let vote = json!({ "options": ["one", "two"], "delay": 0 });
    let vote = api.start("co-op", "randomness.delayed-stochastic-vote", vote);
    let vote = vote.await.unwrap();
    let mut told = process(watcher.next().await);
    assert_eq!(told.state(), ProcessState::Open);
    told = process(watcher.next().await);
    assert_eq!(told.state(), ProcessState::Completed);
    // The reader is told what anyone can read.
    let read = api.process(&vote.process_id).await.unwrap();
    assert_eq!(told, public(&read));
}

#[tokio::test]
async fn a_plugin_is_removed_by_disabling_it() {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    let api = &gateway.api;
    api.community("co-op").await;
    let other = api.enable("co-op", "randomness", range()).await;
    let config = json!({ "url": theatre.uri() });
    let made = api.enable("co-op", "stage", config.clone()).await;
    let scene = json!({ "scene": 3 });
    api.perform("co-op", "stage.show", scene).await.unwrap();
    for (left, it) in [(1, made), (0, other)] {
        let request = DisablePluginRequest {
            installation_id: it.installation_id,
            etag: String::new(),
        };
        api.plugins().disable_plugin(request).await.unwrap();
        assert_eq!(installed(api).await.len(), left);
    }
    api.enable("co-op", "stage", config).await;
    let last = api.perform("co-op", "stage.last-scene", json!({})).await;
    assert_eq!(last.unwrap(), json!({ "scene": null }), "the state is gone");
}

#[tokio::test]
async fn a_new_name_removes_no_plugin() {
    let gateway = community().await;
    let api = &gateway.api;
    let made = api.enable("co-op", "randomness", range()).await;
    let request = UpdateCommunityRequest {
        community: Some(Community {
            community_id: "co-op".into(),
            display_name: "n".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    api.communities().update_community(request).await.unwrap();
    assert_eq!(installed(api).await, [made]);
}

#[tokio::test]
async fn a_new_configuration_keeps_the_installation() {
    let gateway = community().await;
    let api = &gateway.api;
    let config = json!({ "default_low": 1, "default_high": 10 });
    let request = EnablePluginRequest {
        community_id: "co-op".into(),
        plugin: "randomness".into(),
        config: object(config),
        request_id: "r1".into(),
    };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = api.plugins().enable_plugin(request.clone()).await.unwrap();
        ids.push(made.into_inner().installation.unwrap().installation_id);
    }
    assert_eq!(ids[0], ids[1]);
    let update = UpdateInstallationRequest {
        installation_id: ids[0].clone(),
        config_patch: object(json!({ "default_high": 11 })),
        etag: String::new(),
    };
    let changed = api.plugins().update_installation(update).await.unwrap();
    let changed = changed.into_inner().installation.unwrap();
    assert_eq!(changed.installation_id, ids[0]);
    let config = json!({ "default_low": 1, "default_high": 11 });
    assert_eq!(plain(changed.config), config);
}

#[tokio::test]
async fn a_vote_that_cannot_start_says_why() {
    let gateway = community().await;
    let api = &gateway.api;
    let start = async |parameters: Value| {
        let vote = "randomness.delayed-stochastic-vote";
        fault(api.start("co-op", vote, parameters).await)
    };
    let off = start(json!({ "options": ["a"], "delay": 1 })).await;
    assert!(off.is(Code::FailedPrecondition, "PLUGIN_NOT_ENABLED"));
    api.enable("co-op", "randomness", range()).await;
    let refused = start(json!({ "options": "a" })).await;
    assert!(refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"));
    let mut fields = refused.fields;
    fields.sort();
    assert_eq!(fields, ["parameters/delay", "parameters/options"]);
    let refused = api.perform("co-op", "randomness.random-int", json!({ "low": "x" }));
    let refused = fault(refused.await);
    assert!(refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"));
    assert_eq!(refused.fields, ["parameters/low"]);
}

#[tokio::test]
async fn the_catalogue_describes_randomness() {
    let gateway = Gateway::start().await;
    let request = GetPluginRequest {
        plugin: "randomness".into(),
    };
    let plugin = gateway.api.plugins().get_plugin(request).await.unwrap();
    let plugin = plugin.into_inner().plugin.unwrap();
    assert_eq!(plugin.auth_kind(), AuthKind::None);
    assert!(!plugin.uses_webhook);
    let actions: Vec<&str> = plugin.actions.iter().map(|a| a.action.as_str()).collect();
    assert_eq!(
        actions,
        ["randomness.random-int", "randomness.set-lucky-number"]
    );
    let [process] = plugin.processes.as_slice() else {
        panic!("one process")
    };
    assert_eq!(process.process_type, "randomness.delayed-stochastic-vote");
    assert!(process.closable);
    assert_eq!(process.close_time_support(), CloseTimeSupport::None);
    let request = GetPluginRequest {
        plugin: "nope".into(),
    };
    let unknown = fault(gateway.api.plugins().get_plugin(request).await);
    assert!(unknown.is(Code::NotFound, "PLUGIN_NOT_FOUND"));
}

#[tokio::test]
async fn a_random_number_is_not_for_everyone() {
    let gateway = community().await;
    gateway.api.enable("co-op", "randomness", range()).await;
    let at = format!("{}/api/action/randomness.random-int", gateway.public);
    let request = http().post(at).header("X-Metagov-Community", "co-op");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
}

/// A poll as Discourse shows it.
fn shown(status: &str, last: i64) -> Value {
    let option = |(html, votes): (&str, i64)| json!({ "id": html, "html": html, "votes": votes });
    let options = [("a", 10), ("b", 15), ("c", last)].map(option);
    json!({
        "name": "poll",
        "type": "regular",
        "status": status,
        "results": "always",
        "options": options,
        "voters": 25 + last,
    })
}

/// A forum with a poll that was just started there.
async fn polled() -> (Gateway, Forum, Watcher, Process) {
    let forum = Forum::start().await;
    let often = |config: &mut metagov::config::Config| {
        config.poll_interval = Duration::from_millis(200);
    };
    let gateway = Gateway::start_with(often, vec![]).await;
    let api = &gateway.api;
    api.community("co-op").await;
    api.enable("co-op", "discourse", forum.config()).await;
    let post = json!({ "id": 1, "topic_id": 0, "topic_slug": "test", "post_number": 1 });
    let _created = answers(&forum.server, "POST", "/posts.json", fakes::ok(&post)).await;
    let shows = fakes::ok(&json!({ "id": 1, "polls": [shown("open", 25)] }));
    let post = Mock::given(method("GET")).and(path("/posts/1.json"));
    post.respond_with(shows).mount(&forum.server).await;
    let watcher = api.watch().await;
    let request = StartProcessRequest {
        community_id: "co-op".into(),
        process_type: "discourse.poll".into(),
        parameters: object(
            json!({ "title": "a test poll", "options": ["a", "b", "c"], "category": 8 }),
        ),
        close_time: Some((SystemTime::now() + Duration::from_secs(3600)).into()),
        ..Default::default()
    };
    let process = api.start_request(request).await.unwrap();
    assert_eq!(process.state(), ProcessState::Open);
    assert_eq!(process.url, format!("{}/t/test/0/1", forum.server.uri()));
    assert_eq!(process.title, "a test poll");
    (gateway, forum, watcher, process)
}

/// The process as it is told of once the last option has so many votes.
async fn until_last_has(watcher: &mut Watcher, votes: i64) -> Process {
    let event = watcher
        .until(|payload| {
            let Payload::ProcessChanged(changed) = payload else {
                return false;
            };
            let outcome = plain(changed.process.as_ref().unwrap().outcome.clone());
            outcome["votes"]["c"] == json!(votes)
        })
        .await;
    process(event)
}

#[tokio::test]
async fn a_poll_is_followed_to_its_end() {
    let (_gateway, forum, mut watcher, _) = polled().await;
    let open = until_last_has(&mut watcher, 25).await;
    assert_eq!(open.state(), ProcessState::Open);
    let votes = json!({ "votes": { "a": 10, "b": 15, "c": 25 } });
    assert_eq!(plain(open.outcome), votes);
    assert_eq!(open.tally.unwrap().leading_options, ["c"]);
    let shows = fakes::ok(&json!({ "id": 1, "polls": [shown("closed", 35)] }));
    let _closed = answers(&forum.server, "GET", "/posts/1.json", shows).await;
    let closed = until_last_has(&mut watcher, 35).await;
    assert_eq!(closed.state(), ProcessState::Completed);
}

#[tokio::test]
async fn a_poll_is_closed_by_its_driver() {
    let (gateway, forum, mut watcher, poll) = polled().await;
    until_last_has(&mut watcher, 25).await;
    let toggled = fakes::ok(&json!({ "poll": shown("closed", 35) }));
    let _toggled = answers(&forum.server, "PUT", "/polls/toggle_status", toggled).await;
    let closed = gateway.api.close(&poll.process_id).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    let votes = json!({ "votes": { "a": 10, "b": 15, "c": 35 } });
    assert_eq!(plain(closed.outcome.clone()), votes);
    assert_eq!(process(watcher.next().await), public(&closed));
}

#[tokio::test]
async fn a_poll_cannot_close_in_the_past() {
    let (gateway, _forum, _watcher, _) = polled().await;
    let request = StartProcessRequest {
        community_id: "co-op".into(),
        process_type: "discourse.poll".into(),
        parameters: object(json!({ "title": "a test poll", "options": ["a", "b"] })),
        close_time: Some("2023-04-22T00:00:00Z".parse().unwrap()),
        ..Default::default()
    };
    let refused = fault(gateway.api.start_request(request).await);
    assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(refused.fields, ["close_time"]);
}

#[tokio::test]
async fn only_a_signed_post_is_an_event() {
    let forum = Forum::start().await;
    let gateway = community().await;
    let made = gateway.api.enable("co-op", "discourse", forum.config());
    let made = made.await;
    let mut watcher = gateway.api.watch().await;
    let forged = fakes::sign("another secret", &fakes::post(1, "ada").to_string());
    let forged = forum.signed(&made.webhook_url, "post_created", &forged);
    let forged = forged.body(fakes::post(1, "ada").to_string());
    assert_eq!(forged.send().await.unwrap().status().as_u16(), 401);
    let signed = forum.hook(&made.webhook_url, "post_created", &fakes::post(2, "ada"));
    assert_eq!(signed.send().await.unwrap().status().as_u16(), 200);
    let Payload::Platform(event) = watcher.payload().await else {
        panic!()
    };
    assert_eq!(event.event_type, "discourse.post_created");
    let data = plain(event.data);
    assert_eq!(data["id"], json!(2), "the forged one made none");
    let url = format!("{}/t/a-new-rule/9/2", forum.server.uri());
    assert_eq!(data["url"], json!(url));
}
