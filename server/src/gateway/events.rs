//! Events: the one log, as a stream or in pages.

use std::time::Duration;

use futures::Stream;

use super::Gateway;
use crate::{
    error::Result,
    feed::{Batch, Filter, Start},
};

impl Gateway {
    /// Follows the log. See [`crate::feed::Feed::watch`].
    pub async fn watch_events(
        &self,
        filter: Filter,
        start: Start,
        heartbeat: Duration,
    ) -> Result<impl Stream<Item = Result<Batch>> + use<>> {
        let position = self.feed.position(start).await?;
        Ok(self.feed.watch(filter, position, heartbeat))
    }

    /// One page of the log.
    pub async fn list_events(&self, filter: Filter, start: Start, limit: usize) -> Result<Batch> {
        let position = self.feed.position(start).await?;
        self.feed.list(&filter, position, limit).await
    }

    /// The cursor of the place just after a position.
    pub fn cursor(&self, position: i64) -> String {
        self.feed.cursors().write(position)
    }
}
