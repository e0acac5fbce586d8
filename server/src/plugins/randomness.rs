//! Randomness: the teaching example. No platform, no account, nothing to set up.
//!
//! It shows the whole of a plugin in one screen: a configuration, an action, an action
//! that changes the installation's state, and a process with a timer. The original's
//! plugin of this name is its source: `metagov/plugins/example` in `metagov/gateway`.

use std::time::Duration;

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::kit::{
    Close, Context, Folded, Installed, Nothing, Plugin, Process, Progress, Result, Signal, Start,
    Started, View, With, invalid,
};

pub(super) fn plugin() -> Plugin {
    Plugin::new::<Config, Nothing>("randomness", "Random numbers and random decisions.")
        .setup_help("Nothing to set up: choose the range of `random-int`.")
        .setup(setup)
        .fold(fold)
        .action("random-int", "A random whole number.", random_int)
        .read_only()
        .action(
            "set-lucky-number",
            "Remember a lucky number.",
            set_lucky_number,
        )
        .process(
            "delayed-stochastic-vote",
            "After a delay one of the options wins, by chance.",
            DelayedStochasticVote,
        )
        .closable()
        .build()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The lowest number, if the action names none.
    default_low: i64,
    /// One more than the highest number, if the action names none.
    default_high: i64,
}

type Cx = Context<Config>;

async fn setup(cx: &Cx) -> Result<Installed> {
    if cx.config.default_low >= cx.config.default_high {
        return Err(invalid("config/default_high", "must be above default_low"));
    }
    Ok(Installed {
        state: vec![("lucky_number".to_owned(), json!(4))],
        ..Installed::default()
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    /// The lowest number; the configuration's `default_low` if absent.
    low: Option<i64>,
    /// One more than the highest number; the configuration's `default_high` if absent.
    high: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
struct Number {
    /// At least `low`, less than `high`.
    value: i64,
}

async fn random_int(cx: &Cx, input: Range) -> Result<Number> {
    let low = input.low.unwrap_or(cx.config.default_low);
    let high = input.high.unwrap_or(cx.config.default_high);
    if low >= high {
        return Err(invalid(
            "parameters/high",
            "must be above low, which it excludes",
        ));
    }
    let value = rand::rng().random_range(low..high);
    Ok(Number { value })
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lucky {
    /// The number to remember.
    lucky_number: i64,
}

/// An action changes nothing by itself: it returns a signal, and `fold` is called
/// inside the transaction that keeps the answer.
async fn set_lucky_number(_: &Cx, input: Lucky) -> Result<With<Lucky>> {
    let fold = Signal::Fold {
        key: "lucky_number".to_owned(),
        input: json!(input.lucky_number),
    };
    Ok(With(Some(input), vec![fold]))
}

fn fold(_key: &str, _row: Option<i64>, number: i64) -> Result<Folded<i64>> {
    Ok(Folded {
        state: Some(number),
        signals: Vec::new(),
    })
}

struct DelayedStochasticVote;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Draw {
    /// What may win.
    #[schemars(length(min = 1))]
    options: Vec<String>,
    /// After how many minutes it is decided.
    #[schemars(range(min = 0, max = 527_040))]
    delay: u32,
}

#[derive(Serialize, Deserialize)]
struct State {
    options: Vec<String>,
    winner: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Outcome {
    /// The option that won.
    winner: String,
}

impl Process for DelayedStochasticVote {
    type Context = Cx;
    type Input = Draw;
    type State = State;
    type Outcome = Outcome;

    async fn start(&self, cx: &Cx, start: Start<Draw>) -> Result<Started<State>> {
        let delay = Duration::from_secs(60 * u64::from(start.input.delay));
        let state = State {
            options: start.input.options,
            winner: None,
        };
        Ok(Started {
            // The gateway's timer closes it then.
            close_time: Some(cx.now().after(delay)),
            ..Started::open(start.process_id.to_string(), state)
        })
    }

    fn view(&self, state: &State) -> View<Outcome> {
        let winner = state.winner.clone();
        View {
            outcome: winner.map(|winner| Outcome { winner }),
            tally: None,
        }
    }
}

impl Close for DelayedStochasticVote {
    async fn close(&self, _: &Cx, mut state: State) -> Result<Progress<State>> {
        let winner = rand::rng().random_range(0..state.options.len());
        state.winner = state.options.get(winner).cloned();
        Ok(Progress::Completed(state))
    }
}
