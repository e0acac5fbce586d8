//! What one check found.

use serde_json::{Value, json};

use crate::cli::{Exit, Failure, failure::printable};

/// What one check found, and what to do if it is not right.
pub(super) struct Finding {
    check: String,
    state: State,
    found: String,
    advice: String,
}

#[derive(Clone, Copy)]
enum State {
    Right,
    /// It could not be found out, or is right only for now.
    Doubtful,
    Wrong(Exit),
}

impl Finding {
    pub(super) fn right(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::of(check.into(), State::Right, found.into(), "")
    }

    pub(super) fn doubtful(
        check: impl Into<String>,
        found: impl Into<String>,
        advice: &str,
    ) -> Self {
        Self::of(check.into(), State::Doubtful, found.into(), advice)
    }

    pub(super) fn wrong(
        check: impl Into<String>,
        exit: Exit,
        found: impl Into<String>,
        advice: &str,
    ) -> Self {
        Self::of(check.into(), State::Wrong(exit), found.into(), advice)
    }

    /// The text of a failure says what to do, too.
    pub(super) fn failed(check: impl Into<String>, failure: &Failure) -> Self {
        Self::wrong(check, failure.exit, &failure.text, "")
    }

    fn of(check: String, state: State, found: String, advice: &str) -> Self {
        let advice = advice.to_owned();
        Self {
            check,
            state,
            found,
            advice,
        }
    }

    /// How the command ends because of it.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.state {
            State::Wrong(exit) => Some(exit),
            State::Right | State::Doubtful => None,
        }
    }

    fn word(&self) -> &'static str {
        match self.state {
            State::Right => "right",
            State::Doubtful => "doubtful",
            State::Wrong(_) => "wrong",
        }
    }

    /// For people: a line, and below it what to do.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut told = self.found.lines().chain(self.advice.lines());
        let first = format!("{}: {}", self.check, told.next().unwrap_or_default());
        let first = format!("{:9} {}", self.word(), printable(&first));
        let rest = told.map(|text| format!("{:9}   {}", "", printable(text.trim())));
        std::iter::once(first).chain(rest).collect()
    }

    /// For scripts.
    pub(super) fn written(&self) -> Value {
        json!({
            "check": self.check,
            "state": self.word(),
            "found": self.found,
            "advice": self.advice,
        })
    }
}
