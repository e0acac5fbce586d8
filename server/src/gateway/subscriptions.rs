//! Subscriptions: cursors kept for drivers, and how far behind each is.
//!
//! The row is the truth of what is acknowledged. How far that is behind is counted from
//! the log (`feed/count.rs`) and only kept in memory: another gateway, or this one after a
//! restart, counts anew. Streams that end because of somebody else are in `watched.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};

use super::{
    Gateway,
    requests::{self, Ask},
    watched::Watch,
};
use crate::{
    error::{Error, Result, Thing},
    feed::{Batch, Count, Filter, Start},
    model::{
        Caller, EventFilter, Lag, Principal, RequestKey, Scope, Subscription, SubscriptionId,
        SubscriptionKey,
    },
    proof::{Bug, is},
    store::{subscriptions, tokens},
};

/// The most subscriptions of one principal.
const MAX_SUBSCRIPTIONS: u64 = 1000;
/// How many numbers are kept of all that was counted: about 100 MB.
const MAX_NUMBERS: usize = 2_000_000;

/// A subscription that is to be created.
#[derive(Clone, Debug)]
pub struct Subscribing {
    /// Whose it is, and what they call it.
    pub key: SubscriptionKey,
    /// Which events.
    pub filter: EventFilter,
    /// Where it starts.
    pub start: Start,
}

/// How far behind a subscription is, for its operator.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionLag {
    /// Whose it is, and what they call it.
    pub key: SubscriptionKey,
    /// What its principal may read of it and has not acknowledged.
    pub lag: Lag,
}

impl Gateway {
    /// Creates a subscription.
    pub async fn create_subscription(
        &self,
        request: Option<RequestKey>,
        wanted: Subscribing,
    ) -> Result<Subscription> {
        let Subscribing { key, filter, start } = wanted;
        let asked = ("CreateSubscription", &key.id, &filter, &start);
        let ask = Ask::new(request, &asked)?;
        // Whether the place is there matters only if the answer is not known yet.
        let place = self.feed.position(start).await;
        self.store
            .write(async move |tx| {
                if requests::known::<SubscriptionId>(tx, &ask).await?.is_some() {
                    return subscriptions::find(tx, &key).await;
                }
                // First, since it has others wait: the limit holds with them, too.
                let epoch = subscriptions::next_epoch(tx).await?;
                if subscriptions::exists(tx, &key).await? {
                    return Err(Error::Exists(Thing::Subscription(key.id.clone())));
                }
                if subscriptions::count(tx, &key.principal).await? >= MAX_SUBSCRIPTIONS {
                    return Err(Error::TooManySubscriptions(MAX_SUBSCRIPTIONS));
                }
                let subscription = Subscription {
                    key: key.clone(),
                    filter: filter.clone(),
                    acknowledged: place.clone()?,
                    epoch,
                    create_time: tx.now,
                };
                subscriptions::insert(tx, &subscription).await?;
                requests::keep(tx, &ask, Ok(&key.id)).await?;
                Ok(subscription)
            })
            .await
    }

    /// A subscription, and how far it is behind for who may see this scope.
    pub async fn get_subscription(
        &self,
        key: &SubscriptionKey,
        scope: &Scope,
    ) -> Result<(Subscription, Lag)> {
        let slot = self.counts.slot(key);
        let mut count = slot.lock().await;
        // Read when nobody else counts it any more: what is acknowledged only grows.
        let subscription = match subscriptions::find(&self.store, key).await {
            Err(error) => {
                self.counts.forget(key);
                return Err(error);
            }
            found => found?,
        };
        let counted = match count
            .take()
            .filter(|count| count.is_of(&subscription.filter))
        {
            Some(counted) => counted,
            None => Count::new(subscription.filter.clone()),
        };
        // If this is given up, what was counted so far stays.
        let counted = count.insert(counted);
        counted.count(&self.feed, subscription.acknowledged).await?;
        let (mut lag, size) = (counted.lag(scope), counted.size());
        if is(Bug::LagByPositions) {
            let head = self.feed.position(Start::Latest).await?;
            lag.count = (head - subscription.acknowledged).unsigned_abs();
        }
        self.counts.note(key, size);
        Ok((subscription, lag))
    }

    /// Up to `limit` of a principal's subscriptions after one, by id.
    pub async fn list_subscriptions(
        &self,
        principal: &Principal,
        after: Option<SubscriptionId>,
        limit: u64,
    ) -> Result<Vec<Subscription>> {
        subscriptions::list(&self.store, principal, after.as_ref(), limit).await
    }

    /// Those of these that are still there, with how far each is behind for who may see
    /// this scope.
    pub async fn get_subscriptions(
        &self,
        keys: impl Iterator<Item = SubscriptionKey>,
        scope: &Scope,
    ) -> Result<Vec<(Subscription, Lag)>> {
        let mut found = Vec::new();
        for key in keys {
            match self.get_subscription(&key, scope).await {
                Err(Error::NotFound(_)) => {}
                other => found.push(other?),
            }
        }
        Ok(found)
    }

