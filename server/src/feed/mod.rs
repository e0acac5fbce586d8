//! The feed: everything that happened, in one order, for any number of readers.
//!
//! A reader is a stream that **pulls**: it reads the batch after its cursor, filters,
//! yields, and only when there is no more waits for the head or the heartbeat. So a
//! slow client slows itself: there is no queue per client, nobody is cut off, no event
//! is lost. One task reads new rows once into a ring ([`tail`]); readers inside the
//! ring are served from memory, older ones from the table, page by page.
//!
//! May use `store`, `model`, `error`. Read `filter.rs`, `cursor.rs`, then this file.

mod count;
mod cursor;
mod filter;
mod tail;

use std::{sync::Arc, time::Duration};

use futures::{Stream, stream};
use serde::Serialize;
use tokio::{sync::watch, time::Instant};

pub use count::Count;
pub use cursor::Cursors;
pub use filter::Filter;
pub use tail::Entry;
use tail::Tail;

use crate::{
    error::{Error, Result},
    metrics::{label, metrics},
    model::Time,
    proof::{Bug, Point, is, lingered, reached},
    store::{Store, events},
};

/// The most events in one batch.
const MAX_EVENTS: usize = 500;
/// About the most bytes in one batch, whatever is allowed. Each reader that is stalled holds
/// one, encoded, in a buffer that doubled as it grew: 1 MiB at most.
const MAX_BYTES: usize = 512 << 10;
/// The most bytes of a stream's first batch; each batch may have twice as many as that
/// before it. A reader far behind whose line breaks again and again gets on, too.
const FIRST_BYTES: usize = 2 << 10;
/// The most rows that are read for one batch: a reader for whom nothing matches hears
/// of its place at least as often.
const MAX_ROWS: u64 = 1000;
/// How many rows a reader takes from the table at first; more once it knows that they are
/// small. What a batch has no room for was read for nothing, and a crowd of readers that
/// each take too much fill the memory.
const FIRST_ROWS: u64 = 64;
/// How few they may become where the rows are large.
const LEAST_ROWS: u64 = 16;
/// The most rows that one page of a list is looked for in.
const MAX_LISTED_ROWS: u64 = 20 * MAX_ROWS;

/// Where to start reading.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Start {
    /// Only what happens from now on.
    Latest,
    /// The oldest event still kept.
    Earliest,
    /// After this cursor.
    After(String),
    /// At the first event recorded at or after this time.
    At(Time),
}

/// What a reader gets at once. Without events it is the hello, the heartbeat, and the
/// word that nothing up to `position` matched.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events that matched, in order.
    pub events: Vec<Arc<Entry>>,
    /// The place reached, matching or not.
    pub position: i64,
    /// Whether that is the end of the log as it now is.
    pub caught_up: bool,
}

/// The feed of one database.
#[derive(Clone)]
pub struct Feed {
    store: Store,
    tail: Tail,
    cursors: Arc<Cursors>,
    batch_bytes: usize,
    closing: watch::Receiver<bool>,
}

impl Feed {
    /// Begins to follow the log. A batch has at most about `batch_bytes`. Streams end
    /// once `closing` is true.
    pub async fn follow(
        store: Store,
        batch_bytes: usize,
        closing: watch::Receiver<bool>,
    ) -> Result<Self> {
        let feed = events::feed(&store).await?;
        let cursors = Arc::new(Cursors::new(feed.id, &feed.cursor_key)?);
        let tail = Tail::follow(store.clone(), feed.position);
        Ok(Self {
            store,
            tail,
            cursors,
            batch_bytes: batch_bytes.min(MAX_BYTES),
            closing,
        })
    }

    /// Whether streams are to end.
    pub fn is_draining(&self) -> bool {
        *self.closing.borrow()
    }

    /// The position of the newest event that was read.
    pub fn head(&self) -> i64 {
        self.tail.head()
    }

    /// What makes and reads cursors of this feed.
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// The position to read after, for a start. See [`Cursors::read`] for what cursors
    /// are refused.
    pub async fn position(&self, start: Start) -> Result<i64> {
        self.catch_up().await?;
        match start {
            Start::Latest => Ok(events::feed(&self.store).await?.position),
            Start::Earliest => self.earliest().await,
            Start::After(cursor) => self.after(&cursor).await,
            Start::At(time) => self.at(time).await,
        }
    }

    /// Waits until the tail has what is committed by now: whoever was told of a change
    /// reads its event.
    async fn catch_up(&self) -> Result<()> {
        let committed = *self.store.head().borrow();
        let (mut heads, mut closing) = (self.tail.heads(), self.closing.clone());
        tokio::select! {
            reached = heads.wait_for(|head| *head >= committed) => {
                reached.map(drop).map_err(|_| Error::Draining)
            }
            _ = closing.wait_for(|closing| *closing) => Err(Error::Draining),
        }
    }

    async fn earliest(&self) -> Result<i64> {
        let oldest = events::oldest(&self.store).await?;
        Ok(oldest.map_or(0, |event| event.position - 1))
    }

