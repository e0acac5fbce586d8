//! EventService.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use metagov_proto::v1::{
    EventFilter, ListEventsRequest, StartAt, WatchEventsRequest, list_events_request,
    watch_events_request,
};
use tonic::{Request, Response, Status};

use super::{Api, convert, input, page::EventsPage, v1::event_service_server::EventService};
use crate::{
    error::{Error, Result},
    gateway::{Filter, Start},
    model::{Caller, InstallationId, ProcessId},
};

/// The most entries of one field of a filter.
const MAX_ENTRIES: usize = 1000;

#[tonic::async_trait]
impl EventService for Api {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<EventsPage, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        use watch_events_request::Start as Wanted;
        let (entry, request) = self.enter(request).await?;
        let heartbeat = input::heartbeat(request.heartbeat_interval)?;
        let filter = filter(request.filter, &entry.caller)?;
        let start = match request.start {
            None => Start::Latest,
            Some(Wanted::AfterCursor(cursor)) => Start::After(cursor),
            Some(Wanted::StartTime(time)) => Start::At(input::time("start_time", time)?),
            Some(Wanted::StartAt(place)) => start_at(place)?,
        };
        let batches = self.gateway.watch_events(filter, start, heartbeat).await?;
        let gateway = self.gateway.clone();
        let pages = batches.map(move |batch| Ok(EventsPage::of(&gateway, &batch?)));
        Ok(Response::new(Box::pin(pages)))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<EventsPage>, Status> {
        use list_events_request::Start as Wanted;
        let (entry, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let filter = filter(request.filter, &entry.caller)?;
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

fn start_at(place: i32) -> Result<Start> {
    match StartAt::try_from(place) {
        Ok(StartAt::Unspecified | StartAt::Latest) => Ok(Start::Latest),
        Ok(StartAt::Earliest) => Ok(Start::Earliest),
        Err(_) => Err(Error::invalid(
            "start_at",
            "names no place; take LATEST or EARLIEST",
        )),
    }
}

fn filter(wanted: Option<EventFilter>, caller: &Caller) -> Result<Filter> {
    let wanted = wanted.unwrap_or_default();
    let communities = entries("filter.community_ids", &wanted.community_ids)?;
    let processes = entries("filter.process_ids", &wanted.process_ids)?;
    let installations = entries("filter.installation_ids", &wanted.installation_ids)?;
    for event_type in entries("filter.event_types", &wanted.event_types)? {
        let (plugin, event) = event_type.split_once('.').unwrap_or_default();
        let half_open = event.contains('*') && event != "*";
        if plugin.is_empty() || event.is_empty() || plugin.contains('*') || half_open {
            let why = "must be \"plugin.event\" or \"plugin.*\"";
            return Err(Error::invalid("filter.event_types", why));
        }
    }
    Ok(Filter {
        scope: caller.scope(),
        communities: communities
            .iter()
            .map(|id| input::community_id("filter.community_ids", id))
            .collect::<Result<_>>()?,
        kinds: wanted
            .kinds
            .into_iter()
            .map(convert::event_kind)
            .collect::<Result<_>>()?,
        processes: processes
            .iter()
            .map(|id| input::id("filter.process_ids", id, ProcessId::parse))
            .collect::<Result<_>>()?,
        installations: installations
            .iter()
            .map(|id| input::id("filter.installation_ids", id, InstallationId::parse))
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
