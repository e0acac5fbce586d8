//! Watches, and what is printed while they go on.

use std::{sync::Once, time::Duration};

use metagov_client::{
    Client, Events, error,
    v1::{
        Event, EventFilter, StartAt, WatchEventsRequest, event::Payload,
        watch_events_request::Start,
    },
};
use serde_json::json;

use crate::{
    Until, Watch,
    said::{Fault, say},
};

pub(crate) async fn watch(client: &Client, watch: Watch) -> Result<(), Fault> {
    let earliest = watch.earliest.then_some(StartAt::Earliest.into());
    let after = watch.after.map(Start::AfterCursor);
    let request = WatchEventsRequest {
        filter: watch.community.map(|community| EventFilter {
            community_ids: vec![community],
            ..Default::default()
        }),
        start: after.or(earliest.map(Start::StartAt)),
        heartbeat_interval: heartbeat(&watch.until),
    };
    print(client.watch(request), watch.until.count).await
}

pub(crate) async fn subscription(
    client: &Client,
    subscription_id: String,
    until: Until,
) -> Result<(), Fault> {
    let request = WatchEventsRequest {
        start: Some(Start::SubscriptionId(subscription_id)),
        heartbeat_interval: heartbeat(&until),
        ..Default::default()
    };
    print(client.watch(request), until.count).await
}

/// Ends a watch that waits for its next event, once the gateway has answered.
pub(crate) async fn cancel(client: &Client) -> Result<(), Fault> {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let events = client.watch(WatchEventsRequest::default());
    let mut events = events.on_position(move |_| {
        let _ = tell.try_send(());
    });
    tokio::select! {
        event = events.next() => { event?; }
        _ = told.recv() => {}
    }
    drop(events);
    say(&json!({ "cancelled": true }));
    Ok(())
}

/// Prints events until there were enough.
async fn print(events: Events, count: Option<usize>) -> Result<(), Fault> {
    static READY: Once = Once::new();
    let ready = |cursor: &str| READY.call_once(|| say(&json!({ "ready": true, "cursor": cursor })));
    let mut events = events.on_position(ready).on_retry(|status, delay| {
        let code = error(status).code;
        say(&json!({ "retry": { "code": code, "delay": delay.as_secs_f64() } }));
    });
    for _ in 0..count.unwrap_or(usize::MAX) {
        let event = events.next().await?;
        say(&json!({
            "event_id": event.event_id,
            "cursor": event.cursor,
            "kind": kind(&event),
        }));
        ready(&event.cursor);
    }
    Ok(())
}

/// The name of the payload's field.
fn kind(event: &Event) -> &'static str {
    match &event.payload {
        None => "",
        Some(Payload::Platform(_)) => "platform",
        Some(Payload::ProcessChanged(_)) => "process_changed",
        Some(Payload::InstallationChanged(_)) => "installation_changed",
        Some(Payload::CommunityChanged(_)) => "community_changed",
        Some(Payload::IdentityChanged(_)) => "identity_changed",
    }
}

fn heartbeat(until: &Until) -> Option<prost_types::Duration> {
    let interval = until.heartbeat.map(Duration::from_secs_f64)?;
    interval.try_into().ok()
}
