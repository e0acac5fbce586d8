//! Every RPC of the contract, tried by callers who may not: the table is made from the
//! descriptors, so a new RPC is covered by being there.

use metagov_proto::v1::{
    CreateIdentityRequest, CreateSubscriptionRequest, DeliveryState, ListDeliveriesRequest, Role,
    StartAt, Subscription,
};
use serde_json::json;
use tonic::{Code, Status};
use wiremock::MockServer;

use crate::{
    fakes::http,
    harness::{
        Api, Fault, Gateway, fault,
        raw::{self, Method, Slot, methods},
    },
    stage,
};

/// A word that nothing else has.
const OURS: &str = "ours-4f1c";

/// A community with one of everything, and the ids of that.
struct Owned {
    gateway: Gateway,
    _theatre: MockServer,
    ids: Vec<(&'static str, String)>,
}

/// It changes nothing of the caller's, and asks a platform: no reader's matter.
const CHECKS: &str = "CheckInstallation";

/// Ids that could be, and are nobody's.
const ABSENT: [(&str, &str); 8] = [
    ("community_id", "nowhere"),
    ("installation_id", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ("process_id", "01890a5d-ac96-774b-bcce-b302099a8058"),
    ("delivery_id", "01890a5d-ac96-774b-bcce-b302099a8059"),
    (
        "secondary_identity_id",
        "01890a5d-ac96-774b-bcce-b302099a805a",
    ),
    ("identity_id", "01890a5d-ac96-774b-bcce-b302099a805b"),
    ("token_id", "00000000deadbeef"),
    ("subscription_id", "nothing"),
];

async fn owned() -> Owned {
    let theatre = stage::theatre().await;
    let gateway = Gateway::start_with(|_| (), vec![stage::plugin()]).await;
    let api = &gateway.api;
    api.community(OURS).await;
    api.community("theirs").await;
    let config = json!({ "url": theatre.uri() });
    let installation = api.enable(OURS, "stage", config).await;
    let play = json!({ "title": "The Tempest" });
    let process = api.start(OURS, "stage.play", play).await.unwrap();
    let scene = json!({ "scene": 1 }).to_string();
    let hook = http().post(&installation.webhook_url).body(scene);
    assert_eq!(hook.send().await.unwrap().status(), 200);
    let ids = vec![
        ("community_id", OURS.to_owned()),
        ("installation_id", installation.installation_id),
        ("process_id", process.process_id),
        ("delivery_id", delivery(api).await),
        ("secondary_identity_id", identity(api).await),
        ("identity_id", identity(api).await),
        ("token_id", id_of(&api.token(Role::Reader, &[OURS]).await)),
        ("subscription_id", subscription(api).await),
    ];
    Owned {
        gateway,
        _theatre: theatre,
        ids,
    }
}

async fn delivery(api: &Api) -> String {
    let request = ListDeliveriesRequest {
        community_id: OURS.into(),
        states: vec![DeliveryState::Done.into()],
        ..Default::default()
    };
    let found = api.plugins().list_deliveries(request).await.unwrap();
    found.into_inner().deliveries.remove(0).delivery_id
}

async fn identity(api: &Api) -> String {
    let request = CreateIdentityRequest {
        community_id: OURS.into(),
        request_id: String::new(),
    };
    let made = api.identities().create_identity(request).await.unwrap();
    made.into_inner().identity.unwrap().identity_id
}

/// A subscription of the caller's own; others' of the same name are not it.
async fn subscription(api: &Api) -> String {
    let id = "ours-subscription";
    let wanted = Subscription {
        subscription_id: id.to_owned(),
        ..Subscription::default()
    };
    let request = CreateSubscriptionRequest {
        subscription: Some(wanted),
        ..Default::default()
    };
    let made = api.subscriptions().create_subscription(request).await;
    made.unwrap();
    id.to_owned()
}

/// The part of a token that may be shown.
fn id_of(secret: &str) -> String {
    secret.split('_').nth(1).unwrap().to_owned()
}

impl Owned {
    fn absent() -> Vec<(&'static str, String)> {
        ABSENT.map(|(name, id)| (name, id.to_owned())).to_vec()
    }
}

/// The id that belongs into a field, if it is one of an id.
fn id_for<'a>(slot: &Slot, ids: &'a [(&str, String)]) -> Option<&'a str> {
    let singular = slot.name.trim_end_matches('s');
    let fits =
        |(name, _): &&(&str, String)| singular == *name || singular.ends_with(&format!("_{name}"));
    ids.iter().find(fits).map(|(_, id)| id.as_str())
}

