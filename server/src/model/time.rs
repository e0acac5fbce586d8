//! A moment, as the gateway writes it down.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, civil::DateTime};
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
        // Not jiff's Timestamp: that ends a day before the year 9999 does.
        let since = SignedDuration::from_micros(self.0);
        let moment = DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(since);
        moment.map_or_else(|_| self.0.to_string(), |moment| format!("{moment}Z"))
    }
}

fn micros(while_: Duration) -> i64 {
    i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339_to_the_end_of_the_year_9999() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_795_262_400_500_000, "2026-11-21T12:00:00.5Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Time(micros).rfc3339(), text);
        }
    }
}
