//! CommunityService.

use metagov_proto::v1::{
    CreateCommunityRequest, CreateCommunityResponse, DeleteCommunityRequest,
    DeleteCommunityResponse, GetCommunityRequest, GetCommunityResponse, ListCommunitiesRequest,
    ListCommunitiesResponse, UpdateCommunityRequest, UpdateCommunityResponse,
};
use tonic::{Request, Response, Status};

use super::{Api, input, v1::community_service_server::CommunityService};
use crate::{
    error::{Error, Result},
    gateway::CommunityChanges,
    model::{CommunityId, Time},
};

const MAX_NAME: usize = 200;
const LIST: &str = "communities";

#[tonic::async_trait]
impl CommunityService for Api {
    async fn create_community(
        &self,
        request: Request<CreateCommunityRequest>,
    ) -> Result<Response<CreateCommunityResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let CreateCommunityRequest {
            community,
            request_id,
        } = request;
        let key = input::request_key(&entry.caller, &request_id)?;
        let community = community.ok_or_else(|| Error::invalid("community", "is missing"))?;
        let id = input::community_id("community.community_id", &community.community_id)?;
        let name = display_name(community.display_name)?;
        let community = self.gateway.create_community(key, id, name).await?;
        let community = Some(community.into());
        Ok(Response::new(CreateCommunityResponse { community }))
    }

    async fn get_community(
        &self,
        request: Request<GetCommunityRequest>,
    ) -> Result<Response<GetCommunityResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let id = input::community_id("community_id", &request.community_id)?;
        let community = Some(self.gateway.get_community(&id).await?.into());
        Ok(Response::new(GetCommunityResponse { community }))
    }

    async fn list_communities(
        &self,
        request: Request<ListCommunitiesRequest>,
    ) -> Result<Response<ListCommunitiesResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let ListCommunitiesRequest {
            page_size,
            page_token,
        } = request;
        let size = input::page_size(page_size)?;
        let after = input::after_page(LIST, &page_token, |text| {
            let (time, id) = text.split_once(' ')?;
            Some((Time(time.parse().ok()?), CommunityId::parse(id)?))
        })?;
        let found = self
            .gateway
            .list_communities(entry.caller.scope(), after, size + 1)
            .await?;
        let (page, next_page_token) = input::page(found, size, |last| {
            input::page_token(LIST, &format!("{} {}", last.create_time.0, last.id))
        });
        let communities = page.into_iter().map(Into::into).collect();
        Ok(Response::new(ListCommunitiesResponse {
            communities,
            next_page_token,
        }))
    }

    async fn update_community(
        &self,
        request: Request<UpdateCommunityRequest>,
    ) -> Result<Response<UpdateCommunityResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let UpdateCommunityRequest {
            community,
            update_mask,
            allow_missing,
        } = request;
        let community = community.ok_or_else(|| Error::invalid("community", "is missing"))?;
        let id = input::community_id("community.community_id", &community.community_id)?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let masked = masks_display_name(&paths)?.unwrap_or(!community.display_name.is_empty());
        let display_name = masked
            .then(|| display_name(community.display_name))
            .transpose()?;
        let changes = CommunityChanges {
            display_name,
            etag: community.etag,
            // Else what is absent and what is not theirs would differ.
            allow_missing: allow_missing && entry.caller.governs(&id),
        };
        let (community, created) = self.gateway.update_community(id, changes).await?;
        let community = Some(community.into());
        Ok(Response::new(UpdateCommunityResponse {
            community,
            created,
        }))
    }

    async fn delete_community(
        &self,
        request: Request<DeleteCommunityRequest>,
    ) -> Result<Response<DeleteCommunityResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let DeleteCommunityRequest { community_id, etag } = request;
        let id = input::community_id("community_id", &community_id)?;
        self.gateway.delete_community(id, etag).await?;
        Ok(Response::new(DeleteCommunityResponse {}))
    }
}

fn display_name(name: String) -> Result<String> {
    input::optional_text("community.display_name", name, MAX_NAME)
}

/// Whether the mask names the one field that can change; `None` if it is empty.
fn masks_display_name(paths: &[String]) -> Result<Option<bool>> {
    for path in paths {
        if path != "display_name" && path != "*" {
            let why = format!("{path} cannot be changed; only display_name can");
            return Err(Error::invalid("update_mask", why));
        }
    }
    Ok((!paths.is_empty()).then_some(true))
}
