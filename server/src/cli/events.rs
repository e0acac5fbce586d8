//! `metagov events`: the feed, all that happened in one order.

use std::io::Write;

use clap::{Args, Subcommand};
use metagov_proto::v1::{
    Event, ListEventsRequest, ListEventsResponse, event::Payload, list_events_request::Start,
};

use super::{
    Failure,
    client::Client,
    common::{Common, Limit},
    failure::answered,
    filter::{Beginning, Filter},
    forward,
    output::{Columns, time, word},
    pages::LARGEST,
    processes::state,
    watching::Watch,
};

/// Reads the feed: all that happened, in one order.
#[derive(Clone, Subcommand)]
pub enum Events {
    /// Lists events, oldest first, from the oldest one that is kept unless said otherwise.
    List(List),
    /// Writes events as they happen, for ever; goes on by itself when the connection breaks.
    Watch(Watch),
    /// Posts what platforms report to an address, for drivers that can only take HTTP.
    Forward(forward::Events),
}

impl Events {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Watch(watch) => watch.run(out).await,
            Self::Forward(forward) => forward.run().await,
        }
    }
}

pub(super) const COLUMNS: Columns<Event, 5> = Columns {
    heads: ["TIME", "COMMUNITY", "KIND", "WHAT", "CURSOR"],
    cells: |event| {
        let (kind, what) = told(event);
        [
            time(event.record_time.as_ref()),
            event.community_id.clone(),
            kind,
            what,
            event.cursor.clone(),
        ]
    },
};

/// The kind of an event, and what happened, in a few words.
fn told(event: &Event) -> (String, String) {
    let change = |name: &str| word(name, "CHANGE_KIND_");
    let (kind, what) = match &event.payload {
        Some(Payload::Platform(event)) => ("platform", event.event_type.clone()),
        Some(Payload::ProcessChanged(changed)) => {
            let process = changed.process.clone().unwrap_or_default();
            let (kind, id) = (&process.process_type, &process.process_id);
            ("process", format!("{kind} {id} {}", state(&process)))
        }
        Some(Payload::InstallationChanged(changed)) => {
            let installation = changed.installation.clone().unwrap_or_default();
            let done = change(changed.change_kind().as_str_name());
            let (plugin, id) = (installation.plugin, installation.installation_id);
            ("installation", format!("{plugin} {id} {done}"))
        }
        Some(Payload::CommunityChanged(changed)) => {
            ("community", change(changed.change_kind().as_str_name()))
        }
        Some(Payload::IdentityChanged(changed)) => {
            let identity = changed.identity.clone().unwrap_or_default();
            let done = change(changed.change_kind().as_str_name());
            ("identity", format!("{} {done}", identity.identity_id))
        }
        None => ("?", "of a kind that only a newer metagov knows".to_owned()),
    };
    (kind.to_owned(), what)
}

/// Which events.
#[derive(Clone, Args)]
pub struct List {
    #[command(flatten)]
    filter: Filter,

    #[command(flatten)]
    from: Beginning,

    #[command(flatten)]
    limit: Limit,

    #[command(flatten)]
    common: Common,
}

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let start = self
            .from
            .start(Start::AfterCursor, Start::StartTime, Start::StartAt);
        let request = ListEventsRequest {
            filter: Some(self.filter.message()),
            start,
            page_size: 0,
        };
        let mut client = self.common.open().await?;
        let all = pages(&mut client, request, self.limit.limit).await?;
        let answer = ("ListEventsResponse", &all);
        let output = self.common.output;
        output.list(out, &COLUMNS, &all.events, answer)
    }
}

/// Pages until there are as many events as wanted, or no more.
async fn pages(
    client: &mut Client,
    mut request: ListEventsRequest,
    limit: usize,
) -> Result<ListEventsResponse, Failure> {
    let mut all = ListEventsResponse::default();
    loop {
        let left = limit - all.events.len();
        // It is at most a thousand.
        request.page_size = i32::try_from(left.min(LARGEST)).unwrap_or_default();
        let page = answered("events", client.events.list_events(request.clone()).await)?;
        all.events.extend(page.events);
        all.cursor = page.cursor;
        all.caught_up = page.caught_up;
        if all.caught_up || all.events.len() >= limit {
            return Ok(all);
        }
        request.start = Some(Start::AfterCursor(all.cursor.clone()));
    }
}
