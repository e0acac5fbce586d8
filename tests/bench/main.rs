//! `make bench`: what the gateway costs, beside a service that does nothing; and what its
//! tokens cost, beside a gateway that wants none.
//!
//! Servers run in processes of their own, the load comes from this one over loopback.
//! Rates are medians of rounds in which the contestants take turns, so that a machine
//! that slows down slows both. Nothing here passes or fails: it prints.

mod feed;
mod load;
mod servers;

use std::time::Duration;

use load::{median, rate};
use metagov_proto::v1::{
    Community, CreateCommunityRequest, CreateIdentityRequest, GetCommunityRequest,
    WatchEventsRequest, community_service_client::CommunityServiceClient,
    event_service_client::EventServiceClient, identity_service_client::IdentityServiceClient,
};
use servers::{Base, Server, Way, echo, noop};
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 8;
const STREAMS: usize = 2000;
/// Streams a connection; the gateway allows 200.
const SHARE: usize = 100;

fn main() {
    if std::env::args().any(|arg| arg == noop::ARGUMENT) {
        return noop::serve();
    }
    if std::env::args().any(|arg| arg == echo::ARGUMENT) {
        return echo::serve();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    // The feed alone: cargo bench --bench load -- feed
    if std::env::args().any(|arg| arg == "feed") {
        return on_both().await;
    }
    start_up().await;
    let gateway = Server::gateway().await;
    println!("idle memory: {} KiB", gateway.resident());
    let noop = Server::noop().await;
    let channels = gateway.channels(CONNECTIONS).await;
    prepare(channels[0].clone()).await;
    reads(&channels, &noop.channels(CONNECTIONS).await).await;
    drop(noop);
    let open = Server::open_gateway().await;
    let without = open.channels(CONNECTIONS).await;
    prepare(without[0].clone()).await;
    tokens(&channels, &without).await;
    drop(open);
    appends(&channels).await;
    subscribers(&gateway).await;
    drop(gateway);
    on_both().await;
}

/// What the feed costs on each kind of database, each time on a new one.
async fn on_both() {
    feed::long_log(&Base::sqlite()).await;
    feed::latency(&Base::sqlite(), 1).await;
    feed::idle(&Base::sqlite()).await;
    let Some(base) = Base::postgres().await else {
        println!("Postgres: skipped, since METAGOV_TEST_POSTGRES_URL names no server");
        return;
    };
    feed::long_log(&base).await;
    let base = Base::postgres().await.expect("another database");
    feed::idle(&base).await;
    for replicas in [1, 2] {
        let base = Base::postgres().await.expect("another database");
        feed::latency(&base, replicas).await;
    }
}

/// From an empty folder to the first answer.
async fn start_up() {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(Server::gateway().await.ready.as_secs_f64() * 1000.0);
    }
    println!("ready from an empty folder: {:.0} ms", median(&mut times));
}

async fn prepare(channel: Way) {
    let community = Community {
        community_id: "bench".into(),
        ..Default::default()
    };
    let request = CreateCommunityRequest {
        community: Some(community),
        ..Default::default()
    };
    CommunityServiceClient::new(channel)
        .create_community(request)
        .await
        .expect("a community");
}

/// GetCommunity beside a health check of bare tonic, which does nothing.
async fn reads(gateway: &[Way], noop: &[Way]) {
    for callers in [1, 16, 64] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(rate(gateway, callers, ROUND, read).await);
            let nothing = async |channel: Way| {
                HealthClient::new(channel)
                    .check(HealthCheckRequest::default())
                    .await
                    .map(drop)
            };
            theirs.push(rate(noop, callers, ROUND, nothing).await);
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let share = 100.0 * ours / theirs;
        println!("{callers} callers: {ours:.0} reads/s, {theirs:.0} no-ops/s: {share:.0} %");
    }
}

async fn read(channel: Way) -> Result<(), Status> {
    let request = GetCommunityRequest {
        community_id: "bench".into(),
    };
    CommunityServiceClient::new(channel)
        .get_community(request)
        .await
        .map(drop)
}

/// GetCommunity with a token, beside a gateway that wants none.
async fn tokens(with: &[Way], without: &[Way]) {
    for callers in [1, 16, 64] {
        let (mut checked, mut free) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            checked.push(rate(with, callers, ROUND, read).await);
            free.push(rate(without, callers, ROUND, read).await);
        }
        let (checked, free) = (median(&mut checked), median(&mut free));
        let share = 100.0 * checked / free;
        // Of all callers together: what one call takes longer.
        let cost = 1e6 / checked - 1e6 / free;
        println!(
            "{callers} callers: {checked:.0} reads/s with a token, {free:.0} without: \
             {share:.1} %, {cost:.1} µs a call"
        );
    }
}

/// CreateIdentity: a row and an event in a durable commit.
async fn appends(channels: &[Way]) {
    let (mut one, mut many) = (Vec::new(), Vec::new());
    let append = async |channel: Way| {
        let request = CreateIdentityRequest {
            community_id: "bench".into(),
            ..Default::default()
        };
        IdentityServiceClient::new(channel)
            .create_identity(request)
            .await
            .map(drop)
    };
    for _ in 0..ROUNDS {
        one.push(rate(channels, 1, ROUND, append).await);
        many.push(rate(channels, 64, ROUND, append).await);
    }
    let (one, many) = (median(&mut one), median(&mut many));
    println!(
        "durable appends: {one:.0}/s with 1 caller, {many:.0}/s with 64: {:.1} times",
        many / one
    );
}

/// What a stream that waits costs the gateway.
async fn subscribers(gateway: &Server) {
    let channels = gateway.channels(STREAMS / SHARE).await;
    let before = gateway.resident();
    let mut streams = Vec::new();
    for at in 0..STREAMS {
        let mut client = EventServiceClient::new(channels[at / SHARE].clone());
        let answer = client
            .watch_events(WatchEventsRequest::default())
            .await
            .expect("a stream");
        let mut stream = answer.into_inner();
        stream.message().await.expect("the hello");
        streams.push(stream);
    }
    let cost = (gateway.resident() - before) as f64 / STREAMS as f64;
    println!(
        "a subscriber: {cost:.1} KiB ({STREAMS} streams over {} connections)",
        channels.len()
    );
}
