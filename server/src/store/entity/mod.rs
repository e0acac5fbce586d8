//! The tables as sea-orm knows them. `migrations/` makes them.
#![allow(unreachable_pub)] // the derive makes its parts as public as the model

pub(crate) mod account;
pub(crate) mod audit_entry;
pub(crate) mod authorization;
pub(crate) mod ballot;
pub(crate) mod community;
pub(crate) mod credential;
pub(crate) mod delivery;
pub(crate) mod event;
pub(crate) mod feed;
pub(crate) mod fetch;
pub(crate) mod identity;
pub(crate) mod installation;
pub(crate) mod installation_state;
pub(crate) mod master_key;
pub(crate) mod process;
pub(crate) mod request;
pub(crate) mod subscription;
pub(crate) mod subscription_epoch;
pub(crate) mod token;
