//! Votes counted: what Discourse shows of a poll, in the words in which it was offered.

use serde::Deserialize;

use super::{
    super::kit::{OptionTally, Tally},
    markup::text_of,
};

/// How many people chose each option, in the order in which they were offered.
pub(super) type Votes = Vec<(String, i64)>;

/// An option as Discourse shows it.
#[derive(Deserialize)]
pub(super) struct ShownOption {
    /// Its text, escaped and set.
    pub(super) html: String,
    /// Absent while they are hidden from the API's account.
    pub(super) votes: Option<i64>,
}

/// The votes for what was offered, then for what people added to the post; none if any
/// are hidden. An option is known by its text, since an edit may move it, or else by its
/// place: Discourse sets quotation marks and the like in its own way.
pub(super) fn count(offered: &[String], shown: &[ShownOption]) -> Option<Votes> {
    let mut left = Vec::with_capacity(shown.len());
    for option in shown {
        left.push(Some((text_of(&option.html), option.votes?)));
    }
    let same = |option: &String, it: &Option<(String, i64)>| {
        it.as_ref().is_some_and(|(text, _)| text == option)
    };
    let mut votes: Vec<Option<i64>> = Vec::with_capacity(offered.len());
    for option in offered {
        let found = left.iter().position(|it| same(option, it));
        votes.push(found.and_then(|at| left[at].take()).map(|(_, votes)| votes));
    }
    for (at, missing) in votes.iter_mut().enumerate().filter(|(_, v)| v.is_none()) {
        *missing = left
            .get_mut(at)
            .and_then(Option::take)
            .map(|(_, votes)| votes);
    }
    let known = offered.iter().cloned();
    let known = known.zip(votes.into_iter().map(Option::unwrap_or_default));
    Some(known.chain(left.into_iter().flatten()).collect())
}

/// The same in the shape of every vote.
pub(super) fn tally(votes: &[(String, i64)], voter_count: Option<i64>) -> Tally {
    let most = votes.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let leads = |count: i64| count > 0 && count == most;
    let options = votes.iter().map(|(option, count)| OptionTally {
        option: option.clone(),
        count: *count,
        score: *count as f64,
        leading: leads(*count),
        ..OptionTally::default()
    });
    let leading = votes.iter().filter(|(_, count)| leads(*count));
    Tally {
        options: options.collect(),
        voter_count,
        eligible_count: None,
        leading_options: leading.map(|(option, _)| option.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(offered: &[&str], shown: &[(&str, i64)]) -> Votes {
        let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
        let option = |(html, votes): &(&str, i64)| ShownOption {
            html: (*html).to_owned(),
            votes: Some(*votes),
        };
        let shown: Vec<ShownOption> = shown.iter().map(option).collect();
        count(&offered, &shown).unwrap()
    }

    fn votes(pairs: &[(&str, i64)]) -> Votes {
        pairs.iter().map(|(o, n)| ((*o).to_owned(), *n)).collect()
    }

    #[test]
    fn an_option_is_known_by_its_text_or_else_by_its_place() {
        let offered = ["one & two", "\"quoted\"", "three"];
        let shown = [("three", 3), ("“quoted”", 2), ("one &amp; two", 1)];
        let expected = [("one & two", 1), ("\"quoted\"", 2), ("three", 3)];
        assert_eq!(counted(&offered, &shown), votes(&expected));
    }

    #[test]
    fn an_option_that_people_added_is_counted_after_the_offered() {
        let shown = [("a", 1), ("b", 2), ("c", 3)];
        assert_eq!(counted(&["a", "b"], &shown), votes(&shown));
        let numbers = [("1", 0), ("2", 4)];
        assert_eq!(counted(&[], &numbers), votes(&numbers));
    }

    #[test]
    fn an_option_that_people_removed_has_no_votes() {
        let expected = votes(&[("a", 1), ("b", 0)]);
        assert_eq!(counted(&["a", "b"], &[("a", 1)]), expected);
    }

    #[test]
    fn nobody_leads_without_a_vote() {
        let tally = tally(&votes(&[("a", 0), ("b", 0)]), Some(0));
        assert!(tally.leading_options.is_empty());
        assert!(tally.options.iter().all(|option| !option.leading));
    }
}
