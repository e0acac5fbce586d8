//! `metagov events watch`: the feed as it goes on, over restarts of the gateway and of
//! the command.

use std::{io::Write, path::PathBuf, time::Duration};

use clap::Args;
use metagov_client::Events;
use metagov_proto::v1::{Event, WatchEventsRequest, watch_events_request::Start};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};
use tonic::Status;

use super::{
    Exit, Failure,
    common::Common,
    cursor::CursorFile,
    events::COLUMNS,
    failure::printable,
    filter::{Beginning, Filter},
    output::line,
    pages,
};

/// How long the end may take, if the gateway is not there any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which events, and from where on. It ends by itself only with --count.
///
/// Broken connections and restarts of the gateway are only a pause: no event is left out,
/// and none comes twice. With --output json each event is one line.
#[derive(Clone, Args)]
pub struct Watch {
    #[command(flatten)]
    filter: Filter,

    #[command(flatten)]
    from: Beginning,

    /// Keeps the place in this file, and goes on there when the command is run again.
    /// Without the file it begins as the other flags say. Default none.
    #[arg(long, value_name = "FILE", hide_env = true)]
    cursor_file: Option<PathBuf>,

    /// Watches this subscription, and acknowledges each event once it is written. Default none.
    #[arg(long, value_name = "ID", hide_env = true)]
    #[arg(conflicts_with_all = ["from", "cursor_file", "kinds", "types", "processes", "installations", "skip_by_gateway"])]
    subscription: Option<String>,

    /// Ends after so many events. Default: never.
    #[arg(long, value_name = "N", hide_env = true, value_parser = pages::limit)]
    count: Option<usize>,

    #[command(flatten)]
    common: Common,
}

impl Watch {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let file = self.cursor_file.clone().map(CursorFile::new);
        let request = self.request(file.as_ref())?;
        let client = self.common.open().await?;
        let mut reading = Reading::of(client.watch(request), file);
        let read = reading.until_stopped(async |reading| self.read(reading, out).await);
        read.await.and(reading.end().await)
    }

    fn request(&self, file: Option<&CursorFile>) -> Result<WatchEventsRequest, Failure> {
        let kept = file.map(CursorFile::read).transpose()?.flatten();
        let given = self.from.clone();
        let given = given.start(Start::AfterCursor, Start::StartTime, Start::StartAt);
        let named = self.subscription.clone().map(Start::SubscriptionId);
        let filter = self.filter.clone().message();
        Ok(WatchEventsRequest {
            filter: named.is_none().then_some(filter),
            start: named.or(kept.map(Start::AfterCursor)).or(given),
            heartbeat_interval: None,
        })
    }

    async fn read(&self, reading: &mut Reading, out: &mut dyn Write) -> Result<(), Failure> {
        let mut left = self.count.unwrap_or(usize::MAX);
        while left > 0 {
            let event = reading.next().await?;
            self.write(out, &event)?;
            left -= 1;
        }
        Ok(())
    }

    fn write(&self, out: &mut dyn Write, event: &Event) -> Result<(), Failure> {
        if !self.common.output.is_for_people() {
            return self.common.output.next(out, ("Event", event));
        }
        let [time, community, kind, what, _] = (COLUMNS.cells)(event);
        let text = format!("{time}  {community}  {kind}  {what}");
        line(out, printable(&text))
    }
}

/// The stream, and where its place is kept.
pub(super) struct Reading {
    events: Events,
    places: UnboundedReceiver<String>,
    file: Option<CursorFile>,
}

impl Reading {
    pub(super) fn of(events: Events, file: Option<CursorFile>) -> Self {
        let (tell, places) = unbounded_channel();
        let events = events.on_retry(retry).on_position(move |place| {
            // Nobody listens any more only when it ends.
            let _ = tell.send(place.to_owned());
        });
        Self {
            events,
            places,
            file,
        }
    }

    /// Reads until that ends, or the command is asked to stop.
    pub(super) async fn until_stopped(
        &mut self,
        read: impl AsyncFnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let stopped = stopped().map_err(|e| Failure::new(Exit::Other, e))?;
        tokio::select! {
            read = read(self) => read,
            () = stopped => Ok(()),
        }
    }

    /// The next event. Places that are reached until then are kept.
    pub(super) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            tokio::select! {
                // A place that is reached is kept before the next event is written.
                biased;
                Some(place) = self.places.recv() => self.keep(&place)?,
                event = self.events.next() => {
                    return event.map_err(|status| Failure::answered("events", &status));
                }
            }
        }
    }

    /// Keeps the place of what was handed out last.
    async fn end(&mut self) -> Result<(), Failure> {
        // What cannot be acknowledged now comes again.
        if let Ok(answer) = timeout(PATIENCE, self.events.acknowledge()).await {
            answer.map_err(|status| Failure::answered("events", &status))?;
        }
        match self.events.position().map(str::to_owned) {
            Some(place) => self.keep(&place),
            None => Ok(()),
        }
    }

    /// Keeps this place.
    pub(super) fn keep(&self, place: &str) -> Result<(), Failure> {
        self.file.as_ref().map_or(Ok(()), |file| file.write(place))
    }
}

/// Says on the standard error that it goes on.
pub(super) fn retry(error: &Status, delay: Duration) {
    let fault = metagov_client::error(error);
    let seconds = delay.as_secs_f64();
    let text = format!(
        "{} [{}]; again in {seconds:.1} s",
        fault.message, fault.code
    );
    eprintln!("{}", printable(&text));
}

/// Comes when the command is asked to stop, which is no failure.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}
