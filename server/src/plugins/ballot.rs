//! Ballot: votes that the gateway holds itself. No platform, no account.
//!
//! A driver starts `ballot.vote`, casts with `ballot.cast` for whoever voted in its own
//! user interface, and watches the tally move. It is also the example of a vote whose
//! ballots are rows (process, voter): `apply` decides on one ballot and moves the small
//! running tally, `count` makes the same tally afresh from all rows.
//!
//! What holds for every vote here:
//! - One voter, one ballot; a later one replaces it, until the close. To cast the same
//!   again changes nothing.
//! - With `single` a ballot names one option. With `approval` it names any number; one
//!   that names none approves of nothing, yet its voter took part.
//! - The gateway trusts the driver that `voter` is who voted. `secret` hides who chose
//!   what from everybody; the counts stay visible while the vote is open.
//! - A quorum decides nothing by itself: the outcome says whether it was met.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kit::{
    Applied, Ballot, Ballots, Cast, Close, CloseTimeSupport, Context, Nothing, OptionTally, Plugin,
    Process, ProcessId, Progress, Result, Signal, Start, Started, Tally, View, With, invalid,
    refuse,
};

pub(super) fn plugin() -> Plugin {
    Plugin::new::<Nothing, Nothing>("ballot", "Votes that the gateway holds itself.")
        .setup_help("Nothing to set up: start `ballot.vote`, and vote with `ballot.cast`.")
        .action(
            "cast",
            "Vote in a `ballot.vote`, or change the vote; possible until it closes.",
            cast,
        )
        .process(
            "vote",
            "A vote with ballots that the gateway holds; people vote with `ballot.cast`.",
            Vote,
        )
        .vote()
        .close_time(CloseTimeSupport::Optional)
        .closable()
        .ballots()
        .build()
}

type Cx = Context<Nothing>;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Casting {
    /// The `process_id` of the vote.
    #[schemars(extend("format" = "uuid"))]
    process_id: String,
    /// Who votes, as the driver calls them.
    #[schemars(length(min = 1, max = 300))]
    voter: String,
    /// The chosen options, exactly as they were offered: one with `single`; any number
    /// with `approval`, none approves of nothing.
    #[schemars(length(max = 1000), extend("uniqueItems" = true))]
    choices: Vec<String>,
}

/// The ballot as it now counts.
#[derive(Serialize, JsonSchema)]
struct Receipt {
    /// Who voted.
    voter: String,
    /// What they chose.
    choices: Vec<String>,
    /// Whether an earlier ballot of the same voter was replaced.
    replaced: bool,
}

/// Without an output of its own: [`Vote::apply`] words the answer.
async fn cast(_: &Cx, input: Casting) -> Result<With<Receipt>> {
    let id = ProcessId::parse(&input.process_id)
        .ok_or_else(|| invalid("parameters/process_id", "must be the id of a process"))?;
    let ballot = Signal::Ballot {
        key: id.to_string(),
        voter: input.voter,
        subject: String::new(),
        choices: json!(input.choices),
        answer_to: Value::Null,
    };
    Ok(With(None, vec![ballot]))
}

struct Vote;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// What is being decided.
    #[schemars(length(min = 1, max = 300))]
    title: String,
    /// What voters should know.
    #[expect(dead_code, reason = "kept with the parameters, for who shows the vote")]
    #[schemars(length(max = 10_000))]
    details: Option<String>,
    /// What can be chosen. No two may be the same but for spaces around them.
    #[schemars(
        length(min = 2, max = 200),
        inner(length(min = 1, max = 300)),
        extend("uniqueItems" = true)
    )]
    options: Vec<String>,
    /// How a ballot chooses: `single`, exactly one option; `approval`, any number.
    #[serde(default)]
    method: Method,
    /// Who may vote, as the driver calls them; anyone if absent, as it must be where
    /// more than 10,000 may.
    #[schemars(
        length(min = 1, max = 10_000),
        inner(length(min = 1, max = 300)),
        extend("uniqueItems" = true)
    )]
    eligible_voters: Option<Vec<String>>,
    /// Whether it stays hidden who chose what.
    #[serde(default)]
    secret: bool,
    /// How many voters must take part for the vote to be valid.
    #[schemars(range(min = 1))]
    quorum: Option<i64>,
}

// Undocumented variants make a plain `enum` of a schema, whose fault is easier to read.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    #[default]
    Single,
    Approval,
}

impl Question {
    /// What the schema cannot say.
    fn check(&self) -> Result<()> {
        if self.title.trim().is_empty() {
            return Err(invalid("parameters/title", "must not be blank"));
        }
        let mut seen = HashSet::new();
        for (place, option) in self.options.iter().enumerate() {
            let (field, option) = (format!("parameters/options/{place}"), option.trim());
            if option.is_empty() {
                return Err(invalid(field, "must not be blank"));
            }
            if !seen.insert(option) {
                return Err(invalid(field, "is offered already"));
            }
        }
        match (self.quorum, self.eligible_count()) {
            (Some(quorum), Some(eligible)) if quorum > eligible => Err(invalid(
                "parameters/quorum",
                format!("cannot be met: only {eligible} may vote"),
            )),
            _ => Ok(()),
        }
    }

    fn eligible_count(&self) -> Option<i64> {
        self.eligible_voters.as_ref().map(|all| count(all.len()))
    }

    fn may_vote(&self, voter: &str) -> bool {
        let all = self.eligible_voters.as_ref();
        all.is_none_or(|all| all.iter().any(|eligible| eligible == voter))
    }

    /// Where the options stand.
    fn places(&self) -> HashMap<&str, usize> {
        let options = self.options.iter().enumerate();
        options.map(|(i, option)| (option.as_str(), i)).collect()
    }

