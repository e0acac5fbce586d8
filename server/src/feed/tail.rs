//! The tail: one task reads new rows once into a ring that all readers share.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    error::Result,
    model::{Change, CommunityId, Event, Payload},
    proof::in_ring,
    store::{Store, events},
};

/// The most events that the ring keeps.
const MAX_EVENTS: usize = 8192;
/// About the most bytes that the ring keeps.
const MAX_BYTES: usize = 8 << 20;
const PAGE: u64 = 1000;
/// How long to wait after the database failed.
const PAUSE: Duration = Duration::from_millis(200);

/// An event, shared by all readers, with its encoding once somebody has made it.
#[derive(Debug)]
pub struct Entry {
    /// The event.
    pub event: Event,
    /// As it goes over the wire. The feed does not know how; the edge fills it.
    pub encoded: OnceLock<Bytes>,
}

impl Entry {
    pub(super) fn new(event: Event) -> Self {
        let encoded = OnceLock::new();
        Self { event, encoded }
    }
}

/// The ring and its head. Readers follow only this head: it is raised after the ring
/// is filled.
#[derive(Clone)]
pub(super) struct Tail {
    ring: Arc<RwLock<Ring>>,
    head: watch::Receiver<i64>,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Tail {
    /// Follows the log after a position, until nobody holds the tail any more.
    pub(super) fn follow(store: Store, position: i64) -> Self {
        let ring = Arc::new(RwLock::default());
        let (raise, head) = watch::channel(position);
        tokio::spawn(read_on(store, ring.clone(), raise));
        Self { ring, head }
    }

    pub(super) fn head(&self) -> i64 {
        *self.head.borrow()
    }

    pub(super) fn heads(&self) -> watch::Receiver<i64> {
        self.head.clone()
    }

    /// Up to `limit` events after a position; `None` if the ring does not reach back
    /// so far.
    pub(super) fn after(&self, position: i64, limit: usize) -> Option<Vec<Arc<Entry>>> {
        if position >= self.head() {
            // At the end, or ahead of it, as a reader of the table may be.
            return Some(Vec::new());
        }
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let first = ring.entries.front()?.event.position;
        let skip = usize::try_from(position + 1 - first).ok()?;
        Some(
            ring.entries
                .iter()
                .skip(skip)
                .take(limit)
                .cloned()
                .collect(),
        )
    }
}

async fn read_on(store: Store, ring: Arc<RwLock<Ring>>, raise: watch::Sender<i64>) {
    let mut committed = store.head();
    loop {
        let position = *raise.borrow();
        tokio::select! {
            grown = committed.wait_for(|head| *head > position) => if grown.is_err() { return },
            () = raise.closed() => return,
        }
        match next_page(&store, &ring, position).await {
            // Told of events that are not there: a replaced database has lost them.
            Ok(head) if head == position => tokio::time::sleep(PAUSE).await,
            Ok(head) => _ = raise.send_replace(head),
            Err(error) => {
                tracing::warn!(%error, "the tail of the feed cannot read; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Reads one page into the ring; the new head.
async fn next_page(store: &Store, ring: &RwLock<Ring>, position: i64) -> Result<i64> {
    let mut page = events::after(store, position, PAGE).await?;
    // A change is read whole, unless it alone is larger than a page.
    let full = page.len() as u64 == PAGE;
    if full && let Some(last) = page.iter().rposition(|event| event.ends) {
        page.truncate(last + 1);
    }
    let Some((first, last)) = page.first().zip(page.last()) else {
        return Ok(position);
    };
    let (first, last) = (first.position, last.position);
    let mut ring = ring.write().unwrap_or_else(PoisonError::into_inner);
    if first != position + 1 {
        // The trimming has overtaken the tail: start anew at the floor.
        *ring = Ring::default();
    }
    page.into_iter().for_each(|event| ring.push(event));
    Ok(last)
}

impl Ring {
    fn push(&mut self, event: Event) {
        if let Some(Payload::Community(community, Change::Deleted)) = &event.payload {
            self.blank(&community.id);
        }
        self.bytes += event.size;
        self.entries.push_back(Arc::new(Entry::new(event)));
        while self.entries.len() > in_ring(MAX_EVENTS) || self.bytes > MAX_BYTES {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= oldest.event.size;
        }
    }

    /// The table's rows of a deleted community are blank; so are the ring's.
    fn blank(&mut self, community: &CommunityId) {
        for entry in &mut self.entries {
            if entry.event.community_id == *community {
                let payload = None;
                *entry = Arc::new(Entry::new(Event {
                    payload,
                    ..entry.event.clone()
                }));
            }
        }
    }
}
