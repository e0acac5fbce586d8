//! Filters: every field of `EventFilter`, for streams and for pages.

use metagov::plugins::kit::{
    Context, Happened, Installed, Nothing, Object, Plugin, Result, Signal, With,
};
use metagov_proto::v1::{
    CreateIdentityRequest, EventFilter, EventKind, ListEventsRequest, PerformActionRequest,
    WatchEventsRequest, event::Payload,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tonic::Code;

use crate::{
    events::{earliest, read_on},
    harness::{Gateway, fault, object},
};

/// A plugin that says in the feed what it is told to say.
fn crier() -> Plugin {
    Plugin::new::<Post, Nothing>("crier", "Says what it is told.")
        .setup(stand)
        .event::<Cry>("said", "Something was said.")
        .event::<Cry>("shouted", "Something was shouted.")
        .action("cry", "Say or shout.", cry)
        .build()
}

#[derive(Deserialize, JsonSchema)]
struct Post {
    /// Where it stands.
    place: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Cry {
    /// `said` or `shouted`.
    how: String,
    /// Whether it counts as the gateway's own.
    by_gateway: bool,
}

async fn stand(cx: &Context<Post>) -> Result<Installed> {
    Ok(Installed {
        platform_id: cx.config.place.clone(),
        ..Installed::default()
    })
}

async fn cry(_: &Context<Post>, input: Cry) -> Result<With<Cry>> {
    let happened = Happened {
        event_type: input.how.clone(),
        data: Object::from_iter([
            ("how".to_owned(), json!(input.how)),
            ("by_gateway".to_owned(), json!(input.by_gateway)),
        ]),
        by_gateway: input.by_gateway,
        ..Happened::default()
    };
    Ok(With(Some(input), vec![Signal::Event(happened)]))
}

/// A log with an event of every kind, in two communities, of three installations.
struct Town {
    gateway: Gateway,
    /// Of `crier`: two in community a, one in b.
    criers: Vec<String>,
    /// Two processes in community a.
    processes: Vec<String>,
}

async fn town() -> Town {
    let gateway = Gateway::start_with(|_| (), vec![crier()]).await;
    let api = &gateway.api;
    let mut criers = Vec::new();
    for (community, place) in [("a", "gate"), ("a", "square"), ("b", "gate")] {
        if place == "gate" {
            api.community(community).await;
        }
        let installed = api
            .enable(community, "crier", json!({ "place": place }))
            .await;
        criers.push(installed.installation_id);
    }
    for (community, at, how, by_gateway) in [
        ("a", 0, "said", false),
        ("a", 1, "shouted", false),
        ("b", 2, "said", true),
        ("a", 0, "shouted", true),
    ] {
        let request = PerformActionRequest {
            community_id: community.into(),
            action: "crier.cry".into(),
            installation_id: criers[at].clone(),
            parameters: object(json!({ "how": how, "by_gateway": by_gateway })),
            request_id: String::new(),
        };
        api.perform_request(request).await.unwrap();
    }
    let config = json!({ "default_low": 0, "default_high": 9 });
    api.enable("a", "randomness", config).await;
    let mut processes = Vec::new();
    for _ in 0..2 {
        let draw = json!({ "options": ["x"], "delay": 1000 });
        let vote = "randomness.delayed-stochastic-vote";
        processes.push(api.start("a", vote, draw).await.unwrap().process_id);
    }
    let request = CreateIdentityRequest {
        community_id: "b".into(),
        request_id: String::new(),
    };
    api.identities().create_identity(request).await.unwrap();
    Town {
        gateway,
        criers,
        processes,
    }
}

impl Town {
    /// What a filter lets through, in words; the same for a stream and for pages.
    async fn seen(&self, filter: EventFilter) -> Vec<String> {
        let request = WatchEventsRequest {
            filter: Some(filter.clone()),
            ..earliest()
        };
        let streamed = read_on(&self.gateway.api, request).await;
        let request = ListEventsRequest {
            filter: Some(filter.clone()),
            page_size: 1000,
            ..Default::default()
        };
        let listed = self.gateway.api.events().list_events(request).await;
        assert_eq!(listed.unwrap().into_inner().events, streamed, "{filter:?}");
        let words = |event: metagov_proto::v1::Event| {
            let what = self.words(event.payload.unwrap());
            format!("{}: {what}", event.community_id)
        };
        let mut seen: Vec<_> = streamed.into_iter().map(words).collect();
        seen.dedup();
        seen
    }

    fn words(&self, payload: Payload) -> String {
        let crier = |id: &str| match self.criers.iter().position(|known| known == id) {
            Some(at) => format!("crier {at}"),
            None => "randomness".to_owned(),
        };
        match payload {
            Payload::Platform(it) => format!(
                "{} {}{}",
                crier(&it.installation_id),
                it.event_type.trim_start_matches("crier."),
                if it.by_gateway { " itself" } else { "" }
            ),
            Payload::ProcessChanged(it) => {
                let id = it.process.unwrap().process_id;
                let at = self.processes.iter().position(|known| *known == id);
                format!("process {}", at.unwrap())
            }
            Payload::InstallationChanged(it) => {
                format!(
                    "{} enabled",
                    crier(&it.installation.unwrap().installation_id)
                )
            }
            Payload::CommunityChanged(_) => "created".to_owned(),
            Payload::IdentityChanged(_) => "identity".to_owned(),
        }
    }
}

const ALL: [&str; 13] = [
    "a: created",
    "a: crier 0 enabled",
    "a: crier 1 enabled",
    "b: created",
    "b: crier 2 enabled",
    "a: crier 0 said",
    "a: crier 1 shouted",
    "b: crier 2 said itself",
    "a: crier 0 shouted itself",
    "a: randomness enabled",
    "a: process 0",
    "a: process 1",
    "b: identity",
];

fn kinds(kinds: &[EventKind]) -> Vec<i32> {
    kinds.iter().map(|kind| (*kind).into()).collect()
}

fn types(types: &[&str]) -> EventFilter {
    EventFilter {
        event_types: types.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

/// All that contain one of these words.
fn with(words: &[&str]) -> Vec<&'static str> {
    let fits = |line: &&str| words.iter().any(|word| line.contains(word));
    ALL.into_iter().filter(fits).collect()
}

#[tokio::test]
async fn every_field_of_a_filter_selects() {
    let town = town().await;
    let none = EventFilter::default;
    let unknown = "0197d0c0-0000-7000-8000-000000000000".to_owned();
    let cases = [
        (none(), ALL.to_vec()),
        (
            EventFilter {
                community_ids: vec!["b".into()],
                ..none()
            },
            with(&["b:"]),
        ),
        (
            EventFilter {
                community_ids: vec!["a".into(), "b".into()],
                ..none()
            },
            ALL.to_vec(),
        ),
        (
            EventFilter {
                community_ids: vec!["nobody".into()],
                ..none()
            },
            vec![],
        ),
        (
            EventFilter {
                kinds: kinds(&[EventKind::Platform]),
                ..none()
            },
            with(&["said", "shouted"]),
        ),
        (
            EventFilter {
                kinds: kinds(&[EventKind::ProcessChanged]),
                ..none()
            },
            with(&["process"]),
        ),
        (
            EventFilter {
                kinds: kinds(&[EventKind::InstallationChanged]),
                ..none()
            },
            with(&["enabled"]),
        ),
        (
            EventFilter {
                kinds: kinds(&[EventKind::CommunityChanged]),
                ..none()
            },
            with(&["created"]),
        ),
        (
            EventFilter {
                kinds: kinds(&[EventKind::IdentityChanged]),
                ..none()
            },
            with(&["identity"]),
        ),
        (types(&["crier.said"]), with(&[" said"])),
        (types(&["crier.*"]), with(&["said", "shouted"])),
        (
            types(&["crier.shouted", "crier.said"]),
            with(&["said", "shouted"]),
        ),
        (types(&["crier.whispered", "cri.*", "randomness.*"]), vec![]),
        (
            EventFilter {
                process_ids: vec![town.processes[1].clone()],
                ..none()
            },
            with(&["process 1"]),
        ),
        (
            EventFilter {
                process_ids: vec![unknown.clone()],
                ..none()
            },
            vec![],
        ),
        (
            EventFilter {
                skip_by_gateway: true,
                ..none()
            },
            {
                let own = |line: &&str| !line.ends_with("itself");
                ALL.into_iter().filter(own).collect()
            },
        ),
        // What speaks of no installation is left alone by a filter for some.
        (
            EventFilter {
                installation_ids: vec![town.criers[0].clone()],
                ..none()
            },
            with(&["crier 0", "created", "identity"]),
        ),
        (
            EventFilter {
                installation_ids: vec![unknown],
                ..none()
            },
            with(&["created", "identity"]),
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(town.seen(filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn fields_of_a_filter_are_joined_by_and() {
    let town = town().await;
    let none = EventFilter::default;
    let cases = [
        (
            EventFilter {
                community_ids: vec!["a".into()],
                ..types(&["crier.said"])
            },
            vec!["a: crier 0 said"],
        ),
        (
            EventFilter {
                installation_ids: vec![town.criers[0].clone()],
                skip_by_gateway: true,
                ..types(&["crier.*"])
            },
            vec!["a: crier 0 said"],
        ),
        // Without kinds, only those that the other fields speak of.
        (
            EventFilter {
                process_ids: vec![town.processes[0].clone()],
                ..types(&["crier.said"])
            },
            with(&[" said", "process 0"]),
        ),
        // Kinds that are named stay, though the other fields do not speak of them.
        (
            EventFilter {
                kinds: kinds(&[EventKind::Platform, EventKind::CommunityChanged]),
                ..types(&["crier.shouted"])
            },
            with(&["created", "shouted"]),
        ),
        (
            EventFilter {
                kinds: kinds(&[EventKind::CommunityChanged]),
                ..types(&["crier.shouted"])
            },
            with(&["created"]),
        ),
        (
            EventFilter {
                kinds: kinds(&[EventKind::ProcessChanged]),
                process_ids: vec![town.processes[0].clone()],
                ..none()
            },
            with(&["process 0"]),
        ),
        (
            EventFilter {
                kinds: kinds(&[EventKind::InstallationChanged]),
                installation_ids: vec![town.criers[2].clone()],
                ..none()
            },
            vec!["b: crier 2 enabled"],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(town.seen(filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_malformed_filter_is_refused_by_its_field() {
    let gateway = Gateway::start().await;
    let none = EventFilter::default;
    let many = vec!["a".to_owned(); 1001];
    let mut cases = vec![
        (
            "filter.community_ids",
            EventFilter {
                community_ids: many.clone(),
                ..none()
            },
        ),
        (
            "filter.event_types",
            EventFilter {
                event_types: vec!["a.b".into(); 1001],
                ..none()
            },
        ),
        (
            "filter.process_ids",
            EventFilter {
                process_ids: many.clone(),
                ..none()
            },
        ),
        (
            "filter.installation_ids",
            EventFilter {
                installation_ids: many,
                ..none()
            },
        ),
        (
            "filter.kinds",
            EventFilter {
                kinds: vec![0],
                ..none()
            },
        ),
        (
            "filter.kinds",
            EventFilter {
                kinds: vec![1, 99],
                ..none()
            },
        ),
        (
            "filter.kinds",
            EventFilter {
                kinds: vec![-1],
                ..none()
            },
        ),
    ];
    for bad in [
        "",
        "*",
        "*.*",
        "*.said",
        ".said",
        "crier.",
        "crier",
        "crier.sa*",
        "cri*.said",
    ] {
        cases.push(("filter.event_types", types(&["crier.said", bad])));
    }
    for bad in ["", "Ä", "a/b", "..", "A", "-a", "a\n"] {
        let community_ids = vec!["a".into(), bad.to_owned()];
        cases.push((
            "filter.community_ids",
            EventFilter {
                community_ids,
                ..none()
            },
        ));
        let process_ids = vec![bad.to_owned()];
        cases.push((
            "filter.process_ids",
            EventFilter {
                process_ids,
                ..none()
            },
        ));
        let installation_ids = vec![bad.to_owned()];
        cases.push((
            "filter.installation_ids",
            EventFilter {
                installation_ids,
                ..none()
            },
        ));
    }
    for (field, filter) in cases {
        let request = WatchEventsRequest {
            filter: Some(filter.clone()),
            ..Default::default()
        };
        let refused = fault(gateway.api.events().watch_events(request).await);
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{filter:?}: {refused:?}"
        );
        assert_eq!(refused.fields, [field], "{filter:?}");
        let request = ListEventsRequest {
            filter: Some(filter),
            ..Default::default()
        };
        let listed = fault(gateway.api.events().list_events(request).await);
        assert_eq!(listed, refused);
    }
}
