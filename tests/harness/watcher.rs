//! A reader of the feed that does not wait for ever.

use std::collections::VecDeque;

use metagov_proto::v1::{Event, WatchEventsResponse, event::Payload};
use tonic::{Status, Streaming};

use super::PATIENCE;

/// A stream of events.
pub(crate) struct Watcher {
    stream: Streaming<WatchEventsResponse>,
    waiting: VecDeque<Event>,
    /// The cursor of the last message.
    pub(crate) cursor: String,
}

impl Watcher {
    /// Waits for the first message, which comes at once.
    pub(crate) async fn new(stream: Streaming<WatchEventsResponse>) -> Result<Self, Status> {
        let mut watcher = Self {
            stream,
            waiting: VecDeque::new(),
            cursor: String::new(),
        };
        let first = watcher.message().await?;
        watcher.waiting.extend(first.events);
        Ok(watcher)
    }

    /// The next message, even if it is empty.
    pub(crate) async fn message(&mut self) -> Result<WatchEventsResponse, Status> {
        let next = tokio::time::timeout(PATIENCE, self.stream.message()).await;
        let message = next.expect("no message within the time of patience")?;
        let message =
            message.ok_or_else(|| Status::unknown("the stream ended without an error"))?;
        assert!(!message.cursor.is_empty(), "every message has a cursor");
        self.cursor.clone_from(&message.cursor);
        Ok(message)
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Event {
        self.try_next().await.unwrap()
    }

    pub(crate) async fn try_next(&mut self) -> Result<Event, Status> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            assert!(
                tokio::time::Instant::now() < until,
                "heartbeats, but no event"
            );
            let message = self.message().await?;
            self.waiting.extend(message.events);
        }
    }

    /// The payload of the next event.
    pub(crate) async fn payload(&mut self) -> Payload {
        self.next().await.payload.expect("a payload")
    }

    /// Reads on until an event is what is looked for.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Payload) -> bool) -> Event {
        loop {
            let event = self.next().await;
            if event.payload.as_ref().is_some_and(&wanted) {
                return event;
            }
        }
    }
}
