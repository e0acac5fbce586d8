//! What was read since the last commit: most calls ask for the same few rows first.
//!
//! Everything in here was read under a generation, and every commit begins a new one
//! before anybody hears of it; an entry of an older generation is as good as none. So a
//! read is never older than what its caller was told. This holds while all writes go
//! through the writer of this process; where others write too there is no cache.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use crate::{
    error::Result,
    model::{Community, Installation, Process},
};

/// The most rows of one kind that are kept.
const MAX_ROWS: usize = 1024;

/// Rows by their ids.
#[derive(Default)]
#[allow(unreachable_pub)] // a hidden method of the public trait names it
pub struct Cache {
    generation: AtomicU64,
    pub(super) communities: Memo<String, Community>,
    pub(super) installations: Memo<Uuid, Installation>,
    pub(super) processes: Memo<Uuid, Process>,
}

impl Cache {
    /// Forgets everything. Called after a commit, before its callers are answered.
    pub(super) fn begin_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// Rows of one kind with the generation that they were read under.
pub(super) struct Memo<K, V>(RwLock<HashMap<K, (u64, V)>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    /// The row as it was read under this generation, else as `read` finds it.
    pub(super) async fn get(
        &self,
        cache: &Cache,
        key: K,
        read: impl Future<Output = Result<V>>,
    ) -> Result<V> {
        // Before the read: a commit in between makes what is read old at once.
        let now = cache.generation.load(Ordering::Acquire);
        if let Some(row) = self.known(now, &key) {
            return Ok(row);
        }
        let row = read.await?;
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= MAX_ROWS {
            rows.clear();
        }
        rows.insert(key, (now, row.clone()));
        Ok(row)
    }

    fn known(&self, now: u64, key: &K) -> Option<V> {
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (generation, row) = rows.get(key)?;
        (*generation == now).then(|| row.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Error,
        model::{CommunityId, Time},
    };

    fn community(name: &str) -> Community {
        Community {
            id: CommunityId::trusted("a"),
            display_name: name.to_owned(),
            create_time: Time(0),
            update_time: Time(0),
            etag: String::new(),
        }
    }

    async fn get(cache: &Cache, stored: &str) -> String {
        let read = async { Ok(community(stored)) };
        let row = cache.communities.get(cache, "a".to_owned(), read).await;
        row.unwrap().display_name
    }

    #[tokio::test]
    async fn a_commit_makes_everything_old() {
        let cache = Cache::default();
        assert_eq!(get(&cache, "one").await, "one");
        assert_eq!(get(&cache, "two").await, "one", "nothing was committed");
        cache.begin_generation();
        assert_eq!(get(&cache, "two").await, "two");
    }

    #[tokio::test]
    async fn what_was_read_across_a_commit_is_not_kept() {
        let cache = Cache::default();
        let read = async {
            cache.begin_generation();
            Ok(community("before"))
        };
        cache
            .communities
            .get(&cache, "a".to_owned(), read)
            .await
            .unwrap();
        assert_eq!(get(&cache, "after").await, "after");
    }

    #[tokio::test]
    async fn what_is_not_there_is_asked_again() {
        let cache = Cache::default();
        let absent = async { Err(Error::Changed) };
        assert!(
            cache
                .communities
                .get(&cache, "a".to_owned(), absent)
                .await
                .is_err()
        );
        assert_eq!(get(&cache, "one").await, "one");
    }
}
