//! Advancing a process: the one way from a state to the next.
//!
//! What can be seen of it is compared before and after: the same is nothing, else the
//! revision counts up and the event is written in the same transaction.

use serde_json::Value;

use super::Gateway;
use crate::{
    error::{Error, Result},
    model::{FailReason, NewEvent, Payload, Process, ProcessError, ProcessState},
    plugins::kit::{BallotSteps, Progress},
    proof::{Bug, is},
    store::{Tx, installations, processes},
};

/// How a process stands after a step. What looks the same is no change.
pub(super) async fn advance(
    gateway: &Gateway,
    tx: &Tx,
    process: Process,
    progress: Progress<Value>,
) -> Result<()> {
    let steps = gateway.process_steps(&process.process_type)?;
    let mut next = process.clone();
    let (state, private) = match progress {
        Progress::Open(private) => (ProcessState::Open, private),
        Progress::Completed(private) => (ProcessState::Completed, private),
        Progress::Failed(message) => {
            let reason = FailReason::PlatformRejected;
            let message = match installations::find(tx, process.installation_id).await {
                Ok(installation) => gateway.masked_text(&installation, message),
                // Nobody knows its secrets any more.
                Err(Error::NotFound(_)) => message,
                Err(error) => return Err(error),
            };
            next.error = Some(ProcessError { reason, message });
            return end(tx, &process, next, ProcessState::Failed).await;
        }
    };
    next.private = match (&steps.ballots, state) {
        // The outcome that stays is counted from what is kept, not from what ran along.
        (Some(ballots), ProcessState::Completed) if !is(Bug::NoRecount) => {
            recount(tx, ballots, &process, private).await?
        }
        _ => private,
    };
    let view = (steps.view)(next.private.clone())?;
    next.outcome = view.outcome.unwrap_or_default();
    next.tally = view.tally;
    if state.is_done() {
        return end(tx, &process, next, state).await;
    }
    if process.state == state && next.outcome == process.outcome && next.tally == process.tally {
        return match next.private == process.private {
            true => Ok(()),
            false => processes::save_private(tx, &next).await,
        };
    }
    next.state = state;
    save(tx, &process, next).await
}

/// Ends a process in one of the last states.
pub(super) async fn end(
    tx: &Tx,
    process: &Process,
    mut next: Process,
    state: ProcessState,
) -> Result<()> {
    next.state = state;
    next.end_time = Some(tx.now);
    save(tx, process, next).await
}

/// Saves a change, with its event.
async fn save(tx: &Tx, process: &Process, mut next: Process) -> Result<()> {
    debug_assert!(
        process.state.may_become(next.state) || is(Bug::NoFencing),
        "{:?} to {:?}",
        process.state,
        next.state
    );
    next.revision += 1;
    next.update_time = tx.now;
    processes::save(tx, &next, (process.revision, process.state)).await?;
    if is(Bug::SilentTransition) && next.state == ProcessState::Cancelled {
        return Ok(());
    }
    tx.event(NewEvent {
        community_id: next.community_id.clone(),
        payload: Payload::Process(Box::new(next)),
    });
    Ok(())
}

/// The state counted afresh from the rows, as at the close.
pub(super) async fn recount(
    tx: &Tx,
    steps: &BallotSteps,
    process: &Process,
    state: Value,
) -> Result<Value> {
    let ballots = processes::ballots(tx, process.id, None).await?;
    (steps.count)((Value::Object(process.parameters.clone()), state, ballots))
}
