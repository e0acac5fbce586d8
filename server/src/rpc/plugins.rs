//! PluginService.

use metagov_proto::v1::{
    AuthorizePluginRequest, AuthorizePluginResponse, CheckInstallationRequest,
    CheckInstallationResponse, DisablePluginRequest, DisablePluginResponse, EnablePluginRequest,
    EnablePluginResponse, GetInstallationRequest, GetInstallationResponse, GetPluginRequest,
    GetPluginResponse, ListDeliveriesRequest, ListDeliveriesResponse, ListInstallationsRequest,
    ListInstallationsResponse, ListPluginsRequest, ListPluginsResponse, RetryDeliveryRequest,
    RetryDeliveryResponse, RotateWebhookRequest, RotateWebhookResponse, UpdateInstallationRequest,
    UpdateInstallationResponse,
};
use tonic::{Request, Response, Status};

use super::{Api, convert, input, v1::plugin_service_server::PluginService};
use crate::{
    error::Result,
    gateway::{Authorizing, DeliveryFilter, Enabling},
    model::{Caller, DeliveryId, IdentityId, Installation, InstallationId, Role},
};

const INSTALLATIONS: &str = "installations";
const DELIVERIES: &str = "deliveries";
const MAX_NAME: usize = 100;
const MAX_URL: usize = 2048;
const MAX_STATE: usize = 1024;

#[tonic::async_trait]
impl PluginService for Api {
    async fn list_plugins(
        &self,
        request: Request<ListPluginsRequest>,
    ) -> Result<Response<ListPluginsResponse>, Status> {
        self.enter(request).await?;
        let plugins = self
            .gateway
            .list_plugins()
            .into_iter()
            .map(Into::into)
            .collect();
        Ok(Response::new(ListPluginsResponse { plugins }))
    }

