//! How values are written. Each function says in one clause what is wrong with a text;
//! whoever calls puts the name of the setting before it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;

const UNITS: [(&str, u64); 5] = [
    // In milliseconds, the largest first.
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// A whole number and a unit (`500ms`, `60s`, `5m`, `12h`, `30d`), within bounds.
pub(crate) fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let value = whole(text, &UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is no duration, such as 500ms, 60s, 5m, 12h or 30d"))?;
    if !(least..=most).contains(&value) {
        let (least, most) = (human(least), human(most));
        return Err(format!("{text:?} is not between {least} and {most}"));
    }
    Ok(value)
}

/// A number of bytes, or a number with a unit (`64KiB`, `1MiB`, `1GiB`).
pub(super) fn size(text: &str) -> Result<usize, String> {
    let units = [
        ("", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    let value = whole(text, &units)
        .ok_or_else(|| format!("{text:?} is no size, such as 65536, 64KiB or 1MiB"))?;
    let inside = (1 << 10..=1 << 30).contains(&value);
    let value = usize::try_from(value).ok().filter(|_| inside);
    value.ok_or_else(|| format!("{text:?} is not between 1KiB and 1GiB"))
}

/// Digits and one of the units.
fn whole(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A duration in the largest unit that says it exactly.
fn human(duration: Duration) -> String {
    let ms = duration.as_millis();
    let exact = |(_, factor): &&(&str, u64)| ms > 0 && ms.is_multiple_of(u128::from(*factor));
    match UNITS.iter().find(exact) {
        Some((unit, factor)) => format!("{}{unit}", ms / u128::from(*factor)),
        None => "0s".to_owned(),
    }
}

/// An IP address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no address with a port, such as 127.0.0.1:8080"))
}

/// An http or https address to which a path can be appended.
pub(super) fn public_url(text: &str) -> Result<Url, String> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = Url::parse(text).ok().filter(plain);
    url.ok_or_else(|| format!("{text:?} is no address such as https://example.org"))
}

/// An origin exactly as a browser sends it: they are compared byte by byte.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let exact = |url: &Url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    };
    match Url::parse(text) {
        Ok(url) if exact(&url) => Ok(text.to_owned()),
        Ok(url) if url.origin().is_tuple() => Err(format!(
            "{text:?} is no web origin; a browser sends {}",
            url.origin().ascii_serialization()
        )),
        _ => Err(format!(
            "{text:?} is no web origin, such as https://dashboard.example.org"
        )),
    }
}

/// A name or an address of a host, without a port, in lower case.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    match url::Host::parse(text) {
        Ok(url::Host::Domain(name)) => Ok(name),
        _ => Err(format!(
            "{text:?} is no name of a host, such as gateway.example.org"
        )),
    }
}

/// Where people may be sent: https, or http on a loopback address, without a fragment.
pub(super) fn redirect(text: &str) -> Result<String, String> {
    let local = |url: &Url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let good = |url: &Url| {
        (url.scheme() == "https" || url.scheme() == "http" && local(url))
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    };
    match Url::parse(text) {
        Ok(url) if good(&url) => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is no address such as https://dashboard.example.org/done"
        )),
    }
}

/// A range of addresses.
pub(super) fn range(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    let range = text.parse().or_else(|_| one());
    range.map_err(|_| format!("{text:?} is no range of addresses, such as 10.20.0.0/16"))
}

/// The size of a head: a smaller one than 8KiB would refuse honest requests.
pub(super) fn head_size(text: &str) -> Result<usize, String> {
    between(text, (8 << 10, "8KiB"), (1 << 20, "1MiB"))
}

/// The size of a frame: HTTP/2 knows no smaller one.
pub(super) fn frame_size(text: &str) -> Result<usize, String> {
    between(text, (16 << 10, "16KiB"), (1 << 20, "1MiB"))
}

/// How much is on its way at once: less than 64KiB would slow honest clients down.
pub(super) fn window(text: &str) -> Result<usize, String> {
    between(text, (64 << 10, "64KiB"), (16 << 20, "16MiB"))
}

fn between(text: &str, least: (usize, &str), most: (usize, &str)) -> Result<usize, String> {
    let size = size(text)?;
    Some(size)
        .filter(|size| (least.0..=most.0).contains(size))
        .ok_or_else(|| format!("{text:?} is not between {} and {}", least.1, most.1))
}

/// A filter of the log.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "{text:?} is no log filter, such as info or info,metagov=debug"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Duration = Duration::from_secs(u32::MAX as u64);

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("60s", 60_000),
            ("5m", 300_000),
            ("12h", 43_200_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ] {
            let parsed = duration(text, Duration::ZERO, ANY);
            assert_eq!(parsed, Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1.5s",
            " 5s",
            "5 s",
            "5S",
            "1h30m",
            "5y",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            let parsed = duration(text, Duration::ZERO, ANY);
            assert!(parsed.is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_outside_its_bounds_is_refused_and_the_bounds_are_said() {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(86_400));
        let why = duration("99ms", least, most).unwrap_err();
        assert_eq!(why, "\"99ms\" is not between 100ms and 1d");
        assert!(duration("100ms", least, most).is_ok());
        assert!(duration("24h", least, most).is_ok());
        assert!(duration("25h", least, most).is_err());
    }

    #[test]
    fn a_size_is_bytes_or_has_a_unit() {
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1MiB"), Ok(1_048_576));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for text in ["", "0", "1", "2GiB", "1MB", "1 MiB", "-1", "KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_taken_only_as_a_browser_sends_it() {
        for text in ["https://a.example", "http://localhost:3000"] {
            assert_eq!(origin(text).as_deref(), Ok(text));
        }
        for text in [
            "https://a.example/",
            "HTTPS://a.example",
            "https://a.example:443",
        ] {
            let why = origin(text).unwrap_err();
            assert!(why.ends_with("a browser sends https://a.example"), "{why}");
        }
        for text in ["", "*", "null", "a.example", "file:///x", "ftp://a"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_address_can_be_appended_to() {
        assert!(public_url("https://example.org/metagov").is_ok());
        for text in [
            "example.org",
            "https://e.org/?a",
            "https://e.org/#a",
            "https://u:p@e.org",
        ] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }
}
