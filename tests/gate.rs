//! Who may come in at all: by which names the API is called, from which pages, and that
//! nothing is a call but a POST of gRPC. `python/test_browser.py` tries it with a real
//! browser; here is what a browser would send, by hand and over both versions of HTTP.

use metagov_proto::v1::{
    Community, CreateCommunityRequest, ListCommunitiesRequest,
    community_service_client::CommunityServiceClient,
};
use prost::Message;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Request, transport::Channel};

use crate::{
    bad_input::unknown,
    harness::{Fault, Gateway, Line, PATIENCE, carried, fault, raw},
    web::{Web, framed},
};

const CREATE: &str = "/metagov.v1.CommunityService/CreateCommunity";
const EVIL: &str = "evil.example";

fn create() -> Vec<u8> {
    let community = Some(Community {
        community_id: "pwned".into(),
        ..Default::default()
    });
    let request = CreateCommunityRequest {
        community,
        ..Default::default()
    };
    request.encode_to_vec()
}

/// A channel to the gateway that calls it so.
async fn called(gateway: &Gateway, host: &str) -> Line {
    let port = gateway.endpoint().rsplit_once(':').unwrap().1.to_owned();
    let origin = format!("http://{host}:{port}").parse().unwrap();
    let endpoint = Channel::from_shared(gateway.endpoint()).unwrap();
    let channel = endpoint.origin(origin).connect().await.unwrap();
    carried(channel, &gateway.admin_token())
}

async fn list(channel: Line) -> Result<(), Fault> {
    let mut client = CommunityServiceClient::new(channel);
    let listed = client.list_communities(ListCommunitiesRequest::default());
    listed
        .await
        .map(drop)
        .map_err(|status| fault(Err::<(), _>(status)))
}

fn is_another_host(refused: &Fault) -> bool {
    refused.is(Code::PermissionDenied, "HOST_NOT_ALLOWED") && refused.message.contains("--hosts")
}

#[tokio::test]
async fn a_local_gateway_is_called_by_every_local_name() {
    let gateway = Gateway::start().await;
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "127.8.9.10",
    ] {
        assert_eq!(list(called(&gateway, host).await).await, Ok(()), "{host}");
    }
}

#[tokio::test]
async fn no_method_is_called_by_another_name() {
    let gateway = Gateway::start().await;
    for host in [EVIL, "localhost.evil.example", "0.0.0.0", "192.0.2.1"] {
        let channel = called(&gateway, host).await;
        for method in raw::methods() {
            let answer = raw::call(&channel, &method.path, unknown(&method)).await;
            let refused = fault(answer);
            assert!(is_another_host(&refused), "{}: {refused:?}", method.path);
        }
        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            "/no.Such/Method",
        ] {
            let refused = fault(raw::call(&channel, path, vec![]).await);
            assert!(is_another_host(&refused), "{path}: {refused:?}");
        }
    }
    for web in Web::under(&gateway.endpoint(), EVIL, &gateway.admin_token()) {
        let refused = web.call(CREATE, &create(), &[]).await.fault();
        assert!(is_another_host(&refused), "{refused:?}");
        let text = [("content-type", "text/plain")];
        let page = web.send(CREATE, framed(&create()), &text).await;
        assert_eq!(page.status(), 421);
        assert_eq!(page.text().await.unwrap(), "not a host of this API\n");
    }
    assert_eq!(gateway.api.log().await, []);
}

#[tokio::test]
async fn the_operator_names_the_hosts() {
    let hosts = ["gateway.example.org", "127.0.0.1"].map(str::to_owned);
    let gateway = Gateway::start_with(|config| config.access.hosts = hosts.into(), vec![]).await;
    for (host, allowed) in [
        ("gateway.example.org", true),
        ("127.0.0.1", true),
        ("localhost", false),
        (EVIL, false),
    ] {
        let listed = list(called(&gateway, host).await).await;
        assert_eq!(listed.is_ok(), allowed, "{host}: {listed:?}");
    }
}

