//! Times as people give them: how long from now, or when.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::config;

/// A hundred years.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// A time to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Until {
    /// So long from now.
    In(Duration),
    /// At this time.
    At(Timestamp),
}

impl Until {
    /// Reads a duration (`90d`), or a time as RFC 3339 writes it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        duration(text).map(Self::In).map_err(|why| {
            let time = "nor a time, such as 2030-01-01T00:00:00Z";
            if why.contains("is no duration") {
                format!("{why}; {time}")
            } else {
                why
            }
        })
    }

    /// As the contract says it.
    pub(super) fn time(self) -> prost_types::Timestamp {
        match self {
            Self::In(duration) => from_now(duration),
            Self::At(time) => SystemTime::from(time).into(),
        }
    }
}

/// Reads a duration of at least a second.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::from_secs(1), LONGEST)
}

/// This machine's clock counts.
pub(super) fn from_now(duration: Duration) -> prost_types::Timestamp {
    (SystemTime::now() + duration).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_duration_or_rfc_3339() {
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(Until::parse("90d"), Ok(Until::In(90 * day)));
        let time = Until::parse("2030-01-01T01:00:00+01:00").unwrap().time();
        assert_eq!((time.seconds, time.nanos), (1_893_456_000, 0));
        for text in [
            "",
            "never",
            "0s",
            "-1d",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "40000d",
        ] {
            let why = Until::parse(text).unwrap_err();
            assert!(why.contains(&format!("{text:?}")), "{why}");
        }
    }
}
