//! Votes that the gateway holds: ballots as rows, counted by pure functions.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use serde_json::Value;

use super::{Gateway, advance::advance, after::Done, steps::caller};
use crate::{
    error::{Error, Result, Thing},
    model::{Ballot, Installation, Process, ProcessId, ProcessState},
    plugins::kit::{Applied, BallotSteps, Cast, ProcessSteps, Progress, Signal},
    proof::{Bug, is},
    store::{Rows, Tx, processes},
};

/// The most voters that are named with the options they chose.
const MAX_NAMED: i64 = 1000;
/// How long redraws of a vote are gathered.
const GATHER: Duration = Duration::from_millis(200);
const SHOW_TRIES: u32 = 5;

/// Counts one ballot, in the transaction that keeps it. A ballot that does not count
/// is said in `done`; nothing of it is kept.
pub(super) async fn cast(
    gateway: &Arc<Gateway>,
    tx: &Tx,
    installation: &Installation,
    signal: Signal,
    done: &mut Done,
) -> Result<()> {
    let Signal::Ballot {
        key,
        voter,
        subject,
        choices,
        answer_to,
    } = signal
    else {
        return Err(Error::internal("not a ballot"));
    };
    let found = processes::find_by_key(tx, installation.id, &key).await?;
    let Some(found) = found else {
        done.refused = Some(unknown_process(&key));
        return Ok(());
    };
    let process = processes::take_in(tx, &found.community_id, found.id).await?;
    if is(Bug::LateBallot) && process.state.is_done() {
        let ballot = Ballot {
            voter,
            subject,
            choices,
        };
        return processes::put_ballot(tx, process.id, &ballot).await;
    }
    if let Err(error) = check_votable(&process, tx) {
        done.refused = Some(error);
        return Ok(());
    }
    let steps = gateway.process_steps(&process.process_type)?;
    let ballots = ballot_steps(steps, &process)?;
    let previous = processes::ballot(tx, process.id, &voter, &subject).await?;
    let previous = previous.filter(|_| !is(Bug::NoRecount));
    let ballot = Ballot {
        voter,
        subject,
        choices,
    };
    let cast = Cast {
        ballot: ballot.clone(),
        previous,
        answer_to,
    };
    let input = Value::Object(process.parameters.clone());
    match (ballots.apply)((input, process.private.clone(), cast))? {
        Applied::Counted { state, reply, call } => {
            processes::put_ballot(tx, process.id, &ballot).await?;
            done.after
                .calls
                .extend(call.map(|call| (caller(installation), call)));
            done.after.shows.push(process.id);
            done.reply = Some(reply);
            advance(gateway, tx, process, Progress::Open(state)).await?;
        }
        Applied::Refused { error, reply, call } => {
            done.after
                .calls
                .extend(call.map(|call| (caller(installation), call)));
            done.reply = Some(reply);
            done.refused = Some(error);
        }
    }
    Ok(())
}

fn check_votable(process: &Process, tx: &Tx) -> Result<()> {
    let closed = process.close_time.filter(|time| *time <= tx.now);
    if let Some(at) = closed {
        return Err(Error::voting_ended(process.id, process.state, at));
    }
    if process.state == ProcessState::Open {
        return Ok(());
    }
    Err(Error::Done {
        process: process.id,
        state: process.state,
        why: "it takes no more votes".to_owned(),
    })
}

fn unknown_process(key: &str) -> Error {
    match ProcessId::parse(key) {
        Some(id) => Error::NotFound(Thing::Process(id)),
        None => Error::Refused {
            plugin: String::new(),
            why: "there is no such vote".to_owned(),
        },
    }
}

fn ballot_steps<'a>(steps: &'a ProcessSteps, process: &Process) -> Result<&'a BallotSteps> {
    steps.ballots.as_ref().ok_or_else(|| Error::Refused {
        plugin: String::new(),
        why: format!("{} takes no ballots here", process.process_type),
    })
}

impl Gateway {
    /// The process with the names of its voters, where its tally may have them: if the
    /// vote is not secret, and no option has too many.
    pub(super) async fn with_voters(
        &self,
        at: &impl Rows,
        mut process: Process,
    ) -> Result<Process> {
        let steps = self.process_steps(&process.process_type)?;
        let (Some(ballots), Some(tally)) = (&steps.ballots, &mut process.tally) else {
            return Ok(process);
        };
        if tally.voter_count.is_some_and(|count| count > MAX_NAMED) {
            return Ok(process);
        }
        let rows = processes::ballots(at, process.id, None).await?;
        let input = Value::Object(process.parameters.clone());
        let chosen = (ballots.chosen)((input, rows.clone()))?;
        for option in &mut tally.options {
            let named = rows.iter().zip(&chosen).filter(|(ballot, chosen)| {
                ballot.subject == option.subject && chosen.contains(&option.option)
            });
            option.user_ids = named.map(|(ballot, _)| ballot.voter.clone()).collect();
        }
        Ok(process)
    }

    /// Has a vote redrawn soon. Redraws are gathered: one runs at a time, and the last
    /// one shows the newest state.
    pub(super) fn show_soon(self: &Arc<Self>, id: ProcessId) {
        if self
            .to_show
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id)
        {
            tokio::spawn(self.clone().show(id));
        }
    }

    async fn show(self: Arc<Self>, id: ProcessId) {
        tokio::time::sleep(GATHER).await;
        let _turn = self.locks.lock(id).await;
        // From here on a ballot wants another redraw.
        self.to_show
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        for attempt in 0..SHOW_TRIES {
            match self.try_show(id).await {
                Ok(()) | Err(Error::NotFound(_)) => return,
                Err(error) => {
                    tracing::warn!(process_id = %id, %error, "a vote could not be redrawn")
                }
            }
            tokio::time::sleep(Duration::from_secs(1 << attempt)).await;
        }
    }

    /// Another gateway may have shown something older in the meantime, or have counted
    /// more: until nothing changed while it was shown, it is shown again.
    async fn try_show(&self, id: ProcessId) -> Result<()> {
        let mut process = processes::find(&self.store, id).await?;
        let steps = self.process_steps(&process.process_type)?;
        let Some(ballots) = &steps.ballots else {
            return Ok(());
        };
        let installation = self.get_installation(process.installation_id).await?;
        loop {
            let shown = process.private.clone();
            self.step(&installation, &ballots.show, shown).await?;
            let now = processes::find(&self.store, id).await?;
            if now.private == process.private && now.state == process.state {
                return Ok(());
            }
            process = now;
            tokio::time::sleep(GATHER).await;
        }
    }
}
