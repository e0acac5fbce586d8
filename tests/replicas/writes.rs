//! Two gateways write at the same time: what one writer kept apart is kept apart still.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use metagov::plugins::kit::{Context, Installed, Nothing, Plugin, Result};
use metagov_proto::{
    audit::entry_hash,
    v1::{
        DeleteCommunityRequest, ListAuditEntriesRequest, ListTokensRequest, ProcessState,
        RevokeTokenRequest, Role, StartProcessRequest, WatchEventsRequest, event::Payload,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tonic::Code;

use super::{done, start_until, two_with_stand};
use crate::{
    fakes::{Forum, post},
    harness::{Gateway, Home, Kind, fault, object, plain},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_at_both_at_once_runs_once() {
    let (first, second, stand) = two_with_stand().await;
    for number in 0..10 {
        let request = StartProcessRequest {
            community_id: "co-op".into(),
            process_type: "stand.vote".into(),
            parameters: object(json!({})),
            request_id: format!("start-{number}"),
            ..Default::default()
        };
        let twins = [&first.api, &second.api].repeat(2);
        let twins = twins
            .into_iter()
            .map(|api| api.start_request(request.clone()));
        let mut ids = BTreeSet::new();
        for twin in join_all(twins).await {
            match twin {
                Ok(process) => _ = ids.insert(process.process_id),
                Err(status) => {
                    assert!(fault::<()>(Err(status)).is(Code::Aborted, "REQUEST_IN_PROGRESS"))
                }
            }
        }
        for api in [&first.api, &second.api] {
            ids.insert(api.start_request(request.clone()).await.unwrap().process_id);
        }
        assert_eq!(ids.len(), 1);
        assert_eq!(stand.heard("POST /start").await, number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tally_of_votes_cast_at_both_is_exact() {
    let (first, second) = Gateway::start_two().await;
    first.api.community("co-op").await;
    first.api.enable("co-op", "ballot", json!({})).await;
    let process = start_until(&first.api, "ballot.vote", Duration::from_secs(3600)).await;
    let cast = |number: usize, choice: &str| {
        let api = [&first.api, &second.api][number % 2].clone();
        let ballot = json!({"process_id": process.process_id,
            "voter": format!("voter{}", number % 60), "choices": [choice]});
        async move { api.perform("co-op", "ballot.cast", ballot).await.unwrap() }
    };
    // Everybody changes their mind, at the other gateway or at the same one.
    join_all((0..120).map(|number| cast(number, "soup"))).await;
    join_all((0..61).map(|number| cast(number, if number % 3 == 0 { "bread" } else { "soup" })))
        .await;
    let closed = second.api.close(&process.process_id).await.unwrap();
    assert_eq!(closed.state(), ProcessState::Completed);
    let counts = closed.tally.unwrap().options.into_iter();
    let counts: Vec<(String, i64)> = counts.map(|o| (o.option, o.count)).collect();
    assert_eq!(counts, [("soup".to_owned(), 40), ("bread".to_owned(), 20)]);
    assert_eq!(
        first
            .api
            .process(&process.process_id)
            .await
            .unwrap()
            .revision,
        closed.revision
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closes_at_both_make_one_end() {
    let (first, second, _stand) = two_with_stand().await;
    for _ in 0..10 {
        let process = first
            .api
            .start("co-op", "stand.vote", json!({}))
            .await
            .unwrap();
        let id = &process.process_id;
        let (one, other) = tokio::join!(first.api.close(id), second.api.close(id));
        assert_eq!(one.unwrap().revision, other.unwrap().revision);
        assert_eq!(super::completions(&second.api, id).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_hook_to_both_at_once_is_one_event() {
    let (first, second) = Gateway::start_two().await;
    let forum = Forum::start().await;
    first.api.community("co-op").await;
    let enabled = first.api.enable("co-op", "discourse", forum.config()).await;
    let slug = enabled
        .webhook_url
        .split("/api/hooks/")
        .nth(1)
        .unwrap()
        .to_owned();
    let urls = [&first, &second].map(|gateway| format!("{}/api/hooks/{slug}", gateway.public));
    let mut watcher = second.api.watch().await;
    for id in 1..=20 {
        let body = post(id, "ada");
        let sent = [&urls[0], &urls[1], &urls[0], &urls[1]]
            .map(|url| forum.hook(url, "post_created", &body).send());
        for answer in join_all(sent).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
        watcher
            .until(|payload| matches!(payload, Payload::Platform(_)))
            .await;
    }
    let platform =
        |event: &&metagov_proto::v1::Event| matches!(event.payload, Some(Payload::Platform(_)));
    let log = first.api.log().await;
    assert_eq!(log.iter().filter(platform).count(), 20);
    let deliveries = "SELECT COUNT(*) FROM delivery";
    assert_eq!(first.home().ask::<i64>(deliveries).await, [20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_revoked_at_one_ends_at_both_within_5_s() {
    let (first, second) = Gateway::start_two().await;
    first.api.community("co-op").await;
    let secret = first.api.token(Role::Reader, &["co-op"]).await;
    let callers = [
        first.connect_with(&secret).await,
        second.connect_with(&secret).await,
    ];
    let mut streams = Vec::new();
    for caller in &callers {
        let request = WatchEventsRequest::default();
        let answer = caller.events().watch_events(request).await.unwrap();
        let mut stream = answer.into_inner();
        stream.message().await.unwrap();
        streams.push(stream);
    }
    let tokens = first
        .api
        .access()
        .list_tokens(ListTokensRequest::default())
        .await;
    let tokens = tokens.unwrap().into_inner().tokens;
    let reader = tokens
        .into_iter()
        .find(|token| token.role() == Role::Reader);
    let token_id = reader.unwrap().token_id;
    let revoke = RevokeTokenRequest { token_id };
    first.api.access().revoke_token(revoke).await.unwrap();
    let until = tokio::time::Instant::now() + Duration::from_secs(5);
    for stream in &mut streams {
        let ended = tokio::time::timeout_at(until, stream.message())
            .await
            .unwrap();
        assert!(fault(ended).is(Code::Unauthenticated, "TOKEN_INVALID"));
    }
    for caller in &callers {
        let refused = caller
            .events()
            .watch_events(WatchEventsRequest::default())
            .await;
        assert!(fault(refused).is(Code::Unauthenticated, "TOKEN_INVALID"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_at_one_sees_what_the_other_commits() {
    let (first, second) = Gateway::start_two().await;
    let (mut here, mut there) = (first.api.watch().await, second.api.watch().await);
    for number in 0..10 {
        let id = format!("community-{number}");
        let api = [&first.api, &second.api][number % 2];
        api.community(&id).await;
        assert_eq!(here.next().await.community_id, id);
        assert_eq!(there.next().await.community_id, id);
    }
}

#[derive(Clone, Deserialize, JsonSchema)]
struct Guild {
    guild: String,
}

/// A plugin whose credentials are the operator's.
fn guilds() -> Plugin {
    Plugin::new::<Guild, Nothing>("guilds", "Where one bot meets all.")
        .operator_credentials()
        .setup(found)
        .build()
}

async fn found(cx: &Context<Guild>) -> Result<Installed> {
    Ok(Installed {
        platform_id: cx.config.guild.clone(),
        ..Installed::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operators_credentials_reach_is_of_one_community_also_for_twins() {
    let home = Home::on(Kind::Postgres);
    let first = Gateway::start_in(home, |_| (), vec![guilds()]).await;
    let second = first.replica(|_| (), vec![guilds()]).await;
    for community in ["a", "b"] {
        first.api.community(community).await;
    }
    for number in 0..10 {
        let config = json!({"guild": format!("guild-{number}")});
        let (one, other) = tokio::join!(
            first.api.try_enable("a", "guilds", config.clone()),
            second.api.try_enable("b", "guilds", config.clone()),
        );
        let refused = match (one, other) {
            (Ok(_), refused @ Err(_)) | (refused @ Err(_), Ok(_)) => fault(refused),
            both => panic!("{both:?}"),
        };
        assert!(
            refused.is(Code::AlreadyExists, "INSTALLATION_EXISTS"),
            "{refused:?}"
        );
    }
    let names = "SELECT COUNT(*) FROM installation WHERE exclusive_platform_id = platform_id";
    assert_eq!(first.home().ask::<i64>(names).await, [10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_start_at_once_make_one_first_token() {
    let home = Home::on(Kind::Postgres);
    let configs = ["one", "two", "three"].map(|name| {
        let mut config = metagov::config::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_listen: "127.0.0.1:0".parse().unwrap(),
            ..Default::default()
        };
        home.furnish(&mut config);
        config.data_dir = home.path().join(name);
        config
    });
    let starts = configs
        .iter()
        .map(|config| metagov::run(config.clone(), vec![]));
    let running = join_all(starts).await;
    let tokens = "SELECT COUNT(*) FROM token";
    assert_eq!(home.ask::<i64>(tokens).await, [1]);
    let files = configs.iter().map(|config| {
        let entries = std::fs::read_dir(&config.data_dir);
        let names = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().starts_with("admin.token"))
            .count()
    });
    assert_eq!(files.sum::<usize>(), 1, "who made it has it in a file");
    for running in running {
        running.unwrap().stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_of_both_is_one_chain() {
    let (first, second) = Gateway::start_two().await;
    let calls = (0..60).map(|number| {
        let api = [&first.api, &second.api][number % 2].clone();
        async move { api.community(&format!("community-{number}")).await }
    });
    join_all(calls).await;
    let request = ListAuditEntriesRequest {
        page_size: 1000,
        ..Default::default()
    };
    let page = first.api.access().list_audit_entries(request).await;
    let mut entries = page.unwrap().into_inner().entries;
    entries.reverse();
    assert_eq!(entries.len(), 60);
    let mut hash = [0; 32];
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.entry_number, i64::try_from(index).unwrap() + 1);
        hash = entry_hash(&hash, entry);
        assert_eq!(entry.entry_hash, hash);
    }
}

/// Whatever is written into a community while it is deleted elsewhere goes with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_community_deleted_at_one_leaves_nothing_that_the_other_wrote() {
    let (first, second) = Gateway::start_two().await;
    let forum = Forum::start().await;
    for round in 0..6 {
        let id = format!("community-{round}");
        first.api.community(&id).await;
        first.api.enable(&id, "ballot", json!({})).await;
        let enabled = first.api.enable(&id, "discourse", forum.config()).await;
        let path = enabled
            .webhook_url
            .split("/api/hooks/")
            .nth(1)
            .unwrap()
            .to_owned();
        let url = format!("{}/api/hooks/{path}", second.public);
        let vote = json!({"title": "Lunch?", "options": ["soup", "bread"]});
        let process = first
            .api
            .start(&id, "ballot.vote", vote.clone())
            .await
            .unwrap();
        let hooks = (0..30).map(|n| forum.hook(&url, "post_created", &post(n, "ada")).send());
        let casts = (0..30).map(|n| {
            let ballot = json!({"process_id": process.process_id,
                "voter": format!("voter{n}"), "choices": ["soup"]});
            second.api.perform(&id, "ballot.cast", ballot)
        });
        let starts = (0..10).map(|_| second.api.start(&id, "ballot.vote", vote.clone()));
        let delete = DeleteCommunityRequest {
            community_id: id.clone(),
            ..Default::default()
        };
        let delete = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            first
                .api
                .communities()
                .delete_community(delete)
                .await
                .unwrap();
        };
        tokio::join!(delete, join_all(hooks), join_all(casts), join_all(starts));
    }
    orphans(&first).await;
    let log = second.api.log().await;
    let told = log.iter().filter(|event| match &event.payload {
        None | Some(Payload::CommunityChanged(_)) => false,
        Some(_) => true,
    });
    assert_eq!(told.count(), 0, "of what is deleted only that is told");
}

async fn orphans(gateway: &Gateway) {
    for (table, of) in [
        (
            "installation",
            "community_id NOT IN (SELECT id FROM community)",
        ),
        ("process", "community_id NOT IN (SELECT id FROM community)"),
        ("identity", "community_id NOT IN (SELECT id FROM community)"),
        ("account", "community_id NOT IN (SELECT id FROM community)"),
        ("request", "community_id NOT IN (SELECT id FROM community)"),
        (
            "delivery",
            "installation_id NOT IN (SELECT id FROM installation)",
        ),
        (
            "fetch",
            "installation_id NOT IN (SELECT id FROM installation)",
        ),
        (
            "credential",
            "installation_id NOT IN (SELECT id FROM installation)",
        ),
        (
            "installation_state",
            "installation_id NOT IN (SELECT id FROM installation)",
        ),
        ("ballot", "process_id NOT IN (SELECT id FROM process)"),
    ] {
        let count = format!("SELECT COUNT(*) FROM \"{table}\" WHERE {of}");
        assert_eq!(gateway.home().ask::<i64>(&count).await, [0], "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcome_is_the_same_whoever_is_asked() {
    let (first, second, _stand) = two_with_stand().await;
    let process = start_until(&first.api, "stand.vote", Duration::from_secs(2)).await;
    let here = done(&first.api, &process.process_id).await;
    let there = done(&second.api, &process.process_id).await;
    assert_eq!(plain(here.outcome.clone()), plain(there.outcome.clone()));
    assert_eq!(here, there);
}
