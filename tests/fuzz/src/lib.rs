//! What is fuzzed: functions that take any bytes and assert what must hold of them, which
//! is more than that nothing panics. A signature that verifies is one that we computed; a
//! text that is read as something is written as that text again.
//!
//! `make fuzz` lets libFuzzer look for bytes that break them; what it has found worth
//! keeping stands in `corpus/<target>/`, and `make test` replays that (`tests/fuzz.rs`).
//! A new target is a function here, a row of [`TARGETS`], a bin in `fuzz_targets/` and a
//! folder of the corpus; a test fails if one of them is missing.

mod bearer;
mod cursor;
mod ids;
mod object;
mod page_token;
mod sealed;
mod times;

pub use bearer::bearer;
pub use cursor::cursor;
pub use ids::ids;
pub use object::object;
pub use page_token::page_token;
pub use sealed::sealed;
pub use times::times;

/// Panics if something does not hold of these bytes.
pub type Target = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("bearer", bearer),
    ("cursor", cursor),
    ("ids", ids),
    ("object", object),
    ("page_token", page_token),
    ("sealed", sealed),
    ("times", times),
];

/// The first bytes, and what follows; zeros where there are too few.
fn take<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let mut first = [0; N];
    let (head, rest) = data.split_at(data.len().min(N));
    first[..head.len()].copy_from_slice(head);
    (first, rest)
}
