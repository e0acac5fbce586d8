//! Bad values: Structs that are too deep, too large or wrong, times past, ids reused,
//! and calls that fail half-way. Nothing of them is stored.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use metagov_proto::v1::{
    Community, CreateCommunityRequest, CreateIdentityRequest, EnablePluginRequest,
    ListInstallationsRequest, ListProcessesRequest, PerformActionRequest, StartProcessRequest,
    UpdateCommunityRequest,
};
use prost::Message;
use prost_types::{FieldMask, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tonic::{Code, Status};

use crate::{
    bad_input::{malformed, unknown},
    events::after,
    harness::{Fault, Gateway, fault, object, raw},
};

/// `{"a": {"a": …}}`, so many objects deep, by hand: prost stops long before.
fn deep(levels: usize) -> Vec<u8> {
    // Written from the innermost outwards, and backwards, since lengths come first.
    let mut backwards: Vec<u8> = Vec::new();
    let push = |bytes: Vec<u8>, to: &mut Vec<u8>| to.extend(bytes.into_iter().rev());
    for _ in 1..levels {
        // Value.struct_value, the entry's value and its key, Struct.fields.
        for tag in [5_u64 << 3 | 2, 2 << 3 | 2] {
            push(
                [raw::varint(tag), raw::varint(backwards.len() as u64)].concat(),
                &mut backwards,
            );
        }
        push(raw::field(1, b"a"), &mut backwards);
        push(
            [raw::varint(1 << 3 | 2), raw::varint(backwards.len() as u64)].concat(),
            &mut backwards,
        );
    }
    backwards.reverse();
    backwards
}

fn encoded(value: Value) -> Vec<u8> {
    object(value).unwrap().encode_to_vec()
}

/// `{"x": <a double>}`.
fn double(number: f64) -> Vec<u8> {
    let mut value = vec![2 << 3 | 1];
    value.extend(number.to_le_bytes());
    raw::field(1, &[raw::field(1, b"x"), raw::field(2, &value)].concat())
}

/// Calls every method that takes a Struct with this one; `field` is where the fault is.
async fn try_everywhere(gateway: &Gateway, value: &[u8], field: impl Fn(&str) -> String) {
    let mut tried = 0;
    for method in raw::methods() {
        for slot in method.slots() {
            if slot.type_name != ".google.protobuf.Struct" {
                continue;
            }
            let request = [unknown(&method), slot.with(value)].concat();
            let field = field(&slot.path);
            malformed(&gateway.api.channel, &method, &field, request).await;
            tried += 1;
        }
    }
    assert_eq!(tried, 5, "enable, update, perform, start, link");
}

#[tokio::test]
async fn deep_and_huge_structs_are_refused() {
    let gateway =
        Gateway::start_with(|config| config.limits.max_request_size = 64 << 20, vec![]).await;
    let itself = |path: &str| path.to_owned();
    let nowhere = |_: &str| String::new();
    // Deeper than any decoder goes, so that no field can be named.
    try_everywhere(&gateway, &deep(10_000), nowhere).await;
    for levels in [25, 30] {
        try_everywhere(&gateway, &deep(levels), itself).await;
    }
    let list = (0..24).fold(json!([]), |inner, _| json!([inner]));
    try_everywhere(&gateway, &encoded(json!({ "a": list })), itself).await;
    try_everywhere(&gateway, &encoded(json!({ "a": vec![0; 10_000] })), itself).await;
    let long = "x".repeat((64 << 10) + 1);
    try_everywhere(&gateway, &encoded(json!({ "a": long })), itself).await;
    try_everywhere(&gateway, &encoded(json!({ (long.as_str()): 1 })), itself).await;
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        try_everywhere(&gateway, &double(number), |path| format!("{path}/x")).await;
    }
    let entry = |key: u32| raw::field(1, &raw::field(1, key.to_string().as_bytes()));
    let million: Vec<u8> = (0..1_000_000).flat_map(entry).collect();
    let methods = raw::methods();
    let perform = methods
        .iter()
        .find(|m| m.name() == "PerformAction")
        .unwrap();
    let slots = perform.slots();
    let slot = slots.iter().find(|slot| slot.path == "parameters").unwrap();
    let request = [unknown(perform), slot.with(&million)].concat();
    malformed(&gateway.api.channel, perform, "parameters", request).await;
    assert_eq!(gateway.api.log().await, []);
}

