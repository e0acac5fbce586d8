//! `metagov process watch`: how a process stands, as it moves.

use std::io::{self, Write};

use clap::Args;
use console::{Term, truncate_str};
use metagov_proto::v1::{Process, ProcessState};

use super::{
    Exit, Failure,
    common::Common,
    output::line,
    tally::{brief, lines, standing},
    watching::retry,
};

/// Which process. Ends once it is done: with code 0 if it is completed, else with 1.
///
/// On a terminal the tally moves in its place; elsewhere each change is one line.
#[derive(Clone, Args)]
pub struct Watch {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    common: Common,
}

impl Watch {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("process {}", self.id);
        let client = self.common.open().await?;
        let mut states = client.watch_process(&self.id).on_retry(retry);
        let mut last = Process::default();
        let mut screen = self
            .common
            .output
            .is_for_people()
            .then(Screen::found)
            .flatten();
        loop {
            let state = states.next().await;
            let state = state.map_err(|status| Failure::answered(&doing, &status))?;
            let Some(process) = state else {
                return ended(&doing, &last);
            };
            match &mut screen {
                Some(screen) => screen.show(&process)?,
                None if self.common.output.is_for_people() => line(out, brief(&process))?,
                None => self.common.output.next(out, ("Process", &process))?,
            }
            last = process;
        }
    }
}

fn ended(doing: &str, process: &Process) -> Result<(), Failure> {
    match process.state() {
        ProcessState::Completed => Ok(()),
        _ => {
            let why = format!("{doing}: {}", standing(process));
            Err(Failure::new(Exit::Other, why))
        }
    }
}

/// A terminal, and how many of its lines are to be written anew.
struct Screen {
    terminal: Term,
    lines: usize,
}

impl Screen {
    /// The terminal, if the standard output is one.
    fn found() -> Option<Self> {
        let terminal = Term::stdout();
        terminal.is_term().then_some(Self { terminal, lines: 0 })
    }

    fn show(&mut self, process: &Process) -> Result<(), Failure> {
        let shown = self.replace(&lines(process));
        shown.map_err(|e| Failure::new(Exit::Other, format!("standard output: {e}")))
    }

    fn replace(&mut self, lines: &[String]) -> io::Result<()> {
        let (_, width) = self.terminal.size();
        self.terminal.clear_last_lines(self.lines)?;
        for text in lines {
            // A line that breaks would be two.
            self.terminal
                .write_line(&truncate_str(text, usize::from(width), "…"))?;
        }
        self.lines = lines.len();
        self.terminal.flush()
    }
}
