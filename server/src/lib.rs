//! The Metagov gateway.

pub mod error;
pub mod model;
pub mod plugins;
