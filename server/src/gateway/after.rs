//! After the commit: what a step asked for besides, and what its voter is answered.

use std::sync::Arc;

use serde_json::Value;

use super::Gateway;
use crate::{
    error::{Error, Result},
    model::ProcessId,
    plugins::kit::{Caller, Outgoing},
};

/// What came of the signals.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What the voter is answered, if there was a ballot.
    pub(super) reply: Option<Value>,
    /// Why the ballot does not count, if it does not.
    pub(super) refused: Option<Error>,
    /// What is to be done once all is committed.
    pub(super) after: After,
}

/// What is to be done after the commit.
#[derive(Debug, Default)]
pub(super) struct After {
    /// Requests to make.
    pub(super) calls: Vec<(Caller, Outgoing)>,
    /// Votes to redraw.
    pub(super) shows: Vec<ProcessId>,
    /// Whether something became due.
    pub(super) wake: bool,
}

impl Gateway {
    /// Does what waits for the commit. Nobody waits for it.
    pub(super) fn do_after(self: &Arc<Self>, after: After) {
        if after.wake {
            self.wake.notify_one();
        }
        for (caller, call) in after.calls {
            tokio::spawn(self.clone().make_call(caller, call));
        }
        for process in after.shows {
            self.show_soon(process);
        }
    }

    async fn make_call(self: Arc<Self>, caller: Caller, call: Outgoing) {
        if let Err(error) = self.try_call(caller, call).await {
            tracing::warn!(%error, "a voter could not be answered");
        }
    }

    async fn try_call(&self, caller: Caller, call: Outgoing) -> Result<()> {
        let method = call.method.parse().map_err(Error::internal)?;
        let url = call.url.parse().map_err(Error::internal)?;
        let http = self.http.for_step(caller);
        let mut request = http.request(method, url).json(&call.body);
        for (name, value) in &call.headers {
            request = request.header_named(name, value);
        }
        request.send().await?.success()?;
        Ok(())
    }
}
