//! The platform of the plugin `townhall`, at the HTTP line.

use std::{
    collections::BTreeMap,
    sync::{Mutex, mpsc},
    time::Duration,
};

use metagov::config::Config;
use metagov_proto::v1::{
    Delivery, Installation, ListDeliveriesRequest, PlatformEvent, Process, event::Payload,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

use super::townhall;
use crate::harness::{Gateway, Home, PATIENCE, Watcher};

/// What the operator and the platform know.
pub(super) const APP_SECRET: &str = "of all halls";

/// A gateway with the plugin, as its operator set it up.
pub(super) async fn gateway() -> Gateway {
    Gateway::start_with(configured, vec![townhall::plugin()]).await
}

pub(super) fn configured(config: &mut Config) {
    let secret = ("app_secret".to_owned(), json!(APP_SECRET));
    let settings = [secret].into_iter().collect();
    config.operator.insert("townhall".to_owned(), settings);
}

/// A platform, and the hall of the community `commons` on it.
pub(super) struct Hall {
    pub(super) gateway: Gateway,
    pub(super) server: MockServer,
    pub(super) installation: Installation,
    pub(super) watcher: Watcher,
}

impl Hall {
    pub(super) async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    /// With settings changed.
    pub(super) async fn open_with(set: impl FnOnce(&mut Config)) -> Self {
        Self::open_in(Home::new(), set).await
    }

    /// The same in a place that the test chose.
    pub(super) async fn open_in(home: Home, set: impl FnOnce(&mut Config)) -> Self {
        let all = |config: &mut Config| {
            configured(config);
            set(config);
        };
        let gateway = Gateway::start_in(home, all, vec![townhall::plugin()]).await;
        let server = platform().await;
        gateway.api.community("commons").await;
        let config = config(&server, "north");
        let installation = gateway.api.enable("commons", "townhall", config).await;
        let watcher = gateway.api.watch().await;
        Self {
            gateway,
            server,
            installation,
            watcher,
        }
    }

    /// Delivers what is told; the status and body of the reply.
    pub(super) async fn hear(&self, letter: &Value) -> (u16, Value) {
        post(&self.installation.webhook_url, letter, None).await
    }

    /// The same, one thing that is taken well.
    pub(super) async fn hears(&self, told: Value) -> Value {
        let (status, reply) = self.hear(&json!({ "told": [told] })).await;
        assert_eq!(status, 200, "{reply}");
        reply
    }

    /// Starts a motion, which the platform calls `m1`.
    pub(super) async fn motion(&self) -> Process {
        let motion = json!({"title": "A new roof?", "options": ["yes", "no"]});
        let started = self.gateway.api.start("commons", "townhall.motion", motion);
        started.await.unwrap()
    }

    /// The requests that came to this place, in order.
    pub(super) async fn asked(&self, verb: &str, at: &str) -> Vec<Request> {
        asked(&self.server, verb, at).await
    }

    /// Waits until there are so many of them.
    pub(super) async fn until_asked(&self, verb: &str, at: &str, count: usize) -> Vec<Request> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let asked = self.asked(verb, at).await;
            if asked.len() >= count {
                return asked;
            }
            assert!(
                tokio::time::Instant::now() < until,
                "{verb} {at} never came"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What was delivered, newest first.
    pub(super) async fn deliveries(&self) -> Vec<Delivery> {
        let request = ListDeliveriesRequest {
            community_id: "commons".into(),
            ..Default::default()
        };
        let mut plugins = self.gateway.api.plugins();
        let answer = plugins.list_deliveries(request).await.unwrap();
        answer.into_inner().deliveries
    }

    /// The next event of the platform.
    pub(super) async fn platform_event(&mut self) -> PlatformEvent {
        let watcher = &mut self.watcher;
        let event = watcher.until(|payload| matches!(payload, Payload::Platform(_)));
        match event.await.payload {
            Some(Payload::Platform(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    /// Reads on until a process is so.
    pub(super) async fn process_event(&mut self, wanted: impl Fn(&Process) -> bool) -> Process {
        let fits = |payload: &Payload| match payload {
            Payload::ProcessChanged(event) => event.process.as_ref().is_some_and(&wanted),
            _ => false,
        };
        match self.watcher.until(fits).await.payload {
            Some(Payload::ProcessChanged(event)) => event.process.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn config(server: &MockServer, hall: &str) -> Value {
    json!({"server_url": server.uri(), "hall": hall, "token": "open sesame"})
}

/// A platform with everything that goes well.
pub(super) async fn platform() -> MockServer {
    let server = MockServer::start().await;
    for (verb, at, body) in [
        ("POST", "/hooks", json!({})),
        ("DELETE", "/hooks", json!({})),
        ("POST", "/speeches", json!({})),
        (
            "POST",
            "/motions",
            json!({"id": "m1", "url": "https://hall.example/m1"}),
        ),
        ("GET", "/motions/m1", json!({"id": "m1"})),
        ("PUT", "/motions/m1", json!({})),
        ("DELETE", "/motions/m1", json!({})),
        ("POST", "/assemblies", json!({"id": "a1"})),
        ("GET", "/assemblies/a1", json!({"id": "a1"})),
        ("POST", "/answers", json!({})),
    ] {
        let answer = ResponseTemplate::new(200).set_body_json(body);
        let mock = Mock::given(method(verb)).and(path(at));
        mock.respond_with(answer).mount(&server).await;
    }
    server
}

/// Answers so first, for so many requests or for ever.
pub(super) async fn instead(
    server: &MockServer,
    (verb, at): (&str, &str),
    times: Option<u64>,
    answer: impl Respond + 'static,
) {
    let mock = Mock::given(method(verb)).and(path(at)).respond_with(answer);
    let mock = match times {
        Some(times) => mock.up_to_n_times(times),
        None => mock,
    };
    mock.with_priority(1).mount(server).await;
}

/// A status and a JSON body.
pub(super) fn says(status: u16, body: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

pub(super) async fn asked(server: &MockServer, verb: &str, at: &str) -> Vec<Request> {
    let all = server.received_requests().await.unwrap();
    let fits = |r: &Request| r.method.as_str() == verb && r.url.path() == at;
    all.into_iter().filter(fits).collect()
}

/// Posts JSON; the status and body of the reply, null if it is none.
pub(super) async fn post(to: &str, body: &Value, app_secret: Option<&str>) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.post(to).body(body.to_string());
    if let Some(secret) = app_secret {
        request = request.header("x-app-secret", secret);
    }
    let reply = request.send().await.unwrap();
    let status = reply.status().as_u16();
    let text = reply.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// The votes of a process, by option.
pub(super) fn votes(process: &Process) -> BTreeMap<&str, i64> {
    let options = process.tally.iter().flat_map(|tally| &tally.options);
    options.map(|o| (o.option.as_str(), o.count)).collect()
}

/// A platform that answers when it is told to, and says when it is asked.
pub(super) struct Slow {
    asked: UnboundedSender<()>,
    go: Mutex<mpsc::Receiver<()>>,
    answer: ResponseTemplate,
}

impl Respond for Slow {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        self.asked.send(()).unwrap();
        self.go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        self.answer.clone()
    }
}

/// Answers so when it is told to; first the requests, then the way to tell it.
pub(super) fn slow(answer: ResponseTemplate) -> (Slow, UnboundedReceiver<()>, mpsc::Sender<()>) {
    let ((asked, is_asked), (go, wait)) = (unbounded_channel(), mpsc::channel());
    let go_on = Mutex::new(wait);
    let slow = Slow {
        asked,
        go: go_on,
        answer,
    };
    (slow, is_asked, go)
}
