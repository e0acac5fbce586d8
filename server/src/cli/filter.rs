//! Which events, and from where on: what all verbs that read the feed take.

use std::time::SystemTime;

use clap::{ArgGroup, Args, ValueEnum};
use jiff::Timestamp;
use metagov_proto::v1::{EventFilter, EventKind, StartAt};

use super::common::Places;

/// Which events. What is given must all hold; of what is given more than once, one.
#[derive(Clone, Args)]
pub(super) struct Filter {
    #[command(flatten)]
    places: Places,

    /// Only this kind; may be repeated.
    #[arg(long = "kind", value_name = "KIND", hide_env = true)]
    kinds: Vec<Kind>,

    /// Of what platforms report, only this type: plugin.event, or plugin.*; may be repeated.
    #[arg(long = "type", value_name = "TYPE", hide_env = true)]
    types: Vec<String>,

    /// Of the changes of processes, only those of this one; may be repeated.
    #[arg(long = "process", value_name = "ID", hide_env = true)]
    processes: Vec<String>,

    /// Only what is of this installation; may be repeated.
    #[arg(long = "installation", value_name = "ID", hide_env = true)]
    installations: Vec<String>,

    /// Leaves out what the gateway's own account did on a platform.
    #[arg(long)]
    skip_by_gateway: bool,
}

/// A kind of event as people write it.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A platform reported something.
    Platform,
    /// A process started or changed.
    Process,
    /// A plugin was enabled, configured or disabled.
    Installation,
    /// A community was created, changed or deleted.
    Community,
    /// An identity was created, changed or merged away.
    Identity,
}

impl Filter {
    /// As the contract says it.
    pub(super) fn message(self) -> EventFilter {
        let kinds = self.kinds.into_iter().map(|kind| match kind {
            Kind::Platform => EventKind::Platform,
            Kind::Process => EventKind::ProcessChanged,
            Kind::Installation => EventKind::InstallationChanged,
            Kind::Community => EventKind::CommunityChanged,
            Kind::Identity => EventKind::IdentityChanged,
        });
        EventFilter {
            community_ids: self.places.communities,
            kinds: kinds.map(i32::from).collect(),
            event_types: self.types,
            process_ids: self.processes,
            installation_ids: self.installations,
            skip_by_gateway: self.skip_by_gateway,
        }
    }
}

/// From where on. At most one of these.
#[derive(Clone, Args)]
#[command(group = ArgGroup::new("from").multiple(false))]
pub(super) struct Beginning {
    /// After this cursor, which came with an event.
    #[arg(long, value_name = "CURSOR", hide_env = true, group = "from")]
    after: Option<String>,

    /// From the first event recorded at or after this time, such as 2030-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME", hide_env = true, group = "from")]
    since: Option<Timestamp>,

    /// From the oldest event that is still kept.
    #[arg(long, group = "from")]
    earliest: bool,

    /// Only what happens from now on.
    #[arg(long, group = "from")]
    latest: bool,
}

/// A place in the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// After this cursor.
    After(String),
    /// From this time on.
    Since(prost_types::Timestamp),
    /// At a named place.
    At(StartAt),
}

impl Beginning {
    /// The place, if one is given.
    pub(super) fn place(self) -> Option<Place> {
        let named = match (self.earliest, self.latest) {
            (true, _) => Some(Place::At(StartAt::Earliest)),
            (_, true) => Some(Place::At(StartAt::Latest)),
            _ => None,
        };
        let since = self
            .since
            .map(|time| Place::Since(SystemTime::from(time).into()));
        self.after.map(Place::After).or(since).or(named)
    }

    /// The same as the `start` of a request, whose cases these are.
    pub(super) fn start<S>(
        self,
        after: fn(String) -> S,
        since: fn(prost_types::Timestamp) -> S,
        at: fn(i32) -> S,
    ) -> Option<S> {
        Some(match self.place()? {
            Place::After(cursor) => after(cursor),
            Place::Since(time) => since(time),
            Place::At(place) => at(place.into()),
        })
    }
}
