//! Hearing of what other gateways commit: the head of the log, as it grows.
//!
//! Each commit that appends events raises the head here and tells the others the new
//! position, once: by Postgres itself, or by a NATS ([`nats`]). Telling may fail, and nobody
//! waits for it: the head is looked up besides, every [`poll`](super::Settings::poll), which
//! also asks what time it is. So a lost session that listens costs latency and nothing else.

mod nats;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, Statement,
    sqlx::{Error as SqlxError, postgres::PgListener},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use url::Url;
use uuid::Uuid;

use self::nats::Nats;
use super::{
    clock::{self, Clock},
    failed,
};
use crate::{
    error::{Error, Result},
    model::Time,
    proof::{Bug, is},
};

/// A session that has heard nothing for so long is tried: it may be dead.
const SILENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// The position of the last event that is known to be committed; it only grows.
#[derive(Clone)]
pub(super) struct Head(Arc<watch::Sender<i64>>);

impl Head {
    pub(super) fn new(position: i64) -> Self {
        Self(Arc::new(watch::Sender::new(position)))
    }

    fn position(&self) -> i64 {
        *self.0.borrow()
    }

    pub(super) fn raise(&self, position: i64) {
        self.0.send_if_modified(|head| {
            let grown = position > *head;
            *head = position.max(*head);
            grown
        });
    }

    pub(super) fn follow(&self) -> watch::Receiver<i64> {
        self.0.subscribe()
    }
}

/// How the gateways on one Postgres hear of each other's commits, besides looking.
#[derive(Clone, Debug)]
pub enum Notify {
    /// Not at all.
    Nobody,
    /// By NOTIFY, on a channel of the log's own.
    Channel,
    /// By these servers of a NATS, on a subject of the log's own.
    Nats(Vec<Url>),
}

/// How other gateways are told of a commit that appended events.
pub(super) enum Tell {
    /// Not at all: they look.
    Nobody,
    /// With the commit, by NOTIFY on this channel.
    Channel(String),
    /// After the commit, by whoever follows its position.
    After(watch::Sender<i64>),
}

/// The channel of a log's notifications.
fn channel(feed: Uuid) -> String {
    format!("metagov_{}", feed.simple())
}

/// The tasks that follow the head; they end with this.
pub(super) struct Following {
    tasks: Mutex<JoinSet<()>>,
    /// Where their sessions are from.
    sessions: DatabaseConnection,
}

/// What is followed.
pub(super) struct Followed {
    /// The id of the log.
    pub(super) feed: Uuid,
    /// How often it is looked.
    pub(super) poll: Duration,
    pub(super) head: Head,
    pub(super) clock: Clock,
}

impl Following {
    /// Looks and hears from now on; how others are told.
    pub(super) fn begin(
        sessions: DatabaseConnection,
        notify: &Notify,
        watched: Followed,
    ) -> Result<(Arc<Self>, Tell)> {
        let Followed {
            feed,
            poll,
            head,
            clock,
        } = watched;
        let mut tasks = JoinSet::new();
        if !is(Bug::NoPoll) {
            tasks.spawn(keep_looking(sessions.clone(), poll, head.clone(), clock));
        }
        let tell = match notify {
            Notify::Nobody => Tell::Nobody,
            Notify::Channel => {
                let channel = channel(feed);
                tasks.spawn(listen(sessions.clone(), channel.clone(), head));
                Tell::Channel(channel)
            }
            Notify::Nats(servers) => {
                let (tell, commits) = watch::channel(head.position());
                let nats = Nats::new(servers, feed).map_err(Error::internal)?;
                tasks.spawn(nats.follow(sessions.clone(), commits, head));
                Tell::After(tell)
            }
        };
        let tasks = Mutex::new(tasks);
        Ok((Arc::new(Self { tasks, sessions }), tell))
    }

    /// Ends the tasks and their sessions.
    pub(super) async fn end(&self) {
        let mut tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        tasks.shutdown().await;
        _ = self.sessions.close_by_ref().await;
    }
}

/// Looks where the log stands, and what time it is.
pub(super) async fn look(db: &DatabaseConnection) -> Result<(i64, Time)> {
    let look = format!("SELECT position, {} FROM feed", clock::NOW);
    let statement = Statement::from_sql_and_values(db.get_database_backend(), look, []);
    let row = db.query_one_raw(statement).await.map_err(failed)?;
    let row = row.ok_or_else(|| Error::internal("the feed has no row"))?;
    let position = row.try_get_by_index(0).map_err(failed)?;
    let time = row.try_get_by_index(1).map_err(failed)?;
    Ok((position, Time(time)))
}

/// Looks again and again.
async fn keep_looking(db: DatabaseConnection, every: Duration, head: Head, clock: Clock) {
    let mut is_away = false;
    loop {
        sleep(every).await;
        match look(&db).await {
            Ok((position, time)) => {
                clock.set(time);
                warn_of_return(&head, position);
                head.raise(position);
                if is_away {
                    tracing::info!("the database answers again");
                }
                is_away = false;
            }
            Err(error) => {
                if !is_away {
                    tracing::warn!(%error, "the database does not answer; looking again until it does");
                }
                is_away = true;
            }
        }
    }
}

/// A database that was replaced by an older copy of itself has lost what it had
/// committed: a stand-by that was promoted before it had everything.
fn warn_of_return(head: &Head, position: i64) {
    let known = head.position();
    // What was committed in between the look and now is no loss.
    if position + LARGEST_LEAP < known {
        tracing::error!(
            known,
            position,
            "the log is shorter than it was: the database has lost what it had committed; stop all gateways and restore it"
        );
    }
}

/// The most positions that may be given out while one look is under way.
const LARGEST_LEAP: i64 = 100_000;

/// The pauses between sessions: ever longer, until one of them lasted.
struct Pauses {
    next: Duration,
    /// When the session now began.
    begun: Instant,
}

impl Pauses {
    fn new() -> Self {
        let (next, begun) = (FIRST_PAUSE, Instant::now());
        Self { next, begun }
    }

    /// Waits before the next session begins.
    async fn pause(&mut self) {
        if self.begun.elapsed() > LAST_PAUSE {
            self.next = FIRST_PAUSE;
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(LAST_PAUSE);
        self.begun = Instant::now();
    }
}

/// Hears notifications, reconnecting when it must.
async fn listen(db: DatabaseConnection, channel: String, head: Head) {
    let mut pauses = Pauses::new();
    loop {
        let Err(error) = hear(&db, &channel, &head).await;
        if let Some(error) = error {
            tracing::warn!(%error, "no notifications from the database; the log is polled meanwhile");
        }
        pauses.pause().await;
    }
}

/// Hears until the session is lost, or has been silent.
async fn hear(
    db: &DatabaseConnection,
    channel: &str,
    head: &Head,
) -> Result<Infallible, Option<SqlxError>> {
    let mut listener = PgListener::connect_with(db.get_postgres_connection_pool()).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    loop {
        let heard = timeout(SILENCE, listener.try_recv()).await;
        let Some(heard) = heard.map_err(|_| None)?? else {
            // Lost; the next session is a new one.
            return Err(None);
        };
        match heard.payload().parse() {
            Ok(position) => head.raise(position),
            Err(_) => tracing::warn!(payload = heard.payload(), "an odd notification"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_only_grows() {
        let head = Head::new(5);
        let mut follower = head.follow();
        head.raise(4);
        assert!(!follower.has_changed().unwrap());
        head.raise(7);
        assert_eq!(*follower.borrow_and_update(), 7);
        head.raise(7);
        assert!(!follower.has_changed().unwrap());
    }
}
