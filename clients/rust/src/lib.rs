//! The client of a Metagov gateway: its eight services as tonic makes them, and the five
//! helpers that every driver needs.
//!
//! - [`connect`] finds the gateway by the environment, or [`Options`] says where it is.
//! - [`Client::watch`] reads the feed without an end, over restarts and broken connections.
//! - [`Client::wait_for_process`] waits until a process is done; [`Client::watch_process`]
//!   also shows how it stands until then.
//! - [`error`] says what an error means, and what to do about it.
//! - [`to_struct`] and [`from_struct`] go between JSON and `google.protobuf.Struct`.
//!
//! The messages are those of the contract, in [`v1`].
//!
//! ```no_run
//! use metagov_client::{connect, v1::WatchEventsRequest};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = connect()?;
//! let mut events = client.watch(WatchEventsRequest::default());
//! loop {
//!     let event = events.next().await?;
//!     println!("{} {:?}", event.community_id, event.payload);
//! }
//! # }
//! ```

mod advice;
mod bearer;
mod client;
mod fault;
mod options;
mod patience;
mod place;
mod resume;
mod states;
mod structs;
mod tls;
mod wait;
mod watch;

pub use bearer::Bearer;
pub use client::{Client, Way};
pub use fault::{Fault, error};
pub use metagov_proto::{ERROR_DOMAIN, v1};
pub use options::{ConnectError, Options, connect};
pub use states::States;
pub use structs::{NotJson, from_struct, from_value, to_struct};
pub use watch::Events;

/// The README's examples, which compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
