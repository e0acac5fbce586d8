//! A plugin in one file: town halls, where motions are put to the vote. It uses every
//! part of the kit, as a plugin of the gateway itself would.

use std::collections::BTreeMap;

use metagov::plugins::kit::{
    Account, Address, Applied, Ballot, Ballots, Cancel, Cast, Close, CloseTimeSupport, Context,
    Error, Folded, Happened, Hook, HookReply, Installed, LinkMethod, LinkQuality, Nothing,
    OptionTally, Outgoing, Plugin, Process, Progress, Received, Repeat, Request, Result, Routed,
    Secret, Signal, Start, Started, Tally, View, With, invalid, refuse,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) fn plugin() -> Plugin {
    Plugin::new::<Config, Operator>("townhall", "Town halls with a gavel.")
        .setup_help("Give the hall `{webhook_url}`.")
        .setup(setup)
        .teardown(teardown)
        .unsigned_webhook(receive)
        .route(route)
        .fetch(fetch)
        .fold(fold)
        .event::<Spoke>("spoke", "Somebody spoke.")
        .event::<Nothing>("opened", "The hall was opened to us.")
        .event::<Nothing>("minutes", "Minutes were published.")
        .event::<Passed>("gavel_passed", "Another one has the gavel.")
        .action("speak", "Say something in the hall.", speak)
        .action("vote", "Vote on a motion.", vote)
        .process("motion", "A motion that we count.", Motion)
        .vote()
        .ballots()
        .closable()
        .cancellable()
        .close_time(CloseTimeSupport::Optional)
        .process("assembly", "An assembly that ends by itself.", Assembly)
        .close_time(CloseTimeSupport::Optional)
        .build()
}

/// How a community is in its hall.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where the halls are.
    server_url: String,
    /// Which hall.
    hall: String,
    /// What opens it.
    token: Secret,
}

/// The operator's settings.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Operator {
    /// What the platform-wide hook is known by.
    app_secret: String,
}

type Cx = Context<Config, Operator>;

fn at(cx: &Cx, path: &[&str]) -> Result<url::Url> {
    let server = Address::parse(&cx.config.server_url, "config/server_url")?;
    Ok(server.at(path.iter().copied()))
}

fn signed(cx: &Cx, request: Request) -> Request {
    request.header("authorization", cx.config.token.reveal())
}

async fn setup(cx: &Cx) -> Result<Installed> {
    let register = signed(cx, cx.http.post(at(cx, &["hooks"])?));
    let register = register.json(&json!({"url": cx.place.webhook_url}));
    let _: Value = register.read().await?;
    Ok(Installed {
        platform_id: cx.config.hall.clone(),
        state: vec![("greeting".to_owned(), json!("Hear, hear"))],
        signals: vec![Signal::event("opened", "", json!({}))],
    })
}

async fn teardown(cx: &Cx) -> Result<()> {
    let remove = signed(cx, cx.http.delete(at(cx, &["hooks"])?));
    let remove = remove.json(&json!({"url": cx.place.webhook_url}));
    remove.send().await?.success().map(drop)
}

