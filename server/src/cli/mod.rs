//! The verbs of the binary that are clients of a running gateway.
//!
//! They know the Rust client (`metagov-client`) and the contract, and nothing of the
//! server's rooms: whatever they do, any client in any language can do too. `client.rs` is
//! the way to the gateway, with the token that `bearer.rs` finds; `pages.rs` reads lists,
//! `output.rs` writes what was answered, `failure.rs` says what went wrong. Each noun has
//! its own file. `apply.rs` reads a document (`document.rs`), works out what differs
//! (`plan.rs`) and makes the calls; `audit.rs` has `chain.rs` verify what it reads.
//! Parameters are read by `parameters.rs`, with the plugin's own schema (`schema.rs`). All
//! verbs stand in `verbs.rs`, and what most of them take in `common.rs`. `doctor/` looks
//! at the whole way to a gateway, and `forward/` posts to drivers that can only take HTTP.
//!
//! Answers go to the standard output, and what is only for people to the standard error:
//! `TOKEN=$(metagov token create …)` works. The flags of [`Connection`] are settings and
//! so are variables, too, as the community is (METAGOV_COMMUNITY); those that say what to
//! do this once are not.
//!
//! Exit codes, of these verbs and of the others:
//!
//! | Code | Meaning | gRPC codes |
//! |---|---|---|
//! | 0 | done, or nothing to do | OK |
//! | 1 | something else: look before you run it again; an audit that is not whole, a process that ended undecided | INTERNAL, UNKNOWN, DATA_LOSS; any with the reason OUTCOME_UNKNOWN |
//! | 2 | the command line is wrong | |
//! | 3 | the gateway cannot be reached | |
//! | 4 | refused: correct the document, the token or the gateway's set-up | INVALID_ARGUMENT, FAILED_PRECONDITION, NOT_FOUND, ALREADY_EXISTS, OUT_OF_RANGE, UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED; any with the reason MESSAGE_TOO_LARGE |
//! | 5 | not now: run it again | UNAVAILABLE, ABORTED, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, CANCELLED |

mod accounts;
mod actions;
mod apply;
mod audit;
mod bearer;
mod chain;
mod client;
mod common;
mod communities;
mod completions;
mod cursor;
mod deliveries;
mod describe;
mod doctor;
mod document;
mod events;
mod failure;
mod filter;
mod forward;
mod identities;
mod installations;
mod live;
mod matching;
mod output;
mod pages;
mod parameters;
mod plan;
mod plugins;
mod processes;
mod schema;
mod starts;
mod subscriptions;
mod tally;
mod times;
mod tokens;
mod verbs;
mod watching;
mod webhooks;
mod written;

pub use client::Connection;
pub use completions::{Completions, Manual};
pub use failure::{Exit, Failure};
pub use verbs::Verbs;
