//! A first driver: a lucky number, and a vote on lunch that is followed to its outcome.

use std::{env, error::Error, time::Duration, time::SystemTime};

use metagov_client::v1::{event::Payload, watch_events_request::Start, *};
use metagov_client::{connect, from_value, to_struct};
use serde_json::json;
use tonic::{Code, Status};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut client = connect()?;
    let id = env::args().nth(1).unwrap_or("example".to_owned());
    let community = Some(Community { community_id: id.clone(), ..Default::default() });
    let create = CreateCommunityRequest { community, ..Default::default() };
    unless_there(client.communities.create_community(create).await)?;
    let numbers = json!({"default_low": 0, "default_high": 10});
    for (plugin, config) in [("randomness", numbers), ("ballot", json!({}))] {
        let (community_id, plugin) = (id.clone(), plugin.to_owned());
        let config = Some(to_struct(config)?);
        let enable = EnablePluginRequest { community_id, plugin, config, ..Default::default() };
        unless_there(client.plugins.enable_plugin(enable).await)?;
    }
    let mut perform = async |action: &str, parameters| -> Result<_, Box<dyn Error>> {
        let (community_id, action) = (id.clone(), action.to_owned());
        let parameters = Some(to_struct(parameters)?);
        let it = PerformActionRequest { community_id, action, parameters, ..Default::default() };
        let answer = client.actions.perform_action(it).await?.into_inner();
        Ok(from_value(answer.result.unwrap_or_default())?)
    };
    let lucky = perform("randomness.random-int", json!({"low": 1, "high": 7})).await?;
    println!("lucky number: {}", lucky["value"]);
    let vote = StartProcessRequest {
        community_id: id.clone(),
        process_type: "ballot.vote".to_owned(),
        parameters: Some(to_struct(json!({"title": "Lunch?", "options": ["soup", "bread"]}))?),
        close_time: Some((SystemTime::now() + Duration::from_secs(5)).into()),
        ..Default::default()
    };
    let vote = client.processes.start_process(vote).await?.into_inner();
    let vote = vote.process.unwrap_or_default().process_id;
    let ballot = json!({"process_id": vote, "voter": "ada", "choices": ["soup"]});
    perform("ballot.cast", ballot).await?;
    let filter = Some(EventFilter { process_ids: vec![vote], ..Default::default() });
    let start = Some(Start::StartAt(StartAt::Earliest.into()));
    let mut events = client.watch(WatchEventsRequest { filter, start, ..Default::default() });
    while let Some(Payload::ProcessChanged(change)) = events.next().await?.payload {
        let process = change.process.unwrap_or_default();
        if process.state() == ProcessState::Completed {
            println!("decided: {}", process.tally.unwrap_or_default().leading_options.join(", "));
            break;
        }
    }
    Ok(())
}

fn unless_there<T>(answer: Result<T, Status>) -> Result<(), Status> {
    answer.map(drop).or_else(|e| if e.code() == Code::AlreadyExists { Ok(()) } else { Err(e) })
}
