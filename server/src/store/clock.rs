//! What time it is, for all that comes due.
//!
//! Where several gateways share a database it is the database's clock, carried on by the
//! monotonic clock between the moments at which it was asked: the clocks of the machines
//! may differ by an hour. It is never ahead: the answer took its time to come. Where the
//! database is a file, it is this machine's clock.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use sea_orm::{ConnectionTrait, Statement};

use super::failed;
use crate::{
    error::{Error, Result},
    model::Time,
};

/// The database's clock in microseconds, as an expression.
pub(super) const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The clock of a store.
#[derive(Clone, Default)]
pub(super) struct Clock(Option<Arc<RwLock<(Time, Instant)>>>);

impl Clock {
    /// The database's, as it has just answered.
    pub(super) fn of_database(time: Time) -> Self {
        Self(Some(Arc::new(RwLock::new((time, Instant::now())))))
    }

    /// The time now, without asking anybody.
    pub(super) fn now(&self) -> Time {
        let Some(known) = &self.0 else {
            return Time::now();
        };
        let (time, since) = *known.read().unwrap_or_else(PoisonError::into_inner);
        time.after(since.elapsed())
    }

    /// The time now, asked of whoever's clock it is.
    pub(super) async fn asked(&self, db: &impl ConnectionTrait) -> Result<Time> {
        if self.0.is_none() {
            return Ok(Time::now());
        }
        let time = ask(db).await?;
        self.set(time);
        Ok(time)
    }

    /// What the database has just answered.
    pub(super) fn set(&self, time: Time) {
        if let Some(known) = &self.0 {
            *known.write().unwrap_or_else(PoisonError::into_inner) = (time, Instant::now());
        }
    }
}

/// Asks the database.
pub(super) async fn ask(db: &impl ConnectionTrait) -> Result<Time> {
    let ask = format!("SELECT {NOW}");
    let statement = Statement::from_sql_and_values(db.get_database_backend(), ask, []);
    let row = db.query_one_raw(statement).await.map_err(failed)?;
    let row = row.ok_or_else(|| Error::internal("the database has no clock"))?;
    row.try_get_by_index(0).map(Time).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_goes_on_from_what_the_database_said() {
        let hour = Duration::from_secs(3600);
        let behind = Time(Time::now().0 - 2 * 3_600_000_000);
        let clock = Clock::of_database(behind);
        assert!(clock.now() >= behind && clock.now() < behind.after(hour));
        std::thread::sleep(Duration::from_millis(20));
        assert!(clock.now() >= behind.after(Duration::from_millis(20)));
        clock.set(Time::now().after(hour));
        assert!(clock.now() > Time::now());
    }
}
