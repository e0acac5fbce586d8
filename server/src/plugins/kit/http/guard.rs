//! Which addresses may be asked: the public ones of the internet, those the operator
//! allows, and no other.
//!
//! A community's configuration says where its server is, and whoever writes it may be
//! hostile: an address inside the operator's network would make the gateway a way into
//! it. So an address is looked at twice. Its text, before anything is done: the scheme,
//! and the host if that is a number (`url` reads every spelling of one, `0x7f.1` and
//! `2130706433`, as the number it is). And what a name resolves to, by [`Resolve`]: the
//! connection goes to the very addresses that were looked at, and there is none if one
//! of them is not allowed. A later resolution is looked at again.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::Lookup;

/// Ranges that are not the public internet, from the IANA's registry of special-purpose
/// addresses <https://www.iana.org/assignments/iana-ipv4-special-registry>.
const CLOSED_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),        // this network
    v4([10, 0, 0, 0], 8),       // private
    v4([100, 64, 0, 0], 10),    // shared by a carrier's customers (CGNAT)
    v4([127, 0, 0, 0], 8),      // loopback
    v4([168, 63, 129, 16], 32), // Azure's own services, beside 169.254.169.254
    v4([169, 254, 0, 0], 16),   // link-local, and the metadata of clouds
    v4([172, 16, 0, 0], 12),    // private
    v4([192, 0, 0, 0], 24),     // protocol assignments
    v4([192, 0, 2, 0], 24),     // documentation
    v4([192, 88, 99, 0], 24),   // relays of 6to4
    v4([192, 168, 0, 0], 16),   // private
    v4([198, 18, 0, 0], 15),    // benchmarks
    v4([198, 51, 100, 0], 24),  // documentation
    v4([203, 0, 113, 0], 24),   // documentation
    v4([224, 0, 0, 0], 4),      // multicast
    v4([240, 0, 0, 0], 4),      // reserved, and broadcast
];

/// All that is public of version 6, but for [`CLOSED_V6`]: loopback, unique local (with
/// fd00:ec2::254), link-local, site-local, multicast and IPv4-compatible addresses, and
/// the local range of NAT64, lie outside of it.
const OPEN_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// Ranges in [`OPEN_V6`] that are not the public internet, from
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>.
const CLOSED_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0], 23), // protocol assignments: Teredo, ORCHID, benchmarks
    v6([0x2001, 0x0db8, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0], 16), // 6to4, which hides an address of version 4
    v6([0x3fff, 0, 0, 0], 20), // documentation
];

/// Behind it stands an address of version 4, to which a translator sends what comes.
const NAT64: Ipv6Net = v6([0x0064, 0xff9b, 0, 0], 96);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b, c, d]: [u16; 4], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length)
}

/// Whether it is an address of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !CLOSED_V4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., high, low] = address.segments();
            let inner = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
            is_public(inner.into())
        }
        IpAddr::V6(address) => {
            let is_closed = CLOSED_V6.iter().any(|range| range.contains(&address));
            OPEN_V6.contains(&address) && !is_closed
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// An address that must not be asked. Which, and why, nobody is told.
#[derive(Debug, PartialEq)]
pub(super) struct NotAllowed;

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("address not allowed")
    }
}

impl std::error::Error for NotAllowed {}

/// What the operator allows.
pub(super) struct Guard {
    pub(super) allow_http: bool,
    pub(super) allow: Vec<IpNet>,
    pub(super) lookup: Option<Lookup>,
}

impl Guard {
    /// Whether the text of an address is allowed. What a name in it stands for is
    /// known later.
    pub(super) fn check(&self, url: &Url) -> Result<(), NotAllowed> {
        let scheme = match url.scheme() {
            "https" => true,
            "http" => self.allow_http,
            _ => false,
        };
        let has_password = !url.username().is_empty() || url.password().is_some();
        let host = match url.host() {
            Some(Host::Ipv4(address)) => self.allows(address.into()),
            Some(Host::Ipv6(address)) => self.allows(address.into()),
            // Whatever a resolver says (RFC 6761, section 6.3).
            Some(Host::Domain(name)) if is_localhost(name) => {
                self.allows(Ipv4Addr::LOCALHOST.into())
            }
            Some(Host::Domain(_)) => true,
            None => false,
        };
        match scheme && host && !has_password {
            true => Ok(()),
            false => Err(NotAllowed),
        }
    }

    pub(super) fn allows(&self, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        let allowed = |range: &IpNet| range.contains(&address) || range.contains(&plain);
        is_public(address) || self.allow.iter().any(allowed)
    }