    /// Notes that everything up to a cursor is dealt with; returns when that is on disk.
    pub async fn acknowledge_events(&self, key: SubscriptionKey, cursor: String) -> Result<()> {
        // Before the cursor is looked at: who has no such subscription learns that first.
        subscriptions::find(&self.store, &key).await?;
        let position = self.feed.position(Start::After(cursor)).await?;
        let store = self.store.clone();
        let noted = async move {
            store
                .write(async move |tx| subscriptions::acknowledge(tx, &key, position).await)
                .await
        };
        if is(Bug::AcknowledgeInMemory) {
            tokio::spawn(async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                noted.await
            });
            return Ok(());
        }
        noted.await
    }

    /// Moves a subscription to any place that is kept. Its streams end.
    pub async fn seek_subscription(&self, key: &SubscriptionKey, start: Start) -> Result<()> {
        subscriptions::find(&self.store, key).await?;
        let position = self.feed.position(start).await?;
        let moved = key.clone();
        let epoch = self
            .store
            .write(async move |tx| subscriptions::seek(tx, &moved, position).await)
            .await?;
        self.watched.moved(key, epoch);
        Ok(())
    }

    /// Deletes a subscription. Its streams end.
    pub async fn delete_subscription(&self, key: &SubscriptionKey) -> Result<()> {
        let deleted = key.clone();
        let epoch = self
            .store
            .write(async move |tx| subscriptions::delete(tx, &deleted).await)
            .await?;
        self.watched.deleted(key, epoch);
        self.counts.forget(key);
        Ok(())
    }

    /// Follows the log after what a subscription has acknowledged, as far as it lies in a
    /// scope. Ends with [`Error::Moved`] and [`Error::NotFound`] besides what ends every
    /// stream (see [`crate::feed::Feed::watch`]).
    pub async fn watch_subscription(
        &self,
        key: SubscriptionKey,
        scope: Scope,
        heartbeat: Duration,
    ) -> Result<impl Stream<Item = Result<Batch>> + use<>> {
        let watch = self.watched.watch(&key);
        let subscription = subscriptions::find(&self.store, &key).await?;
        self.feed.check(subscription.acknowledged).await?;
        let filter = Filter {
            scope,
            wanted: subscription.filter,
        };
        let batches = self
            .feed
            .watch(filter, subscription.acknowledged, heartbeat);
        Ok(until_over(Box::pin(batches), watch, subscription.epoch))
    }

    /// How far behind everybody's subscriptions are, as far as their principals may read.
    /// Cheap once each was counted: only what is new is read. For metrics.
    pub async fn subscription_lags(&self) -> Result<Vec<SubscriptionLag>> {
        let mut of_principals: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for key in subscriptions::keys(&self.store).await? {
            let keys = of_principals.entry(key.principal.clone()).or_default();
            keys.push(key);
        }
        let mut lags = Vec::new();
        for (principal, keys) in of_principals {
            let scope = self.scope_of(&principal).await?;
            let found = self.get_subscriptions(keys.into_iter(), &scope).await?;
            lags.extend(
                found
                    .into_iter()
                    .map(|(subscription, lag)| SubscriptionLag {
                        key: subscription.key,
                        lag,
                    }),
            );
        }
        Ok(lags)
    }

    /// What a principal may read with any of its tokens.
    async fn scope_of(&self, principal: &Principal) -> Result<Scope> {
        if *principal == Caller::Anybody.principal() {
            return Ok(Scope::Everywhere);
        }
        let mut communities = BTreeSet::new();
        for token in tokens::of_principal(&self.store, principal).await? {
            match token.scope {
                Scope::Everywhere => return Ok(Scope::Everywhere),
                Scope::Only(more) => communities.extend(more),
            }
        }
        Ok(Scope::Only(communities))
    }
}

/// The batches, until the subscription that they are of is moved or gone.
fn until_over<S>(batches: S, watch: Watch, epoch: i64) -> impl Stream<Item = Result<Batch>>
where
    S: Stream<Item = Result<Batch>> + Unpin,
{
    stream::unfold(Some((batches, watch)), move |open| async move {
        let (mut batches, mut watch) = open?;
        let next = tokio::select! {
            biased;
            over = watch.until_over(epoch) => Some(Err(over)),
            next = batches.next() => next,
        }?;
        let open = next.is_ok().then_some((batches, watch));
        Some((next, open))
    })
}

type Slot = Arc<tokio::sync::Mutex<Option<Count>>>;

/// What was counted of subscriptions, those that were asked for lately first of all.
#[derive(Default)]
pub(super) struct Counts(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    slots: HashMap<SubscriptionKey, Counted>,
    /// Counts the times that one was asked for.
    asked: u64,
}

struct Counted {
    slot: Slot,
    /// How many numbers it keeps.
    size: usize,
    asked: u64,
}

impl Counts {
    /// Where the count of a subscription is kept; one at a time counts there.
    fn slot(&self, key: &SubscriptionKey) -> Slot {
        let mut kept = self.lock();
        kept.asked += 1;
        let asked = kept.asked;
        let empty = || Counted {
            slot: Slot::default(),
            size: 0,
            asked,
        };
        let counted = kept.slots.entry(key.clone()).or_insert_with(empty);
        counted.asked = asked;
        counted.slot.clone()
    }

    /// Notes how much one keeps; forgets others if that is too much in all.
    fn note(&self, key: &SubscriptionKey, size: usize) {
        let mut kept = self.lock();
        if let Some(counted) = kept.slots.get_mut(key) {
            // One that keeps nothing takes some room all the same.
            counted.size = size + 4;
        }
        let mut all: usize = kept.slots.values().map(|counted| counted.size).sum();
        while all > MAX_NUMBERS {
            let others = kept.slots.iter().filter(|(other, _)| *other != key);
            let oldest = others.min_by_key(|(_, counted)| counted.asked);
            let Some(oldest) = oldest.map(|(oldest, _)| oldest.clone()) else {
                return;
            };
            all -= kept.slots.remove(&oldest).map_or(0, |counted| counted.size);
        }
    }

    fn forget(&self, key: &SubscriptionKey) {
        self.lock().slots.remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
