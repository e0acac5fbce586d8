//! Tokens: created, listed, revoked; and those that were used lately, kept in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::Gateway;
use crate::{
    error::{Error, Result, Thing},
    model::{Bearer, Caller, Principal, Role, Scope, Time, Token, TokenId},
    store::{
        Store, Tx,
        claims::{self, Turn},
        requests, subscriptions, tokens,
    },
};

/// How long what is in memory counts without another look at the database, where
/// another gateway may have revoked it. Streams end within twice this time.
const FRESH: Duration = Duration::from_secs(2);
/// After what time without a call a token is forgotten.
const IDLE: Duration = Duration::from_secs(60);
const MINUTE: i64 = 60_000_000;

/// A token as the store keeps it.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) token: Arc<Token>,
    pub(super) secret_hash: Arc<str>,
    read: Instant,
}

/// The tokens that were used lately.
pub(super) struct Tokens {
    known: Mutex<HashMap<TokenId, Known>>,
    /// When each was used, to the minute, since that was last written down.
    used: Mutex<HashMap<TokenId, Time>>,
    /// Counts the times that some were found to be gone.
    gone: watch::Sender<u64>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            used: Mutex::default(),
            gone: watch::Sender::new(0),
        }
    }
}

impl Tokens {
    /// A token, from memory if it was read a moment ago.
    pub(super) async fn find(&self, store: &Store, id: &TokenId) -> Result<Known> {
        let known = lock(&self.known).get(id).cloned();
        if let Some(known) = known.filter(|known| known.read.elapsed() < FRESH) {
            return Ok(known);
        }
        self.read(store, id).await
    }

    async fn read(&self, store: &Store, id: &TokenId) -> Result<Known> {
        // Before it is read: what is revoked meanwhile must be looked at again.
        let read = Instant::now();
        let gone = *self.gone.borrow();
        let found = tokens::find(store, id).await;
        let mut known = lock(&self.known);
        match found {
            Ok(kept) => {
                // The same allocation as long as it lives: it is what streams hold.
                let token = known.get(id).map(|known| known.token.clone());
                let token = token.filter(|token| is_same(token, &kept.token));
                let found = Known {
                    token: token.unwrap_or_else(|| Arc::new(kept.token)),
                    secret_hash: kept.secret_hash.into(),
                    read,
                };
                if gone == *self.gone.borrow() {
                    known.insert(id.clone(), found.clone());
                }
                Ok(found)
            }
            Err(error) => {
                if matches!(error, Error::NotFound(_)) && known.remove(id).is_some() {
                    drop(known);
                    self.gone.send_modify(|count| *count += 1);
                }
                Err(error)
            }
        }
    }

    fn forget(&self, id: &TokenId) {
        lock(&self.known).remove(id);
        lock(&self.used).remove(id);
        self.gone.send_modify(|count| *count += 1);
    }

    /// Notes that a token was used, which is written down later.
    pub(super) fn note_use(&self, id: &TokenId, now: Time) {
        let minute = Time(now.0 - now.0.rem_euclid(MINUTE));
        let mut used = lock(&self.used);
        match used.get_mut(id) {
            Some(time) => *time = minute,
            None => {
                used.insert(id.clone(), minute);
            }
        }
    }

