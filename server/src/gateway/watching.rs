//! Watching one process: its snapshot, then the feed, folded. There is no second engine.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};

use super::Gateway;
use crate::{
    error::{Error, Result},
    feed::{Batch, Filter, Start},
    model::{Process, ProcessId},
};

impl Gateway {
    /// The process as it stands, then again after changes and at every heartbeat, until
    /// it is done.
    pub async fn watch_process(
        self: &Arc<Self>,
        id: ProcessId,
        heartbeat: Duration,
    ) -> Result<impl Stream<Item = Result<Process>> + use<>> {
        // The head before the snapshot: a change between the two is seen twice, not
        // never.
        let head = self.feed.position(Start::Latest).await?;
        let snapshot = self.get_process(id).await?;
        let changes = self.feed.watch(Filter::process(id), head, heartbeat);
        let watching = Watching {
            gateway: self.clone(),
            changes: Box::pin(changes),
            last: snapshot.clone(),
            greeted: false,
        };
        let done = snapshot.state.is_done();
        let first = stream::once(async { Ok(snapshot) });
        let rest = stream::unfold((!done).then_some(watching), async |watching| {
            let mut watching = watching?;
            match watching.next().await {
                Ok(process) if process.state.is_done() => Some((Ok(process), None)),
                Ok(process) => Some((Ok(process), Some(watching))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(first.chain(rest))
    }
}

/// A stream of one process.
struct Watching<S> {
    gateway: Arc<Gateway>,
    changes: S,
    last: Process,
    /// Whether the feed's hello was read, for which the snapshot stands.
    greeted: bool,
}

impl<S: Stream<Item = Result<Batch>> + Unpin> Watching<S> {
    /// The next state that was not sent yet, or the same one at a heartbeat.
    async fn next(&mut self) -> Result<Process> {
        loop {
            let batch = self.changes.next().await.unwrap_or(Err(Error::Draining))?;
            let now = self.gateway.get_process(self.last.id).await?;
            let is_new = now.revision > self.last.revision;
            let is_heartbeat = batch.events.is_empty() && self.greeted;
            self.greeted = true;
            if is_new || is_heartbeat {
                self.last = now.clone();
                return Ok(now);
            }
        }
    }
}
