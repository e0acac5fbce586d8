//! A moment, as the gateway writes it down.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// The clock of this machine.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// This moment and a while more.
    pub fn after(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(micros(while_)))
    }

    /// This moment less a while.
    pub fn before(self, while_: Duration) -> Self {
        Self(self.0.saturating_sub(micros(while_)))
    }

    /// How long it is from `earlier` to this; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC, such as `2026-11-21T12:00:00.5Z`.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_microsecond(self.0)
            .map_or_else(|_| self.0.to_string(), |moment| moment.to_string())
    }
}

fn micros(while_: Duration) -> i64 {
    i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)
}
