//! A plugin of the tests' own, whose platform is told of every step, and its platform.

use metagov::plugins::kit::{
    Cancel, Context, Folded, Hook, HookReply, Installed, Nothing, Plugin, Process, Progress,
    Received, Result, Routed, Signal, Start, Started, View, With, invalid, refuse,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, matchers::method};

use crate::fakes;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Config {
    /// Where the platform is.
    url: String,
}

type Cx = Context<Config>;

/// Its process `play` starts, is withdrawn and torn down with one request each. Its
/// unsigned hook says `{"play": title}` of a process, or `{"scene": number}`, which is
/// refused for 0 until another scene was seen.
pub(crate) fn plugin() -> Plugin {
    Plugin::new::<Config, Nothing>("stage", "Plays.")
        .setup(setup)
        .teardown(teardown)
        .fold(fold)
        .unsigned_webhook(receive)
        .route(route)
        .action("bow", "Bow.", bow)
        .action("applaud", "Applaud, which anybody may.", bow)
        .anonymous()
        .action("show", "Show a scene.", show)
        .action("last-scene", "The scene that was shown last.", last_scene)
        .read_only()
        .process("play", "A play.", Play)
        .cancellable()
        .build()
}

/// Its platform, to which all is right.
pub(crate) async fn theatre() -> MockServer {
    let server = fakes::server().await;
    let mock = Mock::given(method("POST")).respond_with(fakes::ok(&json!({})));
    mock.mount(&server).await;
    server
}

/// What the platform was told, in order.
pub(crate) async fn told(theatre: &MockServer) -> Vec<String> {
    let requests = theatre.received_requests().await.unwrap();
    let paths = requests.iter().map(|request| request.url.path());
    paths.map(|path| path[1..].to_owned()).collect()
}

async fn tell(cx: &Cx, what: &str) -> Result<Value> {
    let url = format!("{}/{what}", cx.config.url).parse();
    let url = url.map_err(|_| invalid("config/url", "is no address"))?;
    cx.http.post(url).read().await
}

async fn setup(cx: &Cx) -> Result<Installed> {
    let platform_id = cx.config.url.clone();
    Ok(Installed {
        platform_id,
        ..Installed::default()
    })
}

async fn teardown(cx: &Cx) -> Result<()> {
    tell(cx, "teardown").await.map(drop)
}

async fn bow(cx: &Cx, _: Nothing) -> Result<Nothing> {
    tell(cx, "bow").await.map(|_| Nothing {})
}

/// A scene, if there is one.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Scene {
    scene: Option<i64>,
}

async fn show(_: &Cx, shown: Scene) -> Result<With<Scene>> {
    let fold = Signal::Fold {
        key: "scene".to_owned(),
        input: json!(shown.scene),
    };
    Ok(With(Some(shown), vec![fold]))
}

async fn last_scene(cx: &Cx, _: Nothing) -> Result<Scene> {
    let scene = cx.state("scene")?;
    Ok(Scene { scene })
}

fn fold(_: &str, last: Option<i64>, scene: i64) -> Result<Folded<i64>> {
    if scene == 0 && last.is_none() {
        return Err(refuse("the curtain is down"));
    }
    Ok(Folded {
        state: Some(scene),
        signals: Vec::new(),
    })
}

fn receive(_: &Cx, hook: &Hook) -> Result<Received> {
    let body = Value::Object(hook.json()?);
    let signal = match body["play"].as_str() {
        Some(title) => Signal::Refresh {
            key: title.to_owned(),
        },
        None => Signal::Fold {
            key: "scene".to_owned(),
            input: body["scene"].clone(),
        },
    };
    Ok(Received::signals(vec![signal]))
}

/// The hook of all communities: `{"to": url, …}` goes to that platform's, and
/// `{"challenge": text}` is answered.
fn route(_: &Nothing, hook: &Hook) -> Result<Routed> {
    let body = Value::Object(hook.json()?);
    if !body["challenge"].is_null() {
        return Ok(Routed::Reply(HookReply::json(&body["challenge"])));
    }
    Ok(match body["to"].as_str() {
        Some(url) => Routed::To(url.to_owned()),
        None => Routed::Nothing,
    })
}

struct Play;

#[derive(Deserialize, JsonSchema)]
struct Programme {
    title: String,
}

#[derive(Serialize, Deserialize)]
struct State {}

#[derive(Serialize, JsonSchema)]
struct Outcome {}

impl Process for Play {
    type Context = Cx;
    type Input = Programme;
    type State = State;
    type Outcome = Outcome;

    async fn start(&self, cx: &Cx, start: Start<Programme>) -> Result<Started<State>> {
        tell(cx, "start").await?;
        Ok(Started::open(start.input.title, State {}))
    }

    async fn refresh(&self, cx: &Cx, state: State) -> Result<Progress<State>> {
        tell(cx, "refresh").await?;
        Ok(Progress::Completed(state))
    }

    fn view(&self, _: &State) -> View<Outcome> {
        View {
            outcome: None,
            tally: None,
        }
    }
}

impl Cancel for Play {
    async fn cancel(&self, cx: &Cx, _: State) -> Result<()> {
        tell(cx, "cancel").await.map(drop)
    }
}
