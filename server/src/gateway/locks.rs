//! One lock per thing, made when it is first wanted and forgotten when nobody holds it.
//!
//! Other gateways do not know of it, so nothing may rely on it: it only spares work that
//! would be done twice.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::OwnedMutexGuard;

/// How long it is worth to wait, where going on is no fault.
const A_WHILE: Duration = Duration::from_millis(500);

/// Locks by key.
pub(super) struct Locks<K>(Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>);

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Copy> Locks<K> {
    /// Waits for the lock of one thing.
    pub(super) async fn lock(&self, key: K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let held = locks.get(&key).and_then(Weak::upgrade);
            held.unwrap_or_else(|| {
                locks.retain(|_, lock| lock.strong_count() > 0);
                let new = Arc::default();
                locks.insert(key, Arc::downgrade(&new));
                new
            })
        };
        lock.lock_owned().await
    }

    /// The same, but goes on without it after a while: whoever holds it may wait for a
    /// platform that hangs.
    pub(super) async fn wait_a_while(&self, key: K) -> Option<OwnedMutexGuard<()>> {
        tokio::time::timeout(A_WHILE, self.lock(key)).await.ok()
    }
}
