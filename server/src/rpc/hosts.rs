//! The names that the API is called by. A web page can give this machine any name of
//! its own (DNS rebinding), but it cannot make a browser send another name than that.

use std::net::IpAddr;

use http::{Request, header};

/// Which names are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Every name: the network decides who comes.
    Any,
    /// Localhost, and this machine by its loopback addresses.
    Loopback,
    /// These only.
    Named(Vec<Name>),
}

/// A host as a caller names it, without the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// By its number.
    Number(IpAddr),
    /// By a name, in lower case and without the dot of the root.
    Word(String),
}

impl Hosts {
    /// What the operator named; else what fits the address that is listened at.
    pub fn of(named: &[String], listener: IpAddr) -> Self {
        if named.is_empty() {
            let local = listener.to_canonical().is_loopback();
            return if local { Self::Loopback } else { Self::Any };
        }
        let number = |text: &String| text.parse().ok().map(Name::Number);
        let names = named.iter().filter_map(|text| number(text).or(word(text)));
        Self::Named(names.collect())
    }

    /// Whether a request is meant for us.
    pub(super) fn allow<B>(&self, request: &Request<B>) -> bool {
        match (self, called(request)) {
            (_, Called::Unclear) => false,
            // gRPC lets a client leave it out, HTTP/1.1 does not.
            (Self::Any, Called::Nothing) => request.version() >= http::Version::HTTP_2,
            (_, Called::Nothing) => false,
            (Self::Any, Called::By(_)) => true,
            (Self::Loopback, Called::By(name)) => match name {
                Name::Number(ip) => ip.is_loopback(),
                Name::Word(word) => word == "localhost",
            },
            (Self::Named(names), Called::By(name)) => names.contains(&name),
        }
    }
}

/// What a request calls us.
enum Called {
    By(Name),
    Nothing,
    /// Two names, or what is none.
    Unclear,
}

/// HTTP/2 says it as `:authority`, and so does HTTP/1.1 to a proxy; HTTP/1.1 says it as
/// Host. Who says both must mean the same.
fn called<B>(request: &Request<B>) -> Called {
    let authority = request.uri().authority().map(|a| a.as_str().as_bytes());
    let hosts = request.headers().get_all(header::HOST).iter();
    let mut said = authority
        .into_iter()
        .chain(hosts.map(|host| host.as_bytes()));
    let Some(first) = said.next() else {
        return Called::Nothing;
    };
    let read = |bytes: &[u8]| name(std::str::from_utf8(bytes).ok()?);
    match read(first) {
        Some(name) if said.all(|other| read(other).as_ref() == Some(&name)) => Called::By(name),
        _ => Called::Unclear,
    }
}

/// The host of `host:port`. Strict: a browser has made it canonical before it sends it,
/// and what else there may be (`localhost@evil.example`) is for no good.
fn name(authority: &str) -> Option<Name> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (number, rest) = rest.split_once(']')?;
            let ip: std::net::Ipv6Addr = number.parse().ok()?;
            let host = Name::Number(IpAddr::V6(ip).to_canonical());
            (
                host,
                rest.strip_prefix(':').or((rest.is_empty()).then_some("0")),
            )
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
            let number = host.parse().ok().map(|ip| Name::Number(IpAddr::V4(ip)));
            (number.or_else(|| word(host))?, Some(port))
        }
    };
    let digits = |port: &&str| port.bytes().all(|c| c.is_ascii_digit());
    port.filter(digits)?.parse::<u16>().ok()?;
    Some(host)
}