#[tokio::test]
async fn a_million_entries_do_not_fit_in_a_message() {
    let gateway = Gateway::start().await;
    let entry = |key: u32| raw::field(1, &raw::field(1, key.to_string().as_bytes()));
    let million: Vec<u8> = (0..1_000_000).flat_map(entry).collect();
    for method in raw::methods() {
        let slots = method.slots();
        let of_struct = |slot: &&raw::Slot| slot.type_name == ".google.protobuf.Struct";
        let Some(slot) = slots.iter().find(of_struct) else {
            continue;
        };
        let answer = raw::call(&gateway.api.channel, &method.path, slot.with(&million)).await;
        let refused = fault(answer);
        assert!(
            refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
            "{refused:?}"
        );
    }
}

async fn numbers(gateway: &Gateway) {
    gateway.api.community("a").await;
    let config = json!({ "default_low": 0, "default_high": 9 });
    gateway.api.enable("a", "randomness", config).await;
    gateway.api.enable("a", "ballot", json!({})).await;
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_taken() {
    let gateway = Gateway::start().await;
    numbers(&gateway).await;
    // They reach the schema, which says no in its own words.
    let deep = (1..24).fold(json!({}), |inner, _| json!({ "a": inner }));
    for fits in [
        deep,
        json!({ "a": vec![0; 9_999] }),
        json!({ "a": "x".repeat(64 << 10) }),
    ] {
        let refused = fault(
            gateway
                .api
                .perform("a", "randomness.random-int", fits)
                .await,
        );
        assert!(
            refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn wrong_types_are_named_by_their_place() {
    let gateway = Gateway::start().await;
    numbers(&gateway).await;
    let before = gateway.api.log().await;
    for (bad, field) in [
        (json!({ "low": "1" }), "parameters/low"),
        (json!({ "low": 1.5 }), "parameters/low"),
        (json!({ "low": [] }), "parameters/low"),
        (json!({ "low": {} }), "parameters/low"),
        (json!({ "low": true }), "parameters/low"),
    ] {
        let text = bad.to_string();
        let refused = fault(gateway.api.perform("a", "randomness.random-int", bad).await);
        assert!(
            refused.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
            "{text}: {refused:?}"
        );
        assert_eq!(refused.fields, [field], "{text}");
        assert_eq!(refused.metadata["schema_of"], "randomness.random-int");
    }
    let draw = json!({ "options": [1, "x", null], "delay": -1, "more": 0 });
    let refused = fault(
        gateway
            .api
            .start("a", "randomness.delayed-stochastic-vote", draw)
            .await,
    );
    for field in [
        "parameters/options/0",
        "parameters/options/2",
        "parameters/delay",
    ] {
        assert!(
            refused.fields.iter().any(|named| named == field),
            "{field}: {refused:?}"
        );
    }
    assert_eq!(gateway.api.log().await, before);
}

#[tokio::test]
async fn bad_cursors_are_told_apart() {
    let (here, there) = (Gateway::start().await, Gateway::start().await);
    here.api.community("a").await;
    there.api.community("b").await;
    let own = here.api.log().await.remove(0).cursor;
    let foreign = there.api.log().await.remove(0).cursor;
    let reason =
        async |cursor: &str| fault(here.api.events().watch_events(after(cursor)).await).reason;
    assert_eq!(reason("").await, "CURSOR_INVALID");
    assert_eq!(reason(&own[2..]).await, "CURSOR_INVALID");
    assert_eq!(reason(&foreign).await, "CURSOR_FOREIGN");
    // As a later version of the gateway may write it: all is well but the version.
    let mut bytes = URL_SAFE_NO_PAD.decode(&own).unwrap();
    bytes[0] += 1;
    let (said, sum) = bytes.split_at_mut(25);
    sum.copy_from_slice(&Sha256::digest(said)[..4]);
    let newer = URL_SAFE_NO_PAD.encode(&bytes);
    assert_eq!(reason(&newer).await, "CURSOR_INVALID");
    let random = URL_SAFE_NO_PAD.encode([0x5a; 29]);
    assert_eq!(reason(&random).await, "CURSOR_INVALID");
    here.api.watch_request(after(&own)).await.unwrap();
}

fn vote(close_time: Option<Timestamp>, request_id: &str, title: &str) -> StartProcessRequest {
    StartProcessRequest {
        community_id: "a".into(),
        process_type: "ballot.vote".into(),
        parameters: object(json!({
            "title": title, "details": "", "options": ["yes", "no"], "method": "single",
            "eligible_voters": ["ada"],
        })),
        close_time,
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn times_past_and_ids_reused_are_refused() {
    let gateway = Gateway::start().await;
    numbers(&gateway).await;
    let api = &gateway.api;
    for seconds in [0, 1, 1_700_000_000] {
        let past = Timestamp { seconds, nanos: 0 };
        let refused = fault(api.start_request(vote(Some(past), "", "T")).await);
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{refused:?}"
        );
        assert_eq!(refused.fields, ["close_time"]);
    }
    api.start_request(vote(None, "r1", "T")).await.unwrap();
    let before = api.log().await;
    let reused = |fault: Fault| {
        assert!(
            fault.is(Code::InvalidArgument, "REQUEST_ID_REUSED"),
            "{fault:?}"
        );
    };
    // For the same method with other words, and for every other method.
    reused(fault(api.start_request(vote(None, "r1", "U")).await));
    let community = CreateCommunityRequest {
        community: Some(Community {
            community_id: "b".into(),
            ..Default::default()
        }),
        request_id: "r1".into(),
    };
    reused(fault(api.communities().create_community(community).await));
    let identity = CreateIdentityRequest {
        community_id: "a".into(),
        request_id: "r1".into(),
    };
    reused(fault(api.identities().create_identity(identity).await));
    let enable = EnablePluginRequest {
        community_id: "a".into(),
        plugin: "sourcecred".into(),
        config: object(json!({ "server_url": "http://127.0.0.1:9" })),
        request_id: "r1".into(),
    };
    reused(fault(api.plugins().enable_plugin(enable).await));
    let perform = PerformActionRequest {
        community_id: "a".into(),
        action: "randomness.set-lucky-number".into(),
        parameters: object(json!({ "lucky_number": 7 })),
        request_id: "r1".into(),
        ..Default::default()
    };
    reused(fault(api.perform_request(perform).await));
    assert_eq!(api.log().await, before);
}

#[tokio::test]
async fn a_failed_enable_leaves_nothing() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    api.community("a").await;
    let before = api.log().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let forum = json!({
        "server_url": format!("http://{closed}"), "api_key": "k", "webhook_secret": "s",
    });
    for (plugin, config, reason) in [
        ("randomness", json!({}), "SCHEMA_MISMATCH"),
        (
            "randomness",
            json!({ "default_low": 5, "default_high": 5 }),
            "INVALID_FIELD",
        ),
        (
            "randomness",
            json!({ "default_low": "x", "default_high": 5 }),
            "SCHEMA_MISMATCH",
        ),
        ("discourse", forum, "PLATFORM_UNAVAILABLE"),
        ("nothing", json!({}), "PLUGIN_NOT_FOUND"),
    ] {
        let refused = fault(api.try_enable("a", plugin, config).await);
        assert_eq!(refused.reason, reason, "{refused:?}");
    }
    let request = ListInstallationsRequest {
        community_id: "a".into(),
        ..Default::default()
    };
    let listed = api.plugins().list_installations(request).await.unwrap();
    assert_eq!(listed.into_inner().installations, []);
    assert_eq!(api.log().await, before);
}

#[tokio::test]
async fn a_refused_start_leaves_no_process() {
    let gateway = Gateway::start().await;
    numbers(&gateway).await;
    let before = gateway.api.log().await;
    for bad in [
        json!({}),
        json!({ "options": [], "delay": 1 }),
        json!({ "options": ["x"], "delay": 1e9 }),
    ] {
        let vote = "randomness.delayed-stochastic-vote";
        let refused: Result<_, Status> = gateway.api.start("a", vote, bad).await;
        assert_eq!(fault(refused).reason, "SCHEMA_MISMATCH");
    }
    let request = ListProcessesRequest::default();
    let listed = gateway
        .api
        .processes()
        .list_processes(request)
        .await
        .unwrap();
    assert_eq!(listed.into_inner().processes, []);
    assert_eq!(gateway.api.log().await, before);
}

#[tokio::test]
async fn a_mask_of_what_cannot_change_is_refused() {
    let gateway = Gateway::start().await;
    gateway.api.community("a").await;
    let before = gateway.api.log().await;
    for path in [
        "",
        "community_id",
        "create_time",
        "etag",
        "display_name.x",
        "community.display_name",
    ] {
        let request = UpdateCommunityRequest {
            community: Some(Community {
                community_id: "a".into(),
                display_name: "New".into(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["display_name".into(), path.into()],
            }),
            allow_missing: false,
        };
        let refused = fault(gateway.api.communities().update_community(request).await);
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{path}: {refused:?}"
        );
        assert_eq!(refused.fields, ["update_mask"], "{path}");
    }
    assert_eq!(gateway.api.log().await, before);
}
