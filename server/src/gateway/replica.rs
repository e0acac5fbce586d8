//! This gateway among others on the same database: that it lives, what it may claim, and
//! how it notices that it was asleep.
//!
//! It says every second that it lives. If it could not for longer than its lease, others
//! may have taken what it had: it asks no platform under such a claim, and begins anew
//! under another id. What it then still writes is refused by the claim's number. A gateway
//! that is alone on its database need not say anything.
//!
//! What it is doing under which claim it keeps in mind ([`Slots`]). A claim under its own
//! id that it does not know of holds up nothing: it claims the thing anew.
//!
//! Where the database is so slow that to say so takes as long as the lease, the lease grows
//! with it: else nobody would live long enough to do anything.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::Gateway;
use crate::{
    error::{Error, Result},
    model::{InstallationId, Time},
    proof::{Bug, is},
    store::{
        Tx,
        claims::{self, Claim, Claimer, Replica, Wanted, Work},
        installations,
    },
};

/// How often a lease is renewed within its length.
const RENEWALS: u32 = 5;
/// A lease lasts at least this many times what it takes to say so.
const SAYINGS: u32 = 4;
/// But it does not grow beyond this.
const MAX_LEASE: Duration = Duration::from_secs(60);
/// How long a gateway that is alone lives: nobody would take over from it.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// How long to wait before what is done is given back again, where that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The most of one kind that is done at the same time.
const SLOTS: usize = 1024;
/// The most of that for one installation: a platform that hangs keeps the rest free.
const SHARE: usize = 64;

/// As what this gateway is known to others.
pub(super) struct Life {
    /// As it is set.
    lease: Duration,
    now: Mutex<Option<Now>>,
    /// How long it took to say so, the last time and the time before.
    took: Mutex<[Duration; 2]>,
}

#[derive(Clone, Copy)]
struct Now {
    id: Uuid,
    /// When it last said so, and for how long; nothing for one that is alone.
    said: Option<(Instant, Duration)>,
}

impl Life {
    pub(super) fn new(lease: Duration) -> Self {
        let (now, took) = (Mutex::default(), Mutex::default());
        Self { lease, now, took }
    }

    /// Its id, if it has said lately that it lives.
    fn id(&self) -> Option<Uuid> {
        let Now { id, said } = (*lock(&self.now))?;
        let is_late = said.is_some_and(|(said, lease)| said.elapsed() >= lease);
        (!is_late).then_some(id)
    }

    /// For how long it says next that it lives. What took long only once was a pause or an
    /// outage: after it others should not wait longer for this one than for any other.
    fn lease(&self) -> Duration {
        let [last, before] = *lock(&self.took);
        let needed = (last.min(before) * SAYINGS).min(MAX_LEASE);
        needed.max(self.lease)
    }

    fn set(&self, id: Uuid, said: Option<(Instant, Duration)>) {
        *lock(&self.now) = Some(Now { id, said });
        if let Some((said, _)) = said {
            let mut took = lock(&self.took);
            *took = [said.elapsed(), took[0]];
        }
    }
}

impl Gateway {
    /// Begins to live: before it, nothing can be claimed.
    pub async fn join(&self) -> Result<()> {
        self.say_alive().await?;
        let exclusive: Vec<String> = self
            .plugins
            .values()
            .filter(|plugin| plugin.operator_credentials)
            .map(|plugin| plugin.descriptor.name.clone())
            .collect();
        self.store
            .write(async move |tx| installations::make_all_exclusive(tx, &exclusive).await)
            .await
    }

    /// Says that this gateway lives, under a new id if it did not for too long.
    pub(super) async fn say_alive(&self) -> Result<()> {
        let (lease, alone) = (self.life.lease(), self.store.is_alone());
        let known = *lock(&self.life.now);
        if alone && known.is_some() {
            return Ok(());
        }
        let new = Uuid::new_v4();
        // Before it is said: by then the lease is shorter here than there.
        let said = Instant::now();
        let id = self
            .store
            .write(async move |tx| {
                let until = tx.now.after(if alone { FOR_EVER } else { lease });
                if let Some(Now { id, .. }) = known
                    && claims::renew(tx, id, until).await?
                {
                    return Ok(id);
                }
                if alone {
                    // Those of before are gone, and nobody else can be there.
                    claims::trim(tx, Time(i64::MAX)).await?;
                }
                let version = env!("CARGO_PKG_VERSION");
                claims::begin(tx, &Replica { id: new, version }, until).await?;
                Ok(new)
            })
            .await?;
        if known.is_some_and(|known| known.id != id) {
            tracing::warn!(
                "this gateway did not say for too long that it lives; others may have taken over what it did"
            );
        }
        self.life.set(id, (!alone).then_some((said, lease)));
        Ok(())
    }

