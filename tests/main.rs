//! Claims about the gateway, shown through its real server. Each module is about one
//! noun of the contract, and each test is named by what it claims. `COVERAGE.md` says
//! which claim is shown where.

mod acceptance;
mod access;
mod actions;
mod apply;
mod arrows;
mod audit;
mod backup;
mod bad_frames;
mod bad_input;
mod bad_values;
mod ballot;
mod binary;
mod command_line;
mod communities;
mod coverage;
mod crowd;
mod cursors;
mod databases;
mod deletion;
mod deliveries;
mod discourse;
mod edges;
mod enabling;
mod events;
mod fakes;
mod filters;
mod fuzz;
mod gate;
mod golden;
mod harness;
mod homes;
mod hooks;
mod identities;
mod kit;
mod limits;
mod oauth;
mod operations;
mod outgoing;
mod platform_faults;
mod plugins;
mod process_lists;
mod process_starts;
mod processes;
mod public_actions;
mod randomness;
mod replicas;
mod requests;
mod retention;
mod roles;
mod secrets;
mod sourcecred;
mod stage;
mod stand;
mod subscriptions;
mod timers;
mod tls;
mod upgrade;
mod verification;
mod watch_process;
mod web;

/// The root of the repository.
fn root() -> std::path::PathBuf {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_owned()
}
