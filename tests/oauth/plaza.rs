//! A plugin in one file: public squares, which their stewards open to the gateway by
//! OAuth. It uses every part of the kit's OAuth, as a plugin of the gateway would.

use metagov::plugins::kit::{
    Account, Address, AnOAuth, Authorized, Builder, Client, Consent, Context, Credentials, Granted,
    Hook, HookReply, Installed, LinkMethod, LinkQuality, Nothing, Plugin, Received, Repeat, Result,
    Secret, Signal, TokenAnswer, refuse,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

/// With PKCE, for installing and for logging in.
pub(crate) fn plugin() -> Plugin {
    squares("plaza")
        .install(ask_to_install, installed)
        .login(ask_to_log_in, account)
        .build()
}

/// At a platform that has never heard of PKCE, where nobody logs in.
pub(crate) fn without_pkce() -> Plugin {
    squares("old-plaza").install(ask_plainly, installed).build()
}

/// Where tokens are minted, not refreshed.
pub(crate) fn with_a_mint() -> Plugin {
    squares("mint-plaza")
        .install(ask_plainly, installed)
        .refresh(mint)
        .build()
}

/// Where people log in, and a key in the configuration does the rest.
pub(crate) fn login_only() -> Plugin {
    squares("login-plaza").login(ask_to_log_in, account).build()
}

/// Where the operator's own bot speaks: nothing that was granted is kept, and nothing is
/// set up.
pub(crate) fn with_a_bot() -> Plugin {
    Plugin::new::<Config, Operator>("bot-plaza", "Squares where a bot meets people.")
        .oauth(client)
        .install(ask_to_install, invited)
        .build()
}

fn squares(name: &str) -> Builder<Config, Operator, AnOAuth> {
    Plugin::new::<Config, Operator>(name, "Squares where people meet.")
        .setup(setup)
        .teardown(teardown)
        .unsigned_webhook(receive)
        .action("say", "Say something on the square.", say)
        .action(
            "dawdle",
            "Look around for long, then say something.",
            dawdle,
        )
        .oauth(client)
}

/// How a community is on its square.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // what is configured is looked at by the tests
struct Config {
    /// What the square is called.
    name: Option<String>,
    /// What is said first.
    greeting: Option<String>,
    /// Another square than that which was authorized.
    move_to: Option<String>,
}

/// The operator's application.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Operator {
    /// Where the squares are.
    #[serde(default = "public_address")]
    api_url: String,
    /// The application's name there.
    client_id: String,
    /// What proves it.
    client_secret: Secret,
    /// What the squares call themselves.
    issuer: Option<String>,
}

fn public_address() -> String {
    "https://plaza.example".to_owned()
}

type Cx = Context<Config, Operator>;
/// Before there is an installation.
type Door = Context<Nothing, Operator>;

impl Operator {
    fn at(&self, place: &str) -> Result<Url> {
        Ok(Address::parse(&self.api_url, "operator/api_url")?.at([place]))
    }
}

fn client(operator: &Operator) -> Result<Client> {
    Ok(Client {
        id: operator.client_id.clone(),
        secret: operator.client_secret.clone(),
        token_url: operator.at("token")?,
        issuer: operator.issuer.clone(),
    })
}

fn ask_to_install(operator: &Operator) -> Result<Consent> {
    Ok(Consent {
        pkce: true,
        ..ask_plainly(operator)?
    })
}

fn ask_plainly(operator: &Operator) -> Result<Consent> {
    Ok(Consent {
        authorize_url: operator.at("authorize")?,
        scope: "bot squares".to_owned(),
        pkce: false,
        parameters: vec![("choose".to_owned(), "a square".to_owned())],
    })
}

fn ask_to_log_in(operator: &Operator) -> Result<Consent> {
    Ok(Consent {
        authorize_url: operator.at("authorize")?,
        scope: "me".to_owned(),
        pkce: true,
        parameters: Vec::new(),
    })
}

#[derive(Deserialize)]
struct Answer {
    #[serde(flatten)]
    token: TokenAnswer,
    /// What the platform calls the one who agreed.
    as_user: String,
}

#[derive(Deserialize)]
struct Me {
    square: String,
    name: String,
    is_steward: bool,
}

async fn installed(cx: &Door, granted: Granted<Answer>) -> Result<Authorized> {
    let Answer { token, as_user } = granted.answer;
    let me: Me = bearing(&token.access_token, cx.http.get(cx.operator.at("me")?))
        .read()
        .await?;
    if !me.is_steward {
        return Err(refuse("only a steward may open the square"));
    }
    // What was claimed in the address is nothing: the token says which square it is.
    let Value::Object(config) = json!({ "name": me.name }) else {
        return Err(refuse("no object"));
    };
    Ok(Authorized {
        platform_id: me.square,
        config,
        credentials: Some(token.credentials(cx.now())),
        signals: vec![Signal::Link {
            account: an_account(as_user),
        }],
    })
}

async fn invited(cx: &Door, granted: Granted<Answer>) -> Result<Authorized> {
    let authorized = installed(cx, granted).await?;
    Ok(Authorized {
        credentials: None,
        ..authorized
    })
}

async fn account(_: &Door, granted: Granted<Answer>) -> Result<Account> {
    Ok(an_account(granted.answer.as_user))
}

fn an_account(user_id: String) -> Account {
    Account {
        provider: String::new(),
        platform_id: String::new(),
        user_id,
        link_method: LinkMethod::Oauth,
        link_quality: LinkQuality::Strong,
        custom_data: Default::default(),
    }
}

async fn mint(cx: &Cx, old: Credentials) -> Result<Credentials> {
    let body = json!({ "square": cx.place.platform_id, "old": old.access_token });
    let minted = cx.http.post(cx.operator.at("mint")?).json(&body).read();
    let minted: TokenAnswer = minted.await?;
    Ok(minted.credentials(cx.now()))
}

async fn setup(cx: &Cx) -> Result<Installed> {
    let token = cx.credentials().await?;
    let me: Me = bearing(&token, cx.http.get(cx.operator.at("me")?))
        .read()
        .await?;
    Ok(Installed {
        platform_id: cx.config.move_to.clone().unwrap_or(me.square),
        ..Installed::default()
    })
}

async fn teardown(cx: &Cx) -> Result<()> {
    let token = cx.credentials().await?;
    let leave = bearing(&token, cx.http.post(cx.operator.at("leave")?));
    leave.send().await?.success().map(drop)
}

fn receive(_: &Cx, hook: &Hook) -> Result<Received> {
    let why = String::from_utf8_lossy(&hook.body).into_owned();
    Ok(Received {
        repeat: Repeat::Never,
        reply: HookReply::ok(),
        signals: vec![Signal::Revoked { why }],
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Words {
    /// What to say.
    text: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Said {
    /// Which token the square knows us by.
    said: bool,
}

async fn say(cx: &Cx, words: Words) -> Result<Said> {
    let token = cx.credentials().await?;
    let say = bearing(&token, cx.http.post(cx.operator.at("say")?));
    say.json(&json!({ "text": words.text })).read().await
}

async fn dawdle(cx: &Cx, _: Nothing) -> Result<Said> {
    let look = cx.http.get(cx.operator.at("slow")?);
    look.send().await?.success()?;
    let text = "At last".to_owned();
    say(cx, Words { text }).await
}

fn bearing(
    token: &Secret,
    request: metagov::plugins::kit::Request,
) -> metagov::plugins::kit::Request {
    request.header("authorization", &format!("Bearer {}", token.reveal()))
}