    async fn after(&self, cursor: &str) -> Result<i64> {
        let read = self.cursors.read(cursor);
        if let Err(Error::CursorForeign { .. }) = read {
            let earliest = self.cursors.write(self.earliest().await?);
            return Err(Error::CursorForeign { earliest });
        }
        let position = read?;
        self.check(position).await?;
        if is(Bug::InclusiveResume) {
            return Ok((position - 1).max(self.earliest().await?));
        }
        Ok(position)
    }

    /// Refuses a position that is older than the log, or past its end.
    pub async fn check(&self, position: i64) -> Result<()> {
        self.catch_up().await?;
        let earliest = self.earliest().await?;
        if position < earliest {
            return Err(self.expired(earliest));
        }
        if position > events::feed(&self.store).await?.position {
            return Err(Error::CursorAhead);
        }
        Ok(())
    }

    async fn at(&self, time: Time) -> Result<i64> {
        if time > self.store.now() {
            return Err(Error::invalid(
                "start_time",
                "lies in the future; events cannot be foreseen",
            ));
        }
        let oldest = events::oldest(&self.store).await?;
        if let Some(oldest) = oldest.filter(|oldest| time < oldest.record_time) {
            return Err(self.expired(oldest.position - 1));
        }
        match events::first_since(&self.store, time).await? {
            Some(first) => Ok(first - 1),
            None => Ok(events::feed(&self.store).await?.position),
        }
    }

    fn expired(&self, earliest: i64) -> Error {
        let earliest = self.cursors.write(earliest);
        Error::CursorExpired { earliest }
    }

