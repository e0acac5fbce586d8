//! A platform that a test controls, and the plugins that use it.
//!
//! [`Stand`] answers as a test says and counts what it was asked. The plugin `stand` has
//! one process of every kind; `crier` asks its platform for news.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use metagov::plugins::kit::{
    Applied, Ballot, Ballots, Cancel, Cast, Close, CloseTimeSupport, Context, Error, Installed,
    Nothing, Plugin, Process, Progress, Request, Result, Signal, Start, Started, View, With,
    refuse,
};
use metagov_proto::v1::{self, event::Payload};
use prost_types::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Respond, ResponseTemplate, matchers::any};

use crate::harness::{Api, Gateway, PATIENCE, object};

/// A moment so far from now.
pub(crate) fn after(wait: Duration) -> Timestamp {
    Timestamp::from(SystemTime::now() + wait)
}

/// Starts a process in `co-op` that closes so soon.
pub(crate) async fn start_until(api: &Api, process_type: &str, open_for: Duration) -> v1::Process {
    let parameters = match process_type {
        "ballot.vote" => json!({"title": "Lunch?", "options": ["soup", "bread"]}),
        _ => json!({}),
    };
    let request = v1::StartProcessRequest {
        community_id: "co-op".into(),
        process_type: process_type.into(),
        parameters: object(parameters),
        close_time: Some(after(open_for)),
        ..Default::default()
    };
    api.start_request(request).await.unwrap()
}

/// A gateway with the plugin of a platform that a test controls.
pub(crate) async fn with_stand() -> (Gateway, Stand) {
    let gateway = Gateway::start_with(|_| (), vec![plugin()]).await;
    let stand = Stand::open().await;
    stand.enable(&gateway.api, "co-op").await;
    (gateway, stand)
}

/// The process in all the changes of it that the log has.
pub(crate) async fn changes(api: &Api, id: &str) -> Vec<v1::Process> {
    let events = api.log().await.into_iter();
    let changes = events.filter_map(|event| match event.payload {
        Some(Payload::ProcessChanged(changed)) => changed.process,
        _ => None,
    });
    changes.filter(|process| process.process_id == id).collect()
}

/// A platform: what it answers to `POST /start` and the like can be changed at any time.
pub(crate) struct Stand {
    server: MockServer,
    answers: Answers,
}

#[derive(Clone, Default)]
struct Answers(Arc<Mutex<HashMap<String, ResponseTemplate>>>);

impl Respond for Answers {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let answers = self.0.lock().unwrap();
        let answer = answers.get(&called(request));
        answer
            .cloned()
            .unwrap_or_else(|| ResponseTemplate::new(404))
    }
}

fn called(request: &wiremock::Request) -> String {
    format!("{} {}", request.method, request.url.path())
}

/// How the vote of a stand is shown: `open`, `closed` or `broken`; a start may be
/// `refused`, or too `monstrous` for the plugin.
pub(crate) fn shown(state: &str, yes: i64) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"state": state, "yes": yes}))
}

impl Stand {
    /// One that starts, shows and closes every vote, with nobody for it.
    pub(crate) async fn open() -> Self {
        let (server, answers) = (MockServer::start().await, Answers::default());
        let all = Mock::given(any()).respond_with(answers.clone());
        all.mount(&server).await;
        let stand = Self { server, answers };
        for (call, state) in [
            ("POST /start", "open"),
            ("GET /vote", "open"),
            ("POST /close", "closed"),
            ("POST /cancel", "closed"),
        ] {
            stand.says(call, shown(state, 0));
        }
        stand
    }

    /// From now on it answers so.
    pub(crate) fn says(&self, call: &str, answer: ResponseTemplate) {
        let mut answers = self.answers.0.lock().unwrap();
        answers.insert(call.to_owned(), answer);
    }

    /// How often it was called so.
    pub(crate) async fn heard(&self, call: &str) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        let same = requests.iter().filter(|request| called(request) == call);
        same.count()
    }

    /// Waits until it was called so that often.
    pub(crate) async fn hears(&self, call: &str, times: usize) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while self.heard(call).await < times {
            assert!(tokio::time::Instant::now() < until, "{call}: not heard");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        self.server.uri()
    }

    /// Creates the community and enables the plugin `stand` there, on this platform.
    pub(crate) async fn enable(&self, api: &Api, community: &str) -> String {
        api.community(community).await;
        let config = json!({"url": self.url()});
        api.enable(community, "stand", config).await.installation_id
    }
}

#[derive(Clone, Deserialize, JsonSchema)]
struct Config {
    url: String,
}

type Cx = Context<Config>;

/// The plugin with one process of every kind.
pub(crate) fn plugin() -> Plugin {
    Plugin::new::<Config, Nothing>("stand", "A platform that a test controls.")
        .setup(setup)
        .action("cast", "Vote in a `stand.count`.", cast)
        .process("vote", "A vote on the platform.", Vote)
        .closable()
        .cancellable()
        .polled()
        .close_time(CloseTimeSupport::Optional)
        .process("count", "A vote that is closed on the platform.", Count)
        .closable()
        .ballots()
        .close_time(CloseTimeSupport::Optional)
        .process("sitting", "Ends by itself.", Sitting)
        .process("session", "Closes by itself, at its time.", Session)
        .close_time(CloseTimeSupport::Required)
        .build()
}

