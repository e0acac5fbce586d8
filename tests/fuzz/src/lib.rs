//! What is fuzzed: functions that take any bytes and assert what must hold of them, which
//! is more than that nothing panics. A signature that verifies is one that we computed; a
//! text that is read as something is written as that text again.
//!
//! `make fuzz` lets libFuzzer look for bytes that break them; what it has found worth
//! keeping stands in `corpus/<target>/`, and `make test` replays that (`tests/fuzz.rs`).
//! A new target is a function here, a row of [`TARGETS`], a bin in `fuzz_targets/` and a
//! folder of the corpus; a test fails if one of them is missing.

mod answer;
mod bearer;
mod cursor;
mod hook_bodies;
mod host;
mod ids;
mod object;
mod outgoing;
mod page_token;
mod route;
mod sealed;
mod signatures;
mod strict_json;
mod times;

pub use answer::answer;
pub use bearer::bearer;
pub use cursor::cursor;
pub use hook_bodies::hook_bodies;
pub use host::host;
pub use ids::ids;
pub use object::object;
pub use outgoing::outgoing;
pub use page_token::page_token;
pub use route::route;
pub use sealed::sealed;
pub use signatures::{discord, discourse, github, slack, standard_webhooks};
pub use strict_json::strict_json;
pub use times::times;

/// Panics if something does not hold of these bytes.
pub type Target = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("answer", answer),
    ("bearer", bearer),
    ("cursor", cursor),
    ("discord", discord),
    ("discourse", discourse),
    ("github", github),
    ("hook_bodies", hook_bodies),
    ("host", host),
    ("ids", ids),
    ("object", object),
    ("outgoing", outgoing),
    ("page_token", page_token),
    ("route", route),
    ("sealed", sealed),
    ("slack", slack),
    ("standard_webhooks", standard_webhooks),
    ("strict_json", strict_json),
    ("times", times),
];

/// The first bytes, and what follows; zeros where there are too few.
fn take<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let mut first = [0; N];
    let (head, rest) = data.split_at(data.len().min(N));
    first[..head.len()].copy_from_slice(head);
    (first, rest)
}
