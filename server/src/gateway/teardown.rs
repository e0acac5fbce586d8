//! What was set up on a platform is undone: its plugin is disabled, its community deleted,
//! or it could not be kept.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{Gateway, advance::end, processes::Ending};
use crate::{
    error::{Error, Result},
    model::{Installation, ProcessId, ProcessState},
    plugins::kit::{Held, Plugin},
    store::{ALL, Tx, communities, installations, processes},
};

/// How long platforms are told that something is withdrawn, in all.
pub(super) const FAREWELL: Duration = Duration::from_secs(10);

/// How long a database that could not say what it keeps is left alone.
const PAUSE: Duration = Duration::from_millis(200);

impl Gateway {
    /// Cancels the open processes of an installation and undoes its set-up. Platforms
    /// are told until then, and not after.
    pub(super) async fn withdraw(
        self: &Arc<Self>,
        installation: &Installation,
        until: Instant,
    ) -> Result<()> {
        for process in processes::list(&self.store, &living(installation), ALL).await? {
            let ending = Ending {
                reason: reason(installation),
                until,
            };
            match self.abandon(process.id, ending).await {
                Ok(_) | Err(Error::Done { .. } | Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.tear_down(installation, until, None).await;
        Ok(())
    }

    /// Undoes the set-up of a new installation whose commit failed, with credentials that
    /// are not kept; or finds that it is kept after all, since only the answer to its
    /// COMMIT was lost. Whether it is kept.
    ///
    /// As long as the database cannot say so, nothing is undone. A hook too many is
    /// refused whenever it comes; one too few is missed by nobody.
    pub(super) async fn undo_unless_kept(&self, new: &Installation, with: Option<Held>) -> bool {
        let until = Instant::now() + FAREWELL;
        loop {
            match self.keeps(new).await {
                Ok(true) => return true,
                Ok(false) => break,
                Err(_) if Instant::now() < until => sleep(PAUSE).await,
                Err(error) => {
                    let (plugin, id) = (&new.plugin, new.id);
                    tracing::warn!(plugin, installation_id = %id, %error, "what was set up is left as it is, since the database does not say whether it keeps it");
                    return false;
                }
            }
        }
        self.tear_down(new, Instant::now() + FAREWELL, with).await;
        false
    }

    /// Whether the database keeps a new installation. Its COMMIT may still be running, for
    /// one whose connection was lost: that transaction holds the community until it ends.
    async fn keeps(&self, new: &Installation) -> Result<bool> {
        let (community, id) = (new.community_id.clone(), new.id);
        match installations::find(&self.store, id).await {
            Err(Error::NotFound(_)) => {}
            found => return found.map(|_| true),
        }
        let kept = self.store.write(async move |tx| {
            communities::take_to_delete(tx, &community).await?;
            installations::find(tx, id).await
        });
        match kept.await {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// With credentials that are not kept, if any are given.
    async fn tear_down(&self, installation: &Installation, until: Instant, with: Option<Held>) {
        let Ok(
            plugin @ Plugin {
                teardown: Some(step),
                ..
            },
        ) = self.plugin(&installation.plugin)
        else {
            return;
        };
        let tell = async {
            let mut call = self.call(plugin, installation).await?;
            call.credentials = with.unwrap_or(call.credentials);
            self.run_step(installation, call, step, ()).await.0
        };
        if !matches!(timeout_at(until, tell).await, Ok(Ok(()))) {
            let (plugin, id) = (&installation.plugin, installation.id);
            tracing::warn!(plugin, installation_id = %id, "the platform could not be told that the plugin is disabled");
        }
    }
}

/// Cancels what was started while the others were cancelled, in the transaction that
/// deletes the installation: nobody could end it later. Which these are.
pub(super) async fn cancel_late(tx: &Tx, installation: &Installation) -> Result<Vec<ProcessId>> {
    let mut late = Vec::new();
    for process in processes::list(tx, &living(installation), ALL).await? {
        let process = match processes::take_in(tx, &process.community_id, process.id).await {
            // Its platform has refused it.
            Err(Error::NotFound(_)) => continue,
            found => found?,
        };
        if process.state.is_done() {
            continue;
        }
        let mut next = process.clone();
        next.end_reason = reason(installation);
        end(tx, &process, next, ProcessState::Cancelled).await?;
        late.push(process.id);
    }
    Ok(late)
}

fn living(installation: &Installation) -> processes::Wanted {
    let states = [ProcessState::Starting, ProcessState::Open];
    processes::Wanted::of(installation.id, &states)
}

fn reason(installation: &Installation) -> String {
    format!("the plugin {} was disabled", installation.plugin)
}
