//! What holds for every vote, without a server.

use std::collections::BTreeMap;

use super::{super::kit::Error, *};

fn question(parameters: Value) -> Question {
    let plugin = plugin();
    let schema = &plugin.processes["ballot.vote"].parameters;
    schema
        .check(&parameters, "ballot.vote", "parameters")
        .unwrap();
    serde_json::from_value(parameters).unwrap()
}

fn lunch() -> Question {
    question(json!({"title": "Lunch?", "options": ["soup", "rice", "bread"]}))
}

fn approval() -> Question {
    let options = ["soup", "rice", "bread"];
    question(json!({"title": "Lunch?", "options": options, "method": "approval"}))
}

fn ballot(voter: &str, choices: &[&str]) -> Ballot<Vec<String>> {
    Ballot {
        voter: voter.to_owned(),
        subject: String::new(),
        choices: choices.iter().map(|c| (*c).to_owned()).collect(),
    }
}

/// The vote as the gateway runs it: the state, and the rows.
struct Running {
    question: Question,
    state: State,
    rows: BTreeMap<String, Ballot<Vec<String>>>,
}

impl Running {
    fn new(question: Question) -> Self {
        let (state, rows) = (State::new(&question), BTreeMap::new());
        Self {
            question,
            state,
            rows,
        }
    }

    fn cast(&mut self, voter: &str, choices: &[&str]) -> Result<Value> {
        let ballot = ballot(voter, choices);
        let cast = Cast {
            ballot: ballot.clone(),
            previous: self.rows.get(voter).cloned(),
            answer_to: Value::Null,
        };
        match Vote.apply(&self.question, self.state.clone(), cast) {
            Applied::Counted { state, reply, .. } => {
                self.rows.insert(voter.to_owned(), ballot);
                self.state = state;
                Ok(reply)
            }
            Applied::Refused { error, .. } => Err(error),
        }
    }

    fn counted(&self) -> State {
        let rows: Vec<_> = self.rows.values().cloned().collect();
        Vote.count(&self.question, self.state.clone(), &rows)
    }

    fn outcome(&self) -> Value {
        json!(Vote.view(&self.state).outcome)
    }

    fn tally(&self) -> Tally {
        Vote.view(&self.state).tally.unwrap()
    }
}

