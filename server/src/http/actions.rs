//! `POST /api/action/<plugin>.<action>`: actions that anyone may perform.
//!
//! The community is in the header `X-Metagov-Community`, the body is
//! `{"parameters": {…}}` or empty, the answer is the result as JSON.

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use serde::Deserialize;
use serde_json::Value;

use super::{Place, Public, status::Failure};
use crate::{
    error::{Error, Thing},
    gateway::Performing,
    model::{CommunityId, JsonLimits, Object},
};

const COMMUNITY: &str = "x-metagov-community";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    parameters: Object,
}

/// Performs an action that needs no credential.
pub(super) async fn perform(
    State(public): State<Public>,
    Place(action): Place<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let unknown = || Failure::Error(Error::NotFound(Thing::Plugin(action.clone())));
    let descriptor = public.gateway.get_action(&action)?;
    if !descriptor.allow_anonymous {
        // From outside it does not exist.
        return Err(unknown());
    }
    let community_id = community(&headers)?;
    let body = public.body(&headers, body).await?;
    let asked = match body.is_empty() {
        true => Asked::default(),
        false => asked(&public.gateway.json_limits(), &body)?,
    };
    let performing = Performing {
        key: None,
        community_id,
        action,
        installation_id: None,
        parameters: asked.parameters,
    };
    Ok(Json(public.gateway.perform_action(performing).await?))
}

/// An object first of all: a list could be read as the fields of [`Asked`] too.
fn asked(limits: &JsonLimits, body: &[u8]) -> Result<Asked, Error> {
    let fields = limits.object("body", body)?;
    serde_json::from_value(Value::Object(fields))
        .map_err(|_| Error::invalid("body", "must be {\"parameters\": {…}}, and nothing more"))
}

fn community(headers: &HeaderMap) -> Result<CommunityId, Error> {
    let text = headers.get(COMMUNITY).and_then(|value| value.to_str().ok());
    let text =
        text.ok_or_else(|| Error::invalid("X-Metagov-Community", "the header is missing"))?;
    CommunityId::parse(text)
        .ok_or_else(|| Error::invalid("X-Metagov-Community", "the header is no community's id"))
}
