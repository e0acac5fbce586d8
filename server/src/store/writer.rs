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
//!
//! Other gateways may write to the same database. A change that lost against theirs is
//! run again where it stands, and finds what they did. A batch whose connection was lost
//! before COMMIT was sent is run again on another one: nothing of it has happened.

use std::{
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, Statement, TransactionTrait,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    Keys, Rows,
    cache::Cache,
    clock::Clock,
    events, failed,
    job::{Change, Job},
    wake::{Following, Head, Tell},
};
use crate::{
    error::{Error, Result},
    metrics::{label, metrics},
    model::{NewEvent, Time},
    proof::{Bug, Point, is, reached},
};

/// The most changes in one commit.
const MAX_BATCH: usize = 512;
/// The most changes that wait; further callers wait to wait.
const MAX_WAITING: usize = 4096;

/// How often a change is run that loses against other gateways.
const RUNS: usize = 8;
/// How often a batch is run whose connection is lost.
const TRIES: u32 = 4;
/// How long the first such batch waits; the later ones longer.
const PAUSE: Duration = Duration::from_millis(20);

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

    pub(super) fn take_events(&self) -> Vec<NewEvent> {
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

    fn keeps(&self) -> bool {
        true
    }

    fn communities(&self) -> Option<&Cache> {
        Some(&self.cache)
    }
}

/// The way to the writer's thread.
#[derive(Clone)]
pub(super) struct Writer {
    waiting: mpsc::Sender<Box<dyn Job>>,
    head: Head,
    following: Option<Arc<Following>>,
    end: Arc<Notify>,
    /// Its other side goes with the thread.
    ended: watch::Receiver<()>,
}

/// What the thread works with.
pub(super) struct Desk {
    /// Connections of its own.
    pub(super) db: DatabaseConnection,
    pub(super) keys: Keys,
    pub(super) clock: Clock,
    pub(super) head: Head,
    /// What is to be forgotten with each commit; unless others write, too.
    pub(super) cache: Option<Arc<Cache>>,
    /// What keeps the head up to date besides.
    pub(super) following: Option<Arc<Following>>,
    /// How other gateways are told of new events.
    pub(super) tell: Tell,
    /// The lock of the database's file, where it is one.
    pub(super) file: Option<File>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(mut desk: Desk) -> Result<Self> {
        let (waiting, jobs) = mpsc::channel(MAX_WAITING);
        let (head, following) = (desk.head.clone(), desk.following.take());
        let (end, (here, ended)) = (Arc::new(Notify::new()), watch::channel(()));
        let told = end.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::internal)?;
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                runtime.block_on(desk.run(jobs, &told));
                drop(here);
            })
            .map_err(Error::internal)?;
        Ok(Self {
            waiting,
            head,
            following,
            end,
            ended,
        })
    }

    /// Writes what waits, and ends.
    pub(super) async fn close(&self) {
        if let Some(following) = &self.following {
            following.end().await;
        }
        self.end.notify_one();
        // An error is the word that the thread is gone.
        _ = self.ended.clone().changed().await;
    }

    /// How many changes wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }

    pub(super) fn head(&self) -> watch::Receiver<i64> {
        self.head.follow()
    }

    pub(super) async fn write<T, F>(&self, change: F, last: bool) -> Result<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Tx) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Change::new(change, last, reply);
        let gone = |_| Error::internal("the writer is gone");
        self.waiting
            .send(Box::new(job))
            .await
            .map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

fn measured(began: Instant, changes: usize, good: bool) {
    let metrics = metrics();
    metrics.commit_changes.observe(changes as f64);
    let result = label("result", if good { "ok" } else { "failed" });
    let times = metrics.commit_time.get_or_create(&[result]);
    times.observe(began.elapsed().as_secs_f64());
}

/// How an attempt to commit a batch ended without a commit.
enum Stop {
    /// Nothing has happened, and another attempt may do better.
    Again(Error),
    /// This is what the callers get.
    Failed(Error),
}

