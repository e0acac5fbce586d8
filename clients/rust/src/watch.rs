//! Reading the feed without an end.

use std::collections::VecDeque;

use futures::{Stream, stream};
use metagov_proto::v1::{
    AcknowledgeEventsRequest, Event, WatchEventsRequest, WatchEventsResponse,
    watch_events_request::Start,
};
use tonic::Status;

use crate::{Client, resume::Resume};

/// The events of a feed, in their order, none lost and none twice.
///
/// A broken connection and a restart of the gateway are only a pause. What a retry cannot
/// cure is returned: a token that does not hold (any more), a request that is wrong, a
/// cursor whose events are gone. Dropped, it ends the stream at the gateway.
///
/// Save [`Event::cursor`] once you have acted on an event, or the place that
/// [`Events::on_position`] is told, and start with [`Start::AfterCursor`] next time. With
/// a [`Start::SubscriptionId`] the gateway keeps the place: an event is acknowledged when
/// you ask for the one after it, so one that you did not finish comes again.
#[must_use = "nothing is read before `next` or `into_stream`"]
pub struct Events {
    request: WatchEventsRequest,
    resume: Resume<WatchEventsResponse>,
    batch: VecDeque<Event>,
    /// The place that is reached with the last of the batch.
    ahead: Option<String>,
    position: Option<String>,
    acknowledged: Option<String>,
    on_position: Box<dyn FnMut(&str) + Send>,
}

impl Client {
    /// Watches the feed as `WatchEvents` does, and goes on by itself when that breaks.
    ///
    /// Without a start it begins with what happens from now on. A heartbeat that does not
    /// come is a broken connection; `heartbeat_interval` is 15 s unless it is set.
    ///
    /// ```no_run
    /// use metagov_client::{Client, v1};
    /// use v1::{EventFilter, StartAt, WatchEventsRequest, watch_events_request::Start};
    ///
    /// # async fn run(client: Client) -> Result<(), tonic::Status> {
    /// let mut events = client
    ///     .watch(WatchEventsRequest {
    ///         filter: Some(EventFilter {
    ///             community_ids: vec!["garden".to_owned()],
    ///             ..Default::default()
    ///         }),
    ///         start: Some(Start::StartAt(StartAt::Earliest.into())),
    ///         ..Default::default()
    ///     })
    ///     .on_retry(|error, delay| eprintln!("{error}; again in {delay:?}"));
    /// loop {
    ///     let event = events.next().await?;
    ///     println!("{}", event.cursor);
    /// }
    /// # }
    /// ```
    pub fn watch(&self, request: WatchEventsRequest) -> Events {
        Events {
            resume: Resume::new(self.clone(), request.heartbeat_interval),
            request,
            batch: VecDeque::new(),
            ahead: None,
            position: None,
            acknowledged: None,
            on_position: Box::new(|_| {}),
        }
    }
}

impl Events {
    /// Tells of each error that a retry may cure, and how long it waits until then.
    pub fn on_retry(
        mut self,
        told: impl FnMut(&Status, std::time::Duration) + Send + 'static,
    ) -> Self {
        self.resume.patience.on_retry = Box::new(told);
        self
    }

    /// Tells each place that is reached once all before it was handed out: when the next
    /// event is asked for, and also when only a heartbeat came.
    pub fn on_position(mut self, told: impl FnMut(&str) + Send + 'static) -> Self {
        self.on_position = Box::new(told);
        self
    }

    /// The place that is reached: after the last event that was handed out, and after what
    /// the filter left out behind it. None before the gateway has answered.
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// The next event. Dropped while it waits, it has lost nothing.
    ///
    /// # Errors
    ///
    /// What a retry does not cure; see [`crate::error`].
    pub async fn next(&mut self) -> Result<Event, Status> {
        loop {
            self.acknowledge().await?;
            if let Some(event) = self.batch.pop_front() {
                self.position = Some(event.cursor.clone());
                return Ok(event);
            }
            if let Some(cursor) = self.ahead.take() {
                (self.on_position)(&cursor);
                self.position = Some(cursor);
                self.acknowledge().await?;
            }
            self.read().await?;
        }
    }

    /// Acknowledges what was handed out now, not when the next event is asked for. Without
    /// a subscription there is nothing to do.
    ///
    /// # Errors
    ///
    /// What a retry does not cure, such as that the subscription was deleted.
    pub async fn acknowledge(&mut self) -> Result<(), Status> {
        let Some(Start::SubscriptionId(subscription_id)) = &self.request.start else {
            return Ok(());
        };
        let Some(cursor) = self.position.clone() else {
            return Ok(());
        };
        while self.acknowledged.as_ref() != Some(&cursor) {
            let request = AcknowledgeEventsRequest {
                subscription_id: subscription_id.clone(),
                cursor: cursor.clone(),
            };
            match self
                .resume
                .client
                .subscriptions
                .acknowledge_events(request)
                .await
            {
                Ok(_) => self.acknowledged = Some(cursor.clone()),
                Err(error) => self.resume.patience.bear(error).await?,
            }
        }
        Ok(())
    }

    /// The same as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Event, Status>> + Send {
        stream::try_unfold(self, async |mut events| {
            let event = events.next().await?;
            Ok(Some((event, events)))
        })
    }

    async fn read(&mut self) -> Result<(), Status> {
        let open = |mut client: Client| {
            let request = self.request.clone();
            async move { client.events.watch_events(request).await }
        };
        let response = self.resume.message(open).await?;
        // All before it is handed out before the stream is read again.
        if !matches!(self.request.start, Some(Start::SubscriptionId(_))) {
            self.request.start = Some(Start::AfterCursor(response.cursor.clone()));
        }
        self.batch = response.events.into();
        self.ahead = Some(response.cursor);
        Ok(())
    }
}
