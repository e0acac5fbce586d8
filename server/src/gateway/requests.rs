//! Request ids: a retry never makes a silent second call.
//!
//! What only changes our own database claims, works and keeps its answer in one
//! transaction ([`known`], [`keep`]). What may reach a platform claims first, then
//! works, both in a task of its own that the caller only awaits ([`Gateway::once`]). Kept
//! for a day are: success, a definite refusal, an unknown outcome. A failure that
//! surely reached no platform frees the id.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::Gateway;
use crate::{
    error::{Error, Result, Trouble},
    model::{CommunityId, ProcessId, RequestKey},
    proof::{Bug, is},
    store::{
        Tx, communities, processes,
        requests::{self, Mark, Request},
    },
};

/// How much longer than a step a claim holds: what is done around the step.
const LEASE_MARGIN: Duration = Duration::from_secs(15);
/// How long a database is asked again that does not say whether an id is claimed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is left alone in between.
const PAUSE: Duration = Duration::from_millis(200);

/// A request id with what was asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    key: Option<RequestKey>,
    digest: String,
    /// The community that the answer speaks of; gone with it.
    community: Option<CommunityId>,
    /// The process that it is to start; gone if nothing came of it.
    process: Option<ProcessId>,
}

impl Ask {
    /// `body` is everything that makes it the same request.
    pub(super) fn new(key: Option<RequestKey>, body: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(body).map_err(Error::internal)?;
        let digest = hex::encode(Sha256::digest(bytes));
        Ok(Self {
            key,
            digest,
            community: None,
            process: None,
        })
    }

    pub(super) fn about(mut self, community: &CommunityId) -> Self {
        self.community = Some(community.clone());
        self
    }

    pub(super) fn starting(mut self, process: ProcessId) -> Self {
        self.process = Some(process);
        self
    }
}

/// The answer that is kept for this request, if there is one.
pub(super) async fn known<T: DeserializeOwned>(tx: &Tx, ask: &Ask) -> Result<Option<T>> {
    let Some(key) = &ask.key else { return Ok(None) };
    if is(Bug::ForgetRequests) {
        requests::delete(tx, key).await?;
        return Ok(None);
    }
    let Some(request) = requests::find(tx, key).await? else {
        return Ok(None);
    };
    if request.digest != ask.digest {
        return Err(Error::RequestIdReused);
    }
    let Some(answer) = request.answer else {
        return Err(match tx.now < request.lease {
            true => Error::InProgress,
            false => lost(),
        });
    };
    let answer: Result<T> = serde_json::from_str(&answer)
        .map_err(|e| Error::internal(format!("a kept answer is bad: {e}")))?;
    answer.map(Some)
}

/// Keeps the answer to this request with the change that made it.
pub(super) async fn keep<T: Serialize>(
    tx: &Tx,
    ask: &Ask,
    answer: Result<&T, &Error>,
) -> Result<()> {
    let Some(key) = &ask.key else { return Ok(()) };
    let answer = serde_json::to_string(&answer).map_err(Error::internal)?;
    if requests::find(tx, key).await?.is_some() {
        return requests::answer(tx, key, answer).await;
    }
    if let Some(id) = &ask.community
        && let Err(Error::NotFound(_)) = communities::find(tx, id).await
    {
        // It was deleted meanwhile, with all that speaks of it.
        return Ok(());
    }
    let request = Request {
        digest: ask.digest.clone(),
        answer: Some(answer),
        lease: tx.now,
        create_time: tx.now,
    };
    requests::insert(tx, key, ask.community.as_ref(), &request).await?;
    Ok(())
}

/// The claim that the last run of a change has made, if it came so far.
#[derive(Clone, Default)]
struct Made(Arc<Mutex<Option<Mark>>>);

impl Made {
    fn mark(&self) -> MutexGuard<'_, Option<Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Claims the request id and runs `work`, in a task of its own: a caller who goes away
    /// leaves no claim behind with which nothing is done. `work` itself [`keep`]s its
    /// success, in the transaction of its effect.
    pub(super) async fn once<T>(
        self: &Arc<Self>,
        ask: Ask,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let gateway = self.clone();
        self.detached(async move {
            if let Some(answer) = gateway.claim(&ask).await? {
                return Ok(answer);
            }
            let done = work.await;
            if let Err(error) = &done {
                gateway.settle(ask, error.clone()).await;
            }
            done
        })
        .await
    }