/// What the hall tells.
#[derive(Deserialize)]
struct Letter {
    /// By which a repeat is known.
    id: Option<String>,
    #[serde(default)]
    told: Vec<Told>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Told {
    Spoke {
        user: String,
        text: String,
    },
    Vote {
        motion: String,
        voter: String,
        choice: String,
        answer_url: Option<String>,
    },
    Counted {
        motion: String,
    },
    Decided {
        motion: String,
        winner: String,
    },
    Minutes {
        page: String,
    },
    Gavel {
        from: Option<String>,
        to: String,
    },
    Member {
        user: String,
        sure: bool,
    },
    Banned {
        why: String,
    },
}

fn receive(_: &Cx, hook: &Hook) -> Result<Received> {
    let letter: Letter = hook.read()?;
    Ok(Received {
        repeat: letter.id.map_or(Repeat::Never, Repeat::Id),
        reply: HookReply::json(&json!({"heard": true})),
        signals: letter.told.into_iter().map(Told::signal).collect(),
    })
}

impl Told {
    fn signal(self) -> Signal {
        match self {
            Self::Spoke { user, text } => Signal::event("spoke", user, json!({ "text": text })),
            Self::Vote {
                motion,
                voter,
                choice,
                answer_url,
            } => Signal::Ballot {
                key: motion,
                voter,
                subject: String::new(),
                choices: json!(choice),
                answer_to: json!(answer_url),
            },
            Self::Counted { motion } => Signal::Refresh { key: motion },
            Self::Decided { motion, winner } => {
                let winner = Some(winner);
                let state = json!(Gathered {
                    id: motion.clone(),
                    winner
                });
                let progress = Progress::Completed(state);
                Signal::Progress {
                    key: motion,
                    progress,
                }
            }
            Self::Minutes { page } => Signal::Fetch { what: json!(page) },
            Self::Gavel { from, to } => Signal::Fold {
                key: "gavel".to_owned(),
                input: json!(Passed { from, to }),
            },
            Self::Member { user, sure } => Signal::Link {
                account: account(user, sure),
            },
            Self::Banned { why } => Signal::Revoked { why },
        }
    }
}

fn account(user_id: String, sure: bool) -> Account {
    Account {
        provider: String::new(),
        platform_id: String::new(),
        user_id,
        link_method: LinkMethod::Email,
        link_quality: if sure {
            LinkQuality::Strong
        } else {
            LinkQuality::Weak
        },
        custom_data: Default::default(),
    }
}

/// The hook of all halls.
#[derive(Deserialize)]
struct Circular {
    challenge: Option<String>,
    hall: Option<String>,
}

fn route(operator: &Operator, hook: &Hook) -> Result<Routed> {
    if hook.header("x-app-secret") != Some(&operator.app_secret) {
        return Err(Error::Unsigned("X-App-Secret is not ours".to_owned()));
    }
    let circular: Circular = hook.read()?;
    if let Some(challenge) = circular.challenge {
        return Ok(Routed::Reply(HookReply::json(
            &json!({ "challenge": challenge }),
        )));
    }
    Ok(circular.hall.map_or(Routed::Nothing, Routed::To))
}

async fn fetch(cx: &Cx, page: String) -> Result<Vec<Signal>> {
    let minutes: Value = signed(cx, cx.http.get(at(cx, &["minutes", &page])?))
        .read()
        .await?;
    Ok(vec![Signal::event("minutes", "", minutes)])
}

/// The gavel goes from one to the other.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Passed {
    from: Option<String>,
    to: String,
}

fn fold(_: &str, holder: Option<String>, passed: Passed) -> Result<Folded<String>> {
    if passed.from != holder {
        return Err(refuse("somebody else has the gavel"));
    }
    let state = Some(passed.to.clone());
    let signals = vec![Signal::event("gavel_passed", "", json!(passed))];
    Ok(Folded { state, signals })
}

/// What is said.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Spoke {
    text: String,
}

#[derive(Serialize, JsonSchema)]
struct Heard {
    greeting: String,
}

async fn speak(cx: &Cx, spoke: Spoke) -> Result<With<Heard>> {
    let speech = signed(cx, cx.http.post(at(cx, &["speeches"])?)).json(&spoke);
    speech.send().await?.success()?;
    let greeting = cx.state("greeting")?.unwrap_or_default();
    let event = Signal::Event(Happened {
        event_type: "spoke".to_owned(),
        data: json!(spoke).as_object().cloned().unwrap_or_default(),
        by_gateway: true,
        ..Happened::default()
    });
    Ok(With(Some(Heard { greeting }), vec![event]))
}

/// A vote.
#[derive(Deserialize, JsonSchema)]
struct Voting {
    motion: String,
    voter: String,
    choice: String,
}

async fn vote(_: &Cx, it: Voting) -> Result<With<Value>> {
    let Voting {
        motion,
        voter,
        choice,
    } = it;
    let answer_url = None;
    let vote = Told::Vote {
        motion,
        voter,
        choice,
        answer_url,
    };
    Ok(With(None, vec![vote.signal()]))
}

struct Motion;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Moved {
    title: String,
    #[serde(default)]
    details: String,
    options: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Votes {
    id: String,
    votes: Vec<(String, i64)>,
}

#[derive(Serialize, JsonSchema)]
struct Winner {
    winner: Option<String>,
}

#[derive(Deserialize)]
struct Shown {
    id: String,
    url: Option<String>,
    winner: Option<String>,
}

impl Votes {
    fn add(&mut self, choice: &str, count: i64) {
        let mut all = self.votes.iter_mut();
        if let Some((_, votes)) = all.find(|(option, _)| option == choice) {
            *votes += count;
        }
    }
}

impl Process for Motion {
    type Context = Cx;
    type Input = Moved;
    type State = Votes;
    type Outcome = Winner;

    async fn start(&self, cx: &Cx, start: Start<Moved>) -> Result<Started<Votes>> {
        let Moved {
            title,
            details,
            options,
        } = start.input;
        let motion = json!({"title": title, "details": details, "button": start.process_id});
        let create = signed(cx, cx.http.post(at(cx, &["motions"])?)).json(&motion);
        let shown: Shown = create.read().await?;
        let votes = options.into_iter().map(|option| (option, 0)).collect();
        let state = Votes {
            id: shown.id.clone(),
            votes,
        };
        Ok(Started {
            url: shown.url.unwrap_or_default(),
            ..Started::open(shown.id, state)
        })
    }

