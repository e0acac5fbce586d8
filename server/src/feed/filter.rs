//! Filters: which events a reader wants. Applied after reading, never in SQL, so that
//! every reader shares the same rows.

use crate::model::{Event, EventFilter, EventKind, Payload, PlatformEvent, ProcessId, Scope};

/// Which events one reader gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what the reader may see.
    pub scope: Scope,
    /// Of that, only what the reader wants.
    pub wanted: EventFilter,
}

impl Filter {
    /// The changes of one process.
    pub fn process(id: ProcessId) -> Self {
        let processes = [id].into();
        EventFilter {
            processes,
            ..EventFilter::default()
        }
        .into()
    }

    /// Whether an event is wanted. One that was blanked is wanted by nobody.
    pub fn matches(&self, event: &Event) -> bool {
        self.scope.holds(&event.community_id) && wants(&self.wanted, event)
    }
}

/// What is wanted by somebody who may see everything.
impl From<EventFilter> for Filter {
    fn from(wanted: EventFilter) -> Self {
        let scope = Scope::Everywhere;
        Self { scope, wanted }
    }
}

fn wants(wanted: &EventFilter, event: &Event) -> bool {
    let Some(payload) = &event.payload else {
        return false;
    };
    let wanted_here =
        wanted.communities.is_empty() || wanted.communities.contains(&event.community_id);
    wanted_here
        && wants_kind(wanted, payload.kind())
        && wants_installation(wanted, payload)
        && match payload {
            Payload::Platform(event) => wants_type(wanted, event),
            Payload::Process(process) => {
                wanted.processes.is_empty() || wanted.processes.contains(&process.id)
            }
            _ => true,
        }
}

fn wants_kind(wanted: &EventFilter, kind: EventKind) -> bool {
    if !wanted.kinds.is_empty() {
        return wanted.kinds.contains(&kind);
    }
    if wanted.event_types.is_empty() && wanted.processes.is_empty() {
        return true;
    }
    match kind {
        EventKind::Platform => !wanted.event_types.is_empty(),
        EventKind::Process => !wanted.processes.is_empty(),
        _ => false,
    }
}

fn wants_installation(wanted: &EventFilter, payload: &Payload) -> bool {
    match payload.installation_id() {
        Some(id) => wanted.installations.is_empty() || wanted.installations.contains(&id),
        None => true,
    }
}

fn wants_type(wanted: &EventFilter, event: &PlatformEvent) -> bool {
    if wanted.skip_by_gateway && event.by_gateway {
        return false;
    }
    let fits = |wanted: &String| match wanted.strip_suffix('*') {
        Some(start) => event.event_type.starts_with(start),
        None => event.event_type == *wanted,
    };
    wanted.event_types.is_empty() || wanted.event_types.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Community, CommunityId, EventId, InstallationId, Object, Time};

    fn event(payload: Payload) -> Event {
        Event {
            position: 1,
            id: EventId::new(),
            community_id: CommunityId::trusted("a"),
            record_time: Time(0),
            payload: Some(payload),
            ends: true,
            size: 0,
        }
    }

    fn platform(event_type: &str, by_gateway: bool) -> Event {
        event(Payload::Platform(PlatformEvent {
            event_type: event_type.to_owned(),
            installation_id: InstallationId::new(),
            initiator: None,
            data: Object::new(),
            occur_time: None,
            by_gateway,
            data_omitted: false,
        }))
    }

    fn community() -> Event {
        let community = Community {
            id: CommunityId::trusted("a"),
            display_name: String::new(),
            create_time: Time(0),
            update_time: Time(0),
            etag: String::new(),
        };
        event(Payload::Community(community, Change::Created))
    }

    #[test]
    fn an_empty_filter_wants_everything_but_blanks() {
        let mut blank = community();
        blank.payload = None;
        assert!(Filter::default().matches(&community()));
        assert!(!Filter::default().matches(&blank));
    }

    #[test]
    fn event_types_alone_mean_platform_events_alone() {
        let filter = Filter::from(EventFilter {
            event_types: vec!["d.*".into(), "s.x".into()],
            ..EventFilter::default()
        });
        assert!(filter.matches(&platform("d.post_created", false)));
        assert!(filter.matches(&platform("s.x", false)));
        assert!(!filter.matches(&platform("s.xy", false)));
        assert!(!filter.matches(&community()));
    }

    #[test]
    fn kinds_that_are_named_stay_beside_event_types() {
        let filter = Filter::from(EventFilter {
            kinds: [EventKind::Platform, EventKind::Community].into(),
            event_types: vec!["d.*".into()],
            ..EventFilter::default()
        });
        assert!(filter.matches(&community()));
        assert!(!filter.matches(&platform("s.x", false)));
    }

    #[test]
    fn installations_leave_events_alone_that_speak_of_none() {
        let filter = Filter::from(EventFilter {
            installations: [InstallationId::new()].into(),
            ..EventFilter::default()
        });
        assert!(filter.matches(&community()));
        assert!(!filter.matches(&platform("d.x", false)));
    }

    #[test]
    fn what_the_gateway_caused_can_be_left_out() {
        let filter = Filter::from(EventFilter {
            skip_by_gateway: true,
            ..EventFilter::default()
        });
        assert!(!filter.matches(&platform("d.x", true)));
        assert!(filter.matches(&platform("d.x", false)));
    }
}
