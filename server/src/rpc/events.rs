//! EventService.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use metagov_proto::v1::{
    EventFilter, ListEventsRequest, StartAt, WatchEventsRequest, list_events_request,
    watch_events_request,
};
use tonic::{Request, Response, Status};

use super::{
    Api, convert, input, page::EventsPage, subscriptions, v1::event_service_server::EventService,
};
use crate::{
    error::{Error, Result},
    gateway::{Batch, Filter, Start},
    model::{self, Caller, InstallationId, ProcessId},
    proof::{Bug, is},
};

/// The most entries of one field of a filter.
const MAX_ENTRIES: usize = 1000;

#[tonic::async_trait]
impl EventService for Api {
    type WatchEventsStream = Pages;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        use watch_events_request::Start as Wanted;
        let (entry, request) = self.enter(request).await?;
        let heartbeat = input::heartbeat(request.heartbeat_interval)?;
        let start = match request.start {
            Some(Wanted::SubscriptionId(id)) => {
                let key = subscriptions::key(&entry.caller, &id)?;
                if request.filter.is_some() {
                    let why = "must be unset: a subscription has its own";
                    return Err(Error::invalid("filter", why).into());
                }
                let batches = self
                    .gateway
                    .watch_subscription(key, entry.caller.scope(), heartbeat)
                    .await?;
                return Ok(self.pages(batches));
            }
            None => Start::Latest,
            Some(Wanted::AfterCursor(cursor)) => Start::After(cursor),
            Some(Wanted::StartTime(time)) => Start::At(input::time("start_time", time)?),
            Some(Wanted::StartAt(place)) => start_at(place)?,
        };
        let filter = visible(request.filter, &entry.caller)?;
        let batches = self.gateway.watch_events(filter, start, heartbeat).await?;
        Ok(self.pages(batches))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<EventsPage>, Status> {
        use list_events_request::Start as Wanted;
        let (entry, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let filter = visible(request.filter, &entry.caller)?;
        let start = match request.start {
            None => Start::Earliest,
            Some(Wanted::AfterCursor(cursor)) => Start::After(cursor),
            Some(Wanted::StartTime(time)) => Start::At(input::time("start_time", time)?),
            Some(Wanted::StartAt(place)) => start_at(place)?,
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let batch = self.gateway.list_events(filter, start, size).await?;
        Ok(Response::new(EventsPage::of(&self.gateway, &batch)))
    }
}

type Pages = Pin<Box<dyn Stream<Item = Result<EventsPage, Status>> + Send>>;

impl Api {
    /// Batches as they are sent.
    fn pages(
        &self,
        batches: impl Stream<Item = Result<Batch>> + Send + 'static,
    ) -> Response<Pages> {
        let gateway = self.gateway.clone();
        let pages = batches.map(move |batch| Ok(EventsPage::of(&gateway, &batch?)));
        if is(Bug::EagerStream) {
            let (queue, queued) = futures::channel::mpsc::unbounded();
            tokio::spawn(pages.map(Ok).forward(queue));
            return Response::new(Box::pin(queued));
        }
        Response::new(Box::pin(pages))
    }
}

pub(super) fn start_at(place: i32) -> Result<Start> {
    match StartAt::try_from(place) {
        Ok(StartAt::Unspecified | StartAt::Latest) => Ok(Start::Latest),
        Ok(StartAt::Earliest) => Ok(Start::Earliest),
        Err(_) => Err(Error::invalid(
            "start_at",
            "names no place; take LATEST or EARLIEST",
        )),
    }
}

fn visible(wanted: Option<EventFilter>, caller: &Caller) -> Result<Filter> {
    Ok(Filter {
        scope: caller.scope(),
        wanted: filter("filter", wanted)?,
    })
}

/// A filter that stands in this field.
pub(super) fn filter(field: &str, wanted: Option<EventFilter>) -> Result<model::EventFilter> {
    let wanted = wanted.unwrap_or_default();
    let of = |name: &str| format!("{field}.{name}");
    let (in_communities, in_kinds) = (of("community_ids"), of("kinds"));
    let (in_processes, in_installations) = (of("process_ids"), of("installation_ids"));
    let communities = entries(&in_communities, &wanted.community_ids)?;
    let processes = entries(&in_processes, &wanted.process_ids)?;
    let installations = entries(&in_installations, &wanted.installation_ids)?;
    for event_type in entries(&of("event_types"), &wanted.event_types)? {
        let (plugin, event) = event_type.split_once('.').unwrap_or_default();
        let half_open = event.contains('*') && event != "*";
        if plugin.is_empty() || event.is_empty() || plugin.contains('*') || half_open {
            let why = "must be \"plugin.event\" or \"plugin.*\"";
            return Err(Error::invalid(of("event_types"), why));
        }
    }
    Ok(model::EventFilter {
        communities: communities
            .iter()
            .map(|id| input::community_id(&in_communities, id))
            .collect::<Result<_>>()?,
        kinds: wanted
            .kinds
            .into_iter()
            .map(|kind| convert::event_kind(&in_kinds, kind))
            .collect::<Result<_>>()?,
        processes: processes
            .iter()
            .map(|id| input::id(&in_processes, id, ProcessId::parse))
            .collect::<Result<_>>()?,
        installations: installations
            .iter()
            .map(|id| input::id(&in_installations, id, InstallationId::parse))
            .collect::<Result<_>>()?,
        event_types: wanted.event_types,
        skip_by_gateway: wanted.skip_by_gateway,
    })
}

fn entries<'a>(field: &str, entries: &'a [String]) -> Result<&'a [String]> {
    if entries.len() > MAX_ENTRIES {
        return Err(Error::invalid(
            field,
            format!("has more than {MAX_ENTRIES} entries"),
        ));
    }
    Ok(entries)
}
