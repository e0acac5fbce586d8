//! SubscriptionService.

use metagov_proto::v1::{
    AcknowledgeEventsRequest, AcknowledgeEventsResponse, CreateSubscriptionRequest,
    CreateSubscriptionResponse, DeleteSubscriptionRequest, DeleteSubscriptionResponse,
    EventFilter as FilterMessage, GetSubscriptionRequest, GetSubscriptionResponse,
    ListSubscriptionsRequest, ListSubscriptionsResponse, SeekSubscriptionRequest,
    SeekSubscriptionResponse, Subscription as SubscriptionMessage, create_subscription_request,
    seek_subscription_request,
};
use tonic::{Request, Response, Status};

use super::{Api, convert, events, input, v1::subscription_service_server::SubscriptionService};
use crate::{
    error::{Error, Result},
    gateway::{Start, Subscribing},
    model::{Caller, EventFilter, Lag, Subscription, SubscriptionId, SubscriptionKey},
};

const LIST: &str = "subscriptions";

#[tonic::async_trait]
impl SubscriptionService for Api {
    async fn create_subscription(
        &self,
        request: Request<CreateSubscriptionRequest>,
    ) -> Result<Response<CreateSubscriptionResponse>, Status> {
        use create_subscription_request::Start as Wanted;
        let (entry, request) = self.enter(request).await?;
        let asked = input::request_key(&entry.caller, &request.request_id)?;
        let wanted = request.subscription.unwrap_or_default();
        let id = subscription_id("subscription.subscription_id", &wanted.subscription_id)?;
        let start = match request.start {
            None => Start::Latest,
            Some(Wanted::AfterCursor(cursor)) => Start::After(cursor),
            Some(Wanted::StartTime(time)) => Start::At(input::time("start_time", time)?),
            Some(Wanted::StartAt(place)) => events::start_at(place)?,
        };
        let wanted = Subscribing {
            key: owned(&entry.caller, id),
            filter: events::filter("subscription.filter", wanted.filter)?,
            start,
        };
        let key = wanted.key.clone();
        self.gateway.create_subscription(asked, wanted).await?;
        let subscription = Some(self.subscription(&entry.caller, &key).await?);
        Ok(Response::new(CreateSubscriptionResponse { subscription }))
    }

    async fn get_subscription(
        &self,
        request: Request<GetSubscriptionRequest>,
    ) -> Result<Response<GetSubscriptionResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let key = key(&entry.caller, &request.subscription_id)?;
        let subscription = Some(self.subscription(&entry.caller, &key).await?);
        Ok(Response::new(GetSubscriptionResponse { subscription }))
    }

    async fn list_subscriptions(
        &self,
        request: Request<ListSubscriptionsRequest>,
    ) -> Result<Response<ListSubscriptionsResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let after = input::after_page(LIST, &request.page_token, SubscriptionId::parse)?;
        let found = self
            .gateway
            .list_subscriptions(&entry.caller.principal(), after, size + 1)
            .await?;
        let (page, next_page_token) = input::page(found, size, |last| {
            input::page_token(LIST, last.key.id.as_str())
        });
        let keys = page.into_iter().map(|subscription| subscription.key);
        let scope = entry.caller.scope();
        let each = self.gateway.get_subscriptions(keys, &scope).await?;
        let each = each.into_iter().map(|(one, lag)| self.said(one, lag));
        let subscriptions = each.collect();
        Ok(Response::new(ListSubscriptionsResponse {
            subscriptions,
            next_page_token,
        }))
    }

    async fn acknowledge_events(
        &self,
        request: Request<AcknowledgeEventsRequest>,
    ) -> Result<Response<AcknowledgeEventsResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let key = key(&entry.caller, &request.subscription_id)?;
        self.gateway.acknowledge_events(key, request.cursor).await?;
        Ok(Response::new(AcknowledgeEventsResponse {}))
    }

    async fn seek_subscription(
        &self,
        request: Request<SeekSubscriptionRequest>,
    ) -> Result<Response<SeekSubscriptionResponse>, Status> {
        use seek_subscription_request::Start as Wanted;
        let (entry, request) = self.enter(request).await?;
        let key = key(&entry.caller, &request.subscription_id)?;
        let start = match request.start {
            None => {
                let why = "is missing; say where to, as after_cursor, start_time or start_at";
                return Err(Error::invalid("start", why).into());
            }
            Some(Wanted::AfterCursor(cursor)) => Start::After(cursor),
            Some(Wanted::StartTime(time)) => Start::At(input::time("start_time", time)?),
            Some(Wanted::StartAt(place)) => events::start_at(place)?,
        };
        self.gateway.seek_subscription(&key, start).await?;
        let subscription = Some(self.subscription(&entry.caller, &key).await?);
        Ok(Response::new(SeekSubscriptionResponse { subscription }))
    }

    async fn delete_subscription(
        &self,
        request: Request<DeleteSubscriptionRequest>,
    ) -> Result<Response<DeleteSubscriptionResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let key = key(&entry.caller, &request.subscription_id)?;
        self.gateway.delete_subscription(&key).await?;
        Ok(Response::new(DeleteSubscriptionResponse {}))
    }
}

impl Api {
    async fn subscription(
        &self,
        caller: &Caller,
        key: &SubscriptionKey,
    ) -> Result<SubscriptionMessage> {
        let found = self.gateway.get_subscription(key, &caller.scope()).await;
        found.map(|(subscription, lag)| self.said(subscription, lag))
    }

    fn said(&self, subscription: Subscription, lag: Lag) -> SubscriptionMessage {
        SubscriptionMessage {
            subscription_id: subscription.key.id.to_string(),
            filter: Some(subscription.filter.into()),
            acknowledged_cursor: self.gateway.cursor(subscription.acknowledged),
            lag_count: i64::try_from(lag.count).unwrap_or(i64::MAX),
            lag_since: lag.since.map(convert::timestamp),
            create_time: Some(convert::timestamp(subscription.create_time)),
        }
    }
}

/// The subscription that a caller means by this id.
pub(super) fn key(caller: &Caller, text: &str) -> Result<SubscriptionKey> {
    Ok(owned(caller, subscription_id("subscription_id", text)?))
}

fn owned(caller: &Caller, id: SubscriptionId) -> SubscriptionKey {
    let principal = caller.principal();
    SubscriptionKey { principal, id }
}

fn subscription_id(field: &str, text: &str) -> Result<SubscriptionId> {
    SubscriptionId::parse(text).ok_or_else(|| {
        let why = "must be a lower-case letter or digit, then up to 62 of those or hyphens";
        Error::invalid(field, why)
    })
}

impl From<EventFilter> for FilterMessage {
    fn from(filter: EventFilter) -> Self {
        let kinds = filter.kinds.into_iter().map(convert::event_kind_number);
        Self {
            community_ids: filter.communities.iter().map(ToString::to_string).collect(),
            kinds: kinds.collect(),
            event_types: filter.event_types,
            process_ids: filter.processes.iter().map(ToString::to_string).collect(),
            installation_ids: filter
                .installations
                .iter()
                .map(ToString::to_string)
                .collect(),
            skip_by_gateway: filter.skip_by_gateway,
        }
    }
}
