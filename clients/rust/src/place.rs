//! Where the gateway is: an address, and whether it is this machine.

use std::net::IpAddr;

use http::Uri;

use crate::ConnectError;

/// Reads `http://host:port` or `https://host:port`.
pub(crate) fn parse(endpoint: &str) -> Result<Uri, ConnectError> {
    let uri: Option<Uri> = endpoint.parse().ok();
    uri.filter(is_address).ok_or(ConnectError::Endpoint)
}

fn is_address(uri: &Uri) -> bool {
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    // What is before an @ would be a password.
    let bare = uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    scheme && host && bare && uri.path_and_query().is_none_or(|path| path == "/")
}

/// Whether it is this machine.
pub(crate) fn is_local(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse::<IpAddr>().map(|ip| ip.to_canonical());
    ip.map_or(host.eq_ignore_ascii_case("localhost"), |ip| {
        ip.is_loopback()
    })
}

/// Whether the way there is by TLS.
pub(crate) fn is_secure(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for endpoint in [
            "ftp://example.org",
            "127.0.0.1:50051",
            "",
            "http://",
            "http://:50051",
            "http://a b",
            "/only/a/path",
            "http://u:hunter2@127.0.0.1",
            "http://127.0.0.1/api",
            "http://127.0.0.1?a=b",
        ] {
            let error = parse(endpoint).unwrap_err().to_string();
            let text = "METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051";
            assert_eq!(error, text, "{endpoint}");
        }
        assert!(parse("https://gateway.example.org").is_ok());
        assert!(parse("http://[::1]:50051/").is_ok());
    }

    #[test]
    fn only_loopback_addresses_are_this_machine() {
        for (endpoint, local) in [
            ("http://127.0.0.1:50051", true),
            ("http://127.8.9.1", true),
            ("http://[::1]:50051", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://localhost:50051", true),
            ("HTTP://LOCALHOST", true),
            ("https://localhost", true),
            ("http://0.0.0.0", false),
            ("http://10.0.0.1", false),
            ("http://2130706433", false),
            ("http://127.0.0.1.example.org", false),
            ("http://localhost.example.org", false),
            ("http://example.org", false),
        ] {
            let uri = endpoint.parse().unwrap();
            assert_eq!(is_local(&uri), local, "{endpoint}");
        }
    }
}
