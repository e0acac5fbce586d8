//! The verbs of the binary that are clients of a running gateway.
//!
//! They know the contract (`metagov-proto`) and nothing of the server's rooms: whatever
//! they do, any client in any language can do too. `client.rs` is the way to the
//! gateway, with the token that `bearer.rs` finds; `pages.rs` reads lists, `output.rs`
//! writes what was answered, `failure.rs` says what went wrong. Each noun has its own
//! file. `apply.rs` reads a document (`document.rs`), works out what differs (`plan.rs`)
//! and makes the calls; `audit.rs` has `chain.rs` verify what it reads.
//!
//! Answers go to the standard output, and what is only for people to the standard error:
//! `TOKEN=$(metagov token create …)` works. The flags of [`Connection`] are settings and
//! so are variables, too; those that say what to do this once are not.
//!
//! Exit codes, of these verbs and of the others:
//!
//! | Code | Meaning | gRPC codes |
//! |---|---|---|
//! | 0 | done, or nothing to do | OK |
//! | 1 | something else: look before you run it again; an audit that is not whole | INTERNAL, UNKNOWN, DATA_LOSS; any with the reason OUTCOME_UNKNOWN |
//! | 2 | the command line is wrong | |
//! | 3 | the gateway cannot be reached | |
//! | 4 | refused: correct the document, the token or the gateway's set-up | INVALID_ARGUMENT, FAILED_PRECONDITION, NOT_FOUND, ALREADY_EXISTS, OUT_OF_RANGE, UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED; any with the reason MESSAGE_TOO_LARGE |
//! | 5 | not now: run it again | UNAVAILABLE, ABORTED, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, CANCELLED |

pub mod apply;
mod audit;
mod bearer;
mod chain;
mod client;
mod deliveries;
mod document;
mod failure;
mod matching;
mod output;
mod pages;
mod plan;
mod times;
mod tokens;
mod webhooks;

pub use audit::Audit;
pub use client::Connection;
pub use deliveries::Deliveries;
pub use failure::{Exit, Failure};
pub use tokens::Tokens;
pub use webhooks::Webhooks;
