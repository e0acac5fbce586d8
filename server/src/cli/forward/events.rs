//! `metagov events forward`: what platforms report, posted to a driver.

use std::path::PathBuf;

use clap::Args;
use metagov_proto::v1::{
    EventFilter, EventKind, WatchEventsRequest, event::Payload, watch_events_request::Start,
};
use url::Url;

use super::{
    receiver::{Receiver, address},
    shapes,
};
use crate::cli::{
    Connection, Failure, common::Places, cursor::CursorFile, filter::Beginning, watching::Reading,
};

/// Posts what platforms report to an address, one event after the other, for ever.
///
/// Each is a JSON object: community, source (the plugin), event_type (without the plugin),
/// timestamp (seconds since 1970, as a string), data, and initiator with user_id, provider
/// and is_metagov_bot. The header metagov-event-id tells repeats apart.
///
/// An event is done with once it is answered with 2xx, and the next one waits for that. No
/// answer, 408, 425, 429 and 5xx are tried again, after longer and longer pauses and not
/// before Retry-After. Any other answer ends the command with code 4, and the event comes
/// first when it is run again.
#[derive(Clone, Args)]
pub struct Events {
    /// The driver's address, http or https.
    #[arg(long, value_name = "URL", hide_env = true, value_parser = address)]
    to: Url,

    #[command(flatten)]
    places: Places,

    /// Only this type: plugin.event, or plugin.*; may be repeated.
    #[arg(long = "type", value_name = "TYPE", hide_env = true)]
    types: Vec<String>,

    /// Only what this installation reports; may be repeated.
    #[arg(long = "installation", value_name = "ID", hide_env = true)]
    installations: Vec<String>,

    /// Leaves out what the gateway's own account did on a platform.
    #[arg(long)]
    skip_by_gateway: bool,

    #[command(flatten)]
    from: Beginning,

    /// Keeps the place in this file once an event is taken, and goes on there when the
    /// command is run again. Without the file it begins as the other flags say. Default none.
    #[arg(long, value_name = "FILE", hide_env = true)]
    cursor_file: Option<PathBuf>,

    #[command(flatten)]
    connection: Connection,
}

impl Events {
    /// Runs it, until it is asked to stop.
    pub async fn run(self) -> Result<(), Failure> {
        let file = self.cursor_file.clone().map(CursorFile::new);
        let kept = file.as_ref().map(CursorFile::read).transpose()?.flatten();
        let mut receiver = Receiver::at(self.to.clone())?;
        let client = self.connection.open().await?;
        let mut reading = Reading::of(client.watch(self.request(kept)), file);
        reading
            .until_stopped(async |reading| {
                loop {
                    let event = reading.next().await?;
                    if let Some(Payload::Platform(platform)) = &event.payload {
                        let body = shapes::event(&event, platform);
                        receiver.take(&event.event_id, &body).await?;
                    }
                    reading.keep(&event.cursor)?;
                }
            })
            .await
    }

    fn request(self, kept: Option<String>) -> WatchEventsRequest {
        let given = self.from;
        let given = given.start(Start::AfterCursor, Start::StartTime, Start::StartAt);
        WatchEventsRequest {
            filter: Some(EventFilter {
                community_ids: self.places.communities,
                kinds: vec![EventKind::Platform.into()],
                event_types: self.types,
                installation_ids: self.installations,
                skip_by_gateway: self.skip_by_gateway,
                ..Default::default()
            }),
            start: kept.map(Start::AfterCursor).or(given),
            heartbeat_interval: None,
        }
    }
}