    async fn refresh(&self, cx: &Cx, state: Votes) -> Result<Progress<Votes>> {
        let shown: Shown = cx.http.get(at(cx, &["motions", &state.id])?).read().await?;
        Ok(match shown.winner {
            Some(_) => Progress::Completed(state),
            None => Progress::Open(state),
        })
    }

    fn view(&self, state: &Votes) -> View<Winner> {
        let most = state
            .votes
            .iter()
            .map(|(_, votes)| *votes)
            .max()
            .unwrap_or(0);
        let leads = |votes: i64| votes > 0 && votes == most;
        let options = state.votes.iter().map(|(option, votes)| OptionTally {
            option: option.clone(),
            count: *votes,
            score: *votes as f64,
            leading: leads(*votes),
            ..OptionTally::default()
        });
        let leading = state.votes.iter().filter(|(_, votes)| leads(*votes));
        let leading_options: Vec<String> = leading.map(|(option, _)| option.clone()).collect();
        let winner = leading_options.first().cloned();
        let tally = Tally {
            options: options.collect(),
            voter_count: Some(state.votes.iter().map(|(_, votes)| votes).sum()),
            eligible_count: None,
            leading_options,
        };
        let (outcome, tally) = (Some(Winner { winner }), Some(tally));
        View { outcome, tally }
    }
}

impl Close for Motion {
    async fn close(&self, _: &Cx, state: Votes) -> Result<Progress<Votes>> {
        Ok(Progress::Completed(state))
    }
}

impl Cancel for Motion {
    async fn cancel(&self, cx: &Cx, state: Votes) -> Result<()> {
        let remove = signed(cx, cx.http.delete(at(cx, &["motions", &state.id])?));
        remove.send().await?.success().map(drop)
    }
}

impl Ballots for Motion {
    type Choice = String;

    fn apply(&self, input: &Moved, mut state: Votes, cast: Cast<String>) -> Applied<Votes> {
        let choice = &cast.ballot.choices;
        let known = input.options.contains(choice);
        let text = if known {
            "thank you"
        } else {
            "there is no such option"
        };
        let reply = json!({"text": text, "to": cast.ballot.voter});
        let call = cast.answer_to.as_str().map(|url| Outgoing {
            method: "POST".to_owned(),
            url: url.to_owned(),
            headers: vec![("x-reply".to_owned(), "yes".to_owned())],
            body: reply.clone(),
        });
        if !known {
            let error = invalid("parameters/choice", text);
            return Applied::Refused { error, reply, call };
        }
        if let Some(before) = cast.previous {
            state.add(&before.choices, -1);
        }
        state.add(choice, 1);
        Applied::Counted { state, reply, call }
    }

    fn count(&self, _: &Moved, mut state: Votes, ballots: &[Ballot<String>]) -> Votes {
        let mut counts = BTreeMap::<&str, i64>::new();
        for ballot in ballots {
            *counts.entry(&ballot.choices).or_default() += 1;
        }
        for (option, votes) in &mut state.votes {
            *votes = counts.get(option.as_str()).copied().unwrap_or(0);
        }
        state
    }

    fn chosen(&self, _: &Moved, ballot: &Ballot<String>) -> Vec<String> {
        vec![ballot.choices.clone()]
    }

    async fn show(&self, cx: &Cx, state: Votes) -> Result<()> {
        let draw = signed(cx, cx.http.put(at(cx, &["motions", &state.id])?)).json(&state);
        draw.send().await?.success().map(drop)
    }
}

struct Assembly;

#[derive(Serialize, Deserialize)]
struct Gathered {
    id: String,
    winner: Option<String>,
}

impl Process for Assembly {
    type Context = Cx;
    type Input = Nothing;
    type State = Gathered;
    type Outcome = Winner;

    async fn start(&self, cx: &Cx, _: Start<Nothing>) -> Result<Started<Gathered>> {
        let shown: Shown = cx.http.post(at(cx, &["assemblies"])?).read().await?;
        let state = Gathered {
            id: shown.id.clone(),
            winner: None,
        };
        Ok(Started::open(shown.id, state))
    }

    async fn refresh(&self, cx: &Cx, state: Gathered) -> Result<Progress<Gathered>> {
        let shown: Shown = cx
            .http
            .get(at(cx, &["assemblies", &state.id])?)
            .read()
            .await?;
        let is_over = shown.winner.is_some();
        let state = Gathered {
            winner: shown.winner,
            ..state
        };
        Ok(match is_over {
            true => Progress::Completed(state),
            false => Progress::Open(state),
        })
    }

    fn view(&self, state: &Gathered) -> View<Winner> {
        let winner = state.winner.clone();
        let (outcome, tally) = (Some(Winner { winner }), None);
        View { outcome, tally }
    }
}
