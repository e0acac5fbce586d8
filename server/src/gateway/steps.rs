//! Running a plugin's step: with its context, within its time, in a task of its own.

use std::{future::Future, sync::Arc, time::Duration};

use super::{Gateway, credentials, mask};
use crate::{
    error::{Error, Result, Trouble},
    model::Installation,
    plugins::kit::{Call, Caller, Clock, Http, Installed, Place, Plugin, Step},
    store::installations,
};

impl Gateway {
    /// What a step of an installation is given.
    pub(super) async fn call(&self, plugin: &Plugin, installation: &Installation) -> Result<Call> {
        let state = installations::small_state(&self.store, installation.id).await?;
        let name = &plugin.descriptor.name;
        Ok(Call {
            config: installation.whole_config(),
            operator: self.settings.of_plugin(name),
            http: self.http.for_step(caller(installation)),
            place: Place {
                installation_id: installation.id,
                community_id: installation.community_id.clone(),
                platform_id: installation.platform_id.clone(),
                webhook_url: self.webhook_url(installation),
            },
            state: Arc::new(state),
            credentials: self.held(plugin, installation.id),
            clock: Clock::set(self.store.now()),
        })
    }

    /// Asks the platform to agree to a configuration, which names no address that must
    /// not be asked.
    pub(super) async fn agree(&self, installation: &Installation) -> Result<Installed> {
        let http = self.http.for_step(caller(installation));
        http.check(&installation.whole_config()).await?;
        let plugin = self.plugin(&installation.plugin)?;
        self.step(installation, &plugin.setup, ()).await
    }

    /// The way out for a plugin, before there is an installation.
    pub(super) fn way_out(&self, plugin: &Plugin) -> Http {
        self.http.for_step(Caller {
            plugin: plugin.descriptor.name.clone(),
            installation_id: None,
        })
    }

    /// Runs a step that may ask the platform.
    pub(super) async fn step<I, O: Send + 'static>(
        &self,
        installation: &Installation,
        step: &Step<I, O>,
        input: I,
    ) -> Result<O> {
        self.noted_step(installation, step, input).await.0
    }

    /// The same, and whether it may have changed the platform.
    pub(super) async fn noted_step<I, O: Send + 'static>(
        &self,
        installation: &Installation,
        step: &Step<I, O>,
        input: I,
    ) -> (Result<O>, bool) {
        let called = async {
            let plugin = self.plugin(&installation.plugin)?;
            self.call(plugin, installation).await
        };
        let call = match called.await {
            Ok(call) => call,
            Err(error) => return (Err(error), false),
        };
        self.run_step(installation, call, step, input).await
    }

    /// Runs a step of an installation with what it is given.
    pub(super) async fn run_step<I, O: Send + 'static>(
        &self,
        installation: &Installation,
        mut call: Call,
        step: &Step<I, O>,
        input: I,
    ) -> (Result<O>, bool) {
        let (http, told) = (call.http.clone(), credentials::told(&mut call));
        let done = within(self.settings.step_timeout, &http, step(call, input)).await;
        let done = done.map_err(|error| {
            let error = self.masked(installation, error.of_plugin(&installation.plugin));
            mask::without(error, told.tokens())
        });
        (done, http.wrote())
    }

    /// Runs work in a task of its own: a caller who goes away does not stop it half done,
    /// and a gateway that drains waits for it.
    pub(super) async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let working = self.working.clone().read_owned().await;
        let task = tokio::spawn(async move {
            let done = work.await;
            drop(working);
            done
        });
        task.await
            .map_err(|panic| Error::internal(format!("the work broke: {panic}")))?
    }

    /// Waits until no work is running.
    pub async fn idle(&self) {
        drop(self.working.write().await);
    }

    /// Runs a step that only reads: what may have happened did not.
    pub(super) async fn read_step<I, O: Send + 'static>(
        &self,
        installation: &Installation,
        step: &Step<I, O>,
        input: I,
    ) -> Result<O> {
        self.step(installation, step, input)
            .await
            .map_err(only_read)
    }
}

/// On whose behalf requests for an installation are made.
pub(super) fn caller(installation: &Installation) -> Caller {
    Caller {
        plugin: installation.plugin.clone(),
        installation_id: Some(installation.id),
    }
}

/// The outcome of something that only reads is never unknown: it did nothing.
pub(super) fn only_read(error: Error) -> Error {
    match error {
        Error::OutcomeUnknown { plugin, why } => {
            let trouble = Trouble::Unavailable(why);
            Error::Platform { plugin, trouble }
        }
        other => other,
    }
}

/// In a task of its own, so that a panic stays there.
async fn within<O: Send + 'static>(
    limit: Duration,
    http: &Http,
    step: impl Future<Output = Result<O>> + Send + 'static,
) -> Result<O> {
    let mut task = tokio::spawn(step);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) if http.wrote() => {
            tracing::error!(%panic, "a plugin's step broke after it wrote to its platform");
            let (plugin, why) = (
                String::new(),
                "the plugin broke in the midst of it".to_owned(),
            );
            Err(Error::OutcomeUnknown { plugin, why })
        }
        Ok(Err(panic)) => Err(Error::internal(format!("a plugin's step broke: {panic}"))),
        Err(_) => {
            task.abort();
            let (plugin, why) = (String::new(), format!("it took more than {limit:?}"));
            if http.wrote() {
                return Err(Error::OutcomeUnknown { plugin, why });
            }
            let trouble = Trouble::Unavailable(why);
            Err(Error::Platform { plugin, trouble })
        }
    }
}
