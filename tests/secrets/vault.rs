//! A plugin that keeps a secret wherever one can be kept, on a platform that repeats them.

use metagov::plugins::kit::{
    Address, Context, Folded, Hook, HookReply, Installed, Nothing, Plugin, Process, Progress,
    Received, Repeat, Result, Secret, Signal, Start, Started, View, refuse,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Secrets of the configuration and of the operator.
pub(crate) const KEY: &str = "canary-of-the-vault's-key";
pub(crate) const INNER: &str = "canary-in-a-list-of-keys";
pub(crate) const OPERATOR: &str = "canary-of-the-operator";
/// What the platform told the plugin alone.
pub(crate) const STATE: &str = "canary-of-the-state";
pub(crate) const PRIVATE: &str = "canary-of-the-process";
pub(crate) const FETCH: &str = "canary-of-the-fetch";
/// What an action returned to its caller.
pub(crate) const RESULT: &str = "canary-of-the-result";
/// What a hook brought.
pub(crate) const BODY: &str = "canary-of-the-hook's-body";
pub(crate) const HEADER: &str = "canary-of-the-hook's-header";

pub(crate) fn plugin() -> Plugin {
    Plugin::new::<Config, Operator>("vault", "Keeps secrets.")
        .setup(setup)
        .unsigned_webhook(receive)
        .fetch(fetch)
        .fold(fold)
        .action("open", "Says what is inside.", open)
        .action("ask", "Asks the platform.", ask)
        .process("heist", "Takes a while.", Heist)
        .build()
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    server_url: String,
    key: Secret,
    /// More of them.
    #[schemars(extend("writeOnly" = true))]
    keys: Vec<String>,
}

#[derive(Clone, Deserialize, JsonSchema)]
struct Operator {
    app_key: Secret,
}

type Cx = Context<Config, Operator>;

/// Asks, and tells every secret: the platform's answer is the only one there is.
async fn tell(cx: &Cx, place: &str) -> Result<()> {
    let at = Address::parse(&cx.config.server_url, "config/server_url")?.at([place]);
    let told = json!({
        "key": cx.config.key.reveal(),
        "keys": cx.config.keys,
        "app": cx.operator.app_key.reveal(),
        "hook": cx.place.webhook_url,
    });
    let asked = cx.http.post(at).json(&told);
    asked.send().await?.success().map(drop)
}

async fn setup(cx: &Cx) -> Result<Installed> {
    tell(cx, "setup").await?;
    Ok(Installed {
        platform_id: "north".to_owned(),
        state: vec![("session".to_owned(), json!(STATE))],
        signals: vec![],
    })
}

/// What is asked for by a hook's `do`.
fn receive(cx: &Cx, hook: &Hook) -> Result<Received> {
    let letter: Value = serde_json::from_slice(&hook.body).unwrap_or_default();
    let key = cx.config.key.reveal();
    let signals = match letter["do"].as_str() {
        Some("refuse") => return Err(refuse(format!("the letter has the wrong {key}"))),
        Some("fetch") => vec![Signal::Fetch { what: json!(FETCH) }],
        Some("fold") => vec![Signal::Fold {
            key: "session".to_owned(),
            input: json!(key),
        }],
        Some("revoke") => vec![Signal::Revoked {
            why: format!("{key} is no good"),
        }],
        Some("fail") => vec![Signal::Progress {
            key: "h1".to_owned(),
            progress: Progress::Failed(format!("{key} did not turn")),
        }],
        _ => vec![],
    };
    Ok(Received {
        repeat: Repeat::Never,
        reply: HookReply::ok(),
        signals,
    })
}

async fn fetch(cx: &Cx, _: String) -> Result<Vec<Signal>> {
    tell(cx, "fetch").await?;
    Ok(vec![])
}

fn fold(_: &str, _: Option<String>, key: String) -> Result<Folded<String>> {
    Err(refuse(format!("{key} does not fold")))
}

#[derive(Serialize, JsonSchema)]
struct Inside {
    gold: String,
}

async fn open(_: &Cx, _: Nothing) -> Result<Inside> {
    let gold = RESULT.to_owned();
    Ok(Inside { gold })
}

async fn ask(cx: &Cx, _: Nothing) -> Result<Inside> {
    tell(cx, "ask").await?;
    open(cx, Nothing {}).await
}

struct Heist;

impl Process for Heist {
    type Context = Cx;
    type Input = Nothing;
    type State = String;
    type Outcome = Nothing;

    async fn start(&self, _: &Cx, _: Start<Nothing>) -> Result<Started<String>> {
        Ok(Started::open("h1", PRIVATE.to_owned()))
    }

    fn view(&self, _: &String) -> View<Nothing> {
        let (outcome, tally) = (Some(Nothing {}), None);
        View { outcome, tally }
    }
}
