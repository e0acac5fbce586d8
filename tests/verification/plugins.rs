//! A plugin for each way of signing, with as little of everything else as there can be.

use std::collections::BTreeMap;

use metagov::plugins::kit::{
    Applied, Ballot, Ballots, Cast, Context, Folded, Hook, HookReply, Installed, Nothing, Plugin,
    Process, Progress, Received, Repeat, Result, Routed, Signal, SigningSecret, Start, Started,
    View, invalid, refuse, unsigned, verify,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What most of these hooks say.
#[derive(Deserialize)]
struct Said {
    text: String,
}

/// An event's data.
#[derive(JsonSchema)]
#[allow(dead_code)]
struct Heard {
    text: String,
}

fn heard(text: &str) -> Signal {
    Signal::event("heard", "", json!({ "text": text }))
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Signed {
    /// What hooks are signed with.
    secret: Option<SigningSecret>,
}

/// As GitHub signs.
pub(super) fn github() -> Plugin {
    Plugin::new::<Signed, Nothing>("octo", "Signs as GitHub does.")
        .webhook(|cx: &Context<Signed>, hook| {
            let verified = verify::github(hook, cx.config.secret.as_ref())?;
            let said: Said = hook.read()?;
            Ok(Received {
                repeat: verified.repeat(),
                ..Received::signals(vec![heard(&said.text)])
            })
        })
        .event::<Heard>("heard", "Something was said.")
        .build()
}

/// As Standard Webhooks are.
pub(super) fn standard() -> Plugin {
    Plugin::new::<Signed, Nothing>("standard", "Standard Webhooks.")
        .webhook(|cx: &Context<Signed>, hook| {
            let verified = verify::standard_webhooks(hook, cx.config.secret.as_ref())?;
            let said: Said = hook.read()?;
            Ok(Received {
                repeat: verified.repeat(),
                ..Received::signals(vec![heard(&said.text)])
            })
        })
        .event::<Heard>("heard", "Something was said.")
        .build()
}

type Slick = Context<Signed>;

/// As Slack signs: events as JSON, clicks as forms.
pub(super) fn slack() -> Plugin {
    Plugin::new::<Signed, Nothing>("slick", "Signs as Slack does.")
        .webhook(of_slack)
        .fold(|_, last: Option<String>, text: String| {
            if text == "locked" && last.is_none() {
                return Err(refuse("nobody has a key"));
            }
            let state = Some(text);
            let signals = Vec::new();
            Ok(Folded { state, signals })
        })
        .event::<Heard>("heard", "Something was said.")
        .process("vote", "A vote by buttons.", Buttons)
        .vote()
        .ballots()
        .build()
}

#[derive(Deserialize)]
struct OfSlack {
    challenge: Option<String>,
    event_id: Option<String>,
    #[serde(default)]
    text: String,
    fold: Option<String>,
}

/// A click, as far as it matters.
#[derive(Deserialize)]
struct Click {
    vote: String,
    user: String,
    value: String,
}

fn of_slack(cx: &Slick, hook: &Hook) -> Result<Received> {
    verify::slack(hook, cx.config.secret.as_ref())?;
    let kind = hook.header("content-type").unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        return clicked(hook);
    }
    let body: OfSlack = hook.read()?;
    if let Some(challenge) = body.challenge {
        let reply = HookReply::json(&json!({ "challenge": challenge }));
        let repeat = Repeat::Never;
        let signals = Vec::new();
        return Ok(Received {
            repeat,
            reply,
            signals,
        });
    }
    let signal = match body.fold {
        Some(text) => Signal::Fold {
            key: "last".to_owned(),
            input: json!(text),
        },
        None => heard(&body.text),
    };
    Ok(Received {
        repeat: body.event_id.map_or(Repeat::Body, Repeat::Id),
        ..Received::signals(vec![signal])
    })
}

fn clicked(hook: &Hook) -> Result<Received> {
    let form = hook.form()?;
    let payload = form
        .get("payload")
        .ok_or_else(|| invalid("body", "has no payload"))?;
    let payload = hook.limits.object("body/payload", payload.as_bytes())?;
    let click: Click = serde_json::from_value(Value::Object(payload))
        .map_err(|_| invalid("body/payload", "is no click"))?;
    Ok(Received::signals(vec![Signal::Ballot {
        key: click.vote,
        voter: click.user,
        subject: String::new(),
        choices: json!(click.value),
        answer_to: Value::Null,
    }]))
}

struct Buttons;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Question {
    title: String,
    #[serde(default)]
    #[allow(dead_code)]
    details: String,
    options: Vec<String>,
}

/// Votes by option.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Votes(BTreeMap<String, i64>);

impl Process for Buttons {
    type Context = Slick;
    type Input = Question;
    type State = Votes;
    type Outcome = Votes;

    async fn start(&self, _: &Slick, start: Start<Question>) -> Result<Started<Votes>> {
        let none = start.input.options.into_iter().map(|option| (option, 0));
        Ok(Started::open(start.input.title, Votes(none.collect())))
    }

    async fn refresh(&self, _: &Slick, state: Votes) -> Result<Progress<Votes>> {
        Ok(Progress::Open(state))
    }

    fn view(&self, state: &Votes) -> View<Votes> {
        let outcome = Some(Votes(state.0.clone()));
        View {
            outcome,
            tally: None,
        }
    }
}

impl Ballots for Buttons {
    type Choice = String;

    fn apply(&self, _: &Question, mut state: Votes, cast: Cast<String>) -> Applied<Votes> {
        if let Some(before) = cast.previous {
            *state.0.entry(before.choices).or_default() -= 1;
        }
        *state.0.entry(cast.ballot.choices).or_default() += 1;
        Applied::Counted {
            state,
            reply: Value::Null,
            call: None,
        }
    }

    fn count(&self, _: &Question, mut state: Votes, ballots: &[Ballot<String>]) -> Votes {
        state.0.values_mut().for_each(|votes| *votes = 0);
        for ballot in ballots {
            *state.0.entry(ballot.choices.clone()).or_default() += 1;
        }
        state
    }

    fn chosen(&self, _: &Question, ballot: &Ballot<String>) -> Vec<String> {
        vec![ballot.choices.clone()]
    }

    async fn show(&self, _: &Slick, _: Votes) -> Result<()> {
        Ok(())
    }
}

/// Which guild.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Guild {
    url: String,
    guild: String,
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Application {
    application_id: String,
    /// The application's key.
    public_key: Option<String>,
}

#[derive(Deserialize)]
struct Interaction {
    #[serde(rename = "type")]
    kind: u8,
    id: String,
    application_id: String,
    guild_id: Option<String>,
    #[serde(default)]
    text: String,
}

type Accord = Context<Guild, Application>;

/// As Discord signs, with one bot for all communities.
pub(super) fn discord() -> Plugin {
    Plugin::new::<Guild, Application>("accord", "Signs as Discord does.")
        .operator_credentials()
        .setup(joined)
        .route(|application: &Application, hook| {
            let said = of_discord(application, hook)?;
            if said.kind == 1 {
                return Ok(Routed::Reply(HookReply::json(&json!({ "type": 1 }))));
            }
            Ok(said.guild_id.map_or(Routed::Nothing, Routed::To))
        })
        .webhook(|cx: &Accord, hook| {
            let said = of_discord(&cx.operator, hook)?;
            Ok(Received {
                repeat: Repeat::Id(said.id),
                reply: HookReply::json(&json!({ "type": 5 })),
                signals: vec![heard(&said.text)],
            })
        })
        .event::<Heard>("heard", "Something was said.")
        .build()
}

fn of_discord(application: &Application, hook: &Hook) -> Result<Interaction> {
    verify::discord(hook, application.public_key.as_deref())?;
    let said: Interaction = hook.read()?;
    if said.application_id != application.application_id {
        return Err(unsigned("it is of another application"));
    }
    Ok(said)
}

#[derive(Deserialize)]
struct Known {
    id: String,
}

/// What the platform says is the guild's id, whatever it was called.
async fn joined(cx: &Accord) -> Result<Installed> {
    let url = format!("{}/guilds/{}", cx.config.url, cx.config.guild).parse();
    let url = url.map_err(|_| invalid("config/url", "is no address"))?;
    let known: Known = cx.http.get(url).read().await?;
    Ok(Installed {
        platform_id: known.id,
        ..Installed::default()
    })
}

/// Where the API is.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    url: String,
}

#[derive(Deserialize)]
struct Hint {
    expense: u64,
}

#[derive(Deserialize)]
struct Expense {
    status: String,
}

/// As Open Collective, which signs nothing.
pub(super) fn treasury() -> Plugin {
    Plugin::new::<Place, Nothing>("treasury", "Signs nothing.")
        .unsigned_webhook(|_: &Context<Place>, hook| {
            let hint: Hint = hook.read()?;
            Ok(Received {
                repeat: Repeat::Never,
                ..Received::signals(vec![Signal::Fetch {
                    what: json!(hint.expense),
                }])
            })
        })
        .fetch(asked)
        .event::<Heard>("paid", "An expense was paid.")
        .build()
}

async fn asked(cx: &Context<Place>, expense: u64) -> Result<Vec<Signal>> {
    let url = format!("{}/expenses/{expense}", cx.config.url).parse();
    let url = url.map_err(|_| invalid("config/url", "is no address"))?;
    let known: Expense = cx.http.get(url).read().await?;
    let paid = Signal::event("paid", "", json!({ "text": expense.to_string() }));
    Ok(match known.status.as_str() {
        "PAID" => vec![paid],
        _ => Vec::new(),
    })
}
