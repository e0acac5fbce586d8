//! What platforms granted, kept fresh: renewed once for all steps that ask for it, and
//! saved before any of them gets it, so that a refresh token which the platform replaces
//! is not lost.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Gateway, mask,
    replica::{Slot, Under},
    steps::only_read,
};
use crate::{
    error::{Error, Result, Trouble},
    model::{Credentials, Installation, InstallationId},
    plugins::kit::{Call, Held, Plugin},
    store::{
        claims::{self, Work},
        credentials, installations,
    },
};

/// So long before they expire they are renewed.
const MARGIN: Duration = Duration::from_secs(60);
/// After what time those that another gateway renews are looked at again.
const PAUSE: Duration = Duration::from_millis(100);
/// After what time those that could not be kept are tried to be kept again.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// The way to credentials that are not kept yet.
pub(super) fn given(credentials: Option<Credentials>) -> Held {
    Arc::new(move || {
        let given = credentials.clone().ok_or_else(none);
        Box::pin(async move { given })
    })
}

/// What a step was told of credentials.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// The tokens that it knows.
    pub(super) fn tokens(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, held: &Credentials) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.extend(tokens_of(held));
    }
}

/// Notes what the step is told: it must not be repeated.
pub(super) fn told(call: &mut Call) -> Told {
    let told = Told::default();
    let (held, noted) = (call.credentials.clone(), told.clone());
    call.credentials = Arc::new(move || {
        let (held, noted) = (held(), noted.clone());
        Box::pin(async move { held.await.inspect(|held| noted.note(held)) })
    });
    told
}

fn tokens_of(held: &Credentials) -> impl Iterator<Item = String> {
    let access = std::iter::once(held.access_token.clone());
    access.chain(held.refresh_token.clone())
}

impl Gateway {
    /// The way to what was granted to an installation.
    pub(super) fn held(&self, plugin: &Plugin, id: InstallationId) -> Held {
        if plugin.oauth.is_none() {
            return given(None);
        }
        let me = self.me.clone();
        Arc::new(move || {
            let me = me.clone();
            Box::pin(async move {
                let gateway = me.upgrade().ok_or(Error::Draining)?;
                gateway.credentials(id).await
            })
        })
    }

    fn is_fresh(&self, held: &Credentials) -> bool {
        let soon = self.store.now().after(MARGIN);
        held.expire_time.is_none_or(|time| soon < time)
    }

    async fn credentials(self: Arc<Self>, id: InstallationId) -> Result<Credentials> {
        let held = find(&self, id).await?;
        if self.is_fresh(&held) {
            return Ok(held);
        }
        // A step that is cut off must not cut off this: the platform may have replaced
        // the refresh token already. A drain waits for it, unless it has begun.
        let working = self.working.clone().try_read_owned();
        let task = tokio::spawn(async move {
            let renewed = self.renew_credentials(id, held).await;
            drop(working);
            renewed
        });
        task.await
            .map_err(|panic| Error::internal(format!("a refresh broke: {panic}")))?
    }

    async fn renew_credentials(
        self: Arc<Self>,
        id: InstallationId,
        seen: Credentials,
    ) -> Result<Credentials> {
        let until = Instant::now() + self.lease();
        // Whoever has it may wait for the database: nobody waits for that for ever.
        let only_one = timeout_at(until, self.renewing.lock(id)).await;
        let _only_one = only_one.map_err(|_| slow())?;
        loop {
            let held = find(&self, id).await?;
            if held.access_token != seen.access_token || self.is_fresh(&held) {
                return Ok(held);
            }
            if let Some(slot) = self.claim_credentials(id).await? {
                return self.renew_claimed(id, seen, slot).await;
            }
            if Instant::now() > until {
                return Err(slow());
            }
            // Another gateway renews them.
            sleep(PAUSE).await;
        }
    }

    /// One gateway renews at a time: many platforms take a refresh token only once. What
    /// it gets is kept even if it lost the claim meanwhile, unless there is newer.
    async fn claim_credentials(&self, id: InstallationId) -> Result<Option<Slot>> {
        let by = self.claimer(Work::Credentials).map_err(|_| slow())?;
        let claimed = self
            .store
            .write(async move |tx| claims::claim_one(tx, &by, Work::Credentials, id.0).await)
            .await?;
        Ok(claimed.map(|claim| Slot::take(&self.slots, claim)))
    }

