//! Webhooks: is it our forum that speaks, and what does it say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    super::kit::{
        Error, Happened, Hook, Object, Received, Result, Signal, Time, invalid, unsigned, verify,
    },
    Config, Cx, api,
    users::Updated,
};

/// A post was written.
#[derive(Serialize, JsonSchema)]
pub(super) struct PostCreated {
    /// The text, in Markdown.
    raw: String,
    /// Its topic.
    topic_id: i64,
    /// The post.
    id: i64,
    /// Where people read it.
    url: String,
}

/// A topic was opened.
#[derive(Serialize, JsonSchema)]
pub(super) struct TopicCreated {
    /// Its title.
    title: String,
    /// The topic.
    id: i64,
    /// Its tags.
    tags: Vec<String>,
    /// Its category's id; a private message has none.
    category: Option<i64>,
    /// Where people read it.
    url: String,
}

pub(super) fn receive(cx: &Cx, hook: &Hook) -> Result<Received> {
    verify(&cx.config, hook)?;
    let body = hook.json()?;
    let signals = match hook.header("x-discourse-event") {
        Some("post_created") => vec![post_created(&cx.config, part(body, "post")?)?],
        Some("topic_created") => vec![topic_created(&cx.config, part(body, "topic")?)?],
        Some("user_updated") => vec![part::<Updated>(body, "user")?.signal()],
        // A ping has no event, and whoever set the webhook up may have ticked more.
        _ => Vec::new(),
    };
    Ok(Received::signals(signals))
}

fn verify(config: &Config, hook: &Hook) -> Result<()> {
    verify::discourse(hook, Some(&config.webhook_secret))?;
    let instance = hook.header("x-discourse-instance").map(api::normal);
    if instance != Some(Ok(api::server(config)?)) {
        return Err(unsigned("X-Discourse-Instance is not the server_url"));
    }
    Ok(())
}

/// The part of a body that speaks of one thing.
fn part<T: DeserializeOwned>(mut body: Object, name: &str) -> Result<T> {
    let part = body.remove(name).unwrap_or_default();
    serde_json::from_value(part)
        .map_err(|_| invalid(format!("body/{name}"), "is not what this event has"))
}

#[derive(Deserialize)]
struct HookPost {
    #[serde(flatten)]
    post: api::Posted,
    raw: String,
    username: String,
    created_at: Option<String>,
}

fn post_created(config: &Config, it: HookPost) -> Result<Signal> {
    let data = PostCreated {
        url: api::post_url(&api::server(config)?, &it.post),
        raw: it.raw,
        topic_id: it.post.topic_id,
        id: it.post.id,
    };
    Ok(Signal::Event(Happened {
        occur_time: moment(it.created_at),
        by_gateway: is_gateway(config, &it.username),
        user_id: it.username,
        ..happened("post_created", &data)?
    }))
}

#[derive(Deserialize)]
struct HookTopic {
    id: i64,
    title: String,
    #[serde(default)]
    slug: String,
    #[serde(default)]
    tags: Vec<Tag>,
    category_id: Option<i64>,
    created_by: Author,
    created_at: Option<String>,
}

/// A name in older versions of Discourse, an object in newer ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tag {
    Name(String),
    Object { name: String },
}

#[derive(Deserialize)]
struct Author {
    username: String,
}

fn topic_created(config: &Config, it: HookTopic) -> Result<Signal> {
    let name = |tag| match tag {
        Tag::Name(name) | Tag::Object { name } => name,
    };
    let data = TopicCreated {
        url: api::topic_url(&api::server(config)?, &it.slug, it.id),
        title: it.title,
        id: it.id,
        tags: it.tags.into_iter().map(name).collect(),
        category: it.category_id,
    };
    Ok(Signal::Event(Happened {
        occur_time: moment(it.created_at),
        by_gateway: is_gateway(config, &it.created_by.username),
        user_id: it.created_by.username,
        ..happened("topic_created", &data)?
    }))
}

/// An event with this data, of nobody yet.
pub(super) fn happened(event_type: &str, data: &impl Serialize) -> Result<Happened> {
    let data = serde_json::to_value(data).map_err(Error::internal)?;
    Ok(Happened {
        event_type: event_type.to_owned(),
        data: data.as_object().cloned().unwrap_or_default(),
        ..Happened::default()
    })
}

/// Discourse takes upper and lower case in user names for the same.
fn is_gateway(config: &Config, username: &str) -> bool {
    let ours = config.api_username.as_deref();
    ours.is_some_and(|ours| ours.to_lowercase() == username.to_lowercase())
}

