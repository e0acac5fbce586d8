//! Requests to the outside: where they may go, what may come back, and in what manner.
//!
//! `envoy` is a plugin that asks what it is told to; [`server::Server`] is its platform,
//! below what a mock of HTTP can do. Here 127.0.0.2 is an address of the public internet,
//! since the operator allows it, and 127.0.0.1 is the inside of the operator's network.

mod addresses;
mod answers;
mod envoy;
mod manners;
mod redirects;
mod server;

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use metagov::config::{Config, Resolver};
use serde_json::json;
use tonic::Status;

use crate::harness::Gateway;
use server::Server;

/// The address that stands for the internet.
const OUTSIDE: &str = "127.0.0.2";
/// The address that stands for the operator's network.
const INSIDE: &str = "127.0.0.1";

/// Only 127.0.0.2 is allowed, over http.
fn only_outside(config: &mut Config) {
    config.outgoing.allow_http = true;
    config.outgoing.allow_cidr = vec![format!("{OUTSIDE}/32").parse().unwrap()];
}

/// These names, and no other that the system knows.
fn names(known: &[(&str, &[&str])]) -> Resolver {
    let known = known.iter().map(|(name, addresses)| {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        ((*name).to_owned(), addresses)
    });
    let known: HashMap<String, Vec<IpAddr>> = known.collect();
    Resolver(Some(Arc::new(move |name| known.get(name).cloned())))
}

/// A gateway with the plugin, and a community `commons`.
async fn commons(set: impl FnOnce(&mut Config)) -> Gateway {
    let gateway = Gateway::start_with(set, vec![envoy::plugin("envoy")]).await;
    gateway.api.community("commons").await;
    gateway
}

/// A gateway whose community `commons` has the plugin for this server.
async fn enabled(server: &Server, set: impl FnOnce(&mut Config)) -> Gateway {
    let gateway = commons(set).await;
    let config = json!({"server_url": server.url, "asks": false});
    gateway.api.enable("commons", "envoy", config).await;
    gateway
}

/// Asks the platform for a file.
async fn read(gateway: &Gateway, path: &str) -> Result<serde_json::Value, Status> {
    let parameters = json!({ "path": path });
    gateway
        .api
        .perform("commons", "envoy.read", parameters)
        .await
}

/// Sends something to the platform.
async fn write(gateway: &Gateway, path: &str) -> Result<serde_json::Value, Status> {
    let parameters = json!({ "path": path });
    gateway
        .api
        .perform("commons", "envoy.write", parameters)
        .await
}

/// Asks for an address that no configuration names.
async fn go(gateway: &Gateway, url: &str) -> Result<serde_json::Value, Status> {
    let parameters = json!({ "url": url });
    gateway.api.perform("commons", "envoy.go", parameters).await
}
