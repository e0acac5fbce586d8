//! What a plugin makes of hooks whose signature holds: people on the platform write most
//! of what is in them.

use std::sync::LazyLock;

use hmac::{Hmac, KeyInit, Mac};
use metagov::plugins::{
    self,
    kit::{Call, Error, Hook, Plugin, Row, Signal, fuzz},
};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::take;

const SECRET: &str = "a secret of the fuzzer";
const SERVER: &str = "https://forum.example.org";
const EVENTS: [&str; 4] = ["post_created", "topic_created", "user_updated", "ping"];

static DISCOURSE: LazyLock<(Plugin, Call)> = LazyLock::new(|| {
    let plugins = plugins::all().into_iter();
    let mut discourse = plugins.filter(|plugin| plugin.descriptor.name == "discourse");
    let config = json!({"api_key": "k", "server_url": SERVER, "webhook_secret": SECRET});
    let config = config.as_object().cloned().unwrap_or_default();
    let call = fuzz::call(config).expect("a step");
    (discourse.next().expect("in the list"), call)
});

/// A body is refused as one, or it means at most one thing, of a declared kind; and what
/// is kept of it says nothing new the second time.
pub fn hook_bodies(data: &[u8]) {
    let ([event], body) = take::<1>(data);
    let (plugin, call) = &*DISCOURSE;
    let receive = plugin.receive.as_ref().expect("it takes hooks");
    let hook = signed(EVENTS[usize::from(event) % EVENTS.len()], body);
    match receive((call.clone(), hook)) {
        Ok(received) => {
            assert!(received.signals.len() <= 1);
            received
                .signals
                .iter()
                .for_each(|signal| means(plugin, signal));
        }
        Err(Error::Invalid(faults)) => {
            assert!(
                faults.iter().all(|fault| fault.field.starts_with("body")),
                "{faults:?}"
            );
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn signed(event: &str, body: &[u8]) -> Hook {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    let mac = hex::encode(mac.chain_update(body).finalize().into_bytes());
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Hook {
        headers: vec![
            header("x-discourse-instance", SERVER),
            header("x-discourse-event", event),
            header("x-discourse-event-signature", &format!("sha256={mac}")),
        ],
        body: body.to_vec().into(),
        ..Hook::default()
    }
}

fn means(plugin: &Plugin, signal: &Signal) {
    match signal {
        Signal::Event(happened) => {
            let declared = &plugin.descriptor.events;
            let is = |name: &str| name.rsplit('.').next() == Some(&*happened.event_type);
            assert!(
                declared.iter().any(|event| is(&event.event_type)),
                "{happened:?}"
            );
            assert!(happened.data.get("url").is_none_or(is_below_the_forum));
        }
        Signal::Fold { key, input } => folded(plugin, key, input),
        other => panic!("{other:?}"),
    }
}

fn is_below_the_forum(url: &Value) -> bool {
    let url: url::Url = url
        .as_str()
        .and_then(|url| url.parse().ok())
        .expect("an address");
    url.as_str().starts_with(&format!("{SERVER}/t/"))
}

fn folded(plugin: &Plugin, key: &str, input: &Value) {
    let fold = plugin.fold.as_ref().expect("it folds");
    let row = |old: Option<Value>| -> Row { (key.to_owned(), old, input.clone()) };
    let once = fold(row(None)).expect("a user");
    once.signals.iter().for_each(|signal| means(plugin, signal));
    let twice = fold(row(once.state.clone())).expect("the same user");
    assert_eq!((twice.state, twice.signals), (once.state, Vec::new()));
}
