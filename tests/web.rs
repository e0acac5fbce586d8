//! grpc-web, as a browser speaks it: frames by hand, over HTTP/1.1 and HTTP/2, and CORS.

use std::{net::SocketAddr, time::Duration};

use metagov_proto::v1::{
    Community, CreateCommunityRequest, CreateCommunityResponse, GetCommunityRequest,
    WatchEventsRequest, WatchEventsResponse,
};
use prost::Message;
use reqwest::{Client, Method, Response, header::HeaderMap};
use tonic::{Code, Status};

use crate::harness::{Fault, Gateway, PATIENCE, fault};

const ORIGIN: &str = "https://dashboard.example.org";

/// A browser.
pub(crate) struct Web {
    client: Client,
    endpoint: String,
    token: String,
}

/// What a call was answered with.
pub(crate) struct Said {
    pub(crate) code: Code,
    messages: Vec<Vec<u8>>,
    /// The trailers, wherever they were.
    trailers: tonic::codegen::http::HeaderMap,
    headers: HeaderMap,
}

impl Web {
    pub(crate) fn new(gateway: &Gateway) -> Self {
        let [http1, _] = Self::both(&gateway.endpoint(), &gateway.admin_token());
        http1
    }

    pub(crate) fn http2(gateway: &Gateway) -> Self {
        let [_, http2] = Self::both(&gateway.endpoint(), &gateway.admin_token());
        http2
    }

    /// Over HTTP/1.1, and over HTTP/2.
    pub(crate) fn both(endpoint: &str, token: &str) -> [Self; 2] {
        Self::under(endpoint, "127.0.0.1", token)
    }

    /// The same, where the gateway at this address has another name.
    pub(crate) fn under(endpoint: &str, name: &str, token: &str) -> [Self; 2] {
        // reqwest is built without a default; only the first call counts.
        _ = rustls::crypto::ring::default_provider().install_default();
        let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
        let builder = || Client::builder().no_proxy().resolve(name, address);
        [builder().http1_only(), builder().http2_prior_knowledge()].map(|client| Self {
            client: client.build().unwrap(),
            endpoint: format!("http://{name}:{}", address.port()),
            token: token.to_owned(),
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.endpoint);
        let get = self.client.get(url).header("accept", "text/html");
        get.send().await.unwrap()
    }

    /// The answer to one message, framed; headers given replace grpc-web's own.
    pub(crate) async fn post(
        &self,
        path: &str,
        message: &[u8],
        headers: &[(&str, &str)],
    ) -> Response {
        let own = [
            ("content-type", "application/grpc-web+proto"),
            ("x-grpc-web", "1"),
        ];
        self.send(path, framed(message), &[&own, headers].concat())
            .await
    }

    /// The answer to these bytes; of a header that is named twice the last counts.
    pub(crate) async fn send(
        &self,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Response {
        self.request(Method::POST, path, body, headers).await
    }

    /// The same with any method.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Response {
        let mut all = HeaderMap::new();
        let bearer = format!("Bearer {}", self.token);
        all.insert("authorization", bearer.parse().unwrap());
        for (name, value) in headers {
            let name: reqwest::header::HeaderName = name.parse().unwrap();
            let value = value.as_bytes().try_into().unwrap();
            all.insert(name, value);
        }
        let url = format!("{}{path}", self.endpoint);
        let request = self.client.request(method, url).headers(all).body(body);
        request.timeout(2 * PATIENCE).send().await.unwrap()
    }

    /// A call that ends by itself.
    pub(crate) async fn call(&self, path: &str, message: &[u8], headers: &[(&str, &str)]) -> Said {
        let response = self.post(path, message, headers).await;
        assert_eq!(
            response.status(),
            200,
            "an answer is 200, also one that is an error"
        );
        let headers = response.headers().clone();
        let kind = headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("application/grpc-web"), "{kind}");
        let body = response.bytes().await.unwrap();
        Said::read(headers, &body)
    }
}

impl Said {
    pub(crate) fn read(headers: HeaderMap, mut body: &[u8]) -> Self {
        // An error without a message may have them in the headers.
        let mut trailers = headers.clone();
        let mut messages = Vec::new();
        while let Some((flag, frame)) = next_frame(&mut body) {
            if flag & 0x80 == 0 {
                messages.push(frame);
                continue;
            }
            for line in String::from_utf8(frame).unwrap().lines() {
                let (name, value) = line.split_once(':').unwrap();
                let name: reqwest::header::HeaderName = name.parse().unwrap();
                trailers.insert(name, value.trim().parse().unwrap());
            }
        }
        assert!(body.is_empty(), "whole frames only");
        let code = trailers.get("grpc-status").expect("a status");
        Self {
            code: Code::from_bytes(code.as_bytes()),
            messages,
            trailers,
            headers,
        }
    }

    /// Whether it went well.
    pub(crate) fn result(&self) -> Result<(), Status> {
        match Status::from_header_map(&self.trailers) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(()),
        }
    }

    /// The error, which must be one.
    pub(crate) fn fault(&self) -> Fault {
        let status = Status::from_header_map(&self.trailers).expect("a status");
        fault(Err::<(), _>(status))
    }
}