    /// The addresses of a name, if every one of them is allowed.
    pub(super) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.look_up(name).await?;
        match found.iter().all(|address| self.allows(*address)) {
            true => Ok(found),
            false => Err(io::Error::other(NotAllowed)),
        }
    }

    async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Some(found) = self.lookup.as_ref().and_then(|lookup| lookup(name)) {
            return Ok(found);
        }
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// How the client resolves names.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) guard: Arc<Guard>,
    /// Whether the operator's own settings name the server, wherever it may be.
    pub(super) anywhere: bool,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = match names.anywhere {
                true => names.guard.look_up(name.as_str()).await?,
                false => names.guard.resolve(name.as_str()).await?,
            };
            // The port 0 stands for that of the address.
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found) as Addrs)
        })
    }
}

/// Whether an error comes from an address that is not allowed.
pub(super) fn is_not_allowed(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = |error: &io::Error| {
        error
            .get_ref()
            .is_some_and(|inner| inner.is::<NotAllowed>())
    };
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<NotAllowed>() || error.downcast_ref().is_some_and(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last address of each range that is closed, and its neighbours
    /// outside, which are open unless `-` says that another closed range begins there.
    const RANGES: [[&str; 4]; 29] = [
        ["-", "0.0.0.0", "0.255.255.255", "1.0.0.0"],
        ["9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"],
        [
            "100.63.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "100.128.0.0",
        ],
        [
            "126.255.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "128.0.0.0",
        ],
        [
            "168.63.129.15",
            "168.63.129.16",
            "168.63.129.16",
            "168.63.129.17",
        ],
        [
            "169.253.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "169.255.0.0",
        ],
        [
            "172.15.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "172.32.0.0",
        ],
        ["191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"],
        ["192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"],
        [
            "192.88.98.255",
            "192.88.99.0",
            "192.88.99.255",
            "192.88.100.0",
        ],
        [
            "192.167.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "192.169.0.0",
        ],
        [
            "198.17.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.20.0.0",
        ],
        [
            "198.51.99.255",
            "198.51.100.0",
            "198.51.100.255",
            "198.51.101.0",
        ],
        [
            "203.0.112.255",
            "203.0.113.0",
            "203.0.113.255",
            "203.0.114.0",
        ],
        ["223.255.255.255", "224.0.0.0", "239.255.255.255", "-"],
        ["-", "240.0.0.0", "255.255.255.255", "-"],
        ["-", "::", "1fff:ffff::", "2000::"],
        ["2000:ffff::ffff", "2001::", "2001:1ff:ffff::", "2001:200::"],
        [
            "2001:db7:ffff::",
            "2001:db8::",
            "2001:db8:ffff:ffff::",
            "2001:db9::",
        ],
        ["2001:ffff::", "2002::", "2002:ffff:ffff::", "2003::"],
        ["3ffe:ffff::", "3fff::", "3fff:fff:ffff::", "3fff:1000::"],
        ["3fff:ffff::", "4000::", "ffff:ffff::ffff", "-"],
        ["-", "fc00::", "fdff:ffff::ffff", "-"],
        ["-", "fe80::", "febf:ffff::ffff", "-"],
        ["-", "fec0::", "feff:ffff::ffff", "-"],
        ["-", "ff00::", "ffff:ffff::ffff", "-"],
        ["-", "64:ff9b:1::", "64:ff9b:1:ffff::", "-"],
        [
            "::ffff:9.255.255.255",
            "::ffff:10.0.0.0",
            "::ffff:10.255.255.255",
            "::ffff:11.0.0.0",
        ],
        [
            "64:ff9b::9.255.255.255",
            "64:ff9b::10.0.0.0",
            "64:ff9b::10.255.255.255",
            "64:ff9b::11.0.0.0",
        ],
    ];

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for [before, first, last, after] in RANGES {
            for (address, expected) in
                [(before, true), (first, false), (last, false), (after, true)]
            {
                if address != "-" {
                    assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
                }
            }
        }
        for open in [
            "1.1.1.1",
            "93.184.215.14",
            "2606:4700::1111",
            "2a00:1450::200e",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(open.parse().unwrap()), "{open}");
        }
    }

    fn guard(allow_http: bool, allow: &[&str]) -> Guard {
        let allow = allow.iter().map(|range| range.parse().unwrap()).collect();
        Guard {
            allow_http,
            allow,
            lookup: None,
        }
    }

    fn allows(guard: &Guard, url: &str) -> bool {
        guard.check(&url.parse().unwrap()).is_ok()
    }

    #[test]
    fn an_inside_address_is_refused_in_every_spelling() {
        let guard = guard(true, &[]);
        for host in [
            // Loopback, as browsers and resolvers read it.
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f.1",
            "0x7F000001",
            "0177.0.0.1",
            "0",
            "0.0.0.0",
            "127.0.0.1:8080",
            "1\u{ff12}7.0.0.1",
            "127\u{3002}0\u{3002}0\u{3002}1",
            "%31%32%37.0.0.1",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            // Version 4 in version 6.
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:7f00:1]",
            "[::127.0.0.1]",
            "[::7f00:1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b:1::127.0.0.1]",
            "[2002:7f00:1::]",
            "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
            "[::ffff:0:127.0.0.1]",
            // The metadata of clouds.
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "2852039166",
            // Networks.
            "10.1.2.3",
            "172.20.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "[fe80::1]",
            "[fec0::1]",
            "[fd12::1]",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]",
            "198.18.0.1",
            "203.0.113.7",
            "[2001:db8::1]",
        ] {
            for scheme in ["http", "https", "HTTPS"] {
                assert!(!allows(&guard, &format!("{scheme}://{host}/")), "{host}");
            }
        }
    }

    #[test]
    fn only_https_is_allowed_unless_the_operator_allows_http() {
        let (strict, lax) = (guard(false, &[]), guard(true, &[]));
        assert!(allows(&strict, "https://platform.example:8443/a?b"));
        assert!(!allows(&strict, "http://platform.example"));
        assert!(allows(&lax, "http://platform.example"));
        for url in [
            "ftp://platform.example",
            "file:///etc/passwd",
            "gopher://platform.example",
            "data:text/plain,a",
            "unix:/run/a",
            "ws://platform.example",
        ] {
            assert!(!allows(&lax, url), "{url}");
        }
    }

    #[test]
    fn an_address_with_credentials_is_refused() {
        let guard = guard(false, &[]);
        for url in [
            "https://ada@a.example",
            "https://ada:word@a.example",
            "https://:word@a.example",
        ] {
            assert!(!allows(&guard, url), "{url}");
        }
    }

    #[test]
    fn the_operator_allows_ranges_and_no_more() {
        let guard = guard(true, &["10.20.0.0/16", "127.0.0.2/32", "fd00:1::/32"]);
        for host in [
            "10.20.0.0",
            "10.20.255.255",
            "127.0.0.2",
            "[::ffff:127.0.0.2]",
            "[fd00:1::7]",
        ] {
            assert!(allows(&guard, &format!("http://{host}/")), "{host}");
        }
        for host in [
            "10.21.0.0",
            "10.19.255.255",
            "127.0.0.1",
            "127.0.0.3",
            "[fd00:2::7]",
            "[64:ff9b::10.20.0.1]",
            "[2002:a14:1::]",
        ] {
            assert!(!allows(&guard, &format!("http://{host}/")), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_is_refused_if_one_of_its_addresses_is() {
        let public = "93.184.215.14";
        for (found, is_allowed) in [
            (&[public][..], true),
            (&[public, "2606:4700::1111"], true),
            (&[public, "127.0.0.1"], false),
            (&["10.0.0.1", public], false),
            (&[public, "::1"], false),
            (&[public, "::ffff:192.168.0.1"], false),
            (&["169.254.169.254"], false),
        ] {
            let found: Vec<IpAddr> = found.iter().map(|a| a.parse().unwrap()).collect();
            let expected = found.clone();
            let lookup: Lookup = Arc::new(move |_| Some(found.clone()));
            let guard = Guard {
                lookup: Some(lookup),
                ..guard(false, &[])
            };
            let resolved = guard.resolve("platform.example").await;
            match resolved {
                Ok(found) => assert_eq!((found, true), (expected, is_allowed)),
                Err(error) => assert!(!is_allowed && is_not_allowed(&error), "{expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn the_names_of_this_machine_are_refused() {
        let strict = guard(true, &[]);
        let error = strict.resolve("localhost").await.unwrap_err();
        assert!(is_not_allowed(&error), "{error}");
        for host in [
            "localhost",
            "localhost.",
            "LOCALHOST:80",
            "a.b.localhost",
            "loc%61lhost",
        ] {
            let url = format!("http://{host}/");
            assert!(!allows(&strict, &url), "{host}");
            assert!(allows(&guard(true, &["127.0.0.0/8"]), &url), "{host}");
        }
        for other in ["localhost.example", "notlocalhost"] {
            assert!(allows(&strict, &format!("http://{other}/")), "{other}");
        }
    }
}
