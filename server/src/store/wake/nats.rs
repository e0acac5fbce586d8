//! Hearing of commits by a NATS, for databases that speak Postgres without its NOTIFY.
//!
//! After its commits a gateway publishes the log's new position, in decimal digits, to the
//! subject `metagov.<the feed's id, 32 hex digits>`; commits that come faster than they can
//! be published are one message. Whoever hears a position that is news looks in the
//! database: a NATS does not keep what it was told, and others may publish there, so a
//! message is never more than a reason to look.
//! The protocol: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::{io, sync::Arc};

use async_nats::{Client, ConnectOptions, Event, Message, ServerAddr, Subscriber};
use futures::{FutureExt, StreamExt};
use sea_orm::DatabaseConnection;
use tokio::sync::{Notify, watch};
use url::Url;
use uuid::Uuid;

use super::{Head, Pauses, look};

/// How many messages wait to be sent, and to be read. More of them say nothing more.
const WAITING: usize = 16;

/// What a session ends with.
type Ended = Box<dyn std::error::Error + Send + Sync>;

/// The servers of a NATS, and the subject of a log.
pub(super) struct Nats {
    servers: Vec<ServerAddr>,
    subject: String,
}

impl Nats {
    pub(super) fn new(servers: &[Url], feed: Uuid) -> io::Result<Self> {
        let servers = servers.iter().cloned().map(ServerAddr::from_url);
        Ok(Self {
            servers: servers.collect::<io::Result<_>>()?,
            subject: format!("metagov.{}", feed.simple()),
        })
    }

    /// Tells of this gateway's commits and hears of those of others, reconnecting when it
    /// must. The log is polled while there is no session.
    pub(super) async fn follow(
        self,
        db: DatabaseConnection,
        commits: watch::Receiver<i64>,
        head: Head,
    ) {
        let mut pauses = Pauses::new();
        while let Err(error) = self.session(&db, commits.clone(), &head).await {
            tracing::warn!(%error, "no notifications by NATS; the log is polled meanwhile");
            pauses.pause().await;
        }
    }

    /// A connection, which comes back by itself after an interruption; its end if it
    /// cannot. `Ok` if the store is closed.
    async fn session(
        &self,
        db: &DatabaseConnection,
        mut commits: watch::Receiver<i64>,
        head: &Head,
    ) -> Result<(), Ended> {
        let connected = Arc::new(Notify::new());
        let client = self.connect(connected.clone()).await?;
        let mut messages = client.subscribe(self.subject.clone()).await?;
        loop {
            tokio::select! {
                changed = commits.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let position = commits.borrow_and_update().to_string();
                    client.publish(self.subject.clone(), position.into()).await?;
                }
                // What was told before then, nobody tells again.
                () = connected.notified() => catch_up(db, head).await,
                message = messages.next() => {
                    let first = message.ok_or("the connection was closed")?;
                    if is_news(&first, &mut messages, head) {
                        catch_up(db, head).await;
                    }
                }
            }
        }
    }

    /// Says each time that it came back.
    async fn connect(&self, connected: Arc<Notify>) -> Result<Client, Ended> {
        let options = ConnectOptions::new()
            .name("metagov")
            // What it told itself it knows.
            .no_echo()
            .client_capacity(WAITING)
            .subscription_capacity(WAITING)
            .event_callback(move |event| {
                if matches!(event, Event::Connected) {
                    connected.notify_one();
                }
                async move { log(&event) }
            });
        Ok(options.connect(&self.servers[..]).await?)
    }
}

fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("NATS is there; it tells of commits"),
        Event::Disconnected => tracing::warn!("NATS is away; the log is polled meanwhile"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS refuses something"),
        event => tracing::debug!(%event, "NATS"),
    }
}

/// Whether a message, or one of those that wait behind it, names a later position than is
/// known here.
fn is_news(first: &Message, messages: &mut Subscriber, head: &Head) -> bool {
    let mut is_news = names_later(first, head);
    while let Some(Some(next)) = messages.next().now_or_never() {
        is_news |= names_later(&next, head);
    }
    is_news
}

fn names_later(message: &Message, head: &Head) -> bool {
    let position = str::from_utf8(&message.payload).ok();
    let position = position.and_then(|text| text.parse::<i64>().ok());
    position.is_some_and(|position| position > head.position())
}

async fn catch_up(db: &DatabaseConnection, head: &Head) {
    match look(db).await {
        Ok((position, _)) => head.raise(position),
        // The log is polled all the same.
        Err(error) => tracing::debug!(%error, "the log's head cannot be read"),
    }
}