/// A message with its length before it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// The first frame, with its flag, and the rest.
fn next_frame(body: &mut &[u8]) -> Option<(u8, Vec<u8>)> {
    let (head, rest) = body.split_first_chunk::<5>()?;
    let [flag, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    let (frame, rest) = rest.split_at_checked(length)?;
    *body = rest;
    Some((flag, frame.to_vec()))
}

fn create(id: &str) -> Vec<u8> {
    let request = CreateCommunityRequest {
        community: Some(Community {
            community_id: id.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    request.encode_to_vec()
}

const CREATE: &str = "/metagov.v1.CommunityService/CreateCommunity";
const GET: &str = "/metagov.v1.CommunityService/GetCommunity";
const WATCH: &str = "/metagov.v1.EventService/WatchEvents";

#[tokio::test]
async fn grpc_web_works_over_both_versions_of_http() {
    let gateway = Gateway::start().await;
    for (web, id) in [(Web::new(&gateway), "one"), (Web::http2(&gateway), "two")] {
        let said = web.call(CREATE, &create(id), &[]).await;
        assert_eq!(said.code, Code::Ok);
        let [message] = said.messages.as_slice() else {
            panic!("one message")
        };
        let created = CreateCommunityResponse::decode(message.as_slice()).unwrap();
        assert_eq!(created.community.unwrap().community_id, id);

        let again = web.call(CREATE, &create(id), &[]).await.fault();
        assert!(
            again.is(Code::AlreadyExists, "COMMUNITY_EXISTS"),
            "{again:?}"
        );
        assert_eq!(again.metadata["community_id"], id);
        let unknown = GetCommunityRequest {
            community_id: "no/body".into(),
        };
        let refused = web.call(GET, &unknown.encode_to_vec(), &[]).await.fault();
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(refused.fields, ["community_id"]);
    }
}

#[tokio::test]
async fn a_browser_can_watch() {
    let gateway = Gateway::start().await;
    for (web, id) in [(Web::new(&gateway), "one"), (Web::http2(&gateway), "two")] {
        let request = WatchEventsRequest::default().encode_to_vec();
        let mut response = web.post(WATCH, &request, &[]).await;
        let (mut body, mut seen) = (Vec::new(), Vec::new());
        let mut messages = 0;
        while seen.is_empty() {
            let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await;
            body.extend(chunk.expect("a chunk").unwrap().expect("no end"));
            let mut left = body.as_slice();
            while let Some((flag, frame)) = next_frame(&mut left) {
                assert_eq!(flag, 0, "a message");
                let message = WatchEventsResponse::decode(frame.as_slice()).unwrap();
                seen.extend(message.events);
                messages += 1;
                if messages == 1 {
                    // The hello has come: from here on everything is seen.
                    gateway.api.community(id).await;
                }
            }
            body = left.to_vec();
        }
        assert_eq!(seen[0].community_id, id);
    }
}

#[tokio::test]
async fn a_stream_to_a_browser_ends_with_trailers() {
    let gateway = Gateway::start().await;
    let web = Web::new(&gateway);
    let request = WatchEventsRequest::default().encode_to_vec();
    let response = web.post(WATCH, &request, &[]).await;
    let headers = response.headers().clone();
    let stopping = tokio::spawn(gateway.stop());
    let body = tokio::time::timeout(PATIENCE, response.bytes()).await;
    let said = Said::read(headers, &body.unwrap().unwrap());
    let end = said.fault();
    assert!(end.is(Code::Unavailable, "DRAINING"), "{end:?}");
    assert_eq!(end.retry, Some(Duration::from_secs(1)));
    stopping.await.unwrap();
}

async fn preflight(web: &Web, origin: &str) -> Response {
    let options = web
        .client
        .request(Method::OPTIONS, format!("{}{CREATE}", web.endpoint));
    options
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,x-grpc-web,grpc-timeout",
        )
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn configured_origins_may_read_grpc_headers() {
    let gateway = Gateway::start_with(
        |config| config.cors_origins = vec![ORIGIN.to_owned(), "http://localhost:3000".into()],
        vec![],
    )
    .await;
    for web in [Web::new(&gateway), Web::http2(&gateway)] {
        for origin in [ORIGIN, "http://localhost:3000"] {
            let allowed = preflight(&web, origin).await;
            assert!(allowed.status().is_success());
            let header = |name: &str| allowed.headers()[name].to_str().unwrap().to_lowercase();
            assert_eq!(header("access-control-allow-origin"), origin);
            assert!(header("access-control-allow-methods").contains("post"));
            for name in [
                "content-type",
                "x-grpc-web",
                "grpc-timeout",
                "authorization",
            ] {
                assert!(
                    header("access-control-allow-headers").contains(name),
                    "{name}"
                );
            }
            let unknown = GetCommunityRequest::default().encode_to_vec();
            let said = web.call(GET, &unknown, &[("origin", origin)]).await;
            assert_eq!(said.headers["access-control-allow-origin"], origin);
            let exposed = said.headers["access-control-expose-headers"]
                .to_str()
                .unwrap();
            for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
                assert!(exposed.contains(name), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn other_origins_may_read_nothing() {
    let set = |config: &mut metagov::config::Config| config.cors_origins = vec![ORIGIN.into()];
    let some = Gateway::start_with(set, vec![]).await;
    let none = Gateway::start().await;
    for (gateway, others) in [
        (
            &some,
            vec![
                "https://evil.example",
                "https://dashboard.example.org:444",
                "null",
            ],
        ),
        (&none, vec![ORIGIN, "null"]),
    ] {
        let web = Web::new(gateway);
        for origin in others {
            let refused = preflight(&web, origin).await;
            let allowed = refused.headers().get("access-control-allow-origin");
            assert!(allowed.is_none(), "{origin}: {allowed:?}");
            let said = web.call(GET, &[], &[("origin", origin)]).await;
            let allowed = said.headers.get("access-control-allow-origin");
            assert!(allowed.is_none(), "{origin}: {allowed:?}");
            // Nor can they do what they need not read.
            let created = web.call(CREATE, &create("a"), &[("origin", origin)]).await;
            let kept_out = created.fault();
            assert!(kept_out.is(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED"));
        }
        assert_eq!(gateway.api.log().await, []);
    }
}
