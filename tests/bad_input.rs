//! Bad input, for every method of the contract: a fitting code, a reason, the field, and
//! nothing is stored. Requests are made from the descriptors, so that a new field or
//! method is tested as soon as it is there.

use metagov_proto::v1::{GetCommunityRequest, ListCommunitiesRequest};
use prost_types::field_descriptor_proto::Type;
use tonic::Code;

use crate::harness::{
    Api, Binary, Fault, Gateway, Home, Line, fault,
    raw::{self, Method, Slot},
};

const ID: &str = "0197d0c0-0000-7000-8000-000000000000";

/// Methods that need nothing, and those whose ids only choose among what is there.
const LISTS: [&str; 8] = [
    "ListPlugins",
    "ListCommunities",
    "ListProcesses",
    "ListEvents",
    "ListTokens",
    "ListSubscriptions",
    // A deleted community's entries stay.
    "ListAuditEntries",
    "WatchEvents",
];

/// Methods that make something of nothing.
const MAKES: [&str; 4] = [
    "CreateCommunity",
    "UpdateCommunity",
    "CreateToken",
    "CreateSubscription",
];

/// What is well-formed in a field, and names nothing that exists.
pub(crate) fn usual(slot: &Slot) -> Option<&'static str> {
    if slot.kind != Type::String {
        return None;
    }
    match slot.name.as_str() {
        "community_id" | "community_ids" => Some("nobody"),
        "plugin" | "provider" => Some("nothing"),
        "action" | "process_type" | "event_types" => Some("nothing.here"),
        "user_id" | "display_name" => Some("ada"),
        "redirect_uri" => Some("https://example.org/done"),
        "token_id" => Some("0123456789abcdef"),
        "subscription_id" => Some("nothing"),
        _ if is_own_id(slot) => Some(ID),
        _ => None,
    }
}

/// Whether it is an id that the gateway gave.
fn is_own_id(slot: &Slot) -> bool {
    let id = slot.name.trim_end_matches('s').trim_end_matches("_id");
    let kinds = ["installation", "process", "identity", "delivery"];
    let merged = ["primary_identity", "secondary_identity"];
    let revoked = slot.path == "token_id";
    kinds.contains(&id) || merged.contains(&id) || revoked
}

fn is_id(slot: &Slot) -> bool {
    let chosen = slot.name.starts_with("community_id") || slot.name == "subscription_id";
    slot.kind == Type::String && (is_own_id(slot) || chosen)
}

/// A request whose ids are all well-formed and unknown.
pub(crate) fn unknown(method: &Method) -> Vec<u8> {
    let slots = method.slots();
    let set = slots.iter().filter_map(|slot| match slot.path.as_str() {
        "token.role" => Some(slot.with_number(1)),
        "start_at" if method.name() == "SeekSubscription" => Some(slot.with_number(1)),
        // It has its own filter.
        "subscription_id" if method.name() == "WatchEvents" => None,
        _ => Some(slot.with(usual(slot)?.as_bytes())),
    });
    set.collect::<Vec<_>>().concat()
}

/// The refusal that a call must get, whatever it is.
async fn refused(channel: &Line, method: &Method, request: Vec<u8>) -> Fault {
    let (path, length) = (&method.path, request.len());
    let answer = raw::call(channel, path, request).await;
    assert!(
        answer.is_err(),
        "{path} takes {length} bytes that it must refuse"
    );
    let refused = fault(answer);
    let codes = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::FailedPrecondition,
    ];
    assert!(codes.contains(&refused.code), "{path}: {refused:?}");
    assert!(!refused.reason.is_empty(), "{path}: {refused:?}");
    if refused.reason == "INVALID_FIELD" {
        assert!(!refused.fields.is_empty(), "{path}: {refused:?}");
    }
    refused
}

/// It must be refused as malformed, by this field.
pub(crate) async fn malformed(channel: &Line, method: &Method, field: &str, request: Vec<u8>) {
    let refused = refused(channel, method, request).await;
    let path = &method.path;
    assert!(
        refused.is(Code::InvalidArgument, "INVALID_FIELD"),
        "{path} {field}: {refused:?}"
    );
    assert_eq!(refused.fields, [field], "{path}: {}", refused.message);
}

/// The program with one community, to see that it lives on and stores nothing.
pub(crate) struct Patient {
    server: Binary,
    pub(crate) api: Api,
    _home: Home,
}

impl Patient {
    pub(crate) async fn new() -> Self {
        let home = Home::new();
        let server = Binary::serve(&home, &[]);
        let api = server.api().await;
        api.community("here").await;
        Self {
            server,
            api,
            _home: home,
        }
    }

    /// The admin's token.
    pub(crate) fn token(&self) -> &str {
        &self.server.token
    }