#[tokio::test]
async fn a_gateway_of_a_network_is_called_by_every_name() {
    let everywhere = |config: &mut metagov::config::Config| {
        config.listen = "0.0.0.0:0".parse().unwrap();
        config.access.plaintext_behind_proxy = true;
    };
    let gateway = Gateway::start_with(everywhere, vec![]).await;
    for host in ["gateway.example.org", "192.0.2.1", "localhost"] {
        assert_eq!(list(called(&gateway, host).await).await, Ok(()), "{host}");
    }
    // Pages are kept out all the same.
    let page = [("origin", "http://gateway.example.org")];
    for web in Web::under(
        &gateway.endpoint().replace("0.0.0.0", "127.0.0.1"),
        "a.example",
        &gateway.admin_token(),
    ) {
        let refused = web.call(CREATE, &create(), &page).await.fault();
        assert!(refused.is(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED"));
    }
}

#[tokio::test]
async fn no_page_calls_any_method() {
    let gateway = Gateway::start().await;
    for method in raw::methods() {
        for (name, value) in [
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let page = [(name, value)];
            for web in Web::both(&gateway.endpoint(), &gateway.admin_token()) {
                let refused = web.call(&method.path, &unknown(&method), &page).await;
                let refused = refused.fault();
                let kept_out = refused.is(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED");
                assert!(kept_out, "{} {value}: {refused:?}", method.path);
                assert!(refused.message.contains("--cors-origins"));
            }
        }
    }
    let mut request = Request::new(ListCommunitiesRequest::default());
    let origin = "https://evil.example".parse().unwrap();
    request.metadata_mut().insert("origin", origin);
    let refused = fault(gateway.api.communities().list_communities(request).await);
    assert!(refused.is(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED"));
    assert_eq!(gateway.api.log().await, []);
}

/// Over HTTP/2, tonic would take these for gRPC.
#[tokio::test]
async fn what_a_page_may_send_unasked_is_no_call() {
    let gateway = Gateway::start().await;
    for web in Web::both(&gateway.endpoint(), &gateway.admin_token()) {
        for kind in [
            "text/plain",
            "text/plain;application/grpc-web",
            "text/plain;charset=UTF-8",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/grpc",
            "application/json",
        ] {
            let answer = web
                .send(CREATE, framed(&create()), &[("content-type", kind)])
                .await;
            assert_eq!(answer.status(), 415, "{kind}");
        }
        let answer = web.send(CREATE, framed(&create()), &[]).await;
        assert_eq!(answer.status(), 415, "no type at all");
        for kind in ["application/grpc+json", "application/grpc-web+json"] {
            let answer = web
                .send(CREATE, framed(&create()), &[("content-type", kind)])
                .await;
            let refused = tonic::Status::from_header_map(answer.headers()).unwrap();
            let refused = fault(Err::<(), _>(refused));
            assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"), "{kind}");
            assert_eq!(refused.fields, ["content-type"]);
        }
    }
    assert_eq!(gateway.api.log().await, []);
}

#[tokio::test]
async fn nothing_but_a_post_is_a_call() {
    let gateway = Gateway::start().await;
    let mut paths: Vec<String> = raw::methods().into_iter().map(|m| m.path).collect();
    paths.extend(["/", "/grpc.health.v1.Health/Check", "/status"].map(str::to_owned));
    for web in Web::both(&gateway.endpoint(), &gateway.admin_token()) {
        for path in &paths {
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
                let grpc = [("content-type", "application/grpc")];
                let body = framed(&create());
                let answer = web.request(method.clone(), path, body, &grpc).await;
                assert_eq!(answer.status(), 405, "{method} {path}");
                assert_eq!(answer.headers()["allow"], "POST");
                assert_eq!(answer.text().await.unwrap(), "");
            }
        }
    }
    assert_eq!(gateway.api.log().await, []);
}

/// What comes back on a connection of its own, which is then closed.
async fn spoken(gateway: &Gateway, head: &str) -> String {
    let address = gateway.endpoint().replace("http://", "");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = framed(&create());
    let length = body.len();
    let head = head.replace('\n', "\r\n");
    let token = gateway.admin_token();
    let head = format!("{head}\r\nAuthorization: Bearer {token}");
    let head = format!("{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // It may hang up before it has read everything.
    _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    _ = timeout(PATIENCE, read).await.expect("an answer");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_head_by_hand_that_names_another_host_is_refused() {
    let gateway = Gateway::start().await;
    let web = "Content-Type: text/plain";
    for head in [
        format!("POST {CREATE} HTTP/1.1\n{web}"),
        format!("POST {CREATE} HTTP/1.0\n{web}"),
        format!("POST {CREATE} HTTP/1.1\nHost:\n{web}"),
        format!("POST {CREATE} HTTP/1.1\nHost: {EVIL}\n{web}"),
        format!("POST {CREATE} HTTP/1.1\nHost: localhost@{EVIL}\n{web}"),
        format!("POST {CREATE} HTTP/1.1\nHost: localhost\nHost: {EVIL}\n{web}"),
        format!("POST {CREATE} HTTP/1.1\nHost: {EVIL}\nHost: localhost\n{web}"),
        format!("POST http://{EVIL}{CREATE} HTTP/1.1\nHost: localhost\n{web}"),
        format!("POST http://localhost{CREATE} HTTP/1.1\nHost: {EVIL}\n{web}"),
        format!("POST http://localhost@{EVIL}{CREATE} HTTP/1.1\nHost: localhost\n{web}"),
        format!(
            "GET {CREATE} HTTP/1.1\nHost: {EVIL}\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        ),
    ] {
        let said = spoken(&gateway, &head).await;
        let refused = ["HTTP/1.1 421", "HTTP/1.0 421", "HTTP/1.1 400"];
        assert!(
            refused.iter().any(|start| said.starts_with(start)),
            "{head}\n{said}"
        );
    }
    for (head, status) in [
        (
            format!("CONNECT {EVIL}:443 HTTP/1.1\nHost: {EVIL}:443"),
            "421",
        ),
        (
            "CONNECT localhost:443 HTTP/1.1\nHost: localhost:443".to_owned(),
            "405",
        ),
        ("OPTIONS * HTTP/1.1\nHost: localhost".to_owned(), "405"),
        (
            format!("GET {CREATE} HTTP/1.1\nHost: localhost\nUpgrade: websocket"),
            "405",
        ),
        (
            format!("GET {CREATE} HTTP/1.1\nHost: localhost\nOrigin: http://{EVIL}"),
            "403",
        ),
        (
            format!("POST {CREATE} HTTP/1.1\nHost: localhost\nContent-Type: application/grpc"),
            "400",
        ),
    ] {
        let said = spoken(&gateway, &head).await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}\n{said}"
        );
    }
    assert_eq!(gateway.api.log().await, []);
    // Said to a proxy or not, it is the same host.
    let web = "Content-Type: application/grpc-web+proto";
    let head = format!("POST http://localhost:1{CREATE} HTTP/1.1\nHost: localhost:1\n{web}");
    let said = spoken(&gateway, &head).await;
    assert!(
        said.starts_with("HTTP/1.1 200") && said.contains("grpc-status:0"),
        "{said}"
    );
    assert_eq!(gateway.api.log().await.len(), 1);
}
