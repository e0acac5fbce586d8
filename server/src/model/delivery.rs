//! A delivery: something that a platform sent to a webhook.

use bytes::Bytes;

use super::{DeliveryId, InstallationId, Time};

/// Something a platform delivered to a webhook, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Unique.
    pub id: DeliveryId,
    /// To which installation.
    pub installation_id: InstallationId,
    /// What became of it.
    pub state: DeliveryState,
    /// When it came.
    pub receive_time: Time,
    /// How often it was tried.
    pub attempt_count: i32,
    /// When it is tried again.
    pub next_attempt_time: Option<Time>,
    /// Why the last try failed.
    pub problem: String,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Stored, to be processed.
    Pending,
    /// Processed.
    Done,
    /// Given up.
    Parked,
}

/// A webhook's request: what a plugin verifies and reads.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hook {
    /// Header names in lower case with their values, as they came.
    pub headers: Vec<(String, String)>,
    /// The query string without its `?`; empty if there is none.
    pub query: String,
    /// The raw body: signatures are over exactly these bytes.
    pub body: Bytes,
}

impl Hook {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What a webhook is answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct HookReply {
    /// The HTTP status.
    pub status: u16,
    /// The type of `body`; empty if there is none.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

impl HookReply {
    /// 200 and nothing more.
    pub fn ok() -> Self {
        Self {
            status: 200,
            content_type: String::new(),
            body: Bytes::new(),
        }
    }

    /// 200 and a JSON body.
    pub fn json(body: &serde_json::Value) -> Self {
        Self {
            status: 200,
            content_type: "application/json".to_owned(),
            body: Bytes::from(body.to_string()),
        }
    }
}