    /// Follows the log after a position. The first batch comes at once, and silence is
    /// never longer than `heartbeat`. Ends with [`Error::Draining`], or with
    /// [`Error::CursorExpired`] if the trimming overtakes the reader.
    pub fn watch(
        &self,
        filter: Filter,
        position: i64,
        heartbeat: Duration,
    ) -> impl Stream<Item = Result<Batch>> + use<> {
        let reader = Reader {
            feed: self.clone(),
            filter,
            position,
            sent: position,
            heartbeat,
            // The hello is due at once.
            silent_until: Instant::now(),
            ends: false,
            reach: FIRST_ROWS,
            room: FIRST_BYTES,
        };
        stream::unfold(Some(reader), async |reader| {
            let mut reader = reader?;
            // It is asked for more only once what it gave was sent.
            reached(Point::AfterSend);
            match reader.next().await {
                Ok(batch) => {
                    reached(Point::BeforeSend);
                    Some((Ok(batch), Some(reader)))
                }
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// One page of the log, with at most `limit` events.
    pub async fn list(&self, filter: &Filter, position: i64, limit: usize) -> Result<Batch> {
        let mut page = Batch {
            events: Vec::new(),
            position,
            caught_up: false,
        };
        let mut bytes = 0;
        for _ in 0..MAX_LISTED_ROWS / MAX_ROWS {
            let rows = self.rows(page.position).await?;
            for entry in &rows {
                if filter.matches(&entry.event) {
                    if page.events.len() == limit
                        || (bytes > 0 && bytes + entry.event.size > self.batch_bytes)
                    {
                        return Ok(page);
                    }
                    bytes += entry.event.size;
                    page.events.push(entry.clone());
                }
                page.position = entry.event.position;
            }
            page.caught_up = page.position >= self.tail.head();
            if rows.is_empty() || page.caught_up {
                page.caught_up = true;
                break;
            }
        }
        Ok(page)
    }

    /// Rows after a position without a hole: from the ring if it reaches back so far,
    /// else from the table. Empty only at the end of the log.
    async fn rows(&self, position: i64) -> Result<Vec<Arc<Entry>>> {
        match self.in_memory(position) {
            Some(entries) => Ok(entries),
            None => self.table_rows(position, MAX_ROWS).await,
        }
    }

    /// Those of the ring, if it reaches back so far.
    fn in_memory(&self, position: i64) -> Option<Vec<Arc<Entry>>> {
        let entries = self.tail.after(position, MAX_ROWS as usize)?;
        if !entries.is_empty() {
            read_from("ring");
        }
        Some(entries)
    }

    async fn table_rows(&self, position: i64, limit: u64) -> Result<Vec<Arc<Entry>>> {
        read_from("table");
        lingered(Point::BeforeTableRead).await;
        let rows = events::after(&self.store, position, limit).await?;
        let mut expected = position;
        for event in &rows {
            expected += 1;
            if event.position != expected && !is(Bug::TrimWithoutCheck) {
                // The trimming was here. Never a hole: an error, or all.
                return Err(self.expired(self.earliest().await?));
            }
        }
        Ok(rows
            .into_iter()
            .map(|event| Arc::new(Entry::new(event)))
            .collect())
    }
}

fn read_from(place: &'static str) {
    let reads = &metrics().feed_reads;
    reads.get_or_create(&[label("from", place)]).inc();
}

/// How many rows to take next, of which so many just had so many bytes: about as many as
/// there is room for.
fn next_reach(reach: u64, bytes: usize, room: usize) -> u64 {
    if bytes > 2 * room {
        (reach / 2).max(LEAST_ROWS)
    } else if bytes < room / 2 {
        (reach * 2).min(MAX_ROWS)
    } else {
        reach
    }
}

/// One stream.
struct Reader {
    feed: Feed,
    filter: Filter,
    position: i64,
    /// The place that the last batch with events reached; only a seeded bug wants to know.
    sent: i64,
    heartbeat: Duration,
    silent_until: Instant,
    /// Whether the last batch before the end was read.
    ends: bool,
    /// How many rows it takes from the table at once.
    reach: u64,
    /// How many bytes its next batch may have, unless a change needs more.
    room: usize,
}

impl Reader {
    async fn next(&mut self) -> Result<Batch> {
        let mut head = self.feed.tail.heads();
        let mut closing = self.feed.closing.clone();
        let mut scanned = 0;
        loop {
            if *closing.borrow() {
                return self.farewell().await;
            }
            // Read what the head was before the table is read: what comes later is
            // the next round's.
            head.borrow_and_update();
            let rows = self.rows().await?;
            reached(Point::BetweenReadAndSend);
            scanned += rows.len() as u64;
            let batch = self.batch(&rows);
            let due = Instant::now() >= self.silent_until;
            if !batch.events.is_empty() || scanned >= MAX_ROWS || due {
                self.silent_until = Instant::now() + self.patience();
                return Ok(batch);
            }
            if !rows.is_empty() {
                continue;
            }
            let position = self.position;
            tokio::select! {
                grown = head.wait_for(|head| *head > position) => {
                    grown.map_err(|_| Error::Draining)?;
                }
                _ = closing.wait_for(|closing| *closing) => {}
                () = tokio::time::sleep_until(self.silent_until) => {}
            }
        }
    }

    /// Rows as [`Feed::rows`] has them, from the table about as many as a batch has room for.
    async fn rows(&mut self) -> Result<Vec<Arc<Entry>>> {
        if let Some(entries) = self.feed.in_memory(self.position) {
            return Ok(entries);
        }
        loop {
            let reach = self.reach;
            let rows = self.feed.table_rows(self.position, reach).await?;
            let bytes = rows.iter().map(|entry| entry.event.size).sum();
            self.reach = next_reach(reach, bytes, self.feed.batch_bytes);
            let is_full = rows.len() as u64 == reach;
            if is_full && reach < MAX_ROWS && !rows.iter().any(|entry| entry.event.ends) {
                // A change is read whole.
                self.reach = MAX_ROWS;
                continue;
            }
            return Ok(rows);
        }
    }

    /// One last batch with what is committed, then the end.
    async fn farewell(&mut self) -> Result<Batch> {
        if self.ends {
            return Err(Error::Draining);
        }
        self.ends = true;
        let rows = self.feed.table_rows(self.position, MAX_ROWS).await?;
        let batch = self.batch(&rows);
        match batch.events.is_empty() {
            true => Err(Error::Draining),
            false => Ok(batch),
        }
    }

    /// Takes what fits from the rows: whole changes, unless one alone is too large.
    fn batch(&mut self, rows: &[Arc<Entry>]) -> Batch {
        let (mut events, mut bytes) = (Vec::new(), 0);
        // Where the last whole change ended: rows taken, events matched.
        let mut whole = None;
        let mut taken = 0_usize;
        for entry in rows {
            let matches = self.filter.matches(&entry.event);
            let exceeds = |room| events.len() >= MAX_EVENTS || bytes + entry.event.size > room;
            let full = exceeds(self.feed.batch_bytes) || (whole.is_some() && exceeds(self.room));
            if matches && full && !events.is_empty() {
                break;
            }
            taken += 1;
            if matches {
                bytes += entry.event.size;
                events.push(entry.clone());
            }
            if entry.event.ends {
                whole = Some((taken, events.len()));
            }
        }
        if !events.is_empty() {
            self.room = (2 * self.room).min(self.feed.batch_bytes);
        }
        if let Some((rows_taken, matched)) = whole.filter(|_| !is(Bug::CutInsideChange)) {
            taken = rows_taken;
            events.truncate(matched);
        }
        if let Some(last) = taken.checked_sub(1).and_then(|last| rows.get(last)) {
            self.position = last.event.position;
        }
        if is(Bug::BookmarkBeforeSend) && events.is_empty() {
            return Batch {
                events,
                position: self.feed.tail.head().max(self.position),
                caught_up: true,
            };
        }
        if is(Bug::NoBookmark) && events.is_empty() {
            return Batch {
                events,
                position: self.sent,
                caught_up: false,
            };
        }
        self.sent = self.position;
        Batch {
            events,
            position: self.position,
            caught_up: self.position >= self.feed.tail.head(),
        }
    }

    /// A little less than the heartbeat, not the same for all: or all would beat
    /// together.
    fn patience(&self) -> Duration {
        self.heartbeat.mul_f64(0.8 + 0.2 * rand::random::<f64>())
    }
}