    /// Resolves when a token has expired or is gone.
    pub(super) async fn until_invalid(&self, store: &Store, token: &Arc<Token>) {
        let mut gone = self.gone.subscribe();
        loop {
            let expired = async {
                match token.expire_time {
                    Some(time) => tokio::time::sleep(time.since(store.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expired => return,
                changed = gone.changed() => if changed.is_err() { return },
            }
            if matches!(self.find(store, &token.id).await, Err(Error::NotFound(_))) {
                return;
            }
        }
    }

    /// Looks whether those in memory are still there; forgets those that nobody uses.
    async fn look_again(&self, store: &Store) {
        let stale: Vec<TokenId> = {
            let mut known = lock(&self.known);
            known.retain(|_, one| Arc::strong_count(&one.token) > 1 || one.read.elapsed() < IDLE);
            let stale = known.values().filter(|one| one.read.elapsed() >= FRESH);
            let in_use = stale.filter(|one| Arc::strong_count(&one.token) > 1);
            in_use.map(|one| one.token.id.clone()).collect()
        };
        for id in stale {
            if let Err(error) = self.read(store, &id).await
                && !matches!(error, Error::NotFound(_))
            {
                // It still counts as valid; the database comes back or is gone for all.
                tracing::warn!(%error, "whether a token still holds could not be read");
                return;
            }
        }
    }

    /// Writes down when tokens were used.
    async fn keep_uses(&self, store: &Store) -> Result<()> {
        let used = std::mem::take(&mut *lock(&self.used));
        let used: BTreeMap<TokenId, Time> = used.into_iter().collect();
        if used.is_empty() {
            return Ok(());
        }
        store
            .write(async move |tx| {
                // In order, as other gateways do it.
                for (id, time) in &used {
                    tokens::set_last_use(tx, id, *time).await?;
                }
                Ok(())
            })
            .await
    }
}

/// A token that is to be created.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is for, for people.
    pub display_name: String,
    /// What it may do.
    pub role: Role,
    /// Where it holds.
    pub scope: Scope,
    /// When it stops working.
    pub expire_time: Option<Time>,
    /// Who calls with it; none means the token itself.
    pub principal: Option<Principal>,
}

impl Gateway {
    /// Creates a token: as it is stored, and its secret, which nobody sees again.
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<(Token, Bearer)> {
        let mine = caller.scope();
        check_new(&mine, &new, self.store.now())?;
        let bearer = new_bearer();
        let kept = kept(&bearer, new, self.store.now());
        let token = kept.token.clone();
        self.store
            .write_last(async move |tx| {
                // A principal's subscriptions and request ids are its own. Another gateway
                // may create one for the same principal at the same time.
                claims::turn(tx, Turn::Token).await?;
                check_principal(tx, &kept.token.principal, &mine).await?;
                tokens::insert(tx, &kept).await
            })
            .await?;
        Ok((token, bearer))
    }

    /// Up to `limit` of the tokens that a caller may see, after one, oldest first.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        mut after: Option<(Time, TokenId)>,
        limit: u64,
    ) -> Result<Vec<Token>> {
        let mine = caller.scope();
        let mut seen = Vec::new();
        loop {
            let page = tokens::list(&self.store, after.as_ref(), limit).await?;
            let Some(last) = page.last() else {
                return Ok(seen);
            };
            after = Some((last.create_time, last.id.clone()));
            seen.extend(page.into_iter().filter(|token| mine.covers(&token.scope)));
            if seen.len() as u64 >= limit {
                seen.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                return Ok(seen);
            }
        }
    }

    /// Revokes a token that a caller may see. Its streams end.
    pub async fn revoke_token(&self, caller: &Caller, id: TokenId) -> Result<()> {
        let (mine, revoked) = (caller.scope(), id.clone());
        self.store
            .write(async move |tx| {
                let kept = tokens::find(tx, &revoked).await?;
                if !mine.covers(&kept.token.scope) {
                    return Err(Error::NotFound(Thing::Token(revoked.clone())));
                }
                tokens::delete(tx, &revoked).await
            })
            .await?;
        self.tokens.forget(&id);
        Ok(())
    }

    /// A token that may do everything, if there is none in the database. `keep` is called
    /// with its text before it is valid; it is not if another gateway was quicker, and then
    /// there is none.
    pub async fn first_token(
        &self,
        keep: impl FnOnce(&str) -> Result<()>,
    ) -> Result<Option<TokenId>> {
        if tokens::has_admin(&self.store, self.store.now()).await? {
            return Ok(None);
        }
        let bearer = new_bearer();
        keep(&bearer.text())?;
        let new = NewToken {
            display_name: "made at the first start".to_owned(),
            role: Role::Admin,
            scope: Scope::Everywhere,
            expire_time: None,
            principal: None,
        };
        let kept = kept(&bearer, new, self.store.now());
        let id = kept.token.id.clone();
        self.store
            .write_last(async move |tx| {
                claims::turn(tx, Turn::Token).await?;
                if tokens::has_admin(tx, tx.now).await? {
                    return Ok(None);
                }
                tokens::insert(tx, &kept).await?;
                Ok(Some(id.clone()))
            })
            .await
    }

    /// Follows what other gateways revoke, and writes down what is counted by the
    /// minute, until the end.
    pub async fn follow_tokens(self: Arc<Self>, mut closing: watch::Receiver<bool>) {
        let mut minute = Instant::now();
        loop {
            let is_end = tokio::select! {
                _ = closing.wait_for(|closing| *closing) => true,
                () = tokio::time::sleep(FRESH) => false,
            };
            self.tokens.look_again(&self.store).await;
            if is_end || minute.elapsed() >= IDLE {
                minute = Instant::now();
                if let Err(error) = self.tokens.keep_uses(&self.store).await {
                    tracing::warn!(%error, "when tokens were used could not be written down");
                }
                self.audit_refused().await;
            }
            if is_end {
                return;
            }
        }
    }
}

/// Whether a token has expired.
pub(super) fn is_over(token: &Token, now: Time) -> bool {
    token.expire_time.is_some_and(|time| time <= now)
}

fn check_new(mine: &Scope, new: &NewToken, now: Time) -> Result<()> {
    if !mine.covers(&new.scope) {
        let why = match &new.scope {
            Scope::Everywhere => {
                "must name some of your token's own communities: yours does not hold in all"
            }
            Scope::Only(_) => "names a community in which your own token does not hold",
        };
        return Err(Error::invalid("token.community_ids", why));
    }
    if new.expire_time.is_some_and(|time| time <= now) {
        let why = "lies in the past; leave it out for a token that does not expire";
        return Err(Error::invalid("token.expire_time", why));
    }
    Ok(())
}

/// Whoever may not see all that a principal has must not become it.
async fn check_principal(tx: &Tx, principal: &Principal, mine: &Scope) -> Result<()> {
    let same = tokens::of_principal(tx, principal).await?;
    if same.iter().any(|token| !mine.covers(&token.scope)) {
        let why = "belongs to a token that you may not see; choose another";
        return Err(Error::invalid("token.principal", why));
    }
    if *mine == Scope::Everywhere || !same.is_empty() {
        return Ok(());
    }
    // Its tokens are gone, and where they held with them. What it has is left.
    let has_more = subscriptions::count(tx, principal).await? > 0
        || requests::has_beyond(tx, principal, mine).await?;
    match has_more {
        true => {
            let why = "had a token that is gone, and has subscriptions or request ids still; choose another, or ask an admin of all communities";
            Err(Error::invalid("token.principal", why))
        }
        false => Ok(()),
    }
}

fn new_bearer() -> Bearer {
    Bearer::new(rand::random(), rand::random())
}

fn kept(bearer: &Bearer, new: NewToken, now: Time) -> tokens::Kept {
    let own = || Principal::trusted(bearer.id.as_str());
    let token = Token {
        id: bearer.id.clone(),
        display_name: new.display_name,
        role: new.role,
        scope: new.scope,
        principal: new.principal.unwrap_or_else(own),
        expire_time: new.expire_time,
        create_time: now,
        last_use_time: None,
    };
    let secret_hash = bearer.hash();
    tokens::Kept { token, secret_hash }
}

/// When it was used is no part of it.
fn is_same(one: &Token, other: &Token) -> bool {
    let last_use_time = one.last_use_time;
    let other = Token {
        last_use_time,
        ..other.clone()
    };
    *one == other
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
