//! The audit: every mutating call and every refused one, in a chain of hashes. Only
//! AcknowledgeEvents, which comes with every batch of events, leaves no entry.
//!
//! One task writes it, many entries in one transaction, and a call is answered when
//! its entry is on disk. Calls without a valid token are only counted: one entry a
//! minute, so that a flood of them cannot fill the disk.
//!
//! The hash of an entry is SHA-256 over the hash before it (32 zeros before the first)
//! and the entry's fields, each with its length before it (see `metagov-proto`'s
//! `audit.rs`, with which any client can verify the chain).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::Gateway;
use crate::{
    error::{Error, Result, Thing},
    metrics::metrics,
    model::{AuditEntry, Caller, CommunityId},
    store::{
        Store, audit,
        claims::{self, Turn},
        storable,
    },
};

/// How many entries wait or are written at once.
const BATCH: usize = 256;
/// How often it is tried again when another gateway took the same number.
const TRIES: usize = 20;

/// A call that ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// Such as `metagov.v1.ActionService/PerformAction`.
    pub rpc: String,
    /// What it was about.
    pub community_id: Option<CommunityId>,
    /// An id, or the name of an action or process.
    pub subject: String,
    /// Such as `OK`.
    pub code: String,
}

struct Waiting {
    entry: AuditEntry,
    done: oneshot::Sender<()>,
}

/// The way to the task that writes.
pub(super) struct Audit {
    writer: mpsc::Sender<Waiting>,
    /// Calls without a valid token since the last count was written down.
    refused: AtomicU64,
}

impl Audit {
    /// Starts the task; it ends with the gateway.
    pub(super) fn start(store: Store) -> Self {
        let (writer, waiting) = mpsc::channel(BATCH);
        tokio::spawn(write(store, waiting));
        Self {
            writer,
            refused: AtomicU64::new(0),
        }
    }

    async fn append(&self, entry: AuditEntry) {
        let (done, written) = oneshot::channel();
        if self.writer.send(Waiting { entry, done }).await.is_ok() {
            // What could not be written stands in the log instead.
            _ = written.await;
        }
    }
}

impl Gateway {
    /// Counts a call without a valid token.
    pub fn count_refused(&self) {
        metrics().unauthenticated.inc();
        self.audit.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes down a call that ended; returns when that is on disk.
    pub async fn audit(&self, caller: &Caller, ended: Ended) {
        let token_id = match caller {
            Caller::Holder(token) => token.id.to_string(),
            Caller::Nobody | Caller::Anybody => String::new(),
        };
        let community = ended.community_id.as_ref();
        self.audit
            .append(AuditEntry {
                number: 0,
                record_time: self.store.now(),
                token_id,
                rpc: ended.rpc,
                community_id: community.map(ToString::to_string).unwrap_or_default(),
                subject: storable(&ended.subject),
                code: ended.code,
                hash: [0; 32],
            })
            .await;
    }

    /// The same for a call whose caller went away: nobody waits for it.
    pub fn audit_later(self: &Arc<Self>, caller: Caller, ended: Ended) {
        let gateway = self.clone();
        tokio::spawn(async move {
            // The gateway drains only when this is written.
            let working = gateway.working.clone().read_owned().await;
            gateway.audit(&caller, ended).await;
            drop(working);
        });
    }

    /// Writes down how many calls came without a valid token.
    pub(super) async fn audit_refused(&self) {
        let count = self.audit.refused.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let ended = Ended {
            subject: count.to_string(),
            code: "UNAUTHENTICATED".to_owned(),
            ..Ended::default()
        };
        self.audit(&Caller::Nobody, ended).await;
    }

    /// Up to `limit` entries that a caller may see, newest first.
    pub async fn list_audit_entries(
        &self,
        caller: &Caller,
        community_id: Option<CommunityId>,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<AuditEntry>> {
        let scope = caller.scope();
        // Not whether it exists: a deleted community's entries stay.
        if let Some(id) = community_id.as_ref().filter(|id| !scope.holds(id)) {
            return Err(Error::NotFound(Thing::Community(id.clone())));
        }
        let wanted = audit::Wanted {
            scope,
            community_id,
            before,
        };
        audit::list(&self.store, &wanted, limit).await
    }
}

async fn write(store: Store, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let entries: Vec<AuditEntry> = batch.iter().map(|one| one.entry.clone()).collect();
        if let Err(error) = append(&store, &entries).await {
            for entry in entries {
                // Whoever reads the log has them all the same.
                tracing::error!(%error, ?entry, "an audit entry could not be written");
            }
        }
        for one in batch.drain(..) {
            // An error means that its call went away.
            _ = one.done.send(());
        }
    }
}

async fn append(store: &Store, entries: &[AuditEntry]) -> Result<()> {
    for _ in 0..TRIES {
        let entries = entries.to_vec();
        let written = store.write_last(async move |tx| {
            claims::turn(tx, Turn::Audit).await?;
            let last = audit::last(tx).await?;
            let (number, hash) = last.map_or((0, [0; 32]), |last| (last.number, last.hash));
            audit::insert(tx, &chained(number, hash, entries.clone())).await
        });
        match written.await {
            // Another gateway's entry has the number.
            Err(Error::Changed) => {}
            done => return done,
        }
    }
    Err(Error::internal("others wrote the audit all the time"))
}

/// The entries with their numbers and hashes.
fn chained(mut number: i64, mut hash: [u8; 32], mut entries: Vec<AuditEntry>) -> Vec<AuditEntry> {
    for entry in &mut entries {
        number += 1;
        entry.number = number;
        hash = link(&hash, entry);
        entry.hash = hash;
    }
    entries
}

fn link(before: &[u8; 32], entry: &AuditEntry) -> [u8; 32] {
    let (number, time) = (entry.number.to_string(), entry.record_time.0.to_string());
    let mut digest = Sha256::new_with_prefix(before);
    for field in [
        &number,
        &time,
        &entry.token_id,
        &entry.rpc,
        &entry.community_id,
        &entry.subject,
        &entry.code,
    ] {
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field.as_bytes());
    }
    digest.finalize().into()
}
