//! The feed: a long log after a restart, and how soon a commit is with its readers.

use std::time::{Duration, Instant, SystemTime};

use metagov_proto::v1::{
    CreateIdentityRequest, StartAt, WatchEventsRequest, WatchEventsResponse,
    event_service_client::EventServiceClient, identity_service_client::IdentityServiceClient,
    watch_events_request::Start,
};
use tokio::time::{MissedTickBehavior, interval};
use tonic::Streaming;

use super::{
    load::{median, quantile},
    prepare,
    servers::{Base, Server, Way},
};

/// How long the long log is.
const EVENTS: u64 = 1_000_000;
/// The readings of the long log, each by both contestants.
const READINGS: usize = 3;
/// How many streams are told of each commit.
const READERS: usize = 100;
/// How many streams share a connection; the gateway allows 200.
const SHARE: usize = 25;
/// Commits a second, and for how long.
const PACE: u32 = 1000;
const STRETCH: Duration = Duration::from_secs(10);
/// How many streams are idle at the same time, and how many share a connection.
const IDLE: usize = 10_000;
const IDLE_SHARE: usize = 100;

/// A restart over a million events, reading all of them, beside bare tonic that sends the
/// same messages from memory, and a backup of them.
pub(crate) async fn long_log(base: &Base) {
    let mut server = Server::on(base).await;
    prepare(server.channels(1).await.remove(0)).await;
    server.stop();
    base.fill(EVENTS).await;
    let mut restarts = Vec::new();
    for _ in 0..READINGS {
        server.stop();
        server.restart().await;
        restarts.push(server.ready.as_secs_f64() * 1000.0);
    }
    let name = base.name();
    println!(
        "{name}: ready over {EVENTS} events: {:.0} ms",
        median(&mut restarts)
    );
    let sample = sample(server.channels(1).await.remove(0)).await;
    let peer = Server::echo(&sample, EVENTS).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..READINGS {
        ours.push(read_all(server.channels(1).await.remove(0)).await);
        theirs.push(read_all(peer.channels(1).await.remove(0)).await);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let share = 100.0 * ours / theirs;
    println!(
        "{name}: {ours:.0} events/s from the earliest, {theirs:.0} of bare tonic from memory: {share:.0} %"
    );
    let (took, size) = base.backup();
    println!(
        "{name}: a backup of {EVENTS} events while it serves: {:.0} s, {} MiB",
        took.as_secs_f64(),
        size >> 20
    );
}

/// From a commit to each of a hundred streams, at a thousand commits a second; the streams
/// are at the same gateway, or at another one of the same database.
pub(crate) async fn latency(base: &Base, replicas: usize) {
    let writing = Server::on(base).await;
    let others = match replicas {
        1 => None,
        _ => Some(Server::on(base).await),
    };
    let reading = others.as_ref().unwrap_or(&writing);
    let channels = writing.channels(4).await;
    prepare(channels[0].clone()).await;
    let readers = reading.channels(READERS / SHARE).await;
    let mut tasks = Vec::new();
    for at in 0..READERS {
        let stream = watch(readers[at / SHARE].clone(), StartAt::Latest).await;
        tasks.push(tokio::spawn(delays(stream)));
    }
    let paced = write_at_pace(&channels).await;
    let mut delays = Vec::new();
    for task in tasks {
        delays.extend(task.await.expect("a reader"));
    }
    let name = base.name();
    let (half, most) = (quantile(&mut delays, 0.5), quantile(&mut delays, 0.99));
    println!(
        "{name}, {replicas} gateway(s): {paced:.0} commits/s to {READERS} streams: {half:.1} ms at half, {most:.1} ms at p99 ({} deliveries)",
        delays.len()
    );
}

/// What ten thousand streams take that wait.
pub(crate) async fn idle(base: &Base) {
    let server = Server::on(base).await;
    let channels = server.channels(IDLE / IDLE_SHARE).await;
    let before = server.resident();
    let mut streams = Vec::with_capacity(IDLE);
    for at in 0..IDLE {
        streams.push(watch(channels[at / IDLE_SHARE].clone(), StartAt::Latest).await);
    }
    let after = server.resident();
    println!(
        "{}: {IDLE} idle streams: {} MiB in all, {:.1} KiB each",
        base.name(),
        after / 1024,
        (after - before) as f64 / IDLE as f64
    );
}

/// A stream whose hello was read.
async fn watch(channel: Way, at: StartAt) -> Streaming<WatchEventsResponse> {
    let request = WatchEventsRequest {
        start: Some(Start::StartAt(at.into())),
        ..Default::default()
    };
    let answer = EventServiceClient::new(channel)
        .max_decoding_message_size(16 << 20)
        .watch_events(request)
        .await;
    let mut stream = answer.expect("a stream").into_inner();
    if at == StartAt::Latest {
        stream.message().await.expect("the hello");
    }
    stream
}

/// The first message that is full.
async fn sample(channel: Way) -> WatchEventsResponse {
    let mut stream = watch(channel, StartAt::Earliest).await;
    loop {
        let message = stream.message().await.expect("a message").expect("more");
        if message.events.len() > 100 {
            return message;
        }
    }
}

/// Events a second, over the whole log.
async fn read_all(channel: Way) -> f64 {
    let begin = Instant::now();
    let mut stream = watch(channel, StartAt::Earliest).await;
    let mut read = 0;
    while read < EVENTS {
        let message = stream.message().await.expect("a message").expect("more");
        read += message.events.len() as u64;
    }
    read as f64 / begin.elapsed().as_secs_f64()
}

/// Commits at the pace, as far as the machine can; how many a second it were.
async fn write_at_pace(channels: &[Way]) -> f64 {
    let begin = Instant::now();
    let writers: Vec<_> = channels
        .iter()
        .flat_map(|channel| std::iter::repeat_n(channel.clone(), 8))
        .collect();
    let each = Duration::from_secs(1) / PACE * writers.len() as u32;
    let tasks: Vec<_> = writers
        .into_iter()
        .map(|channel| tokio::spawn(write(channel, each)))
        .collect();
    let mut written = 0;
    for task in tasks {
        written += task.await.expect("a writer");
    }
    f64::from(written) / begin.elapsed().as_secs_f64()
}

async fn write(channel: Way, each: Duration) -> u32 {
    let mut pace = interval(each);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = IdentityServiceClient::new(channel);
    let (until, mut written) = (Instant::now() + STRETCH, 0);
    while Instant::now() < until {
        pace.tick().await;
        let request = CreateIdentityRequest {
            community_id: "bench".into(),
            ..Default::default()
        };
        client.create_identity(request).await.expect("an identity");
        written += 1;
    }
    written
}

/// How long after its commit began each event was here, in ms, until it is silent.
async fn delays(mut stream: Streaming<WatchEventsResponse>) -> Vec<f64> {
    let mut delays = Vec::new();
    let silence = Duration::from_secs(3);
    while let Ok(Ok(Some(message))) = tokio::time::timeout(silence, stream.message()).await {
        let now = SystemTime::now();
        for event in message.events {
            let time = event.record_time.expect("a time");
            let time = SystemTime::try_from(time).expect("after 1970");
            let late = now.duration_since(time).unwrap_or_default();
            delays.push(late.as_secs_f64() * 1000.0);
        }
    }
    delays
}