    /// Where the choices stand among the options, if they make a ballot.
    fn chosen(&self, places: &HashMap<&str, usize>, choices: &[String]) -> Result<Vec<usize>> {
        if self.method == Method::Single && choices.len() != 1 {
            return Err(invalid("parameters/choices", "must be exactly one option"));
        }
        let mut chosen = Vec::with_capacity(choices.len());
        let mut seen = HashSet::new();
        for (i, choice) in choices.iter().enumerate() {
            let bad = |why| invalid(format!("parameters/choices/{i}"), why);
            let place = *places
                .get(choice.as_str())
                .ok_or_else(|| bad("is not among the options of this vote"))?;
            if !seen.insert(place) {
                return Err(bad("is chosen already"));
            }
            chosen.push(place);
        }
        Ok(chosen)
    }
}

/// The running tally, and what is needed to show it. Who may vote stays in the
/// parameters, and who did in the ballots, so that this row stays small.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug))]
struct State {
    options: Vec<String>,
    /// How many chose each option.
    counts: Vec<i64>,
    voters: i64,
    eligible: Option<i64>,
    quorum: Option<i64>,
}

impl State {
    fn new(question: &Question) -> Self {
        Self {
            options: question.options.clone(),
            counts: vec![0; question.options.len()],
            voters: 0,
            eligible: question.eligible_count(),
            quorum: question.quorum,
        }
    }

    /// Counts one ballot in (`by` 1) or out (`by` -1).
    fn move_by(&mut self, by: i64, chosen: &[usize]) {
        self.voters += by;
        for &place in chosen {
            if let Some(count) = self.counts.get_mut(place) {
                *count += by;
            }
        }
    }

    /// Each option in the order of the offer. Those with the most votes lead; before the
    /// first vote none does.
    fn options(&self) -> Vec<OptionTally> {
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1);
        let options = self.options.iter().zip(&self.counts);
        let tally = options.map(|(option, &count)| OptionTally {
            option: option.clone(),
            count,
            score: count as f64,
            leading: count == most,
            ..OptionTally::default()
        });
        tally.collect()
    }
}

#[derive(Serialize, JsonSchema)]
struct Outcome {
    /// The options with the most votes; empty before the first vote. They have won once
    /// the vote is completed, if `quorum_met`.
    winners: Vec<String>,
    /// Whether there are several winners.
    tie: bool,
    /// How many took part.
    turnout: Turnout,
    /// Whether enough took part; true if no quorum is asked.
    quorum_met: bool,
}

#[derive(Serialize, JsonSchema)]
struct Turnout {
    /// How many voted.
    voters: i64,
    /// Their share of those who may vote, from 0 to 1; absent if anyone may.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
}

impl Process for Vote {
    type Context = Cx;
    type Input = Question;
    type State = State;
    type Outcome = Outcome;

    async fn start(&self, _: &Cx, start: Start<Question>) -> Result<Started<State>> {
        start.input.check()?;
        Ok(Started {
            close_time: start.close_time,
            // The key is the id: `cast` needs no other.
            ..Started::open(start.process_id.to_string(), State::new(&start.input))
        })
    }

    fn view(&self, state: &State) -> View<Outcome> {
        let options = state.options();
        let leading = options.iter().filter(|option| option.leading);
        let leading: Vec<String> = leading.map(|leads| leads.option.clone()).collect();
        let tally = Tally {
            options,
            voter_count: Some(state.voters),
            eligible_count: state.eligible,
            leading_options: leading.clone(),
        };
        let outcome = Outcome {
            tie: leading.len() > 1,
            winners: leading,
            turnout: Turnout {
                voters: state.voters,
                share: state.eligible.map(|all| state.voters as f64 / all as f64),
            },
            quorum_met: state.quorum.is_none_or(|quorum| state.voters >= quorum),
        };
        View {
            outcome: Some(outcome),
            tally: Some(tally),
        }
    }
}

impl Close for Vote {
    async fn close(&self, _: &Cx, state: State) -> Result<Progress<State>> {
        Ok(Progress::Completed(state))
    }
}

impl Ballots for Vote {
    type Choice = Vec<String>;

    fn apply(
        &self,
        question: &Question,
        mut state: State,
        cast: Cast<Vec<String>>,
    ) -> Applied<State> {
        let (ballot, places) = (cast.ballot, question.places());
        let chosen = match question.may_vote(&ballot.voter) {
            true => question.chosen(&places, &ballot.choices),
            false => Err(refuse(format!(
                "{} may not vote in this vote",
                ballot.voter
            ))),
        };
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                return Applied::Refused {
                    error,
                    reply: Value::Null,
                    call: None,
                };
            }
        };
        let replaced = cast.previous.is_some();
        let before = cast.previous.map(|p| question.chosen(&places, &p.choices));
        if let Some(Ok(before)) = before {
            state.move_by(-1, &before);
        }
        state.move_by(1, &chosen);
        let (voter, choices) = (ballot.voter, ballot.choices);
        let reply = json!(Receipt {
            voter,
            choices,
            replaced
        });
        Applied::Counted {
            state,
            reply,
            call: None,
        }
    }

    fn count(&self, question: &Question, _: State, ballots: &[Ballot<Vec<String>>]) -> State {
        let (mut state, places) = (State::new(question), question.places());
        for ballot in ballots {
            if let Ok(chosen) = question.chosen(&places, &ballot.choices) {
                state.move_by(1, &chosen);
            }
        }
        state
    }

    fn chosen(&self, question: &Question, ballot: &Ballot<Vec<String>>) -> Vec<String> {
        match question.secret {
            true => Vec::new(),
            false => ballot.choices.clone(),
        }
    }
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