fn field(error: Error) -> String {
    match error {
        Error::Invalid(faults) => faults[0].field.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_answer_says_what_counts_now() {
    let mut vote = Running::new(lunch());
    let first = vote.cast("ana", &["soup"]).unwrap();
    let receipt = json!({"voter": "ana", "choices": ["soup"], "replaced": false});
    assert_eq!(first, receipt);
    let second = vote.cast("ana", &["rice"]).unwrap();
    let receipt = json!({"voter": "ana", "choices": ["rice"], "replaced": true});
    assert_eq!(second, receipt);
    let schema = &plugin().actions["ballot.cast"].result;
    schema.check(&second, "ballot.cast", "result").unwrap();
}

#[test]
fn a_voter_may_change_the_ballot() {
    let mut vote = Running::new(lunch());
    vote.cast("ana", &["soup"]).unwrap();
    vote.cast("ben", &["soup"]).unwrap();
    vote.cast("ana", &["bread"]).unwrap();
    assert_eq!(vote.state.counts, [1, 0, 1]);
    assert_eq!(vote.state.voters, 2);
    let before = vote.state.clone();
    vote.cast("ana", &["bread"]).unwrap();
    assert_eq!(vote.state, before, "the same again changes nothing");
}

#[test]
fn a_ballot_that_is_none_changes_nothing() {
    let mut vote = Running::new(lunch());
    for (choices, place) in [
        (&["tea"][..], "parameters/choices/0"),
        (&["Soup"], "parameters/choices/0"),
        (&[], "parameters/choices"),
        (&["soup", "rice"], "parameters/choices"),
    ] {
        assert_eq!(field(vote.cast("ana", choices).unwrap_err()), place);
    }
    assert_eq!(vote.state, State::new(&vote.question));
    let mut vote = Running::new(approval());
    for (choices, place) in [
        (&["soup", "tea"][..], "parameters/choices/1"),
        (&["soup", "soup"], "parameters/choices/1"),
    ] {
        assert_eq!(field(vote.cast("ana", choices).unwrap_err()), place);
    }
    assert_eq!(vote.state, State::new(&vote.question));
}

#[test]
fn only_the_eligible_may_vote() {
    let question = question(json!({
        "title": "Lunch?", "options": ["soup", "rice"], "eligible_voters": ["ana", "ben"],
    }));
    let mut vote = Running::new(question);
    vote.cast("ana", &["soup"]).unwrap();
    let refused = vote.cast("eve", &["soup"]).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    assert_eq!(vote.tally().eligible_count, Some(2));
    assert_eq!(
        vote.outcome()["turnout"],
        json!({"voters": 1, "share": 0.5})
    );
}

#[test]
fn an_approval_ballot_names_any_number() {
    let mut vote = Running::new(approval());
    vote.cast("ana", &["soup", "bread"]).unwrap();
    vote.cast("ben", &["bread"]).unwrap();
    vote.cast("cem", &[]).unwrap();
    assert_eq!(vote.state.counts, [1, 0, 2]);
    assert_eq!(
        vote.outcome()["turnout"]["voters"],
        3,
        "none is a ballot too"
    );
    vote.cast("ana", &[]).unwrap();
    vote.cast("ben", &[]).unwrap();
    assert_eq!(
        vote.outcome()["winners"],
        json!([]),
        "nobody approves of anything"
    );
}

#[test]
fn the_outcome_names_winners_ties_turnout_and_quorum() {
    let parameters = json!({"title": "Lunch?", "options": ["soup", "rice", "bread"], "quorum": 2});
    let mut vote = Running::new(question(parameters));
    let outcome = |winners: &[&str], voters: i64, quorum_met: bool| {
        let (tie, turnout) = (winners.len() > 1, json!({"voters": voters}));
        json!({"winners": winners, "tie": tie, "turnout": turnout, "quorum_met": quorum_met})
    };
    assert_eq!(vote.outcome(), outcome(&[], 0, false));
    assert!(vote.tally().leading_options.is_empty());
    vote.cast("ana", &["bread"]).unwrap();
    assert_eq!(vote.outcome(), outcome(&["bread"], 1, false));
    vote.cast("ben", &["soup"]).unwrap();
    assert_eq!(vote.outcome(), outcome(&["soup", "bread"], 2, true));
    assert_eq!(vote.tally().leading_options, ["soup", "bread"]);
    vote.cast("cem", &["soup"]).unwrap();
    assert_eq!(vote.outcome(), outcome(&["soup"], 3, true));
    let schema = &plugin().processes["ballot.vote"].outcome;
    schema
        .check(&vote.outcome(), "ballot.vote", "outcome")
        .unwrap();
    let first = &vote.tally().options[0];
    assert_eq!(
        (first.option.as_str(), first.count, first.score),
        ("soup", 2, 2.0)
    );
}

#[test]
fn a_secret_vote_does_not_say_who_chose_what() {
    let ballot = ballot("ana", &["soup"]);
    assert_eq!(Vote.chosen(&lunch(), &ballot), ["soup"]);
    let secret = json!({"title": "Lunch?", "options": ["soup", "rice"], "secret": true});
    assert!(Vote.chosen(&question(secret), &ballot).is_empty());
}

#[test]
fn a_question_that_cannot_be_asked_is_refused() {
    let bad = |more: Value| {
        let mut parameters = json!({"title": "Lunch?", "options": ["soup", "rice"]});
        parameters
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        field(question(parameters).check().unwrap_err())
    };
    assert_eq!(bad(json!({"title": "  "})), "parameters/title");
    assert_eq!(
        bad(json!({"options": ["soup", " "]})),
        "parameters/options/1"
    );
    assert_eq!(
        bad(json!({"options": ["soup", "rice", "soup "]})),
        "parameters/options/2"
    );
    let hopeless = json!({"quorum": 2, "eligible_voters": ["ana"]});
    assert_eq!(bad(hopeless), "parameters/quorum");
    assert_eq!(lunch().check(), Ok(()));
}

#[test]
fn the_schema_refuses_what_it_can() {
    let plugin = plugin();
    let schema = &plugin.processes["ballot.vote"].parameters;
    for bad in [
        json!({"title": "", "options": ["soup", "rice"]}),
        json!({"title": "x".repeat(301), "options": ["soup", "rice"]}),
        json!({"options": ["soup", "rice"]}),
        json!({"title": "Lunch?", "options": ["soup"]}),
        json!({"title": "Lunch?", "options": ["soup", "soup"]}),
        json!({"title": "Lunch?", "options": ["soup", ""]}),
        json!({"title": "Lunch?", "options": ["soup", "x".repeat(301)]}),
        json!({"title": "Lunch?", "options": (0..1001).map(|n| n.to_string()).collect::<Vec<_>>()}),
        json!({"title": "Lunch?", "options": ["soup", "rice"], "method": "borda"}),
        json!({"title": "Lunch?", "options": ["soup", "rice"], "quorum": 0}),
        json!({"title": "Lunch?", "options": ["soup", "rice"], "eligible_voters": []}),
        json!({"title": "Lunch?", "options": ["soup", "rice"], "eligible_voters": ["a", "a"]}),
        json!({"title": "Lunch?", "options": ["soup", "rice"], "closes": "soon"}),
    ] {
        assert!(
            schema.check(&bad, "ballot.vote", "parameters").is_err(),
            "{bad}"
        );
    }
    let cast = &plugin.actions["ballot.cast"].parameters;
    let id = ProcessId::new();
    for (choices, good) in [
        (json!(["soup"]), true),
        (json!([]), true),
        (json!(["a", "a"]), false),
    ] {
        let parameters = json!({"process_id": id, "voter": "ana", "choices": choices});
        assert_eq!(
            cast.check(&parameters, "ballot.cast", "parameters").is_ok(),
            good
        );
    }
}

#[test]
fn one_revision_stays_small() {
    let options = ["Yes, at once", "Yes, but next year", "No, never"];
    let voters: Vec<String> = (0..1000).map(|n| format!("voter-{n}")).collect();
    let mut vote = Running::new(question(json!({
        "title": "Shall we?", "options": options, "eligible_voters": voters, "quorum": 300,
    })));
    for (n, voter) in voters.iter().enumerate() {
        vote.cast(voter, &[options[n % 3]]).unwrap();
    }
    vote.cast("voter-0", &[options[1]]).unwrap();
    let written = vote.outcome().to_string().len() + json!(vote.tally()).to_string().len();
    assert!(written < 500, "{written} bytes");
    assert!(
        json!(vote.state).to_string().len() < 300,
        "no voter is in the state"
    );
}

/// Numbers that look random and are the same each time (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % n).unwrap()
    }
}

#[test]
fn the_running_tally_is_what_a_fresh_count_gives() {
    // "tea" is not on offer, and the voter 9 may not vote.
    let menu = ["soup", "rice", "bread", "tea"];
    let eligible: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    for seed in 0..60 {
        let method = ["single", "approval"][seed % 2];
        let mut vote = Running::new(question(json!({
            "title": "Lunch?", "options": &menu[..3], "method": method, "eligible_voters": eligible,
        })));
        let mut dice = Dice(seed as u64);
        let mut refused = 0;
        for _ in 0..100 {
            let voter = dice.below(10).to_string();
            let choices: Vec<&str> = (0..dice.below(4)).map(|_| menu[dice.below(4)]).collect();
            refused += usize::from(vote.cast(&voter, &choices).is_err());
            assert_eq!(vote.state, vote.counted(), "seed {seed}");
        }
        assert!(
            vote.state.voters > 0 && refused > 0,
            "seed {seed} tries both"
        );
    }
}
