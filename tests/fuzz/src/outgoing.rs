//! Where requests to the outside may go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use metagov::plugins::kit::fuzz;
use url::{Host, Url};

use crate::take;

/// No spelling of an inside address is asked, whichever way it is written or hidden; what
/// is asked has no password; no redirect leads away from these rules, or takes a secret
/// to another server.
pub fn outgoing(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(url) = Url::parse(text) {
            asked(&url);
        }
        // As the host alone, which is most of what there is to get wrong.
        if let Ok(url) = Url::parse(&format!("https://{text}/")) {
            asked(&url);
        }
    }
    redirected(data);
    let (number, _) = take::<16>(data);
    address(number);
}

fn asked(url: &Url) {
    if !fuzz::is_asked(url) {
        return;
    }
    assert!(matches!(url.scheme(), "http" | "https"), "{url}");
    assert!(
        url.username().is_empty() && url.password().is_none(),
        "{url}"
    );
    match url.host().expect("a server") {
        Host::Ipv4(number) => assert!(!is_inside_v4(number), "{url}"),
        Host::Ipv6(number) => assert!(!is_inside_v6(number), "{url}"),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            assert!(
                name != "localhost" && !name.ends_with(".localhost"),
                "{url}"
            );
            assert!(name.parse::<IpAddr>().is_err(), "{url}");
        }
    }
}

fn redirected(location: &[u8]) {
    for from in [
        "https://a.example/x?y",
        "http://a.example/x",
        "https://a.example:8443/",
    ] {
        let from = Url::parse(from).expect("an address");
        let Some((to, has_secret)) = fuzz::redirected(&from, location) else {
            continue;
        };
        asked(&to);
        assert!(fuzz::is_asked(&to), "{to}");
        assert!(
            to.scheme() == "https" || from.scheme() == "http",
            "{from} to {to}"
        );
        if from.host() != to.host() {
            assert!(!has_secret && to.scheme() == "https", "{from} to {to}");
        }
        let is_upgrade =
            from.port_or_known_default() == Some(80) && to.port_or_known_default() == Some(443);
        if has_secret {
            let is_same = from.port_or_known_default() == to.port_or_known_default();
            assert!(
                is_same && from.scheme() == to.scheme() || is_upgrade,
                "{from} to {to}"
            );
        }
    }
}

/// One number in all the ways to write it and to hide it.
fn address(number: [u8; 16]) {
    let v6 = Ipv6Addr::from(number);
    if fuzz::is_connected_to(v6.into()) {
        assert!(!is_inside_v6(v6), "{v6}");
    }
    let [a, b, c, d, ..] = number;
    let v4 = Ipv4Addr::new(a, b, c, d);
    let open = fuzz::is_connected_to(v4.into());
    assert!(!(open && is_inside_v4(v4)), "{v4}");
    let bits = v4.to_bits();
    for text in [
        format!("https://{v4}/"),
        format!("https://{bits}/"),
        format!("https://0x{bits:x}"),
        format!("https://0{bits:o}/"),
        format!("https://{a}.{}/", bits & 0xff_ffff),
        format!("https://0x{a:x}.0{b:o}.{}/", bits & 0xffff),
        format!("https://{v4}./"),
        format!("https://[::ffff:{v4}]/"),
    ] {
        let url = Url::parse(&text).expect("an address");
        assert_eq!(fuzz::is_asked(&url), open, "{text}");
    }
    let [high, low] = [a, c].map(u16::from).map(|byte| byte << 8);
    let [high, low] = [high | u16::from(b), low | u16::from(d)];
    for hidden in [
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
    ] {
        let is_asked = fuzz::is_connected_to(hidden.into());
        assert!(!is_asked || open, "{hidden}");
    }
}

/// Another way to say it than the gateway's: by the standard library where that can.
fn is_inside_v4(number: Ipv4Addr) -> bool {
    let [a, b, ..] = number.octets();
    number.is_private()
        || number.is_loopback()
        || number.is_link_local()
        || number.is_multicast()
        || number.is_broadcast()
        || number.is_documentation()
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || a >= 240
}

fn is_inside_v6(number: Ipv6Addr) -> bool {
    let parts = number.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match parts {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_inside_v4(v4(high, low)),
        [0x2002, high, low, ..] => is_inside_v4(v4(high, low)),
        [0, 0, 0, 0, 0, 0xffff, high, low] => is_inside_v4(v4(high, low)),
        [0, 0, 0, 0, 0, 0, ..] => true,
        _ => {
            number.is_loopback()
                || number.is_multicast()
                || number.is_unique_local()
                || number.is_unicast_link_local()
                || parts[0] & 0xffc0 == 0xfec0
                || parts[..2] == [0x2001, 0xdb8]
        }
    }
}
