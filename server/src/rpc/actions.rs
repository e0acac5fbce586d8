//! ActionService.

use metagov_proto::{
    json,
    v1::{PerformActionRequest, PerformActionResponse},
};
use tonic::{Request, Response, Status};

use super::{Api, input, v1::action_service_server::ActionService};
use crate::{error::Result, gateway::Performing, model::InstallationId};

#[tonic::async_trait]
impl ActionService for Api {
    async fn perform_action(
        &self,
        request: Request<PerformActionRequest>,
    ) -> Result<Response<PerformActionResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let performing = Performing {
            key: input::request_key(&entry.caller, &request.request_id)?,
            community_id: input::community_id("community_id", &request.community_id)?,
            action: input::text("action", request.action, 200)?,
            installation_id: input::optional_id(
                "installation_id",
                &request.installation_id,
                InstallationId::parse,
            )?,
            parameters: self.object("parameters", request.parameters)?,
        };
        let result = self.gateway.perform_action(performing).await?;
        let result = Some(json::value_from_json(result));
        Ok(Response::new(PerformActionResponse { result }))
    }
}
