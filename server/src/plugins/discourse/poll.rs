//! The process `poll`: a post with a poll in it, which the forum's members answer.
//!
//! Discourse sends no webhook when someone votes, so the gateway asks. Who may see the
//! votes is up to `results`: while the API's account may not, there is no tally.

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::kit::{Close, Error, Process, Progress, Result, Start, Started, Trouble, View, invalid},
    Cx,
    api::{self, NewPosting},
    markup,
    votes::{ShownOption, Votes, count, tally},
};

/// A poll. In a reply if there is a `topic_id`, else in a new topic of this title.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPoll {
    /// The question, and the title of the new topic.
    #[schemars(length(min = 1))]
    pub(super) title: String,
    /// What stands above the poll, in Markdown.
    pub(super) details: Option<String>,
    /// What may be chosen: at least two, or none if the type is `number`.
    #[serde(default)]
    options: Vec<String>,
    /// The topic to reply to.
    #[schemars(range(min = 1))]
    topic_id: Option<i64>,
    /// The new topic's category.
    #[schemars(range(min = 1))]
    category: Option<i64>,
    /// How people choose.
    #[serde(default)]
    pub(super) poll_type: PollType,
    /// Whether everyone sees who voted for what.
    pub(super) public: Option<bool>,
    /// When the votes are shown; always, if absent.
    pub(super) results: Option<Results>,
    /// How many options one must choose at least, or the lowest number.
    #[schemars(range(min = 0))]
    pub(super) min: Option<i64>,
    /// How many options one may choose at most, or the highest number.
    #[schemars(range(min = 1))]
    pub(super) max: Option<i64>,
    /// From one number to the next.
    #[schemars(range(min = 1))]
    pub(super) step: Option<i64>,
    /// How the votes are drawn.
    pub(super) chart_type: Option<ChartType>,
    /// The groups whose members may vote; everyone, if empty.
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^[\p{L}\p{M}\p{N}_.-]+$")))]
    pub(super) groups: Vec<String>,
}

/// How people choose.
#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PollType {
    /// One option.
    #[default]
    Regular,
    /// Several options.
    Multiple,
    /// One number of a range.
    Number,
}

/// When the votes are shown.
#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Results {
    /// From the beginning.
    Always,
    /// To those who voted.
    OnVote,
    /// At the end.
    OnClose,
    /// To staff.
    StaffOnly,
}

/// How the votes are drawn.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChartType {
    /// As a pie.
    Pie,
    /// As bars.
    Bar,
}

impl PollType {
    /// What Discourse calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Multiple => "multiple",
            Self::Number => "number",
        }
    }
}

impl Results {
    /// What Discourse calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnVote => "on_vote",
            Self::OnClose => "on_close",
            Self::StaffOnly => "staff_only",
        }
    }
}

impl ChartType {
    /// What Discourse calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pie => "pie",
            Self::Bar => "bar",
        }
    }
}

/// What is known of a poll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    post_id: i64,
    /// As they were offered, on one line each.
    offered: Vec<String>,
    /// The votes for each option; none while they are hidden.
    votes: Option<Votes>,
    voter_count: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Outcome {
    /// How many people chose each option.
    votes: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
struct PostWithPolls {
    /// Staff still gets to see a post that was deleted.
    deleted_at: Option<String>,
    #[serde(default)]
    polls: Vec<Shown>,
}

#[derive(Deserialize)]
struct Toggled {
    poll: Shown,
}

/// A poll as Discourse shows it.
#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    name: String,
    status: String,
    options: Vec<ShownOption>,
    voters: Option<i64>,
}

/// What Discourse calls the poll of a post that names none.
const NAME: &str = "poll";

/// The process.
pub(super) struct Poll;

impl Process for Poll {
    type Context = Cx;
    type Input = NewPoll;
    type State = State;
    type Outcome = Outcome;