/// The plugin that asks for news.
pub(crate) fn crier() -> Plugin {
    Plugin::new::<Config, Nothing>("crier", "Tells the news.")
        .event::<News>("cried", "Something is new.")
        .poll(poll)
        .build()
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct News {
    what: String,
}

async fn poll(cx: &Cx) -> Result<Vec<Signal>> {
    let news: Vec<News> = cx.http.get(address(cx, "news")?).read().await?;
    let cried = news
        .iter()
        .map(|n| Signal::event("cried", "crier", json!(n)));
    Ok(cried.collect())
}

async fn setup(cx: &Cx) -> Result<Installed> {
    let platform_id = cx.config.url.clone();
    Ok(Installed {
        platform_id,
        ..Installed::default()
    })
}

fn address(cx: &Cx, path: &str) -> Result<reqwest::Url> {
    let address = format!("{}/{path}", cx.config.url);
    address.parse().map_err(|e| Error::internal(format!("{e}")))
}

fn post(cx: &Cx, path: &str) -> Result<Request> {
    Ok(cx.http.post(address(cx, path)?).json(&json!({})))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// What is asked. The gateway reads it, the plugin need not.
    #[expect(dead_code)]
    title: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Shown {
    state: String,
    yes: i64,
}

#[derive(Serialize, JsonSchema)]
struct Outcome {
    yes: i64,
}

impl Shown {
    fn progress(self) -> Progress<Self> {
        match self.state.as_str() {
            "closed" => Progress::Completed(self),
            "broken" => Progress::Failed("the stand broke down".to_owned()),
            _ => Progress::Open(self),
        }
    }

    fn view(&self) -> View<Outcome> {
        View {
            outcome: Some(Outcome { yes: self.yes }),
            tally: None,
        }
    }
}

struct Vote;

impl Process for Vote {
    type Context = Cx;
    type Input = Question;
    type State = Shown;
    type Outcome = Outcome;

    async fn start(&self, cx: &Cx, start: Start<Question>) -> Result<Started<Shown>> {
        let shown: Shown = post(cx, "start")?.read().await?;
        match shown.state.as_str() {
            "refused" => return Err(refuse("the stand wants no such vote")),
            "monstrous" => panic!("nobody can read this"),
            _ => {}
        }
        let progress = shown.progress();
        let key = start.process_id.to_string();
        let none = Shown {
            state: String::new(),
            yes: 0,
        };
        Ok(Started {
            url: format!("https://stand.example.org/{key}"),
            close_time: start.close_time,
            progress,
            ..Started::open(key, none)
        })
    }

    async fn refresh(&self, cx: &Cx, _: Shown) -> Result<Progress<Shown>> {
        let shown: Shown = cx.http.get(address(cx, "vote")?).read().await?;
        Ok(shown.progress())
    }

    fn view(&self, state: &Shown) -> View<Outcome> {
        state.view()
    }
}

impl Close for Vote {
    async fn close(&self, cx: &Cx, _: Shown) -> Result<Progress<Shown>> {
        let shown: Shown = post(cx, "close")?.read().await?;
        Ok(shown.progress())
    }
}

impl Cancel for Vote {
    async fn cancel(&self, cx: &Cx, _: Shown) -> Result<()> {
        post(cx, "cancel")?.send().await?.success()?;
        Ok(())
    }
}

/// Ballots are held here, but the platform must say that it is over.
struct Count;

#[derive(Deserialize, JsonSchema)]
struct Casting {
    process_id: String,
    voter: String,
}

async fn cast(_: &Cx, input: Casting) -> Result<With<Value>> {
    let ballot = Signal::Ballot {
        key: input.process_id,
        voter: input.voter,
        subject: String::new(),
        choices: json!("yes"),
        answer_to: Value::Null,
    };
    Ok(With(None, vec![ballot]))
}

impl Process for Count {
    type Context = Cx;
    type Input = Question;
    type State = Shown;
    type Outcome = Outcome;

    async fn start(&self, _: &Cx, start: Start<Question>) -> Result<Started<Shown>> {
        let (state, yes) = ("open".to_owned(), 0);
        let key = start.process_id.to_string();
        Ok(Started::open(key, Shown { state, yes }))
    }

    fn view(&self, state: &Shown) -> View<Outcome> {
        state.view()
    }
}

impl Close for Count {
    async fn close(&self, cx: &Cx, state: Shown) -> Result<Progress<Shown>> {
        post(cx, "close")?.send().await?.success()?;
        Ok(Progress::Completed(state))
    }
}

impl Ballots for Count {
    type Choice = String;

    fn apply(&self, _: &Question, mut state: Shown, cast: Cast<String>) -> Applied<Shown> {
        state.yes += i64::from(cast.previous.is_none());
        Applied::Counted {
            reply: json!({"yes": state.yes}),
            state,
            call: None,
        }
    }

    fn count(&self, _: &Question, mut state: Shown, ballots: &[Ballot<String>]) -> Shown {
        state.yes = i64::try_from(ballots.len()).unwrap();
        state
    }

    fn chosen(&self, _: &Question, _: &Ballot<String>) -> Vec<String> {
        Vec::new()
    }
}

/// No platform: nothing ends it but its end.
struct Sitting;

impl Process for Sitting {
    type Context = Cx;
    type Input = Question;
    type State = Nothing;
    type Outcome = Nothing;

    async fn start(&self, _: &Cx, start: Start<Question>) -> Result<Started<Nothing>> {
        Ok(Started::open(start.process_id.to_string(), Nothing {}))
    }

    fn view(&self, _: &Nothing) -> View<Nothing> {
        View {
            outcome: None,
            tally: None,
        }
    }
}

/// The platform closes it.
struct Session;

impl Process for Session {
    type Context = Cx;
    type Input = Question;
    type State = Shown;
    type Outcome = Outcome;

    async fn start(&self, cx: &Cx, start: Start<Question>) -> Result<Started<Shown>> {
        Vote.start(cx, start).await
    }

    async fn refresh(&self, cx: &Cx, state: Shown) -> Result<Progress<Shown>> {
        Vote.refresh(cx, state).await
    }

    fn view(&self, state: &Shown) -> View<Outcome> {
        state.view()
    }
}
