//! Routes that callers choose below a platform's address.

use metagov::plugins::kit::{Address, Route};
use url::Url;

const PLATFORM: &str = "https://api.example.org/v3";

/// Wherever a route leads, it is below the platform's address, and means there what it
/// says.
pub fn route(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(address) = Address::parse(text, "config/server_url") {
        is_plain(&address, text);
    }
    let Ok(route) = Route::parse(text, "parameters/route") else {
        return;
    };
    assert_eq!(route.to_string(), text);
    let platform = Address::parse(PLATFORM, "config/server_url").expect("an address");
    let url = route.under(&platform);
    let below = url
        .as_str()
        .strip_prefix(PLATFORM)
        .expect("below the platform");
    assert!(below.starts_with('/') && below.len() > 1, "{url}");
    // Read again, as the client and the platform do, it is still the same.
    assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(&url));
    assert_eq!(
        below.split('/').count() - 1,
        text.split('/').count(),
        "{url}"
    );
    assert!(url.query().is_none() && url.fragment().is_none(), "{url}");
}

/// An address has one spelling, and nothing secret is in it.
fn is_plain(address: &Address, text: &str) {
    let shown = address.to_string();
    let again = Address::parse(&shown, "config/server_url").expect("an address");
    assert_eq!(again, *address, "{text:?}");
    let url = Url::parse(&shown).expect("an address");
    assert!(url.username().is_empty() && url.password().is_none());
    assert!(url.query().is_none() && url.fragment().is_none());
    for segment in ["x", "..", "a/b", "a?b#c", "%2e%2e", ""] {
        let below = address.at([segment]).to_string();
        assert!(below.starts_with(&shown), "{below}");
    }
}
