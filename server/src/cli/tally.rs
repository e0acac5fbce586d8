//! How a process stands, as people read it: its facts, and a bar for each option.

use std::io::Write;

use console::{Alignment, measure_text_width, pad_str};
use metagov_proto::{
    json,
    v1::{OptionTally, Process, Tally},
};

use super::{
    Failure,
    actions::cell,
    failure::printable,
    output::{line, time},
    processes::state,
};

/// How long the bar of the option is that has the most.
const BAR: f64 = 24.0;

/// Writes how it stands, several lines.
pub(super) fn write(out: &mut dyn Write, process: &Process) -> Result<(), Failure> {
    lines(process)
        .into_iter()
        .try_for_each(|text| line(out, text))
}

/// How it stands.
pub(super) fn lines(process: &Process) -> Vec<String> {
    let mut facts = vec![
        format!("{}  {}", process.process_id, process.process_type),
        process.title.clone(),
        standing(process),
    ];
    let url = [&process.url];
    facts.extend(url.into_iter().filter(|url| !url.is_empty()).cloned());
    let bars = process.tally.iter().flat_map(bars);
    let outcome = process
        .outcome
        .clone()
        .map(json::to_json)
        .unwrap_or_default();
    let outcome = outcome
        .iter()
        .map(|(name, value)| format!("{name}: {}", cell(value)));
    let lines = facts.into_iter().chain(bars).chain(outcome);
    lines.map(|text| printable(&text)).collect()
}

/// The same in one line, for a log.
pub(super) fn brief(process: &Process) -> String {
    let options = process.tally.iter().flat_map(|tally| &tally.options);
    let options = options.map(|option| format!("{} {}", name(option), option.score));
    let options: Vec<String> = options.collect();
    let mut text = format!("{} {}", process.process_id, standing(process));
    if !options.is_empty() {
        text += &format!("; {}", options.join(", "));
    }
    printable(&text)
}

/// Its state, with what there is to know about that.
pub(super) fn standing(process: &Process) -> String {
    let mut text = state(process);
    if let Some(error) = &process.error {
        text += &format!(": {} [{}]", error.message, error.reason);
    } else if !process.end_reason.is_empty() {
        text += &format!(": {}", process.end_reason);
    } else if process.end_time.is_none() && process.close_time.is_some() {
        text += &format!(", closes at {}", time(process.close_time.as_ref()));
    }
    let voters = process.tally.as_ref().and_then(voters);
    voters.into_iter().for_each(|voters| text += &voters);
    text
}

fn voters(tally: &Tally) -> Option<String> {
    let count = tally.voter_count?;
    Some(match tally.eligible_count {
        Some(all) => format!(", {count} of {all} voted"),
        None => format!(", {count} voted"),
    })
}

/// A line for each option, the leading one marked.
fn bars(tally: &Tally) -> Vec<String> {
    let options = tally.options.iter();
    let widths = options
        .clone()
        .map(|option| measure_text_width(&name(option)));
    let width = widths.max().unwrap_or_default();
    let most = options
        .clone()
        .map(|option| option.score)
        .fold(0.0, f64::max);
    let bar = |option: &OptionTally| {
        let mark = if option.leading { '*' } else { ' ' };
        let name = name(option);
        let name = pad_str(&name, width, Alignment::Left, None);
        // Scores may be below zero; and where there is none, there is no bar.
        let share = (option.score / most).clamp(0.0, 1.0);
        let length = if most > 0.0 {
            (share * BAR).round() as usize
        } else {
            0
        };
        let length = "█".repeat(length);
        format!("{mark} {name}  {length} {}", option.score)
    };
    options.map(bar).collect()
}

fn name(option: &OptionTally) -> String {
    match option.subject.as_str() {
        "" => option.option.clone(),
        subject => format!("{subject}: {}", option.option),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metagov_proto::v1::ProcessState;

    fn vote() -> Process {
        let option = |option: &str, score: f64| OptionTally {
            option: option.to_owned(),
            score,
            leading: score == 3.0,
            ..OptionTally::default()
        };
        Process {
            process_id: "p1".to_owned(),
            process_type: "ballot.vote".to_owned(),
            title: "Lunch?\u{1b}[2J".to_owned(),
            state: ProcessState::Open.into(),
            tally: Some(Tally {
                options: vec![
                    option("soup", 3.0),
                    option("粥", 1.0),
                    option("bread", -1.0),
                ],
                voter_count: Some(4),
                eligible_count: Some(9),
                leading_options: vec!["soup".to_owned()],
            }),
            ..Process::default()
        }
    }

    #[test]
    fn a_vote_has_a_bar_for_each_option() {
        let lines = lines(&vote());
        let bar = |length| "█".repeat(length);
        assert_eq!(
            lines,
            [
                "p1  ballot.vote".to_owned(),
                "Lunch? [2J".to_owned(),
                "open, 4 of 9 voted".to_owned(),
                format!("* soup   {} 3", bar(24)),
                format!("  粥     {} 1", bar(8)),
                "  bread   -1".to_owned(),
            ]
        );
    }

    #[test]
    fn a_vote_without_votes_has_no_bar() {
        let mut vote = vote();
        let tally = vote.tally.as_mut().unwrap();
        tally
            .options
            .iter_mut()
            .for_each(|option| option.score = 0.0);
        assert!(lines(&vote).iter().all(|line| !line.contains('█')));
    }

    #[test]
    fn in_a_log_it_is_one_line() {
        let text = "p1 open, 4 of 9 voted; soup 3, 粥 1, bread -1";
        assert_eq!(brief(&vote()), text);
    }
}
