//! Bad input below the message: lengths that lie, compression, deadlines, metadata. The
//! program lives on, holds no memory for it, and stores nothing.

use metagov_proto::v1::GetCommunityRequest;
use prost::Message;
use tonic::{Code, Status};

use crate::{
    bad_input::Patient,
    harness::{Fault, fault},
    web::{Said, Web, framed},
};

const GET: &str = "/metagov.v1.CommunityService/GetCommunity";
/// The most that a refused call may leave behind, once the allocator had its way.
const SLACK: usize = 32 << 20;

fn get() -> Vec<u8> {
    let request = GetCommunityRequest {
        community_id: "here".into(),
    };
    request.encode_to_vec()
}

/// gRPC, or grpc-web over either version of HTTP.
async fn ways(patient: &Patient) -> [(Web, &'static str); 3] {
    let [http1, http2] = Web::both(patient.endpoint(), patient.token());
    let [_, grpc] = Web::both(patient.endpoint(), patient.token());
    [
        (grpc, "application/grpc"),
        (http1, "application/grpc-web+proto"),
        (http2, "application/grpc-web+proto"),
    ]
}

/// What a body with these headers is answered with.
async fn said(way: &(Web, &str), body: Vec<u8>, headers: &[(&str, &str)]) -> Result<(), Status> {
    let (web, kind) = way;
    let all = [&[("content-type", *kind)], headers].concat();
    let answer = web.send(GET, body, &all).await;
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    if let Some(status) = Status::from_header_map(&headers) {
        return if status.code() == Code::Ok {
            Ok(())
        } else {
            Err(status)
        };
    }
    let body = answer.bytes().await.unwrap();
    match *kind {
        // reqwest keeps the trailers of HTTP/2 to itself: a message is an answer.
        "application/grpc" => {
            assert!(!body.is_empty());
            Ok(())
        }
        _ => Said::read(headers, &body).result(),
    }
}

async fn refused(way: &(Web, &str), body: Vec<u8>, headers: &[(&str, &str)]) -> Fault {
    fault(said(way, body, headers).await)
}

#[tokio::test]
async fn a_length_that_lies_takes_no_memory() {
    let patient = Patient::new().await;
    for way in &ways(&patient).await {
        said(way, framed(&get()), &[]).await.unwrap();
    }
    let before = patient.memory();
    for way in &ways(&patient).await {
        for _ in 0..20 {
            let lie = [&[0], &[0xff; 4][..], b"short"].concat();
            let refused = refused(way, lie, &[]).await;
            let large = refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
            assert!(large, "{}: {refused:?}", way.1);
        }
        // Within the limit, but it does not come.
        for rest in [&b""[..], b"short"] {
            let cut = [&[0, 0, 0x0f, 0xff, 0xff], rest].concat();
            let refused = refused(way, cut, &[]).await;
            assert!(
                refused.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{refused:?}"
            );
        }
        for bad in [vec![], vec![0; 3], b"no frame at all".to_vec()] {
            let refused = refused(way, bad, &[]).await;
            let named = [Code::InvalidArgument, Code::ResourceExhausted];
            assert!(
                named.contains(&refused.code) && !refused.reason.is_empty(),
                "{refused:?}"
            );
        }
    }
    let after = patient.memory();
    assert!(after < before + SLACK, "from {before} to {after} bytes");
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn nothing_is_decompressed() {
    let patient = Patient::new().await;
    let before = patient.memory();
    // The head of a gzip stream; were it read, it would be refused in other words.
    let bomb = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0; 1000]].concat();
    let compressed = [&[1], &1010_u32.to_be_bytes()[..], &bomb].concat();
    for way in &ways(&patient).await {
        for encoding in [
            "gzip",
            "deflate",
            "zstd",
            "br",
            "snappy",
            "GZIP",
            "identity,gzip",
            "\u{ff}",
        ] {
            let asked = [("grpc-encoding", encoding)];
            for body in [compressed.clone(), framed(&get())] {
                let refused = said(way, body, &asked).await.unwrap_err();
                assert_eq!(refused.code(), Code::Unimplemented, "{encoding}: {refused}");
            }
        }
        said(way, framed(&get()), &[("grpc-encoding", "identity")])
            .await
            .unwrap();
        // Marked as compressed, and nobody said how; and marks that there are not.
        for mark in [1, 2, 0x7f, 0xff] {
            let mut body = compressed.clone();
            body[0] = mark;
            let refused = refused(way, body, &[]).await;
            assert!(
                refused.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{mark}: {refused:?}"
            );
        }
    }
    let after = patient.memory();
    assert!(after < before + SLACK, "from {before} to {after} bytes");
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn a_deadline_that_is_none_is_named() {
    let patient = Patient::new().await;
    for way in &ways(&patient).await {
        for bad in [
            "",
            "1",
            "S",
            "-1S",
            "1.5S",
            "1s",
            "99999999999H",
            "0x1S",
            "1S,2S",
            "\u{ff}",
        ] {
            let refused = refused(way, framed(&get()), &[("grpc-timeout", bad)]).await;
            assert!(
                refused.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{bad}: {refused:?}"
            );
            assert_eq!(refused.fields, ["grpc-timeout"]);
        }
        for good in ["99999999H", "99999999S", "30S"] {
            said(way, framed(&get()), &[("grpc-timeout", good)])
                .await
                .unwrap();
        }
    }
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn metadata_that_is_no_text_is_survived() {
    let patient = Patient::new().await;
    for way in &ways(&patient).await {
        for (name, value) in [
            ("x-request-id", "\u{ff}\u{80}"),
            ("x-request-id", "a b; DROP"),
            ("x-anything", "\u{202e}"),
            ("x-anything-bin", "no base64!"),
            ("grpc-tags-bin", "\u{ff}"),
            ("user-agent", "\u{ff}"),
            ("te", "gzip"),
            ("grpc-accept-encoding", "\u{ff}"),
            ("cookie", "a=b"),
            ("sec-fetch-site", "none"),
        ] {
            said(way, framed(&get()), &[(name, value)]).await.unwrap();
        }
        for (name, value) in [("origin", "\u{ff}"), ("sec-fetch-site", "\u{ff}")] {
            let refused = refused(way, framed(&get()), &[(name, value)]).await;
            assert!(refused.is(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED"));
        }
    }
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn more_metadata_than_allowed_is_refused() {
    let patient = Patient::new().await;
    let before = patient.memory();
    let long = "x".repeat(20 << 10);
    let names: Vec<String> = (0..1000)
        .map(|n| format!("x-{n}-{}", "y".repeat(20)))
        .collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "z")).collect();
    for (web, kind) in &ways(&patient).await {
        for more in [vec![("x-long", long.as_str())], many.clone()] {
            let all = [&[("content-type", *kind)], &more[..]].concat();
            let answer = web.send(GET, framed(&get()), &all).await;
            assert_eq!(answer.status(), 431);
        }
    }
    let after = patient.memory();
    assert!(after < before + SLACK, "from {before} to {after} bytes");
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn what_follows_a_message_changes_nothing() {
    let patient = Patient::new().await;
    let [http1, http2] = Web::both(patient.endpoint(), patient.token());
    for web in [http1, http2] {
        let text = [("content-type", "application/grpc-web-text+proto")];
        for bad in ["", "!", "AAAAAA", "AAAAAA==AAAAAA==", "\u{0}"] {
            let answer = web.send(GET, bad.as_bytes().to_vec(), &text).await;
            assert_eq!(answer.status(), 200);
            let status = Status::from_header_map(answer.headers()).expect("a status");
            let refused = fault(Err::<(), _>(status));
            assert!(
                refused.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{bad}: {refused:?}"
            );
        }
    }
    for way in &ways(&patient).await {
        let twice = [framed(&get()), framed(&get())].concat();
        let answer = said(way, twice, &[]).await;
        assert!(answer.is_ok() || fault(answer).code == Code::InvalidArgument);
    }
    patient.ends_unharmed().await;
}