fn moment(text: Option<String>) -> Option<Time> {
    let moment: jiff::Timestamp = text?.parse().ok()?;
    Some(Time(moment.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hmac::{Hmac, KeyInit, Mac};
    use serde_json::{Value, json};
    use sha2::Sha256;

    use super::{super::super::kit, *};

    const POST: &str = r#"{"post":{"id":31,"username":"Ada","created_at":"2026-03-04T05:06:07.891Z",
        "raw":"Let us *vote*.","topic_id":9,"topic_slug":"a-new-rule","post_number":2}}"#;

    fn named<T: DeserializeOwned>(id: &str) -> T {
        serde_json::from_value(json!(id)).unwrap()
    }

    fn call() -> kit::Call {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let config = json!({
            "api_key": "k",
            "api_username": "ada",
            "server_url": "https://forum.example.org/",
            "webhook_secret": "metagov-discourse",
        });
        kit::Call {
            config: config.as_object().unwrap().clone(),
            operator: kit::Object::new(),
            http: kit::Http::new(kit::HttpSettings::local()).unwrap(),
            place: kit::Place {
                installation_id: named("01890a5d-ac96-774b-bcce-b302099a8057"),
                community_id: named("commons"),
                platform_id: String::new(),
                webhook_url: String::new(),
            },
            state: Arc::default(),
            credentials: Arc::new(|| Box::pin(async { Err(Error::internal("none")) })),
            clock: kit::Clock::set(kit::Time::now()),
        }
    }

    fn sign(body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"metagov-discourse").unwrap();
        mac.update(body.as_bytes());
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }

    fn hook(event: &str, body: &str) -> Hook {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Hook {
            headers: vec![
                header("x-discourse-instance", "https://forum.example.org"),
                header("x-discourse-event", event),
                header("x-discourse-event-signature", &sign(body)),
            ],
            body: body.to_owned().into(),
            ..Hook::default()
        }
    }

    fn received(hook: Hook) -> Result<Vec<Signal>> {
        let plugin = super::super::plugin();
        let receive = plugin.receive.unwrap();
        receive((call(), hook)).map(|received| received.signals)
    }

    fn event(hook: Hook) -> Happened {
        match received(hook).unwrap().remove(0) {
            Signal::Event(happened) => happened,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_new_post_is_an_event() {
        let happened = event(hook("post_created", POST));
        assert_eq!(happened.event_type, "post_created");
        assert_eq!(happened.user_id, "Ada");
        assert!(happened.by_gateway);
        let moment = happened.occur_time.unwrap();
        assert_eq!(moment.rfc3339(), "2026-03-04T05:06:07.891Z");
        assert_eq!(
            Value::Object(happened.data),
            json!({
                "raw": "Let us *vote*.",
                "topic_id": 9,
                "id": 31,
                "url": "https://forum.example.org/t/a-new-rule/9/2",
            })
        );
    }

    #[test]
    fn a_new_topic_is_an_event_with_tags_old_and_new() {
        let body = r#"{"topic":{"id":9,"title":"A new rule","slug":"a-new-rule","category_id":4,
            "tags":["rules",{"id":1,"name":"urgent","slug":"urgent"}],
            "created_by":{"id":2,"username":"grace"}}}"#;
        let happened = event(hook("topic_created", body));
        assert_eq!(happened.user_id, "grace");
        assert!(!happened.by_gateway && happened.occur_time.is_none());
        assert_eq!(
            Value::Object(happened.data),
            json!({
                "title": "A new rule",
                "id": 9,
                "tags": ["rules", "urgent"],
                "category": 4,
                "url": "https://forum.example.org/t/a-new-rule/9",
            })
        );
    }

    #[test]
    fn a_changed_user_is_folded_into_the_state() {
        let body =
            r#"{"user":{"id":5,"username":"ada","user_fields":{"1":"north"},"admin":false}}"#;
        let signals = received(hook("user_updated", body)).unwrap();
        let fold = Signal::Fold {
            key: "user/5".to_owned(),
            input: json!({"id": 5, "username": "ada", "user_fields": {"1": "north"}}),
        };
        assert_eq!(signals, [fold]);
    }

    #[test]
    fn a_signature_made_elsewhere_holds() {
        let mut ping = hook("", r#"{"ping":"OK"}"#);
        ping.headers[2].1 =
            "sha256=f1f2cb8ec1dd4b5bb0573ce5c158ac0300916d16ea32e1703413870429acfc7b".to_owned();
        assert_eq!(received(ping).unwrap(), []);
    }

    #[test]
    fn nothing_unsigned_is_read() {
        let good = hook("post_created", POST);
        let mut missing = good.clone();
        missing.headers.remove(2);
        let mut other_body = good.clone();
        other_body.body = POST.replace("vote", "veto").into();
        let mut elsewhere = good.clone();
        elsewhere.headers[0].1 = "https://forum.example.com".to_owned();
        let mut nowhere = good.clone();
        nowhere.headers.remove(0);
        let mut hooks = vec![missing, other_body, elsewhere, nowhere];
        for value in [
            "",
            "sha256=",
            "sha256=00",
            "sha1=00",
            "sha256=zz",
            &"0".repeat(64),
        ] {
            let mut malformed = good.clone();
            malformed.headers[2].1 = value.to_owned();
            hooks.push(malformed);
        }
        for hook in hooks {
            let error = received(hook.clone()).unwrap_err();
            assert!(matches!(error, Error::Unsigned(_)), "{hook:?}: {error}");
        }
    }

    #[test]
    fn what_is_signed_and_makes_no_sense_is_invalid() {
        for (event, body) in [
            ("post_created", "not JSON"),
            ("post_created", r#"{"topic":{}}"#),
            ("topic_created", r#"{"topic":{"id":"9"}}"#),
            ("user_updated", "[]"),
        ] {
            let error = received(hook(event, body)).unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{body}: {error}");
        }
    }

    #[test]
    fn an_event_of_another_kind_is_nothing() {
        let body = r#"{"like":{"post":{"id":31}}}"#;
        assert_eq!(received(hook("post_liked", body)).unwrap(), []);
    }
}
