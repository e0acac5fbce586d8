//! Request ids: a retry never makes a silent second call.
//!
//! What only changes our own database claims, works and keeps its answer in one
//! transaction ([`known`], [`keep`]). What may reach a platform claims first, then
//! works in a task of its own that the caller only awaits ([`Gateway::once`]). Kept
//! for a day are: success, a definite refusal, an unknown outcome. A failure that
//! surely reached no platform frees the id.

use std::{future::Future, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::Gateway;
use crate::{
    error::{Error, Result, Trouble},
    model::{CommunityId, ProcessId, RequestKey},
    proof::{Bug, is},
    store::{
        Tx, communities, processes,
        requests::{self, Request},
    },
};

/// How much longer than a step a claim holds: what is done around the step.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

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
    requests::insert(tx, key, ask.community.as_ref(), &request).await
}

impl Gateway {
    /// Claims the request id, then runs `work` in a task of its own. `work` itself
    /// [`keep`]s its success, in the transaction of its effect.
    pub(super) async fn once<T>(
        self: &Arc<Self>,
        ask: Ask,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        if let Some(answer) = self.claim(&ask).await? {
            return Ok(answer);
        }
        let gateway = self.clone();
        self.detached(async move {
            let done = work.await;
            if let Err(error) = &done {
                gateway.settle(ask, error.clone()).await;
            }
            done
        })
        .await
    }

    async fn claim<T: DeserializeOwned + Send + 'static>(&self, ask: &Ask) -> Result<Option<T>> {
        let Some(key) = ask.key.clone() else {
            return Ok(None);
        };
        let (ask, lease) = (ask.clone(), self.lease());
        self.store
            .write(async move |tx| {
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
                requests::insert(tx, &key, ask.community.as_ref(), &request).await?;
                Ok(None)
            })
            .await
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
        let settled = self.store.write(async move |tx| {
            let request = requests::find(tx, &key).await?;
            if request.is_some_and(|request| request.answer.is_some()) {
                return Ok(());
            }
            if is_kept(&error) {
                return keep::<()>(tx, &ask, Err(&error)).await;
            }
            if let Some(process) = ask.process {
                processes::delete_starting(tx, process).await?;
            }
            requests::delete(tx, &key).await
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
