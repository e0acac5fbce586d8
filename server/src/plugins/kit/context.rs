//! What every step of a plugin is given.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Error, Held, Http, Result, Time};
use crate::model::{CommunityId, InstallationId};

/// What every step of a plugin is given: the installation's typed configuration, the
/// operator's settings for the plugin, and the way to the platform.
#[derive(Clone)]
pub struct Context<C, O = Nothing> {
    /// The installation's configuration, with its secrets.
    pub config: C,
    /// The operator's settings for this plugin.
    pub operator: O,
    /// The only way out.
    pub http: Http,
    /// For whom the step runs.
    pub place: Place,
    pub(super) state: Arc<BTreeMap<String, Value>>,
    pub(super) credentials: Held,
    pub(super) clock: Clock,
}

impl<C, O> Context<C, O> {
    /// A row of the installation's state, if it is there. Rows whose key has a `/`
    /// are seen by `fold` only.
    pub fn state<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.state.get(key) else {
            return Ok(None);
        };
        let parsed = serde_json::from_value(value.clone());
        parsed
            .map(Some)
            .map_err(|e| Error::internal(format!("state {key}: {e}")))
    }

    /// The access token that the platform granted to the installation, renewed if it is
    /// about to expire. Take it before a request that writes.
    pub async fn credentials(&self) -> Result<Secret> {
        match (self.credentials)().await {
            Ok(held) => Ok(Secret(held.access_token)),
            Err(Error::Platform { plugin, trouble }) if self.http.wrote() => {
                let why = trouble.to_string();
                Err(Error::OutcomeUnknown { plugin, why })
            }
            Err(error) => Err(error),
        }
    }

    /// What time it is, for everybody who shares the database.
    pub fn now(&self) -> Time {
        self.clock.now()
    }
}

/// The gateway's clock, for as long as a step takes. This machine's own may be an hour off.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    time: Time,
    read: Instant,
}

impl Clock {
    /// It is that time now.
    pub fn set(time: Time) -> Self {
        let read = Instant::now();
        Self { time, read }
    }

    pub(super) fn now(self) -> Time {
        self.time.after(self.read.elapsed())
    }
}

/// For whom a step runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The installation; new while `setup` runs for the first time.
    pub installation_id: InstallationId,
    /// The community it belongs to.
    pub community_id: CommunityId,
    /// What the community is called on the platform; empty before `setup`.
    pub platform_id: String,
    /// Where the platform reaches us. Secret.
    pub webhook_url: String,
}

/// Nothing to give: an object without properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A secret of a configuration: `writeOnly` in the schema, never returned by the API,
/// never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one place that sends or compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "writeOnly": true})
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_step_lives_by_the_clock_that_it_was_given() {
        let behind = Time::now().before(Duration::from_secs(3600));
        let clock = Clock::set(behind);
        std::thread::sleep(Duration::from_millis(2));
        let now = clock.now();
        assert!(now > behind, "it stands still");
        assert!(now < Time::now().before(Duration::from_secs(3000)));
    }
}
