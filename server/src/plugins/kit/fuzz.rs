//! What the fuzz targets (`tests/fuzz`) reach of the kit, and nobody else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use super::http::fuzz::*;
use super::{Call, Clock, Error, Http, HttpSettings, Object, Place, Result, Time};
use crate::model::{CommunityId, InstallationId};

/// A step of an installation with this configuration, which asks nobody.
pub fn call(config: Object) -> Result<Call> {
    _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Call {
        config,
        operator: Object::new(),
        http: Http::new(settings())?,
        place: Place {
            installation_id: InstallationId(uuid::Uuid::nil()),
            community_id: CommunityId::trusted("garden"),
            platform_id: String::new(),
            webhook_url: String::new(),
        },
        state: Arc::default(),
        credentials: Arc::new(|| Box::pin(async { Err(Error::internal("none")) })),
        clock: Clock::set(Time(0)),
    })
}

fn settings() -> HttpSettings {
    HttpSettings {
        allow_http: false,
        allow: Vec::new(),
        named: BTreeMap::new(),
        connect_timeout: Duration::from_secs(1),
        call_timeout: Duration::from_secs(1),
        max_answer_size: 1,
        max_answer_ratio: 1,
        max_redirects: 0,
        concurrency: 1,
        lookup: None,
    }
}
