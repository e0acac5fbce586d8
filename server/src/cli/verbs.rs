//! All verbs that call a running gateway, in the order in which the help has them.

use std::io::Write;

use clap::Subcommand;

use super::{
    Failure, actions::Actions, apply::Apply, audit::Audit, communities::Communities,
    deliveries::Deliveries, doctor::Doctor, events::Events, identities::Identities,
    plugins::Plugins, processes::Processes, subscriptions::Subscriptions, tokens::Tokens,
    webhooks::Webhooks,
};

/// The verbs that are clients.
#[derive(Clone, Subcommand)]
pub enum Verbs {
    /// Checks the way to a running gateway and what it needs, and says what to do.
    Doctor(Doctor),
    /// Makes a community of a running gateway as a document says.
    Apply(Apply),
    /// Creates, shows, changes and deletes communities.
    #[command(subcommand)]
    Community(Communities),
    /// Shows the catalogue of plugins, and enables them for communities.
    #[command(subcommand)]
    Plugin(Plugins),
    /// Performs actions on platforms, and says what there are.
    #[command(subcommand)]
    Action(Actions),
    /// Starts processes, such as votes, shows how they stand, and ends them.
    #[command(subcommand)]
    Process(Processes),
    /// Reads the feed: all that happened, in one order.
    #[command(subcommand)]
    Events(Events),
    /// Creates, moves and deletes subscriptions: cursors that the gateway keeps.
    #[command(subcommand)]
    Subscription(Subscriptions),
    /// Says who is who across platforms.
    #[command(subcommand)]
    Identity(Identities),
    /// Creates, lists and revokes the tokens of a running gateway.
    #[command(subcommand)]
    Token(Tokens),
    /// Lists who changed what or was refused, and verifies that nobody changed the list.
    #[command(subcommand)]
    Audit(Audit),
    /// Lists what platforms delivered to a running gateway, and tries again what failed.
    #[command(subcommand)]
    Delivery(Deliveries),
    /// Changes the addresses at which platforms reach a running gateway.
    #[command(subcommand)]
    Webhook(Webhooks),
}

impl Verbs {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Doctor(doctor) => doctor.run(out).await,
            Self::Apply(apply) => apply.run(out).await,
            Self::Community(communities) => communities.run(out).await,
            Self::Plugin(plugins) => plugins.run(out).await,
            Self::Action(actions) => actions.run(out).await,
            Self::Process(processes) => processes.run(out).await,
            Self::Events(events) => events.run(out).await,
            Self::Subscription(subscriptions) => subscriptions.run(out).await,
            Self::Identity(identities) => identities.run(out).await,
            Self::Token(tokens) => tokens.run(out).await,
            Self::Audit(audit) => audit.run(out).await,
            Self::Delivery(deliveries) => deliveries.run(out).await,
            Self::Webhook(webhooks) => webhooks.run(out).await,
        }
    }
}
