//! IdentityService.

use metagov_proto::v1::{
    Account as AccountMessage, CreateIdentityRequest, CreateIdentityResponse, GetIdentityRequest,
    GetIdentityResponse, LinkAccountRequest, LinkAccountResponse, ListIdentitiesRequest,
    ListIdentitiesResponse, MergeIdentitiesRequest, MergeIdentitiesResponse, UnlinkAccountRequest,
    UnlinkAccountResponse,
};
use tonic::{Request, Response, Status};

use super::{Api, convert, input, v1::identity_service_server::IdentityService};
use crate::{
    error::{Error, Result},
    gateway::{AccountKey, IdentityFilter},
    model::{Account, IdentityId, LinkMethod, LinkQuality},
};

const LIST: &str = "identities";
const MAX_NAME: usize = 200;
const MAX_IDS: usize = 1000;

#[tonic::async_trait]
impl IdentityService for Api {
    async fn create_identity(
        &self,
        request: Request<CreateIdentityRequest>,
    ) -> Result<Response<CreateIdentityResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let CreateIdentityRequest {
            community_id,
            request_id,
        } = request;
        let key = input::request_key(&entry.caller, &request_id)?;
        let community_id = input::community_id("community_id", &community_id)?;
        let identity = self.gateway.create_identity(key, community_id).await?;
        let identity = Some(identity.into());
        Ok(Response::new(CreateIdentityResponse { identity }))
    }

    async fn get_identity(
        &self,
        request: Request<GetIdentityRequest>,
    ) -> Result<Response<GetIdentityResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let id = identity_id("identity_id", &request.identity_id)?;
        let identity = Some(self.gateway.get_identity(id).await?.into());
        Ok(Response::new(GetIdentityResponse { identity }))
    }

    async fn list_identities(
        &self,
        request: Request<ListIdentitiesRequest>,
    ) -> Result<Response<ListIdentitiesResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let found = self
            .gateway
            .list_identities(filter(request)?, size + 1)
            .await?;
        let (page, next_page_token) = input::page(found, size, |last| {
            input::page_token(LIST, &last.id.to_string())
        });
        let identities = page.into_iter().map(Into::into).collect();
        Ok(Response::new(ListIdentitiesResponse {
            identities,
            next_page_token,
        }))
    }

    async fn merge_identities(
        &self,
        request: Request<MergeIdentitiesRequest>,
    ) -> Result<Response<MergeIdentitiesResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let primary = identity_id("primary_identity_id", &request.primary_identity_id)?;
        let secondary = identity_id("secondary_identity_id", &request.secondary_identity_id)?;
        let identity = self.gateway.merge_identities(primary, secondary).await?;
        let identity = Some(identity.into());
        Ok(Response::new(MergeIdentitiesResponse { identity }))
    }

    async fn link_account(
        &self,
        request: Request<LinkAccountRequest>,
    ) -> Result<Response<LinkAccountResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let LinkAccountRequest {
            identity_id: id,
            account: linked,
        } = request;
        let id = identity_id("identity_id", &id)?;
        let linked = linked.ok_or_else(|| Error::invalid("account", "is missing"))?;
        let identity = self.gateway.link_account(id, self.account(linked)?).await?;
        let identity = Some(identity.into());
        Ok(Response::new(LinkAccountResponse { identity }))
    }

    async fn unlink_account(
        &self,
        request: Request<UnlinkAccountRequest>,
    ) -> Result<Response<UnlinkAccountResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let key = AccountKey {
            community_id: input::community_id("community_id", &request.community_id)?,
            provider: input::text("provider", request.provider, MAX_NAME)?,
            platform_id: input::optional_text("platform_id", request.platform_id, MAX_NAME)?,
            user_id: input::text("user_id", request.user_id, MAX_NAME)?,
        };
        self.gateway.unlink_account(key).await?;
        Ok(Response::new(UnlinkAccountResponse {}))
    }
}

fn identity_id(field: &str, text: &str) -> Result<IdentityId> {
    input::id(field, text, IdentityId::parse)
}

impl Api {
    fn account(&self, account: AccountMessage) -> Result<Account> {
        Ok(Account {
            provider: input::text("account.provider", account.provider, MAX_NAME)?,
            platform_id: input::optional_text(
                "account.platform_id",
                account.platform_id,
                MAX_NAME,
            )?,
            user_id: input::text("account.user_id", account.user_id, MAX_NAME)?,
            link_method: convert::link_method("account.link_method", account.link_method)?,
            link_quality: convert::link_quality("account.link_quality", account.link_quality)?,
            custom_data: self.object("account.custom_data", account.custom_data)?,
        })
    }
}

fn filter(request: ListIdentitiesRequest) -> Result<IdentityFilter> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let (provider, user_id) = (given(request.provider), given(request.user_id));
    if user_id.is_some() && provider.is_none() {
        return Err(Error::invalid("provider", "is missing; user_id needs it"));
    }
    if request.identity_ids.len() > MAX_IDS {
        return Err(Error::invalid(
            "identity_ids",
            format!("has more than {MAX_IDS} entries"),
        ));
    }
    let method = convert::link_method("link_method", request.link_method)?;
    let quality = convert::link_quality("min_link_quality", request.min_link_quality)?;
    let ids = request.identity_ids.iter();
    Ok(IdentityFilter {
        community_id: input::community_id("community_id", &request.community_id)?,
        provider,
        user_id,
        platform_id: given(request.platform_id),
        link_method: Some(method).filter(|method| *method != LinkMethod::Unknown),
        min_link_quality: Some(quality).filter(|quality| *quality != LinkQuality::Unknown),
        ids: ids
            .map(|id| identity_id("identity_ids", id))
            .collect::<Result<_>>()?,
        after: input::after_page(LIST, &request.page_token, IdentityId::parse)?,
    })
}
