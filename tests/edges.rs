//! The edges of gRPC: health, reflection, limits, and what is not there.

use std::{collections::BTreeSet, time::Duration};

use metagov::plugins::kit::{Context, Nothing, Plugin, Result};
use metagov_proto::v1::{
    Community, CreateCommunityRequest, GetCommunityRequest, PerformActionRequest,
};
use prost::Message;
use tokio::time::timeout;
use tonic::{Code, Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    harness::{Gateway, Line, PATIENCE, fault, raw},
    web::Web,
};

const SERVICES: [&str; 8] = [
    "metagov.v1.AccessService",
    "metagov.v1.ActionService",
    "metagov.v1.CommunityService",
    "metagov.v1.EventService",
    "metagov.v1.IdentityService",
    "metagov.v1.PluginService",
    "metagov.v1.ProcessService",
    "metagov.v1.SubscriptionService",
];

fn health(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_can_be_asked_and_watched() {
    let gateway = Gateway::start().await;
    let mut client = HealthClient::new(gateway.api.channel.clone());
    for service in SERVICES.into_iter().chain([""]) {
        let answer = client.check(health(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = client.check(health("metagov.v1.Nothing")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);

    let mut streams = Vec::new();
    for service in ["", SERVICES[2]] {
        let watched = client.watch(health(service)).await.unwrap();
        let mut stream = watched.into_inner();
        let now = stream.message().await.unwrap().unwrap();
        assert_eq!(now.status(), ServingStatus::Serving);
        streams.push(stream);
    }
    let stopping = tokio::spawn(gateway.stop());
    for mut stream in streams {
        let next = timeout(PATIENCE, stream.message()).await.unwrap();
        let next = next.unwrap().expect("a word before the end");
        assert_eq!(next.status(), ServingStatus::NotServing);
    }
    stopping.await.unwrap();
}

/// What reflection lists, and that it can describe a message, in either version.
macro_rules! reflected {
    ($version:ident, $channel:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let ask = |message| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        };
        let requests = tokio_stream::iter([
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol(
                "metagov.v1.Event".into(),
            )),
            ask(MessageRequest::FileContainingSymbol(
                "google.rpc.ErrorInfo".into(),
            )),
        ]);
        let mut client = ServerReflectionClient::new($channel);
        let answers = client.server_reflection_info(requests).await.unwrap();
        let mut answers = answers.into_inner();
        let first = answers.message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = first.message_response else {
            panic!("a list of services")
        };
        for _ in 0..2 {
            let file = answers.message().await.unwrap().unwrap().message_response;
            let Some(MessageResponse::FileDescriptorResponse(file)) = file else {
                panic!("a file")
            };
            assert!(!file.file_descriptor_proto.is_empty());
        }
        list.service
            .into_iter()
            .map(|service| service.name)
            .collect()
    }};
}

#[tokio::test]
async fn reflection_shows_the_public_services() {
    let gateway = Gateway::start().await;
    let channel: Line = gateway.api.channel.clone();
    let new: BTreeSet<String> = reflected!(v1, channel.clone());
    let old: BTreeSet<String> = reflected!(v1alpha, channel);
    for (found, reflection) in [
        (new, "grpc.reflection.v1"),
        (old, "grpc.reflection.v1alpha"),
    ] {
        let own = format!("{reflection}.ServerReflection");
        let mut public: BTreeSet<String> = SERVICES.map(str::to_owned).into();
        public.extend(["grpc.health.v1.Health".to_owned(), own]);
        assert_eq!(found, public);
    }
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented() {
    let gateway = Gateway::start().await;
    let web = Web::new(&gateway);
    for path in [
        "/metagov.v1.NoService/Do",
        "/metagov.v1.CommunityService/Do",
        "/metagov.v1.communityservice/GetCommunity",
        "/metagov.v2.CommunityService/GetCommunity",
        "/index.html",
        "/",
    ] {
        let status = raw::call(&gateway.api.channel, path, vec![])
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status}");
        let said = web.call(path, &[], &[]).await;
        assert_eq!(said.code, Code::Unimplemented, "{path} by grpc-web");
        let http2 = Web::http2(&gateway).call(path, &[], &[]).await;
        assert_eq!(
            http2.code,
            Code::Unimplemented,
            "{path} by grpc-web over HTTP/2"
        );
    }
}

#[tokio::test]
async fn a_browser_gets_no_page() {
    let gateway = Gateway::start().await;
    for web in [Web::new(&gateway), Web::http2(&gateway)] {
        for path in [
            "/",
            "/index.html",
            "/metagov.v1.CommunityService/GetCommunity",
        ] {
            let page = web.get(path).await;
            let html = page.headers().get("content-type");
            assert!(html.is_none_or(|kind| !kind.to_str().unwrap().contains("html")));
            assert_eq!(page.text().await.unwrap(), "", "{path}");
        }
    }
}

fn large(bytes: usize) -> CreateCommunityRequest {
    CreateCommunityRequest {
        community: Some(Community {
            community_id: "a".into(),
            display_name: "x".repeat(bytes),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_named_with_the_limit() {
    let gateway = Gateway::start().await;
    let bytes = large(1 << 20).encode_to_vec();
    for method in raw::methods() {
        let refused = fault(raw::call(&gateway.api.channel, &method.path, bytes.clone()).await);
        let path = &method.path;
        assert!(
            refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
            "{path}: {refused:?}"
        );
        assert_eq!(refused.metadata["limit"], "1048576");
    }
    let said = Web::new(&gateway)
        .call("/metagov.v1.CommunityService/CreateCommunity", &bytes, &[])
        .await;
    assert_eq!(said.fault().reason, "MESSAGE_TOO_LARGE");
    assert_eq!(gateway.api.log().await, []);
}

#[tokio::test]
async fn the_operator_sets_the_limit_of_a_message() {
    let gateway = Gateway::start_with(|config| config.limits.max_request_size = 1024, vec![]).await;
    let mut communities = gateway.api.communities();
    let refused = fault(communities.create_community(large(1024)).await);
    assert!(refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(refused.metadata["limit"], "1024");
    communities.create_community(large(100)).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_decoded_is_an_invalid_argument() {
    let gateway = Gateway::start().await;
    for method in raw::methods() {
        // A length without its bytes, and a string that is not UTF-8.
        let cut = vec![0x0a, 0x7f, 0x61];
        let group = vec![0x0b, 0x0b, 0x0b];
        let garbage = vec![0xff; 64];
        for bytes in [cut, group, garbage] {
            let path = &method.path;
            let answer = raw::call(&gateway.api.channel, path, bytes.clone()).await;
            let refused = fault(answer);
            let named = refused.is(Code::InvalidArgument, "INVALID_FIELD");
            assert!(named, "{path} {bytes:?}: {refused:?}");
        }
    }
    let bad = raw::field(1, &[0xff, 0xfe]);
    let path = "/metagov.v1.CommunityService/GetCommunity";
    let refused = fault(raw::call(&gateway.api.channel, path, bad).await);
    assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
}

/// An action that never ends, as long as nobody stops it.
fn sleeper() -> Plugin {
    Plugin::new::<Nothing, Nothing>("sleeper", "Sleeps.")
        .action("sleep", "Sleep for an hour.", sleep)
        .read_only()
        .build()
}

async fn sleep(_: &Context<Nothing>, _: Nothing) -> Result<Nothing> {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(Nothing::default())
}

#[tokio::test]
async fn a_deadline_ends_a_call() {
    let gateway = Gateway::start_with(|_| (), vec![sleeper()]).await;
    gateway.api.community("a").await;
    gateway
        .api
        .enable("a", "sleeper", serde_json::json!({}))
        .await;
    let request = PerformActionRequest {
        community_id: "a".into(),
        action: "sleeper.sleep".into(),
        ..Default::default()
    };
    // By hand, so that it is the server who ends it.
    let path = "/metagov.v1.ActionService/PerformAction";
    let deadline = [
        ("grpc-timeout", "200m"),
        ("content-type", "application/grpc"),
    ];
    let (web, request) = (Web::http2(&gateway), request.encode_to_vec());
    let call = web.post(path, &request, &deadline);
    let answer = timeout(PATIENCE, call).await.expect("the server ends it");
    let status = Status::from_header_map(answer.headers()).expect("a status");
    let ended = fault(Err::<(), _>(status));
    assert!(
        ended.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        "{ended:?}"
    );
    assert!(answer.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn a_call_keeps_the_id_that_its_caller_gave() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let mut communities = gateway.api.communities();
    let get = |id: Option<&str>| {
        let mut request = Request::new(GetCommunityRequest {
            community_id: "a".into(),
        });
        if let Some(id) = id {
            request
                .metadata_mut()
                .insert("x-request-id", id.parse().unwrap());
        }
        request
    };
    let long = "x".repeat(65);
    for (sent, kept) in [
        (Some("my-call_7"), true),
        (Some("has a blank"), false),
        (Some(long.as_str()), false),
        (None, false),
    ] {
        let answer = communities.get_community(get(sent)).await.unwrap();
        let id = answer.metadata().get("x-request-id").expect("an id");
        let id = id.to_str().unwrap().to_owned();
        assert_eq!(Some(id.as_str()) == sent, kept, "{sent:?} became {id}");
        assert!(!id.is_empty() && id.len() <= 64);
    }
    let mut missing = get(Some("my-call_8"));
    missing.get_mut().community_id = "nobody".into();
    let refused = communities.get_community(missing).await.unwrap_err();
    assert_eq!(refused.metadata().get("x-request-id").unwrap(), "my-call_8");
}

#[tokio::test]
async fn one_connection_carries_many_calls_at_once() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let api = gateway.connect().await;
    let calls: Vec<_> = (0..150)
        .map(|_| {
            let api = api.clone();
            tokio::spawn(async move { api.watch().await })
        })
        .collect();
    let mut watchers = Vec::new();
    for call in calls {
        watchers.push(call.await.unwrap());
    }
    gateway.api.community("b").await;
    for watcher in &mut watchers {
        assert_eq!(watcher.next().await.community_id, "b");
    }
}
