//! The steps that bring the tables up to date, taken beside gateways that run.
//!
//! An older build goes on serving while a newer one takes its steps, since steps only add
//! (`migrations/`). A step changes several tables and waits for each; a change under way
//! may wait for what the step has already. Postgres then ends one of the two. The older
//! build runs its change again (`writer.rs`), and so is a step taken again: it is one
//! transaction, nothing of it was left.

use std::time::Duration;

use metagov_migrations::{DbErr, Migrator, MigratorTrait};
use sea_orm::DatabaseConnection;

use super::{failed, open::broken};
use crate::error::{Error, Result};

/// How often a step is tried that loses against running gateways.
const TRIES: u32 = 20;
/// How long it waits until it is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Brings the tables up to date; the names of the steps that were taken.
pub(super) async fn up(db: &DatabaseConnection) -> Result<Vec<String>> {
    let pending = Migrator::get_pending_migrations(db).await.map_err(broken)?;
    let names = pending.iter().map(|step| step.name().to_owned()).collect();
    patiently(|| Migrator::up(db, None)).await?;
    Ok(names)
}

/// Takes a step, again if it lost.
pub(super) async fn patiently<F>(take: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<(), DbErr>>,
{
    for _ in 1..TRIES {
        let Err(error) = take().await else {
            return Ok(());
        };
        let said = error.to_string();
        if failed(error) != Error::Contended {
            return Err(Error::internal(format!("database: {said}")));
        }
        tracing::warn!("changes of running gateways are in the way of a step; it is tried again");
        tokio::time::sleep(PAUSE).await;
    }
    take().await.map_err(broken)
}