fn word(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        !label.is_empty() && label.bytes().all(plain)
    };
    let good = text.len() <= 253 && text.split('.').all(label);
    good.then(|| Name::Word(text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    fn asked(uri: &str, hosts: &[&str], version: Version) -> Request<()> {
        let mut request = Request::post(uri).version(version);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(()).unwrap()
    }

    fn local() -> Hosts {
        Hosts::of(&[], "127.0.0.1".parse().unwrap())
    }

    fn takes(hosts: &Hosts, host: &str) -> bool {
        hosts.allow(&asked("/", &[host], Version::HTTP_11))
    }

    #[test]
    fn a_loopback_listener_is_called_localhost_or_by_its_number() {
        for host in [
            "localhost",
            "localhost:50051",
            "LocalHost:1",
            "localhost.:50051",
            "127.0.0.1:50051",
            "127.1.2.3",
            "[::1]:50051",
            "[::1]",
            "[0:0:0:0:0:0:0:1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(takes(&local(), host), "{host}");
        }
    }

    #[test]
    fn other_names_and_tricks_are_refused() {
        for host in [
            "",
            ".",
            ":50051",
            "evil.example",
            "evil.example:50051",
            "localhost.evil.example",
            "evil.localhost",
            "localhost..",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:50051@evil.example",
            "localhost:80:80",
            "localhost:",
            "localhost:x",
            "localhost:-1",
            "localhost:65536",
            "localhost/evil",
            "localhost#",
            "localhost?",
            "localhost\\",
            "localhost, evil.example",
            "localhost evil.example",
            " localhost",
            "%6cocalhost",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]evil.example",
            "[::1%25lo]",
            "[localhost]",
            "[127.0.0.1]",
            "*",
            "null",
            &"a".repeat(4096),
        ] {
            assert!(!takes(&local(), host), "{host}");
        }
        let strange = http::HeaderValue::from_bytes(b"localhost\xff").unwrap();
        let mut request = asked("/", &[], Version::HTTP_11);
        request.headers_mut().insert(header::HOST, strange);
        assert!(!local().allow(&request));
    }

    #[test]
    fn what_is_said_twice_must_be_the_same() {
        let any = Hosts::of(&[], "192.0.2.1".parse().unwrap());
        for hosts in [local(), any] {
            let allows = |uri: &str, host: &[&str]| {
                [Version::HTTP_11, Version::HTTP_2]
                    .map(|version| hosts.allow(&asked(uri, host, version)))
            };
            assert_eq!(allows("http://localhost:1/", &["localhost:1"]), [true; 2]);
            assert_eq!(allows("http://localhost/", &[]), [true; 2]);
            assert_eq!(allows("http://localhost/", &["evil.example"]), [false; 2]);
            assert_eq!(allows("http://evil.example/", &["localhost"]), [false; 2]);
            assert_eq!(allows("/", &["localhost", "evil.example"]), [false; 2]);
            assert_eq!(allows("/", &["localhost", ""]), [false; 2]);
        }
    }

    #[test]
    fn who_says_nothing_is_taken_only_where_every_name_is() {
        let any = Hosts::of(&[], "0.0.0.0".parse().unwrap());
        assert_eq!(any, Hosts::Any);
        assert!(any.allow(&asked("/", &[], Version::HTTP_2)));
        assert!(!any.allow(&asked("/", &[], Version::HTTP_11)));
        assert!(!local().allow(&asked("/", &[], Version::HTTP_2)));
        assert!(takes(&any, "gateway.example.org:443") && !takes(&any, "a@b"));
    }

    #[test]
    fn names_that_the_operator_gives_are_the_only_ones() {
        let named = ["Gateway.Example.org", "192.0.2.7", "2001:db8::1"].map(str::to_owned);
        let hosts = Hosts::of(&named, "127.0.0.1".parse().unwrap());
        for host in [
            "gateway.example.org.:443",
            "192.0.2.7:1",
            "[2001:DB8:0::1]:1",
        ] {
            assert!(takes(&hosts, host), "{host}");
        }
        for host in [
            "localhost",
            "127.0.0.1",
            "example.org",
            "a.gateway.example.org",
        ] {
            assert!(!takes(&hosts, host), "{host}");
        }
    }
}
