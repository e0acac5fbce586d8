//! ProcessService.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use metagov_proto::v1::{
    CancelProcessRequest, CancelProcessResponse, CloseProcessRequest, CloseProcessResponse,
    GetProcessRequest, GetProcessResponse, ListProcessesRequest, ListProcessesResponse,
    StartProcessRequest, StartProcessResponse, WatchProcessRequest, WatchProcessResponse,
};
use tonic::{Request, Response, Status};

use super::{Api, convert, input, v1::process_service_server::ProcessService};
use crate::{
    error::Result,
    gateway::{ProcessFilter, Starting},
    model::{InstallationId, ProcessId},
};

const LIST: &str = "processes";

#[tonic::async_trait]
impl ProcessService for Api {
    type WatchProcessStream =
        Pin<Box<dyn Stream<Item = Result<WatchProcessResponse, Status>> + Send>>;

    async fn start_process(
        &self,
        request: Request<StartProcessRequest>,
    ) -> Result<Response<StartProcessResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let close_time = request
            .close_time
            .map(|time| input::time("close_time", time));
        let starting = Starting {
            key: input::request_key(&entry.caller, &request.request_id)?,
            community_id: input::community_id("community_id", &request.community_id)?,
            process_type: input::text("process_type", request.process_type, 200)?,
            installation_id: input::optional_id(
                "installation_id",
                &request.installation_id,
                InstallationId::parse,
            )?,
            parameters: self.object("parameters", request.parameters)?,
            close_time: close_time.transpose()?,
        };
        let process = Some(self.gateway.start_process(starting).await?.into());
        Ok(Response::new(StartProcessResponse { process }))
    }

    async fn get_process(
        &self,
        request: Request<GetProcessRequest>,
    ) -> Result<Response<GetProcessResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let id = process_id(&request.process_id)?;
        let process = Some(self.gateway.get_process(id).await?.into());
        Ok(Response::new(GetProcessResponse { process }))
    }

    async fn list_processes(
        &self,
        request: Request<ListProcessesRequest>,
    ) -> Result<Response<ListProcessesResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let ids = request.community_ids.iter();
        let wanted = ProcessFilter {
            scope: entry.caller.scope(),
            community_ids: ids
                .map(|id| input::community_id("community_ids", id))
                .collect::<Result<_>>()?,
            installation_id: None,
            states: request
                .states
                .into_iter()
                .map(convert::process_state)
                .collect::<Result<_>>()?,
            process_type: Some(request.process_type).filter(|name| !name.is_empty()),
            before: input::after_page(LIST, &request.page_token, ProcessId::parse)?,
        };
        let found = self.gateway.list_processes(wanted, size + 1).await?;
        let (page, next_page_token) = input::page(found, size, |last| {
            input::page_token(LIST, &last.id.to_string())
        });
        let processes = page.into_iter().map(Into::into).collect();
        Ok(Response::new(ListProcessesResponse {
            processes,
            next_page_token,
        }))
    }

    async fn watch_process(
        &self,
        request: Request<WatchProcessRequest>,
    ) -> Result<Response<Self::WatchProcessStream>, Status> {
        let (_, request) = self.enter(request).await?;
        let WatchProcessRequest {
            process_id: id,
            heartbeat_interval,
        } = request;
        let heartbeat = input::heartbeat(heartbeat_interval)?;
        let states = self
            .gateway
            .watch_process(process_id(&id)?, heartbeat)
            .await?;
        let answers = states.map(|process| {
            let process = Some(process?.into());
            Ok(WatchProcessResponse { process })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn close_process(
        &self,
        request: Request<CloseProcessRequest>,
    ) -> Result<Response<CloseProcessResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let id = process_id(&request.process_id)?;
        let process = self.gateway.close_process(id, "a driver closed it").await?;
        let process = Some(process.into());
        Ok(Response::new(CloseProcessResponse { process }))
    }

    async fn cancel_process(
        &self,
        request: Request<CancelProcessRequest>,
    ) -> Result<Response<CancelProcessResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let CancelProcessRequest {
            process_id: id,
            reason,
        } = request;
        let reason = input::optional_text("reason", reason, 1000)?;
        let process = self
            .gateway
            .cancel_process(process_id(&id)?, reason)
            .await?;
        let process = Some(process.into());
        Ok(Response::new(CancelProcessResponse { process }))
    }
}

fn process_id(text: &str) -> Result<ProcessId> {
    input::id("process_id", text, ProcessId::parse)
}
