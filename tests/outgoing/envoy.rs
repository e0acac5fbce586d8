//! A plugin that asks what it is told to.

use metagov::plugins::kit::{Context, Installed, Plugin, Request, Result, invalid};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

/// What its requests carry in their headers, and nobody but their platform may see.
pub(super) const CANARY: &str = "canary-of-the-envoy";

/// It may have several names.
pub(super) fn plugin(name: &str) -> Plugin {
    Plugin::new::<Config, Operator>(name, "Asks.")
        .setup(setup)
        .action("read", "Ask for a file.", read)
        .read_only()
        .action("write", "Send something.", write)
        .action("go", "Ask for an address.", go)
        .read_only()
        .build()
}

/// Where it goes.
#[derive(Clone, Deserialize, JsonSchema)]
struct Config {
    /// The platform.
    server_url: String,
    /// Whether set-up asks there.
    asks: bool,
}

/// The operator's settings.
#[derive(Clone, Deserialize, JsonSchema)]
struct Operator {
    /// Where requests go instead.
    api_url: Option<String>,
}

type Cx = Context<Config, Operator>;

async fn setup(cx: &Cx) -> Result<Installed> {
    if cx.config.asks {
        let _: Value = signed(cx.http.get(at(cx, "/hello")?)).read().await?;
    }
    Ok(Installed::default())
}

fn at(cx: &Cx, path: &str) -> Result<Url> {
    let server = cx
        .operator
        .api_url
        .as_ref()
        .unwrap_or(&cx.config.server_url);
    let server = Url::parse(server).and_then(|server| server.join(path));
    server.map_err(|_| invalid("config/server_url", "is no address"))
}

fn signed(request: Request) -> Request {
    request
        .header("authorization", &format!("Bearer {CANARY}"))
        .header("api-key", CANARY)
        .header("accept", "application/json")
}

#[derive(Deserialize, JsonSchema)]
struct File {
    path: String,
}

async fn read(cx: &Cx, file: File) -> Result<Value> {
    signed(cx.http.get(at(cx, &file.path)?)).read().await
}

async fn write(cx: &Cx, file: File) -> Result<Value> {
    let body = json!({"canary": CANARY});
    signed(cx.http.post(at(cx, &file.path)?))
        .json(&body)
        .read()
        .await
}

#[derive(Deserialize, JsonSchema)]
struct Place {
    url: String,
}

async fn go(cx: &Cx, place: Place) -> Result<Value> {
    let url = place.url.parse();
    let url = url.map_err(|_| invalid("parameters/url", "is no address"))?;
    cx.http.get(url).read().await
}
