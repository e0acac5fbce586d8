//! What may come back: so much, in so much time, and no more.

use std::{io::Write, sync::LazyLock, time::Duration};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tonic::Code;

use super::{
    INSIDE, commons, enabled, read,
    server::{Answer, Server, says},
    write,
};
use crate::harness::{Binary, Fault, Home, fault};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(gzip: &[u8]) -> Answer {
    says("200 OK\r\ncontent-encoding: gzip", gzip)
}

/// Smaller than the largest answer, but for its ratio.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| gzip(&vec![b' '; 4 << 20]));
/// Larger in every way.
static LARGE_BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| gzip(&vec![b' '; 16 << 20]));

#[track_caller]
fn is_unavailable(said: &Fault, why: &str) {
    let code = (Code::Unavailable, "PLATFORM_UNAVAILABLE");
    assert!(said.is(code.0, code.1), "{said:?}");
    assert!(said.message.contains(why), "{said:?}");
}

/// The bad platforms, by the path that shows each.
fn bad(head: &str) -> Answer {
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match head.split(' ').nth(1).unwrap_or_default() {
        "/10GiB" => Answer::Endless(format!("{ok}content-length: 10737418240\r\n\r\n")),
        "/endless" => Answer::Endless(format!("{ok}\r\n[")),
        "/drips" => Answer::Drips(format!("{ok}content-length: 1000\r\n\r\n")),
        "/head-drips" => Answer::Drips("HTTP/1.1 200 OK\r\nx: ".into()),
        "/html" => says(
            "200 OK\r\ncontent-type: text/html",
            b"<!doctype html><p>Please log in",
        ),
        "/bomb" => packed(&BOMB),
        "/large-bomb" => packed(&LARGE_BOMB),
        "/packed" => packed(&gzip(br#"{"packed": true}"#)),
        "/damaged" => says("200 OK\r\ncontent-encoding: gzip", b"{}"),
        "/brotli" => says("200 OK\r\ncontent-encoding: br", b"{}"),
        "/large" => says("200 OK", format!("\"{}\"", "a".repeat(2000)).as_bytes()),
        _ => says("200 OK", b"{}"),
    }
}

const BAD: [(&str, &str); 9] = [
    ("/10GiB", "larger than 5242880 bytes"),
    ("/endless", "larger than 5242880 bytes"),
    ("/html", "not what was expected"),
    ("/bomb", "less than 1/100 of its size"),
    ("/large-bomb", "less than 1/100 of its size"),
    ("/damaged", "compression is damaged"),
    ("/brotli", "not asked for"),
    ("/drips", "took too long"),
    ("/head-drips", "took too long"),
];

#[tokio::test]
async fn a_platform_that_answers_badly_is_a_platform_fault() {
    let server = Server::start(INSIDE, bad).await;
    let gateway = enabled(&server, |_| ()).await;
    let in_haste = enabled(&server, |config| {
        config.outgoing.call_timeout = Duration::from_millis(500);
    })
    .await;
    for (path, why) in BAD {
        let gateway = match path.contains("drips") {
            true => &in_haste,
            false => &gateway,
        };
        is_unavailable(&fault(read(gateway, path).await), why);
        let said = fault(write(gateway, path).await);
        assert!(
            said.is(Code::Aborted, "OUTCOME_UNKNOWN"),
            "{path}: {said:?}"
        );
        assert!(said.message.contains(why), "{said:?}");
        assert!(!said.message.contains('<'), "{said:?}");
    }
    // What is taken, at the most, besides what lies in the sockets of both sides.
    assert!(server.sent() < 64 << 20, "{}", server.sent());
    assert_eq!(read(&gateway, "/").await.unwrap(), json!({}));
}

#[tokio::test]
async fn a_platform_that_announces_too_much_is_not_read_at_all() {
    let server = Server::start(INSIDE, |_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 5242881\r\n\r\n";
        Answer::Drips(head.into())
    })
    .await;
    let gateway = enabled(&server, |_| ()).await;
    is_unavailable(&fault(read(&gateway, "/").await), "larger than");
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    let server = Server::start(INSIDE, bad).await;
    let gateway = enabled(&server, |_| ()).await;
    let answer = read(&gateway, "/packed").await.unwrap();
    assert_eq!(answer, json!({"packed": true}));
    let heard = server.heard()[0].to_lowercase();
    assert!(heard.contains("accept-encoding: gzip\r\n"), "{heard}");
}

#[tokio::test]
async fn size_and_ratio_are_the_operators() {
    let server = Server::start(INSIDE, bad).await;
    let gateway = enabled(&server, |config| {
        config.outgoing.max_answer_size = 1024;
        config.outgoing.max_answer_ratio = 1;
    })
    .await;
    is_unavailable(
        &fault(read(&gateway, "/large").await),
        "larger than 1024 bytes",
    );
    let gateway = enabled(&server, |config| config.outgoing.max_answer_ratio = 10_000).await;
    assert!(read(&gateway, "/large").await.is_ok());
    // Only blanks: large enough, and no JSON.
    is_unavailable(
        &fault(read(&gateway, "/bomb").await),
        "not what was expected",
    );
}

#[tokio::test]
async fn setting_up_at_a_bad_platform_leaves_nothing() {
    let server = Server::start(INSIDE, |_| bad("GET /bomb ")).await;
    let gateway = commons(|_| ()).await;
    let config = json!({"server_url": server.url, "asks": true});
    let said = fault(gateway.api.try_enable("commons", "envoy", config).await);
    is_unavailable(&said, "less than 1/100 of its size");
}

#[tokio::test]
async fn no_answer_makes_the_gateway_hold_much() {
    let home = Home::new();
    let program = Binary::serve(&home, &[]);
    let api = program.api().await;
    api.community("commons").await;
    let before = program.peak_memory();
    for answer in ["/10GiB", "/endless", "/bomb", "/large-bomb"] {
        let server = Server::start(INSIDE, move |_| bad(&format!("GET {answer} "))).await;
        let config = json!({"server_url": server.url});
        let said = fault(api.try_enable("commons", "sourcecred", config).await);
        is_unavailable(&said, "");
    }
    let grown = program.peak_memory() - before;
    assert!(grown < 16 << 10, "{grown} KiB");
}