    async fn renew_claimed(
        self: &Arc<Self>,
        id: InstallationId,
        seen: Credentials,
        slot: Slot,
    ) -> Result<Credentials> {
        let claim = slot.claim;
        let renewed = async {
            // The one who had the claim before may have renewed them.
            let held = find(self, id).await?;
            if held.access_token != seen.access_token || self.is_fresh(&held) {
                return Ok(held);
            }
            let installation = installations::find(&self.store, id).await?;
            let awake = self.check_awake(Under::all_of(claim));
            awake.map_err(|_| slow())?;
            match self.refresh_at_platform(&installation, held.clone()).await {
                Ok(new) => self.surely_save_credentials(id, held, new).await,
                Err(error) => self.not_renewed(id, held, error).await,
            }
        };
        let renewed = renewed.await;
        // Nobody waits for it, unless the database fails just now.
        let (gateway, working) = (self.clone(), self.working.clone().try_read_owned());
        tokio::spawn(async move {
            gateway.surely_let_go(claim).await;
            drop((slot, working));
        });
        renewed
    }

    async fn refresh_at_platform(
        &self,
        installation: &Installation,
        old: Credentials,
    ) -> Result<Credentials> {
        let plugin = self.plugin(&installation.plugin)?;
        let oauth = self.oauth(plugin)?;
        let mut call = self.call(plugin, installation).await?;
        call.credentials = given(None);
        let tokens: Vec<String> = tokens_of(&old).collect();
        let step = &oauth.refresh;
        let (renewed, _) = self.run_step(installation, call, step, old).await;
        renewed.map_err(|error| mask::without(only_read(error), tokens))
    }

    /// Keeps what is new, however long the database cannot: the platform may take the old
    /// refresh token no more, and the new one is nowhere else. Whether the claim is lost
    /// meanwhile does not matter, since nothing newer is replaced.
    async fn surely_save_credentials(
        &self,
        id: InstallationId,
        old: Credentials,
        new: Credentials,
    ) -> Result<Credentials> {
        loop {
            match self.save_credentials(id, old.clone(), new.clone()).await {
                Err(error) if may_pass(&error) => {
                    tracing::warn!(installation_id = %id, %error, "renewed credentials cannot be kept yet; trying again");
                }
                Err(error) => {
                    tracing::error!(installation_id = %id, %error, "renewed credentials could not be kept");
                    return Err(error);
                }
                saved => return saved,
            }
            sleep(SAVE_PAUSE).await;
        }
    }

    /// Keeps what is new, unless somebody authorized it anew in the meantime.
    async fn save_credentials(
        &self,
        id: InstallationId,
        old: Credentials,
        new: Credentials,
    ) -> Result<Credentials> {
        self.store
            .write(async move |tx| {
                installations::find(tx, id).await?;
                let current = credentials::take(tx, id).await?.ok_or_else(none)?;
                if current != old {
                    return Ok(current);
                }
                credentials::put(tx, id, &new).await?;
                Ok(new.clone())
            })
            .await
    }

    /// Notes that the platform no longer trusts us, unless somebody authorized it anew
    /// in the meantime.
    async fn not_renewed(
        &self,
        id: InstallationId,
        old: Credentials,
        error: Error,
    ) -> Result<Credentials> {
        let Error::Platform {
            trouble: trouble @ Trouble::Unauthorized(_),
            ..
        } = &error
        else {
            return Err(error);
        };
        let current = find(self, id).await?;
        if current != old {
            return Ok(current);
        }
        tracing::warn!(installation_id = %id, "a platform renews no credentials");
        self.note_problem(id, Some(trouble.to_string()), Under::CALLER)
            .await?;
        Err(error)
    }
}

/// Whether the database may do it later.
fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::StoreUnavailable | Error::StoreReadOnly | Error::StorageFull
    )
}

async fn find(gateway: &Gateway, id: InstallationId) -> Result<Credentials> {
    credentials::find(&gateway.store, id)
        .await?
        .ok_or_else(none)
}

fn slow() -> Error {
    let plugin = String::new();
    let why = "the credentials are not renewed yet".to_owned();
    let trouble = Trouble::Unavailable(why);
    Error::Platform { plugin, trouble }
}

fn none() -> Error {
    let plugin = String::new();
    let why = "nothing was authorized; use AuthorizePlugin".to_owned();
    let trouble = Trouble::Unauthorized(why);
    Error::Platform { plugin, trouble }
}