    async fn start(&self, cx: &Cx, start: Start<NewPoll>) -> Result<Started<State>> {
        let poll = start.input;
        let server = api::server(&cx.config)?;
        let offered = offered(&poll)?;
        let posting = NewPosting {
            raw: markup::post(&poll, &offered, start.close_time),
            title: Some(markup::one_line(&poll.title)),
            category: poll.category,
            topic_id: poll.topic_id,
            ..NewPosting::default()
        };
        let post = api::create(cx, &posting).await?;
        let shown = matches!(poll.results, None | Some(Results::Always)) && !offered.is_empty();
        let none_yet = || offered.iter().map(|option| (option.clone(), 0)).collect();
        let state = State {
            post_id: post.id,
            votes: shown.then(none_yet),
            voter_count: shown.then_some(0),
            offered,
        };
        Ok(Started {
            url: api::post_url(&server, &post),
            title: Some(poll.title),
            close_time: start.close_time,
            ..Started::open(post.id.to_string(), state)
        })
    }

    async fn refresh(&self, cx: &Cx, state: State) -> Result<Progress<State>> {
        let request = api::get(cx, &format!("posts/{}.json", state.post_id))?;
        let post: PostWithPolls = match request.read().await {
            Err(Error::Platform {
                trouble: Trouble::Rejected { status: 404, .. },
                ..
            }) => return Ok(deleted()),
            answer => answer?,
        };
        if post.deleted_at.is_some() {
            return Ok(deleted());
        }
        let Some(poll) = post.polls.into_iter().find(|poll| poll.name == NAME) else {
            let why = "the poll is no longer in its post on Discourse";
            return Ok(Progress::Failed(why.to_owned()));
        };
        Ok(state.seen(poll))
    }

    fn view(&self, state: &State) -> View<Outcome> {
        let Some(votes) = &state.votes else {
            let (outcome, tally) = (None, None);
            return View { outcome, tally };
        };
        let outcome = Outcome {
            votes: votes.iter().cloned().collect(),
        };
        View {
            outcome: Some(outcome),
            tally: Some(tally(votes, state.voter_count)),
        }
    }
}

impl Close for Poll {
    async fn close(&self, cx: &Cx, state: State) -> Result<Progress<State>> {
        let request = api::put(cx, "polls/toggle_status")?.form(&[
            ("post_id", &state.post_id.to_string()),
            ("poll_name", NAME),
            ("status", "closed"),
        ]);
        let refused = match request.read::<Toggled>().await {
            Ok(toggled) => return Ok(state.seen(toggled.poll)),
            Err(error) => error,
        };
        let Error::Platform {
            trouble: Trouble::Rejected { .. },
            ..
        } = refused
        else {
            return Err(refused);
        };
        // It may be closed or deleted already; else this is why it stays open.
        match self.refresh(cx, state).await {
            Ok(ended @ (Progress::Completed(_) | Progress::Failed(_))) => Ok(ended),
            Ok(Progress::Open(_)) | Err(_) => Err(refused),
        }
    }
}

/// The options to offer: on one line each, distinct, and at least two of them, unless
/// Discourse makes them.
fn offered(poll: &NewPoll) -> Result<Vec<String>> {
    let path = "parameters/options";
    match (poll.poll_type, poll.options.len()) {
        (PollType::Number, 0) => return Ok(Vec::new()),
        (PollType::Number, _) => {
            return Err(invalid(path, "a poll of type number makes its own options"));
        }
        (kind, 0 | 1) => {
            let why = format!("a poll of type {} needs at least two", kind.name());
            return Err(invalid(path, why));
        }
        _ => {}
    }
    let options: Vec<String> = poll.options.iter().map(|o| markup::one_line(o)).collect();
    let mut distinct = HashSet::new();
    for (place, option) in options.iter().enumerate() {
        let why = match option.as_str() {
            "" => "must not be empty",
            option if !distinct.insert(option) => "is offered twice",
            _ => continue,
        };
        return Err(invalid(format!("{path}/{place}"), why));
    }
    Ok(options)
}

fn deleted<S>() -> Progress<S> {
    Progress::Failed("the post of the poll was deleted on Discourse".to_owned())
}

