//! How many events match after a position: exact, and known again without reading them all
//! again.
//!
//! The matching events are counted by community and by [`BLOCK`] positions of the log.
//! When the log grows, only what is new is read; when the position moves on, only the rest
//! of the block that it stands in. A community that is deleted is blanked in the whole log,
//! and its counts go with it. Who asks may see some communities only, so one count serves
//! all who ask.

use std::collections::{BTreeMap, HashMap};

use super::{Entry, Feed, Filter};
use crate::{
    error::{Error, Result},
    model::{Change, CommunityId, EventFilter, Lag, Payload, Scope, Time},
};

/// How many positions are counted as one. No more than are read at once.
const BLOCK: i64 = 1000;

/// What matches a filter after a position, as far as it was counted.
#[derive(Debug)]
pub struct Count {
    filter: Filter,
    /// Counted is what lies after this position…
    after: i64,
    /// …up to this one.
    upto: i64,
    communities: HashMap<CommunityId, Blocks>,
}

/// By the number of the block; none is empty.
type Blocks = BTreeMap<i64, Tally>;

/// The matching events of one community in one block.
#[derive(Clone, Copy, Debug)]
struct Tally {
    count: u32,
    /// When the first of them was recorded.
    since: Time,
}

impl Count {
    /// Nothing is counted yet.
    pub fn new(filter: EventFilter) -> Self {
        Self {
            filter: filter.into(),
            after: 0,
            upto: 0,
            communities: HashMap::new(),
        }
    }

    /// Whether it counts what this filter matches.
    pub fn is_of(&self, filter: &EventFilter) -> bool {
        self.filter.wanted == *filter
    }

    /// Counts what the log has after a position, up to its end as it now is. If this is
    /// given up in its midst, what was counted stays so.
    pub async fn count(&mut self, feed: &Feed, position: i64) -> Result<()> {
        feed.catch_up().await?;
        let end = feed.tail.head();
        let mut floor = feed.earliest().await?;
        loop {
            match self.bring(feed, position.max(floor), end).await {
                Err(Error::CursorExpired { earliest }) => {
                    // The trimming was here; without it, that is a hole.
                    let risen = feed.earliest().await?;
                    if risen <= floor {
                        return Err(Error::CursorExpired { earliest });
                    }
                    floor = risen;
                }
                done => return done,
            }
        }
    }

    /// Of what was counted, what lies in a scope.
    pub fn lag(&self, scope: &Scope) -> Lag {
        let mut lag = Lag::default();
        for (id, blocks) in &self.communities {
            if scope.holds(id) {
                let counts = blocks.values().map(|tally| u64::from(tally.count));
                lag.count += counts.sum::<u64>();
                // Record times never decrease along the log.
                let first = blocks.values().next().map(|tally| tally.since);
                lag.since = first.into_iter().chain(lag.since).min();
            }
        }
        lag
    }

    /// How many numbers it keeps.
    pub fn size(&self) -> usize {
        self.communities.values().map(Blocks::len).sum()
    }

    async fn bring(&mut self, feed: &Feed, position: i64, end: i64) -> Result<()> {
        if position < self.after || position >= self.upto {
            self.begin(position);
        } else if position > self.after {
            self.move_on(feed, position).await?;
        }
        while self.upto < end {
            let rows = feed.rows(self.upto).await?;
            let rows = rows.iter().take_while(|row| row.event.position <= end);
            let before = self.upto;
            rows.for_each(|row| self.take(row));
            if self.upto == before {
                // The log ends earlier than was said.
                return Ok(());
            }
        }
        Ok(())
    }

    fn begin(&mut self, position: i64) {
        self.communities.clear();
        (self.after, self.upto) = (position, position);
    }

    /// Forgets what lies up to a position; the rest of its block is counted again.
    async fn move_on(&mut self, feed: &Feed, position: i64) -> Result<()> {
        let block = block_of(position + 1);
        let rest = (block * BLOCK).min(self.upto);
        let rows = feed.rows(position).await?;
        if rows.is_empty() {
            return Err(Error::internal("the log is shorter than it was"));
        }
        self.communities.retain(|_, blocks| {
            *blocks = blocks.split_off(&(block + 1));
            !blocks.is_empty()
        });
        for row in rows.iter().take_while(|row| row.event.position <= rest) {
            self.tally(row);
        }
        self.after = position;
        Ok(())
    }

    fn take(&mut self, row: &Entry) {
        if let Some(Payload::Community(community, Change::Deleted)) = &row.event.payload {
            // What was recorded of it before is blank by now.
            self.communities.remove(&community.id);
        }
        self.tally(row);
        self.upto = row.event.position;
    }

    fn tally(&mut self, row: &Entry) {
        let event = &row.event;
        if !self.filter.matches(event) {
            return;
        }
        let blocks = self.communities.entry(event.community_id.clone());
        let since = event.record_time;
        let tally = blocks.or_default().entry(block_of(event.position));
        tally.or_insert(Tally { count: 0, since }).count += 1;
    }
}

/// The number of a position's block. The last position of a block is a multiple.
fn block_of(position: i64) -> i64 {
    (position + BLOCK - 1) / BLOCK
}
