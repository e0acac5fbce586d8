//! The host that a call is for.

use metagov::rpc::fuzz;
use url::{Host, Url};

/// What a local gateway takes for its own name is, to a browser, this machine: no page
/// can give it a name of another.
pub fn host(data: &[u8]) {
    if !fuzz::is_for_loopback(data) {
        return;
    }
    let text = std::str::from_utf8(data).expect("a host is text");
    let url = Url::parse(&format!("http://{text}/")).expect("a host");
    assert!(
        url.username().is_empty() && url.path() == "/" && url.query().is_none(),
        "{text:?}"
    );
    let is_local = match url.host().expect("a host") {
        Host::Ipv4(number) => number.is_loopback(),
        Host::Ipv6(number) => number.to_canonical().is_loopback(),
        Host::Domain(name) => name.trim_end_matches('.') == "localhost",
    };
    assert!(is_local, "{text:?}");
}