impl Desk {
    /// Until nobody is left who could ask, or it is told to end.
    async fn run(self, mut jobs: mpsc::Receiver<Box<dyn Job>>, end: &Notify) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                got = jobs.recv_many(&mut batch, MAX_BATCH) => if got == 0 { break },
                () = end.notified() => {
                    jobs.close();
                    continue;
                }
            }
            batch.sort_by_key(|job| job.is_last());
            let began = Instant::now();
            let committed = self.commit(&batch).await;
            measured(began, batch.len(), committed.is_ok());
            if let Some(cache) = &self.cache {
                cache.begin_generation();
            }
            match committed {
                Ok(Some(head)) => self.head.raise(head),
                Ok(None) => {}
                Err(error) => {
                    // What was not committed must not be answered as if it were.
                    batch.iter().for_each(|job| job.spoil(&error));
                }
            }
            batch.drain(..).for_each(|job| job.answer());
        }
        // The file is let go only when nothing of ours has it open.
        _ = self.db.close().await;
        drop(self.file);
    }

    /// Runs a batch and commits it. The new head, if events were appended.
    async fn commit(&self, batch: &[Box<dyn Job>]) -> Result<Option<i64>> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.try_commit(batch).await {
                Ok(head) => return Ok(head),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Again(error)) => {
                    tracing::warn!(%error, "a batch of changes is run again");
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
            }
        }
        self.try_commit(batch).await.map_err(Stop::into)
    }

    async fn try_commit(&self, batch: &[Box<dyn Job>]) -> Result<Option<i64>, Stop> {
        let tx = self.begin().await?;
        if let Some(changes) = together(&tx, batch).await {
            return self.finish(tx, changes).await;
        }
        // It may have failed since the connection is gone; then this fails, too.
        _ = tx.db.rollback().await;
        if self.is_shared() && batch.iter().any(|job| job.has_lost()) {
            return Ok(self.one_by_one(batch).await);
        }
        let tx = self.begin().await?;
        let changes = self.each_alone(&tx, batch).await?;
        self.finish(tx, changes).await
    }

    /// Begins a transaction. A connection that died while nobody used it is found out
    /// here, and the next one is new.
    async fn begin(&self) -> Result<Tx, Stop> {
        let db = self.db.begin().await.map_err(|error| match error {
            // The database is away: another attempt would only keep the callers waiting.
            DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => Stop::Failed(failed(error)),
            error => before(error),
        })?;
        let now = self.clock.asked(&db).await.map_err(Stop::of)?;
        Ok(Tx {
            db,
            events: Mutex::default(),
            cache: Cache::default(),
            keys: self.keys.clone(),
            now,
        })
    }

    /// Each change in a transaction of its own. What one of a batch has locked is held
    /// while the next one waits for another gateway, which may wait for just that; so
    /// nothing is held here. What is committed stays so, whatever becomes of the next.
    async fn one_by_one(&self, batch: &[Box<dyn Job>]) -> Option<i64> {
        let mut head = None;
        for job in batch {
            match self.single(job.as_ref()).await {
                Ok(new) => head = new.or(head),
                Err(stop) => job.spoil(&stop.into()),
            }
        }
        head
    }

    async fn single(&self, job: &dyn Job) -> Result<Option<i64>, Stop> {
        for _ in 0..RUNS {
            let tx = self.begin().await?;
            if job.run(&tx).await {
                let events = tx.take_events();
                return self.finish(tx, vec![events]).await;
            }
            _ = tx.db.rollback().await;
            if !job.has_lost() {
                break;
            }
            tokio::time::sleep(PAUSE.mul_f64(rand::random::<f64>())).await;
        }
        Ok(None)
    }

    /// Each change behind a savepoint of its own; failed ones leave nothing.
    async fn each_alone(
        &self,
        tx: &Tx,
        batch: &[Box<dyn Job>],
    ) -> Result<Vec<Vec<NewEvent>>, Stop> {
        let mut changes = Vec::with_capacity(batch.len());
        for job in batch {
            changes.extend(self.alone(tx, job.as_ref()).await?);
        }
        Ok(changes)
    }

    /// One change behind a savepoint; its events, if it was good.
    async fn alone(&self, tx: &Tx, job: &dyn Job) -> Result<Option<Vec<NewEvent>>, Stop> {
        for _ in 0..RUNS {
            let point = Tx {
                db: tx.db.begin().await.map_err(before)?,
                events: Mutex::default(),
                cache: Cache::default(),
                keys: tx.keys.clone(),
                now: tx.now,
            };
            if job.run(&point).await {
                let events = point.take_events();
                point.db.commit().await.map_err(before)?;
                return Ok(Some(events));
            }
            point.db.rollback().await.map_err(before)?;
            if is(Bug::PositionBeforeRollback) {
                events::count_up(tx, 1).await.map_err(Stop::of)?;
            }
            // Others were quicker. What they did is there now, for another look.
            if !(self.is_shared() && job.has_lost()) {
                break;
            }
        }
        Ok(None)
    }

    async fn finish(&self, tx: Tx, changes: Vec<Vec<NewEvent>>) -> Result<Option<i64>, Stop> {
        let appended: usize = changes.iter().map(Vec::len).sum();
        let head = match is(Bug::Sequence) && self.is_shared() {
            true => self.append_apart(&tx, changes).await?,
            false => events::append(&tx, changes).await.map_err(Stop::of)?,
        };
        if self.is_shared() {
            self.seal(&tx, head).await?;
        }
        reached(Point::BeforeCommit);
        let committed = tx.db.commit().await;
        committed.map_err(|error| Stop::Failed(failed(error)))?;
        reached(Point::AfterCommit);
        if let (Tell::After(commits), Some(head)) = (&self.tell, head) {
            commits.send_replace(head);
        }
        metrics().events.inc_by(appended as u64);
        Ok(head)
    }

    /// Seeded: the positions are taken in a transaction of their own, as from a sequence.
    async fn append_apart(
        &self,
        tx: &Tx,
        changes: Vec<Vec<NewEvent>>,
    ) -> Result<Option<i64>, Stop> {
        let count: usize = changes.iter().map(Vec::len).sum();
        if count == 0 {
            return Ok(None);
        }
        let apart = self.begin().await?;
        let counted = events::count_up(&apart, count as i64).await;
        let counted = counted.map_err(Stop::of)?;
        apart.db.commit().await.map_err(before)?;
        let appended = events::append_counted(tx, changes, counted).await;
        appended.map(Some).map_err(Stop::of)
    }

    /// The last statement before COMMIT tells the others, who hear of it with the commit.
    /// It is never left out: in a transaction that a statement has broken it fails, while
    /// COMMIT would say that all is well and roll back.
    async fn seal(&self, tx: &Tx, head: Option<i64>) -> Result<(), Stop> {
        let backend = tx.db.get_database_backend();
        let statement = match (&self.tell, head) {
            (Tell::Channel(channel), Some(head)) => Statement::from_sql_and_values(
                backend,
                "SELECT pg_notify($1, $2)",
                [channel.as_str().into(), head.to_string().into()],
            ),
            _ => Statement::from_sql_and_values(backend, "SELECT 1", []),
        };
        tx.db.query_one_raw(statement).await.map_err(before)?;
        Ok(())
    }

    /// Whether others write to the database, too.
    fn is_shared(&self) -> bool {
        self.cache.is_none()
    }
}

impl Stop {
    /// What went wrong before COMMIT was sent.
    fn of(error: Error) -> Self {
        match error {
            Error::StoreUnavailable | Error::StoreReadOnly | Error::Contended => Self::Again(error),
            error => Self::Failed(error),
        }
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Again(error) | Stop::Failed(error) => error,
        }
    }
}

fn before(error: DbErr) -> Stop {
    Stop::of(failed(error))
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
