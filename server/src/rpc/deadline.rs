//! The deadline that a caller sets (`grpc-timeout`), of which tonic's services know
//! nothing. One that cannot be read is refused: whoever sent it counts on it.

use std::time::Duration;

use futures::{Future, future::Either};
use http::HeaderMap;
use tokio::time::timeout;

use crate::error::{Error, Result};

const HEADER: &str = "grpc-timeout";

/// How long the call may take, if its caller says so.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Duration>> {
    let mut said = headers.get_all(HEADER).iter();
    let Some(first) = said.next() else {
        return Ok(None);
    };
    let read = first.to_str().ok().and_then(read);
    let only = read.filter(|_| said.next().is_none());
    let why = "must be 1 to 8 digits and one of H M S m u n, such as 500m";
    only.map(Some).ok_or_else(|| Error::invalid(HEADER, why))
}

fn read(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back().filter(char::is_ascii_alphabetic)?;
    let digits = &text[..text.len() - 1];
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    let number: u64 = plain.then(|| digits.parse().ok())??;
    match unit {
        'H' => Some(Duration::from_secs(number * 3600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// What comes of it, or nothing if it takes longer. The clock starts at once.
pub(super) fn within<F: Future>(
    limit: Option<Duration>,
    run: F,
) -> impl Future<Output = Option<F::Output>> {
    let run = match limit {
        Some(limit) => Either::Left(timeout(limit, run)),
        None => Either::Right(run),
    };
    async {
        match run {
            Either::Left(limited) => limited.await.ok(),
            Either::Right(unlimited) => Some(unlimited.await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_digits_and_a_unit() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(HEADER, text.parse().unwrap());
            of(&headers)
        };
        let ok = |duration| Ok(Some(duration));
        assert_eq!(of("0S"), ok(Duration::ZERO));
        assert_eq!(of("7n"), ok(Duration::from_nanos(7)));
        assert_eq!(of("200m"), ok(Duration::from_millis(200)));
        assert_eq!(of("99999999u"), ok(Duration::from_micros(99_999_999)));
        assert_eq!(of("2M"), ok(Duration::from_secs(120)));
        let long = 99_999_999 * 3600;
        assert_eq!(of("99999999H"), ok(Duration::from_secs(long)));
        for bad in [
            "",
            "S",
            "5",
            "-1S",
            "+1S",
            "1.5S",
            " 5S",
            "5 S",
            "5s",
            "5h",
            "5SS",
            "100000000S",
            "99999999999H",
            "0x5S",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HEADER, "1S".parse().unwrap());
        twice.append(HEADER, "2S".parse().unwrap());
        assert!(super::of(&twice).is_err());
        assert_eq!(super::of(&HeaderMap::new()), Ok(None));
    }
}