    async fn get_plugin(
        &self,
        request: Request<GetPluginRequest>,
    ) -> Result<Response<GetPluginResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let name = input::text("plugin", request.plugin, MAX_NAME)?;
        let plugin = Some(self.gateway.get_plugin(&name)?.into());
        Ok(Response::new(GetPluginResponse { plugin }))
    }

    async fn enable_plugin(
        &self,
        request: Request<EnablePluginRequest>,
    ) -> Result<Response<EnablePluginResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let enabling = Enabling {
            key: input::request_key(&entry.caller, &request.request_id)?,
            community_id: input::community_id("community_id", &request.community_id)?,
            plugin: input::text("plugin", request.plugin, MAX_NAME)?,
            config: self.object("config", request.config)?,
            by_admin: entry.caller.is_admin_everywhere(),
        };
        let installation = self.shown(&entry.caller, self.gateway.enable_plugin(enabling).await?);
        Ok(Response::new(EnablePluginResponse { installation }))
    }

    async fn authorize_plugin(
        &self,
        request: Request<AuthorizePluginRequest>,
    ) -> Result<Response<AuthorizePluginResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let wanted = Authorizing {
            community_id: input::community_id("community_id", &request.community_id)?,
            plugin: input::text("plugin", request.plugin, MAX_NAME)?,
            purpose: convert::purpose("purpose", request.purpose)?,
            identity_id: input::optional_id(
                "identity_id",
                &request.identity_id,
                IdentityId::parse,
            )?,
            redirect_uri: input::text("redirect_uri", request.redirect_uri, MAX_URL)?,
            state: input::optional_text("state", request.state, MAX_STATE)?,
        };
        let (url, expire_time) = self.gateway.authorize_plugin(wanted).await?;
        Ok(Response::new(AuthorizePluginResponse {
            authorize_url: url.into(),
            expire_time: Some(convert::timestamp(expire_time)),
        }))
    }

    async fn get_installation(
        &self,
        request: Request<GetInstallationRequest>,
    ) -> Result<Response<GetInstallationResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let id = installation_id(&request.installation_id)?;
        let installation = self.shown(&entry.caller, self.gateway.get_installation(id).await?);
        Ok(Response::new(GetInstallationResponse { installation }))
    }

    async fn list_installations(
        &self,
        request: Request<ListInstallationsRequest>,
    ) -> Result<Response<ListInstallationsResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let community_id = input::community_id("community_id", &request.community_id)?;
        let plugin = Some(request.plugin).filter(|name| !name.is_empty());
        let after = input::after_page(INSTALLATIONS, &request.page_token, InstallationId::parse)?;
        let found = self
            .gateway
            .list_installations(community_id, plugin, after, size + 1)
            .await?;
        let (page, next_page_token) = input::page(found, size, |last| {
            input::page_token(INSTALLATIONS, &last.id.to_string())
        });
        let installations = page
            .into_iter()
            .filter_map(|one| self.shown(&entry.caller, one))
            .collect();
        Ok(Response::new(ListInstallationsResponse {
            installations,
            next_page_token,
        }))
    }

    async fn update_installation(
        &self,
        request: Request<UpdateInstallationRequest>,
    ) -> Result<Response<UpdateInstallationResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let id = installation_id(&request.installation_id)?;
        let patch = self.object("config_patch", request.config_patch)?;
        let updated = self
            .gateway
            .update_installation(id, patch, request.etag)
            .await?;
        let installation = self.shown(&entry.caller, updated);
        Ok(Response::new(UpdateInstallationResponse { installation }))
    }

    async fn disable_plugin(
        &self,
        request: Request<DisablePluginRequest>,
    ) -> Result<Response<DisablePluginResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let DisablePluginRequest {
            installation_id: id,
            etag,
        } = request;
        self.gateway
            .disable_plugin(installation_id(&id)?, etag)
            .await?;
        Ok(Response::new(DisablePluginResponse {}))
    }

    async fn check_installation(
        &self,
        request: Request<CheckInstallationRequest>,
    ) -> Result<Response<CheckInstallationResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let id = installation_id(&request.installation_id)?;
        let installation = self.shown(&entry.caller, self.gateway.check_installation(id).await?);
        Ok(Response::new(CheckInstallationResponse { installation }))
    }

    async fn rotate_webhook(
        &self,
        request: Request<RotateWebhookRequest>,
    ) -> Result<Response<RotateWebhookResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let RotateWebhookRequest {
            installation_id: id,
            old_expire_time,
        } = request;
        let until = old_expire_time
            .map(|time| input::time("old_expire_time", time))
            .transpose()?;
        let rotated = self
            .gateway
            .rotate_webhook(installation_id(&id)?, until)
            .await?;
        let installation = self.shown(&entry.caller, rotated);
        Ok(Response::new(RotateWebhookResponse { installation }))
    }

    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let community_id = input::community_id("community_id", &request.community_id)?;
        let id = input::optional_id(
            "installation_id",
            &request.installation_id,
            InstallationId::parse,
        )?;
        let wanted = DeliveryFilter {
            installation_ids: Vec::new(),
            states: request
                .states
                .into_iter()
                .map(convert::delivery_state)
                .collect::<Result<_>>()?,
            before: input::after_page(DELIVERIES, &request.page_token, DeliveryId::parse)?,
        };
        let found = self
            .gateway
            .list_deliveries(community_id, id, wanted, size + 1)
            .await?;
        let (page, next_page_token) = input::page(found, size, |last| {
            input::page_token(DELIVERIES, &last.id.to_string())
        });
        let deliveries = page.into_iter().map(Into::into).collect();
        Ok(Response::new(ListDeliveriesResponse {
            deliveries,
            next_page_token,
        }))
    }

    async fn retry_delivery(
        &self,
        request: Request<RetryDeliveryRequest>,
    ) -> Result<Response<RetryDeliveryResponse>, Status> {
        let (_, request) = self.enter(request).await?;
        let id = request.delivery_id;
        let id = input::id("delivery_id", &id, DeliveryId::parse)?;
        let delivery = Some(self.gateway.retry_delivery(id).await?.into());
        Ok(Response::new(RetryDeliveryResponse { delivery }))
    }
}

impl Api {
    /// The webhook's address is a secret: who only reads does not see it.
    fn shown(
        &self,
        caller: &Caller,
        installation: Installation,
    ) -> Option<metagov_proto::v1::Installation> {
        let mut shown = convert::installation(&self.gateway, installation);
        if caller.role() < Some(Role::Driver) {
            shown.webhook_url.clear();
        }
        Some(shown)
    }
}

fn installation_id(text: &str) -> Result<InstallationId> {
    input::id("installation_id", text, InstallationId::parse)
}
