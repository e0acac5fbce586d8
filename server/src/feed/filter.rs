//! Filters: which events a reader wants. Applied after reading, never in SQL, so that
//! every reader shares the same rows.

use std::collections::HashSet;

use crate::model::{
    CommunityId, Event, EventKind, InstallationId, Payload, PlatformEvent, ProcessId, Scope,
};

/// Which events to read. Fields are joined by AND, their entries by OR; an empty field
/// matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what the reader may see.
    pub scope: Scope,
    /// Only these communities.
    pub communities: HashSet<CommunityId>,
    /// Only these kinds. If empty while `event_types` or `processes` is not, only the
    /// kinds that those speak of.
    pub kinds: HashSet<EventKind>,
    /// Of the platform events only these: `plugin.event` or `plugin.*`.
    pub event_types: Vec<String>,
    /// Of the changes of processes only those of these.
    pub processes: HashSet<ProcessId>,
    /// Of the events that speak of an installation only those of these.
    pub installations: HashSet<InstallationId>,
    /// Leave out platform events that the gateway's own account caused.
    pub skip_by_gateway: bool,
}

impl Filter {
    /// The changes of one process.
    pub fn process(id: ProcessId) -> Self {
        Self {
            processes: HashSet::from([id]),
            ..Self::default()
        }
    }

    /// Whether an event is wanted. One that was blanked is wanted by nobody.
    pub fn matches(&self, event: &Event) -> bool {
        let Some(payload) = &event.payload else {
            return false;
        };
        let wanted_here =
            self.communities.is_empty() || self.communities.contains(&event.community_id);
        wanted_here
            && self.scope.holds(&event.community_id)
            && self.wants_kind(payload.kind())
            && self.wants_installation(payload)
            && match payload {
                Payload::Platform(event) => self.wants_type(event),
                Payload::Process(process) => {
                    self.processes.is_empty() || self.processes.contains(&process.id)
                }
                _ => true,
            }
    }

    fn wants_kind(&self, kind: EventKind) -> bool {
        if !self.kinds.is_empty() {
            return self.kinds.contains(&kind);
        }
        if self.event_types.is_empty() && self.processes.is_empty() {
            return true;
        }
        match kind {
            EventKind::Platform => !self.event_types.is_empty(),
            EventKind::Process => !self.processes.is_empty(),
            _ => false,
        }
    }

    fn wants_installation(&self, payload: &Payload) -> bool {
        match payload.installation_id() {
            Some(id) => self.installations.is_empty() || self.installations.contains(&id),
            None => true,
        }
    }

    fn wants_type(&self, event: &PlatformEvent) -> bool {
        if self.skip_by_gateway && event.by_gateway {
            return false;
        }
        let fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => event.event_type.starts_with(start),
            None => event.event_type == *wanted,
        };
        self.event_types.is_empty() || self.event_types.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Community, EventId, Object, Time};

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
        let filter = Filter {
            event_types: vec!["d.*".into(), "s.x".into()],
            ..Filter::default()
        };
        assert!(filter.matches(&platform("d.post_created", false)));
        assert!(filter.matches(&platform("s.x", false)));
        assert!(!filter.matches(&platform("s.xy", false)));
        assert!(!filter.matches(&community()));
    }

    #[test]
    fn kinds_that_are_named_stay_beside_event_types() {
        let filter = Filter {
            kinds: HashSet::from([EventKind::Platform, EventKind::Community]),
            event_types: vec!["d.*".into()],
            ..Filter::default()
        };
        assert!(filter.matches(&community()));
        assert!(!filter.matches(&platform("s.x", false)));
    }

    #[test]
    fn installations_leave_events_alone_that_speak_of_none() {
        let filter = Filter {
            installations: HashSet::from([InstallationId::new()]),
            ..Filter::default()
        };
        assert!(filter.matches(&community()));
        assert!(!filter.matches(&platform("d.x", false)));
    }

    #[test]
    fn what_the_gateway_caused_can_be_left_out() {
        let filter = Filter {
            skip_by_gateway: true,
            ..Filter::default()
        };
        assert!(!filter.matches(&platform("d.x", true)));
        assert!(filter.matches(&platform("d.x", false)));
    }
}
