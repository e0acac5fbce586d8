//! The Metagov gateway.

pub mod error;
pub mod feed;
pub mod gateway;
pub mod model;
pub mod plugins;
pub mod rpc;
pub mod store;