impl State {
    /// How it stands after Discourse showed the poll.
    fn seen(self, poll: Shown) -> Progress<Self> {
        let state = Self {
            votes: count(&self.offered, &poll.options),
            voter_count: poll.voters,
            ..self
        };
        match poll.status.as_str() {
            "closed" => Progress::Completed(state),
            _ => Progress::Open(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::super::kit::Schema, *};

    fn new_poll(parameters: Value) -> NewPoll {
        serde_json::from_value(parameters).unwrap()
    }

    fn shown(status: &str, options: &[(&str, Option<i64>)]) -> Shown {
        let option = |(html, votes): &(&str, Option<i64>)| ShownOption {
            html: (*html).to_owned(),
            votes: *votes,
        };
        Shown {
            name: NAME.to_owned(),
            status: status.to_owned(),
            options: options.iter().map(option).collect(),
            voters: Some(50),
        }
    }

    fn state(offered: &[&str]) -> State {
        State {
            post_id: 1,
            offered: offered.iter().map(ToString::to_string).collect(),
            votes: None,
            voter_count: None,
        }
    }

    fn votes(progress: Progress<State>) -> Option<Votes> {
        match progress {
            Progress::Open(state) | Progress::Completed(state) => state.votes,
            Progress::Failed(why) => panic!("{why}"),
        }
    }

    fn counted(pairs: &[(&str, i64)]) -> Option<Votes> {
        Some(pairs.iter().map(|(o, n)| ((*o).to_owned(), *n)).collect())
    }

    #[test]
    fn an_open_poll_stays_open_and_a_closed_one_is_completed() {
        let options = [("a", Some(1)), ("b", Some(0))];
        let open = state(&["a", "b"]).seen(shown("open", &options));
        assert!(matches!(open, Progress::Open(_)));
        let closed = state(&["a", "b"]).seen(shown("closed", &options));
        assert!(matches!(closed, Progress::Completed(_)));
    }

    #[test]
    fn a_count_may_return_to_zero() {
        let progress = state(&["a", "b"]).seen(shown("open", &[("a", Some(2)), ("b", Some(0))]));
        let Progress::Open(first) = progress else {
            panic!()
        };
        let progress = first.seen(shown("open", &[("a", Some(0)), ("b", Some(0))]));
        assert_eq!(votes(progress), counted(&[("a", 0), ("b", 0)]));
    }

    #[test]
    fn hidden_votes_make_no_tally() {
        let progress = state(&["a", "b"]).seen(shown("open", &[("a", None), ("b", None)]));
        let Progress::Open(state) = progress else {
            panic!()
        };
        let view = Poll.view(&state);
        assert!(view.tally.is_none() && view.outcome.is_none());
    }

    #[test]
    fn the_tally_keeps_the_order_and_names_all_that_lead() {
        let state = State {
            votes: counted(&[("z", 4), ("a", 4), ("m", 0)]),
            voter_count: Some(8),
            ..state(&["z", "a", "m"])
        };
        let view = Poll.view(&state);
        let outcome = serde_json::to_value(view.outcome.unwrap()).unwrap();
        assert_eq!(outcome, json!({"votes": {"z": 4, "a": 4, "m": 0}}));
        let tally = view.tally.unwrap();
        let options: Vec<&str> = tally.options.iter().map(|o| o.option.as_str()).collect();
        assert_eq!(options, ["z", "a", "m"]);
        assert_eq!(tally.leading_options, ["z", "a"]);
        assert_eq!(tally.voter_count, Some(8));
    }

    #[test]
    fn options_are_needed_and_distinct_unless_they_are_numbers() {
        let fails = |parameters| {
            let error = offered(&new_poll(parameters)).unwrap_err();
            matches!(error, Error::Invalid(_))
        };
        assert!(fails(json!({"title": "t"})));
        assert!(fails(json!({"title": "t", "options": ["a"]})));
        assert!(fails(json!({"title": "t", "options": ["a b", " a\nb "]})));
        assert!(fails(json!({"title": "t", "options": ["a", " "]})));
        let numbers = json!({"title": "t", "poll_type": "number", "min": 1, "max": 5});
        assert!(offered(&new_poll(numbers)).unwrap().is_empty());
        let numbers = json!({"title": "t", "poll_type": "number", "options": ["1", "2"]});
        assert!(fails(numbers));
    }

    #[test]
    fn a_group_holds_no_markup() {
        let schema = Schema::of::<NewPoll>();
        let check = |group: &str| {
            let parameters = json!({"title": "t", "options": ["a", "b"], "groups": [group]});
            schema.check(&parameters, "discourse.poll", "parameters")
        };
        for good in ["staff", "trust_level_1", "équipe-2", "v1.0"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for wrong in ["", "a b", "a]", "a,b", "a status=closed", "a\n", "\"a\""] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