    async fn claim<T: DeserializeOwned + Send + 'static>(&self, ask: &Ask) -> Result<Option<T>> {
        let Some(key) = &ask.key else {
            return Ok(None);
        };
        let made = Made::default();
        let claimed = self.try_claim(key.clone(), ask.clone(), made.clone()).await;
        let in_doubt = matches!(claimed, Err(Error::StoreUnavailable));
        let mark = made.mark().take();
        if let Some(mark) = mark.filter(|_| in_doubt) {
            self.withdraw_claim(key, &mark).await;
        }
        claimed
    }

    async fn try_claim<T: DeserializeOwned + Send + 'static>(
        &self,
        key: RequestKey,
        ask: Ask,
        made: Made,
    ) -> Result<Option<T>> {
        let lease = self.lease();
        self.store
            .write(async move |tx| {
                made.mark().take();
                if let Some(answer) = known(tx, &ask).await? {
                    return Ok(Some(answer));
                }
                if is(Bug::CallBeforeClaim) {
                    return Ok(None);
                }
                if let Some(id) = &ask.community {
                    communities::find(tx, id).await?;
                }
                let request = Request {
                    digest: ask.digest.clone(),
                    answer: None,
                    lease: tx.now.after(lease),
                    create_time: tx.now,
                };
                let mark = requests::insert(tx, &key, ask.community.as_ref(), &request).await?;
                made.mark().replace(mark);
                Ok(None)
            })
            .await
    }

    /// Frees an id of which nobody heard whether it is claimed: nothing was done, and a
    /// retry must not find that it might have been.
    async fn withdraw_claim(&self, key: &RequestKey, mark: &Mark) {
        let until = Instant::now() + PATIENCE;
        loop {
            let (key, mark) = (key.clone(), mark.clone());
            let freed = self
                .store
                .write(async move |tx| requests::withdraw(tx, &key, &mark).await);
            match freed.await {
                Ok(()) => return,
                Err(_) if Instant::now() < until => sleep(PAUSE).await,
                Err(error) => {
                    tracing::error!(%error, "a request id stays claimed with which nothing was done");
                    return;
                }
            }
        }
    }

    /// How long something that was begun may still be running.
    pub(super) fn lease(&self) -> Duration {
        self.settings.step_timeout + LEASE_MARGIN
    }

    /// Keeps a failure, or frees the id if surely nothing was done. An answer that is
    /// there says that it was done, whatever failed afterwards, or seemed to: the answer to
    /// a COMMIT may be lost.
    async fn settle(&self, ask: Ask, error: Error) {
        let Some(key) = ask.key.clone() else { return };
        let is_kept = is_kept(&error);
        let settled = self.store.write(async move |tx| {
            // The process before its request, as whoever answers that takes them.
            if let Some(process) = ask.process
                && !is_kept
            {
                processes::delete_starting(tx, process).await?;
            }
            // That COMMIT may still be running, and is waited for.
            let request = requests::take(tx, &key).await?;
            if request.is_some_and(|request| request.answer.is_some()) {
                return Ok(());
            }
            match is_kept {
                true => keep::<()>(tx, &ask, Err(&error)).await,
                false => requests::delete(tx, &key).await,
            }
        });
        if let Err(error) = settled.await {
            // The claim's lease runs out; then the outcome counts as unknown.
            tracing::error!(%error, "the failure of a request could not be kept");
        }
    }
}

fn is_kept(error: &Error) -> bool {
    match error {
        Error::OutcomeUnknown { .. } => true,
        // The platform may have been asked before the plugin said no, or before the
        // process was given up.
        Error::Refused { .. } | Error::Done { .. } => true,
        Error::Platform { trouble, .. } => {
            matches!(trouble, Trouble::Unauthorized(_) | Trouble::Rejected { .. })
        }
        _ => false,
    }
}

/// The caller names the plugin.
fn lost() -> Error {
    Error::OutcomeUnknown {
        plugin: String::new(),
        why: "the gateway stopped in the midst of it".to_owned(),
    }
}
