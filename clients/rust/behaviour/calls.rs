//! Single calls, waiting, and the way between JSON and Struct.

use std::time::Duration;

use metagov_client::{
    Client, from_struct, from_value, to_struct,
    v1::{GetCommunityRequest, PerformActionRequest},
};
use prost::Message;
use serde_json::json;

use crate::said::{Fault, say};

pub(crate) async fn get_community(client: &mut Client, community_id: String) -> Result<(), Fault> {
    let request = GetCommunityRequest { community_id };
    let answer = client.communities.get_community(request).await?;
    let community = answer.into_inner().community.unwrap_or_default();
    say(&json!({
        "community_id": community.community_id,
        "display_name": community.display_name,
    }));
    Ok(())
}

pub(crate) async fn perform(
    client: &mut Client,
    community_id: String,
    action: String,
    parameters: &str,
) -> Result<(), Fault> {
    let request = PerformActionRequest {
        community_id,
        action,
        parameters: Some(to_struct(serde_json::from_str(parameters)?)?),
        ..Default::default()
    };
    let answer = client.actions.perform_action(request).await?;
    let result = from_value(answer.into_inner().result.unwrap_or_default())?;
    say(&json!({ "result": result }));
    Ok(())
}

pub(crate) async fn wait(
    client: &Client,
    process_id: &str,
    limit: Option<Duration>,
) -> Result<(), Fault> {
    let process = client.wait_for_process(process_id, limit).await?;
    let state = process.state().as_str_name();
    say(&json!({
        "state": state.trim_start_matches("PROCESS_STATE_"),
        "leading": process.tally.unwrap_or_default().leading_options,
        "outcome": from_struct(process.outcome.unwrap_or_default())?,
    }));
    Ok(())
}

pub(crate) fn there_and_back(json: &str) -> Result<(), Fault> {
    let bytes = to_struct(serde_json::from_str(json)?)?.encode_to_vec();
    let fields = prost_types::Struct::decode(&*bytes).map_err(Fault::of_input)?;
    say(&json!({ "struct": from_struct(fields)? }));
    Ok(())
}
