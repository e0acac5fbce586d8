//! Streams of subscriptions end when those are moved or deleted, by whichever gateway.
//!
//! What is done here is said at once. What others do is found by one row that counts it,
//! which is read every second; only when it has changed are the watched subscriptions
//! themselves looked at. So ten thousand streams cost what one costs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::Gateway;
use crate::{
    error::{Error, Result, Thing},
    model::SubscriptionKey,
    store::{Store, subscriptions},
};

/// How often it is looked for what other gateways moved and deleted.
const EVERY: Duration = Duration::from_secs(1);

/// What is known of a watched subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Place {
    /// Its epoch; if it is gone, the last epoch that can be its own.
    epoch: i64,
    gone: bool,
}

impl Place {
    /// What a stream that began in this epoch ends with.
    fn end(self, began: i64, key: &SubscriptionKey) -> Option<Error> {
        // What is known may be older than the stream.
        match self.gone {
            true if self.epoch >= began => {
                Some(Error::NotFound(Thing::Subscription(key.id.clone())))
            }
            false if self.epoch > began => Some(Error::Moved(key.id.clone())),
            _ => None,
        }
    }
}

/// The subscriptions that streams are of.
#[derive(Default)]
pub(super) struct Watched(Mutex<HashMap<SubscriptionKey, watch::Sender<Place>>>);

/// What one stream hears of its subscription.
pub(super) struct Watch {
    key: SubscriptionKey,
    places: watch::Receiver<Place>,
}

impl Watch {
    /// Resolves when a stream that began in this epoch must end, with why.
    pub(super) async fn until_over(&mut self, began: i64) -> Error {
        loop {
            if let Some(end) = self.places.borrow_and_update().end(began, &self.key) {
                return end;
            }
            if self.places.changed().await.is_err() {
                return Error::Draining;
            }
        }
    }
}

impl Watched {
    /// Begins to listen. Read the subscription only then, or a move may be missed.
    pub(super) fn watch(&self, key: &SubscriptionKey) -> Watch {
        let mut known = self.lock();
        let places = known.entry(key.clone()).or_default().subscribe();
        let key = key.clone();
        Watch { key, places }
    }

    /// Says that a subscription was moved.
    pub(super) fn moved(&self, key: &SubscriptionKey, epoch: i64) {
        self.say(key, Place { epoch, gone: false });
    }

    /// Says that a subscription is gone; what has a higher epoch is another one.
    pub(super) fn deleted(&self, key: &SubscriptionKey, epoch: i64) {
        self.say(key, Place { epoch, gone: true });
    }

    fn say(&self, key: &SubscriptionKey, place: Place) {
        if let Some(places) = self.lock().get(key) {
            places.send_if_modified(|known| {
                let newer = place.epoch >= known.epoch && *known != place;
                if newer {
                    *known = place;
                }
                newer
            });
        }
    }

    /// Looks at each that is watched, if any was moved or deleted since; the epoch seen.
    async fn look(&self, store: &Store, seen: i64) -> Result<i64> {
        let keys = self.in_use();
        if keys.is_empty() {
            return Ok(seen);
        }
        let epoch = subscriptions::epoch(store).await?;
        if epoch == seen {
            return Ok(seen);
        }
        let mut there: HashMap<_, _> = subscriptions::epochs(store, &keys)
            .await?
            .into_iter()
            .collect();
        for key in &keys {
            match there.remove(key) {
                Some(epoch) => self.moved(key, epoch),
                // Whatever is created under this id from now on has a higher one.
                None => self.deleted(key, epoch),
            }
        }
        Ok(epoch)
    }

    /// Those that streams are of; the others are forgotten.
    fn in_use(&self) -> Vec<SubscriptionKey> {
        let mut known = self.lock();
        known.retain(|_, places| places.receiver_count() > 0);
        known.keys().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SubscriptionKey, watch::Sender<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Follows what other gateways do to the subscriptions that are watched here, until
    /// the end.
    pub async fn follow_subscriptions(self: Arc<Self>, mut closing: watch::Receiver<bool>) {
        let mut seen = 0;
        loop {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            match self.watched.look(&self.store, seen).await {
                Ok(epoch) => seen = epoch,
                Err(error) => {
                    tracing::warn!(%error, "whether subscriptions were moved could not be read");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Principal, SubscriptionId};

    fn key() -> SubscriptionKey {
        SubscriptionKey {
            principal: Principal::trusted("p"),
            id: SubscriptionId::trusted("s"),
        }
    }

    #[test]
    fn a_stream_ends_by_what_is_newer_than_it_only() {
        let end = |epoch, gone| Place { epoch, gone }.end(5, &key());
        assert_eq!(end(4, false), None);
        assert_eq!(end(5, false), None);
        assert!(matches!(end(6, false), Some(Error::Moved(_))));
        assert_eq!(end(4, true), None, "it was created anew since");
        assert!(matches!(end(5, true), Some(Error::NotFound(_))));
    }

    #[tokio::test]
    async fn what_is_known_is_not_replaced_by_what_is_older() {
        let watched = Watched::default();
        let mut watch = watched.watch(&key());
        watched.moved(&key(), 7);
        watched.moved(&key(), 6);
        assert!(matches!(watch.until_over(6).await, Error::Moved(_)));
    }
}
