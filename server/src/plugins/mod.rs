//! THE LIST of plugins, and what a plugin is ([`kit`]).
//!
//! Adding a plugin is one new file here and one line in [`all`]. A plugin may use the
//! kit and nothing else of the gateway. Read `kit/mod.rs`, then `randomness.rs`.

pub mod kit;

mod ballot;
mod discourse;
mod randomness;
mod sourcecred;

use kit::Plugin;

/// Every plugin that the gateway is built with.
pub fn all() -> Vec<Plugin> {
    vec![
        ballot::plugin(),
        discourse::plugin(),
        randomness::plugin(),
        sourcecred::plugin(),
    ]
}
