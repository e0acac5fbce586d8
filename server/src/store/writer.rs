//! The one writer: groups waiting changes into one commit.
//!
//! A thread with a runtime of its own takes whatever waits and runs it in one
//! transaction, without savepoints. If a change fails, the transaction is rolled back
//! and the batch is run again with a savepoint for each, so that only the failed
//! change is lost. After COMMIT was sent nothing is run again: its outcome is unknown.
//!
//! The events of all changes are appended last, after the counter row has given them
//! their positions. The row's lock is held to the commit, so position order is commit
//! order and readers meet no holes.

use std::{
    cell::RefCell,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::FutureExt;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Keys, Rows, cache::Cache, events, failed};
use crate::{
    error::{Error, Result},
    model::{NewEvent, Time},
};

/// The most changes in one commit.
const MAX_BATCH: usize = 512;
/// The most changes that wait; further callers wait to wait.
const MAX_WAITING: usize = 4096;

/// A transaction, for one change of it.
pub struct Tx {
    db: DatabaseTransaction,
    events: Mutex<Vec<NewEvent>>,
    cache: Cache,
    keys: Keys,
    /// The time of the change. The same for all of one commit.
    pub now: Time,
}

impl Tx {
    /// Appends an event with the change.
    pub fn event(&self, event: NewEvent) {
        self.lock().push(event);
    }

    /// What was read of communities is no longer so.
    pub(super) fn forget_communities(&self) {
        self.cache.begin_generation();
    }

    fn take_events(&self) -> Vec<NewEvent> {
        std::mem::take(&mut *self.lock())
    }

    /// Only the writer's thread ever locks it; connections ask for `Sync`.
    fn lock(&self) -> MutexGuard<'_, Vec<NewEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows for Tx {
    fn rows(&self) -> &impl ConnectionTrait {
        &self.db
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn communities(&self) -> Option<&Cache> {
        Some(&self.cache)
    }
}

/// The way to the writer's thread.
#[derive(Clone)]
pub(super) struct Writer {
    waiting: mpsc::Sender<Box<dyn Job>>,
    head: watch::Receiver<i64>,
}

impl Writer {
    /// Starts the thread over a connection of its own. `head` is the last position.
    pub(super) fn start(
        db: DatabaseConnection,
        head: i64,
        cache: Option<Arc<Cache>>,
        keys: Keys,
    ) -> Result<Self> {
        let (waiting, jobs) = mpsc::channel(MAX_WAITING);
        let (raise, head) = watch::channel(head);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::internal)?;
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || runtime.block_on(run((db, keys), jobs, raise, cache)))
            .map_err(Error::internal)?;
        Ok(Self { waiting, head })
    }

    pub(super) fn head(&self) -> watch::Receiver<i64> {
        self.head.clone()
    }

    pub(super) async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Tx) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Change {
            change,
            value: RefCell::new(None),
            reply,
        };
        let gone = |_| Error::internal("the writer is gone");
        self.waiting
            .send(Box::new(job))
            .await
            .map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

async fn run(
    db: (DatabaseConnection, Keys),
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    raise: watch::Sender<i64>,
    cache: Option<Arc<Cache>>,
) {
    let mut batch = Vec::new();
    while jobs.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let committed = commit(&db, &batch).await;
        if let Some(cache) = &cache {
            cache.begin_generation();
        }
        match committed {
            Ok(Some(head)) => _ = raise.send_replace(head),
            Ok(None) => {}
            Err(error) => {
                // What was not committed must not be answered as if it were.
                batch.iter().for_each(|job| job.spoil(&error));
            }
        }
        batch.drain(..).for_each(|job| job.answer());
    }
}

/// Runs a batch and commits it. The new head, if events were appended.
async fn commit(db: &(DatabaseConnection, Keys), batch: &[Box<dyn Job>]) -> Result<Option<i64>> {
    let tx = begin(db, Time::now()).await?;
    if let Some(changes) = together(&tx, batch).await {
        return finish(tx, changes).await;
    }
    rollback(tx.db).await?;
    let tx = begin(db, Time::now()).await?;
    let changes = each_alone(&tx, batch).await?;
    finish(tx, changes).await
}

/// All changes in one go; `None` if one failed.
async fn together(tx: &Tx, batch: &[Box<dyn Job>]) -> Option<Vec<Vec<NewEvent>>> {
    let mut changes = Vec::with_capacity(batch.len());
    for job in batch {
        if !job.run(tx).await {
            return None;
        }
        changes.push(tx.take_events());
    }
    Some(changes)
}

/// Each change behind a savepoint of its own; failed ones leave nothing.
async fn each_alone(tx: &Tx, batch: &[Box<dyn Job>]) -> Result<Vec<Vec<NewEvent>>> {
    let mut changes = Vec::with_capacity(batch.len());
    for job in batch {
        let point = Tx {
            db: tx.db.begin().await.map_err(failed)?,
            events: Mutex::default(),
            cache: Cache::default(),
            keys: tx.keys.clone(),
            now: tx.now,
        };
        if job.run(&point).await {
            changes.push(point.take_events());
            point.db.commit().await.map_err(failed)?;
        } else {
            rollback(point.db).await?;
        }
    }
    Ok(changes)
}

async fn begin((db, keys): &(DatabaseConnection, Keys), now: Time) -> Result<Tx> {
    let db = db.begin().await.map_err(failed)?;
    let keys = keys.clone();
    let events = Mutex::default();
    let cache = Cache::default();
    Ok(Tx {
        db,
        events,
        cache,
        keys,
        now,
    })
}

async fn rollback(db: DatabaseTransaction) -> Result<()> {
    db.rollback().await.map_err(failed)
}

async fn finish(tx: Tx, changes: Vec<Vec<NewEvent>>) -> Result<Option<i64>> {
    let head = events::append(&tx, changes).await?;
    tx.db.commit().await.map_err(failed)?;
    Ok(head)
}

/// A change that waits, without its types.
trait Job: Send {
    /// Runs the change and keeps what it returned. Whether it was good.
    fn run<'a>(&'a self, tx: &'a Tx) -> Pin<Box<dyn Future<Output = bool> + 'a>>;
    /// Replaces a good value, since the commit failed.
    fn spoil(&self, error: &Error);
    /// Tells the caller.
    fn answer(self: Box<Self>);
}

struct Change<T, F> {
    change: F,
    value: RefCell<Option<Result<T>>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Change<T, F>
where
    T: Send,
    F: AsyncFn(&Tx) -> Result<T> + Send,
{
    fn run<'a>(&'a self, tx: &'a Tx) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            let ran = AssertUnwindSafe((self.change)(tx)).catch_unwind().await;
            let value = ran.unwrap_or_else(|_| Err(Error::internal("a change panicked")));
            let good = value.is_ok();
            if !good {
                tx.take_events();
            }
            self.value.replace(Some(value));
            good
        })
    }

    fn spoil(&self, error: &Error) {
        let mut value = self.value.borrow_mut();
        if !matches!(*value, Some(Err(_))) {
            *value = Some(Err(error.clone()));
        }
    }

    fn answer(self: Box<Self>) {
        let value = self.value.into_inner();
        let value = value.unwrap_or_else(|| Err(Error::internal("a change did not run")));
        // A caller who went away does not want to know.
        _ = self.reply.send(value);
    }
}