    /// Where gRPC is served.
    pub(crate) fn endpoint(&self) -> &str {
        &self.server.endpoint
    }

    /// How much memory it holds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.server.memory()
    }

    pub(crate) async fn ends_unharmed(self) {
        let get = GetCommunityRequest {
            community_id: "here".into(),
        };
        self.api.communities().get_community(get).await.unwrap();
        assert_eq!(
            self.api.log().await.len(),
            1,
            "a refused call stores nothing"
        );
        // The connection must be able to say good-bye meanwhile.
        let ended = tokio::task::spawn_blocking(|| self.server.terminate_with_log());
        for line in ended.await.unwrap() {
            let bad = line.contains("ERROR") || line.contains("panicked");
            assert!(!bad, "{line}");
        }
    }
}

#[tokio::test]
async fn ids_that_are_wrong_are_named() {
    let patient = Patient::new().await;
    let channel = &patient.api.channel;
    let long = "x".repeat(4096);
    let bad = [
        "*",
        "a/b",
        "..",
        "a\u{0}b",
        "a\nb",
        "\u{202e}abc",
        "Ä",
        " ",
        "a%2fb",
        &long,
    ];
    for method in raw::methods() {
        for slot in method.slots().into_iter().filter(is_id) {
            for id in bad {
                let request = [unknown(&method), slot.with(id.as_bytes())].concat();
                malformed(channel, &method, &slot.path, request).await;
            }
        }
    }
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn ids_that_are_unknown_are_not_found() {
    let patient = Patient::new().await;
    let channel = &patient.api.channel;
    for method in raw::methods() {
        let request = unknown(&method);
        if ["CreateCommunity", "CreateToken", "CreateSubscription"].contains(&method.name()) {
            continue;
        }
        if LISTS.contains(&method.name()) && method.name() != "ListProcesses" {
            raw::call(channel, &method.path, request).await.unwrap();
            continue;
        }
        let refused = refused(channel, &method, request).await;
        assert_eq!(refused.code, Code::NotFound, "{}: {refused:?}", method.path);
        assert!(
            !refused.metadata.is_empty(),
            "{}: what was not found",
            method.path
        );
    }
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn an_empty_request_says_what_is_missing() {
    let patient = Patient::new().await;
    for method in raw::methods() {
        let channel = &patient.api.channel;
        if LISTS.contains(&method.name()) {
            raw::call(channel, &method.path, vec![]).await.unwrap();
            continue;
        }
        let refused = refused(channel, &method, vec![]).await;
        assert_eq!(
            refused.code,
            Code::InvalidArgument,
            "{}: {refused:?}",
            method.path
        );
        assert!(
            !refused.fields[0].is_empty(),
            "{}: {refused:?}",
            method.path
        );
    }
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn any_text_in_any_field_is_survived() {
    let patient = Patient::new().await;
    let long = "x".repeat(4096);
    let odd = [
        "*",
        "../..",
        "a\u{0}b",
        "\u{202e}\u{2066}a",
        "'; DROP TABLE event; --",
        "%s%n",
        &long,
    ];
    for method in raw::methods() {
        let slots = method.slots();
        let texts = slots
            .iter()
            .filter(|slot| slot.kind == Type::String && !is_id(slot));
        for slot in texts {
            // Which make something, and may.
            if MAKES.contains(&method.name()) {
                continue;
            }
            for text in odd {
                let request = [unknown(&method), slot.with(text.as_bytes())].concat();
                let chooses = LISTS.contains(&method.name());
                let filters = matches!(slot.name.as_str(), "process_type");
                if chooses && filters {
                    _ = raw::call(&patient.api.channel, &method.path, request).await;
                } else {
                    refused(&patient.api.channel, &method, request).await;
                }
            }
        }
    }
    patient.ends_unharmed().await;
}

/// Texts that people read, or that are compared with what they read.
const TEXTS: [&str; 8] = [
    "action",
    "display_name",
    "platform_id",
    "plugin",
    "principal",
    "process_type",
    "provider",
    "reason",
];

#[tokio::test]
async fn texts_that_would_look_like_others_are_named() {
    let patient = Patient::new().await;
    let mut tried = 0;
    for method in raw::methods() {
        let slots = method.slots();
        let texts = slots.iter().filter(|slot| slot.kind == Type::String);
        for slot in texts.filter(|slot| TEXTS.contains(&slot.name.as_str())) {
            // In these they choose among what is there, and choose nothing.
            if LISTS.contains(&method.name()) || method.name().starts_with("List") {
                continue;
            }
            for bad in ['\u{202e}', '\u{2066}', '\u{2028}', '\u{1b}', '\n', '\0'] {
                let text = format!("ada{bad}lovelace");
                let request = [unknown(&method), slot.with(text.as_bytes())].concat();
                malformed(&patient.api.channel, &method, &slot.path, request).await;
            }
            tried += 1;
        }
    }
    assert!(tried >= 12, "{tried} texts");
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn a_page_token_with_another_letter_is_named_or_a_place() {
    let gateway = Gateway::start().await;
    for id in ["a", "b", "c"] {
        gateway.api.community(id).await;
    }
    let list = async |page_token: String| {
        let request = ListCommunitiesRequest {
            page_size: 1,
            page_token,
        };
        let listed = gateway.api.communities().list_communities(request).await;
        listed.map(tonic::Response::into_inner)
    };
    let token = list(String::new()).await.unwrap().next_page_token;
    for at in 0..token.len() {
        for letter in ["A", "z", "_", "%", "\u{202e}"] {
            let mut other = token.clone();
            other.replace_range(at..=at, letter);
            match list(other.clone()).await {
                // It names a moment, and whoever changes it gets what came after that one.
                Ok(page) => assert!(page.communities.len() <= 1),
                Err(status) => {
                    let refused = fault(Err::<(), _>(status));
                    let named = refused.is(Code::InvalidArgument, "INVALID_FIELD");
                    assert!(named, "{other}: {refused:?}");
                    assert_eq!(refused.fields, ["page_token"]);
                }
            }
        }
    }
}

#[tokio::test]
async fn request_ids_are_visible_ascii() {
    let patient = Patient::new().await;
    let long = "x".repeat(129);
    for method in raw::methods() {
        let slots = method.slots();
        for slot in slots.iter().filter(|slot| slot.name == "request_id") {
            for bad in [" ", "a b", "a\tb", "ä", "\u{7f}", &long] {
                let request = [unknown(&method), slot.with(bad.as_bytes())].concat();
                malformed(&patient.api.channel, &method, "request_id", request).await;
            }
        }
    }
    patient.ends_unharmed().await;
}

#[tokio::test]
async fn numbers_that_no_enum_has_are_named() {
    let gateway = Gateway::start().await;
    for method in raw::methods() {
        let slots = method.slots();
        for slot in slots.iter().filter(|slot| slot.kind == Type::Enum) {
            for bad in [99, -1, i64::from(i32::MAX)] {
                let request = [unknown(&method), slot.with_number(bad)].concat();
                malformed(&gateway.api.channel, &method, &slot.path, request).await;
            }
        }
    }
}

#[tokio::test]
async fn every_list_has_its_bounds() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    gateway.api.community("b").await;
    let request = ListCommunitiesRequest {
        page_size: 1,
        ..Default::default()
    };
    let page = gateway.api.communities().list_communities(request).await;
    let of_communities = page.unwrap().into_inner().next_page_token;
    let mut lists = 0;
    for method in raw::methods() {
        let slots = method.slots();
        let slot = |name: &str| slots.iter().find(|slot| slot.path == name);
        for bad in [-1, 1001, i64::from(i32::MIN), i64::from(i32::MAX)] {
            let Some(size) = slot("page_size") else { break };
            let request = [unknown(&method), size.with_number(bad)].concat();
            malformed(&gateway.api.channel, &method, "page_size", request).await;
            lists += 1;
        }
        let long = "A".repeat(4096);
        for bad in ["nonsense", "*", "\u{202e}", &long, &of_communities] {
            let own = method.name() == "ListCommunities" && bad == of_communities;
            let Some(token) = slot("page_token").filter(|_| !own) else {
                continue;
            };
            let request = [unknown(&method), token.with(bad.as_bytes())].concat();
            malformed(&gateway.api.channel, &method, "page_token", request).await;
        }
    }
    assert_eq!(lists, 4 * 9);
}

#[tokio::test]
async fn times_out_of_range_are_named() {
    let gateway = Gateway::start().await;
    let time = |seconds, nanos| [raw::number(1, seconds), raw::number(2, nanos)].concat();
    let mut tried = 0;
    for method in raw::methods() {
        let slots = method.slots();
        for slot in &slots {
            let bad = match slot.type_name.as_str() {
                // What is output only is ignored.
                _ if slot.path.contains('.') => continue,
                ".google.protobuf.Timestamp" => [
                    (-1, 0),
                    (253_402_300_800, 0),
                    (i64::MAX, 0),
                    (i64::MIN, 0),
                    (1, -1),
                    (1, 1_000_000_000),
                ],
                ".google.protobuf.Duration" => [
                    (0, 0),
                    (301, 0),
                    (-1, 0),
                    (i64::MAX, 0),
                    (i64::MIN, 0),
                    (0, 999_999_999),
                ],
                _ => continue,
            };
            for (seconds, nanos) in bad {
                let request = [unknown(&method), slot.with(&time(seconds, nanos))].concat();
                malformed(&gateway.api.channel, &method, &slot.path, request).await;
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 6 * 8, "six times and two durations");
}
