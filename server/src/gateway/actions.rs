//! Actions: one call to a platform, answered at once.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Gateway,
    requests::{self, Ask},
    signals, steps,
};
use crate::{
    error::{Error, Result, Thing},
    model::{CommunityId, Installation, InstallationId, Object, RequestKey},
    plugins::kit::{Action, Signal},
    proof::{Bug, is},
};

/// An action that is to be performed.
#[derive(Clone, Debug)]
pub struct Performing {
    /// Makes a retry safe.
    pub key: Option<RequestKey>,
    /// In which community.
    pub community_id: CommunityId,
    /// Full name: `plugin.action`.
    pub action: String,
    /// Which installation, if the community has several of the plugin.
    pub installation_id: Option<InstallationId>,
    /// Its input.
    pub parameters: Object,
}

impl Gateway {
    /// Performs an action and returns its result.
    pub async fn perform_action(self: &Arc<Self>, performing: Performing) -> Result<Value> {
        let Performing {
            key,
            community_id,
            action: name,
            installation_id,
            parameters,
        } = performing;
        let plugin = self.plugin_of(&name)?;
        let action = self.action(&name)?;
        let installation = self
            .installation_for(&community_id, &plugin.descriptor.name, installation_id)
            .await?;
        let parameters = Value::Object(parameters);
        action.parameters.check(&parameters, &name, "parameters")?;
        if action.read_only {
            // Just runs again: there is no second effect to be afraid of.
            return self.perform(&installation, &name, parameters, None).await;
        }
        let body = (
            "PerformAction",
            &community_id,
            &name,
            &installation_id,
            &parameters,
        );
        let ask = Ask::new(key, &body)?.about(&community_id);
        let (gateway, work_ask) = (self.clone(), ask.clone());
        self.once(ask, async move {
            gateway
                .perform(&installation, &name, parameters, Some(work_ask))
                .await
        })
        .await
        .map_err(|error| error.of_plugin(&plugin.descriptor.name))
    }

    async fn perform(
        self: &Arc<Self>,
        installation: &Installation,
        name: &str,
        parameters: Value,
        ask: Option<Ask>,
    ) -> Result<Value> {
        let action = self.action(name)?;
        let again = is(Bug::RetryUnknown).then(|| parameters.clone());
        let step = self.noted_step(installation, &action.perform, parameters);
        let (mut performed, wrote) = step.await;
        if let (Some(again), Err(Error::OutcomeUnknown { .. })) = (again, &performed) {
            performed = self.step(installation, &action.perform, again).await;
        }
        let (value, signals) = match action.read_only {
            true => performed.map_err(steps::only_read)?,
            false => performed?,
        };
        let answer = match (value, ask) {
            (Some(value), None) if signals.is_empty() => value,
            (value, ask) => {
                let concluded = self.conclude(installation, (value, signals), ask).await;
                concluded.map_err(|error| match wrote && !action.read_only {
                    true => not_kept(installation, &error),
                    false => error,
                })?
            }
        };
        check_result(action, name, &answer);
        Ok(answer)
    }

    /// Does what the action asked for and keeps its answer, in one transaction.
    async fn conclude(
        self: &Arc<Self>,
        installation: &Installation,
        performed: (Option<Value>, Vec<Signal>),
        ask: Option<Ask>,
    ) -> Result<Value> {
        let (gateway, installation) = (self.clone(), installation.clone());
        let plugin = installation.plugin.clone();
        let (value, after) = self
            .store
            .write(async move |tx| {
                let (value, signals) = performed.clone();
                let done = signals::apply(&gateway, tx, &installation, &signals).await?;
                if let Some(error) = done.refused {
                    return Err(error);
                }
                let value = value.or(done.reply).unwrap_or(Value::Null);
                if let Some(ask) = &ask {
                    requests::keep(tx, ask, Ok(&value)).await?;
                }
                Ok((value, done.after))
            })
            .await
            .map_err(|error| error.of_plugin(&plugin))?;
        self.do_after(after);
        Ok(value)
    }

    fn action(&self, name: &str) -> Result<&Action> {
        let unknown = || Error::NotFound(Thing::Plugin(name.to_owned()));
        self.plugin_of(name)?.actions.get(name).ok_or_else(unknown)
    }
}

/// The platform did it, and that cannot be written down: a retry would do it again.
fn not_kept(installation: &Installation, error: &Error) -> Error {
    tracing::error!(installation_id = %installation.id, %error, "an action that was done cannot be kept");
    Error::OutcomeUnknown {
        plugin: installation.plugin.clone(),
        why: "it was done, and the gateway could not keep that".to_owned(),
    }
}

/// A result that does not fit its schema is the plugin's fault; the effect stands, so
/// the caller gets it all the same.
fn check_result(action: &Action, name: &str, answer: &Value) {
    if let Err(error) = action.result.check(answer, name, "result") {
        tracing::warn!(action = name, %error, "the result does not fit its schema");
    }
}