    /// Says so again and again, until it is told to end.
    pub(super) async fn stay_alive(self: Arc<Self>, mut ended: watch::Receiver<bool>) {
        if self.store.is_alone() {
            return;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.life.lease / RENEWALS) => {}
                _ = ended.wait_for(|ended| *ended) => return,
            }
            if let Err(error) = self.say_alive().await {
                tracing::warn!(%error, "this gateway cannot say that it lives");
            }
        }
    }

    /// Ends: what it has not given back may be taken at once.
    pub(super) async fn leave(&self) {
        let Some(Now { id, .. }) = lock(&self.life.now).take() else {
            return;
        };
        let left = self.store.write(async move |tx| claims::end(tx, id).await);
        if let Err(error) = left.await {
            tracing::warn!(%error, "this gateway could not say that it ends");
        }
    }

    fn replica(&self) -> Result<Uuid> {
        self.life.id().ok_or(Error::ClaimLost)
    }

    /// This gateway, for new claims of some work.
    pub(super) fn claimer(&self, work: Work) -> Result<Claimer> {
        let replica = self.replica()?;
        let doing = self.slots.doing(work, replica);
        Ok(Claimer { replica, doing })
    }

    /// Whether what is done under a claim may still reach a platform. It is asked before
    /// each step, since this gateway may have been asleep.
    pub(super) fn check_awake(&self, under: Under) -> Result<()> {
        match under.claim {
            _ if is(Bug::NoFencing) => Ok(()),
            Some(claim) if self.replica()? != claim.replica => Err(Error::ClaimLost),
            _ => Ok(()),
        }
    }

    /// Gives back what nothing was done with.
    pub(super) async fn let_go(&self, under: Under) -> Result<()> {
        let Some(claim) = under.claim.filter(|_| under.ends) else {
            return Ok(());
        };
        self.store
            .write(async move |tx| claims::release(tx, &claim).await)
            .await
    }

    /// Gives back what broke, or could not be given back; tries so while it is ours.
    pub(super) async fn surely_let_go(&self, claim: Claim) {
        while self.check_awake(Under::all_of(claim)).is_ok() {
            match self.let_go(Under::all_of(claim)).await {
                Ok(()) | Err(Error::ClaimLost) => return,
                Err(error) => {
                    tracing::warn!(%error, work = ?claim.work, id = %claim.id, "a claim cannot be given back; trying again");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs a chore in a task of its own. When it is well done, the claim is given back.
    pub(super) fn run(
        self: &Arc<Self>,
        claim: Claim,
        chore: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let slot = Slot::take(&self.slots, claim);
        let gateway = self.clone();
        tokio::spawn(async move {
            let done = tokio::spawn(chore).await;
            match done.unwrap_or_else(|panic| Err(Error::internal(panic))) {
                Ok(()) => {}
                Err(Error::ClaimLost) => {
                    tracing::warn!(work = ?claim.work, id = %claim.id, "another gateway has taken this over");
                }
                Err(error) => {
                    tracing::error!(%error, work = ?claim.work, id = %claim.id, "a chore broke");
                    gateway.surely_let_go(claim).await;
                }
            }
            drop(slot);
            // There is room for more, or more has become due of the same.
            gateway.wake.notify_one();
        });
    }
}

/// The claim under which something is done, if it was not asked for by a caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Under {
    pub(super) claim: Option<Claim>,
    /// Whether what is done is all of it: then the claim is given back with it.
    ends: bool,
}

impl Under {
    /// A caller asks for it.
    pub(super) const CALLER: Self = Self {
        claim: None,
        ends: false,
    };

    /// It is all that is to be done under the claim.
    pub(super) fn all_of(claim: Claim) -> Self {
        let (claim, ends) = (Some(claim), true);
        Self { claim, ends }
    }

    /// It is a part of it.
    pub(super) fn part_of(claim: Claim) -> Self {
        let (claim, ends) = (Some(claim), false);
        Self { claim, ends }
    }

    /// The same claim, for a part of what is to be done.
    pub(super) fn in_part(self) -> Self {
        let ends = false;
        Self { ends, ..self }
    }

    /// In the transaction of what was done: it stays only if the claim still holds.
    pub(super) async fn check(self, tx: &Tx) -> Result<()> {
        match self.claim {
            None => Ok(()),
            Some(claim) if self.ends => claims::release(tx, &claim).await,
            Some(claim) => claims::hold(tx, &claim).await,
        }
    }
}

/// What is being done, by kind.
#[derive(Default)]
pub(super) struct Slots {
    taken: Mutex<HashMap<Work, HashSet<Claim>>>,
}

impl Slots {
    /// What more may be claimed of a kind; `None` if nothing.
    pub(super) fn room(&self, work: Work, by: Claimer) -> Option<Wanted> {
        let taken = lock(&self.taken);
        let mut counts: HashMap<InstallationId, usize> = HashMap::new();
        for claim in taken.get(&work).into_iter().flatten() {
            *counts.entry(claim.installation_id).or_default() += 1;
        }
        let free = SLOTS.saturating_sub(counts.values().sum());
        let full = counts.into_iter().filter(|(_, count)| *count >= SHARE);
        let not_of = full.map(|(id, _)| id).collect();
        let limit = free.min(SHARE) as u64;
        (free > 0).then_some(Wanted { by, limit, not_of })
    }

    /// What of a kind is being done under an id.
    fn doing(&self, work: Work, replica: Uuid) -> Vec<Uuid> {
        let taken = lock(&self.taken);
        let claims = taken.get(&work).into_iter().flatten();
        // What is still done under an id of before is anybody's.
        let own = claims.filter(|claim| claim.replica == replica);
        own.map(|claim| claim.id).collect()
    }

    /// Whether nothing that was due is being done.
    pub(super) fn is_idle(&self) -> bool {
        let taken = lock(&self.taken);
        Work::DUE
            .iter()
            .all(|work| taken.get(work).is_none_or(HashSet::is_empty))
    }
}

/// One that is taken; free again when it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    pub(super) claim: Claim,
}

impl Slot {
    pub(super) fn take(slots: &Arc<Slots>, claim: Claim) -> Self {
        let mut taken = lock(&slots.taken);
        taken.entry(claim.work).or_default().insert(claim);
        drop(taken);
        let slots = slots.clone();
        Self { slots, claim }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = lock(&self.slots.taken);
        if let Some(of_kind) = taken.get_mut(&self.claim.work) {
            of_kind.remove(&self.claim);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