/// A request whose ids are these, and that is good otherwise as far as it can be.
fn request(method: &Method, ids: &[(&str, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for slot in method.slots() {
        let words = match (method.name(), slot.path.as_str()) {
            ("PerformAction", "action") => Some("stage.bow"),
            ("StartProcess", "process_type") => Some("stage.play"),
            ("GetPlugin" | "EnablePlugin" | "AuthorizePlugin", "plugin") => Some("stage"),
            (_, "request_id") => None,
            // It has its own filter.
            ("WatchEvents", "subscription_id") => None,
            // The filter's own; a token of ours is not made in somebody's name.
            (_, "token.token_id") => None,
            _ => id_for(&slot, ids),
        };
        if let Some(words) = words {
            bytes.extend(slot.with(words.as_bytes()));
        }
        if slot.path == "token.role" {
            bytes.extend(slot.with_number(Role::Reader as i64));
        }
        if method.name() == "SeekSubscription" && slot.path == "start_at" {
            bytes.extend(slot.with_number(StartAt::Earliest as i64));
        }
    }
    bytes
}

async fn answer(api: &Api, method: &Method, request: Vec<u8>) -> Result<Vec<u8>, Status> {
    raw::call(&api.channel, &method.path, request).await
}

/// The error, without the ids that it was told.
fn bare(mut fault: Fault, ids: &[(&str, String)]) -> Fault {
    for (_, id) in ids {
        fault.message = fault.message.replace(id.as_str(), "ID");
        for value in fault.metadata.values_mut() {
            *value = value.replace(id.as_str(), "ID");
        }
    }
    fault
}

fn is_of_access(method: &Method) -> bool {
    method.path.contains("AccessService")
}

/// Whoever may read may have the gateway keep where.
fn is_of_subscriptions(method: &Method) -> bool {
    method.path.contains("SubscriptionService")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_token_every_rpc_is_unauthenticated_in_the_same_words() {
    let owned = owned().await;
    let good = owned.gateway.admin_token();
    let mut words = Vec::new();
    let (start, end) = good.split_at(good.len() - 1);
    let other = if end == "0" { "1" } else { "0" };
    for token in [String::new(), format!("{start}{other}"), "x".repeat(5000)] {
        let api = owned.gateway.connect_with(&token).await;
        for method in methods() {
            let refused = fault(answer(&api, &method, request(&method, &owned.ids)).await);
            assert!(
                refused.is(Code::Unauthenticated, "TOKEN_INVALID"),
                "{}: {refused:?}",
                method.path
            );
            words.push(refused.message);
        }
    }
    words.dedup();
    assert_eq!(words.len(), 1, "{words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_read_and_nothing_else() {
    let owned = owned().await;
    let reader = owned.gateway.api.token(Role::Reader, &[OURS]).await;
    let api = owned.gateway.connect_with(&reader).await;
    subscription(&api).await;
    let (mut read, mut refused) = (0, 0);
    for method in methods() {
        let answer = answer(&api, &method, request(&method, &owned.ids)).await;
        if is_of_subscriptions(&method) && method.mutates {
            if let Err(status) = answer {
                assert_ne!(status.code(), Code::PermissionDenied, "{}", method.path);
            }
        } else if method.mutates || is_of_access(&method) || method.name() == CHECKS {
            let fault = fault(answer);
            let small = fault.is(Code::PermissionDenied, "ROLE_TOO_SMALL");
            assert!(small, "{}: {fault:?}", method.path);
            refused += 1;
        } else {
            assert!(answer.is_ok(), "{}: {answer:?}", method.path);
            read += 1;
        }
    }
    assert!(read >= 12 && refused >= 20, "{read} and {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_communitys_driver_what_is_ours_is_as_what_is_not_there() {
    let owned = owned().await;
    let theirs = owned.gateway.api.token(Role::Driver, &["theirs"]).await;
    let api = owned.gateway.connect_with(&theirs).await;
    let absent = Owned::absent();
    let (mut same, mut listed) = (0, 0);
    for method in methods() {
        if method.name() == "CreateSubscription" {
            // It makes one of the caller's own, whatever others have.
            continue;
        }
        let ours = answer(&api, &method, request(&method, &owned.ids)).await;
        let nobodys = answer(&api, &method, request(&method, &absent)).await;
        match (ours, nobodys) {
            (Ok(ours), Ok(_)) => {
                for (name, id) in &owned.ids {
                    let shown = ours.windows(id.len()).any(|part| part == id.as_bytes());
                    assert!(!shown, "{} shows our {name}", method.path);
                }
                listed += 1;
            }
            (Err(ours), Err(nobodys)) => {
                let ours = bare(fault::<()>(Err(ours)), &owned.ids);
                let nobodys = bare(fault::<()>(Err(nobodys)), &absent);
                assert_eq!(ours, nobodys, "{}", method.path);
                let expected = [Code::NotFound, Code::PermissionDenied];
                assert!(expected.contains(&ours.code), "{}: {ours:?}", method.path);
                same += 1;
            }
            (ours, nobodys) => panic!("{}: {ours:?} and {nobodys:?}", method.path),
        }
    }
    assert!(same >= 28 && listed >= 4, "{same} and {listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_is_never_refused() {
    for method in methods() {
        // Each on its own: some of them delete what others need.
        let owned = owned().await;
        let answer = answer(&owned.gateway.api, &method, request(&method, &owned.ids)).await;
        if let Err(status) = answer {
            let refused = [
                Code::Unauthenticated,
                Code::PermissionDenied,
                Code::Internal,
            ];
            let fault = fault::<()>(Err(status));
            assert!(!refused.contains(&fault.code), "{}: {fault:?}", method.path);
            let is_there = fault.code != Code::NotFound;
            assert!(is_there, "{}: {fault:?}", method.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_may_do_in_its_community_what_drivers_do() {
    for method in methods() {
        let owned = owned().await;
        let token = owned.gateway.api.token(Role::Driver, &[OURS]).await;
        let api = owned.gateway.connect_with(&token).await;
        subscription(&api).await;
        let answer = answer(&api, &method, request(&method, &owned.ids)).await;
        let governs = ["CreateCommunity", "DeleteCommunity"].contains(&method.name());
        if governs || is_of_access(&method) {
            let fault = fault(answer);
            let small = fault.is(Code::PermissionDenied, "ROLE_TOO_SMALL");
            assert!(small, "{}: {fault:?}", method.path);
        } else if let Err(status) = answer {
            let fault = fault::<()>(Err(status));
            let refused = [Code::PermissionDenied, Code::NotFound, Code::Internal];
            assert!(!refused.contains(&fault.code), "{}: {fault:?}", method.path);
        }
    }
}
