//! AccessService.

use std::collections::BTreeSet;

use metagov_proto::v1::{
    AuditEntry as EntryMessage, CreateTokenRequest, CreateTokenResponse, ListAuditEntriesRequest,
    ListAuditEntriesResponse, ListTokensRequest, ListTokensResponse, RevokeTokenRequest,
    RevokeTokenResponse, Role as RoleMessage, Token as TokenMessage,
};
use tonic::{Request, Response, Status};

use super::{Api, convert, input, v1::access_service_server::AccessService};
use crate::{
    error::{Error, Result},
    gateway::NewToken,
    model::{AuditEntry, CommunityId, Principal, Role, Scope, Time, Token, TokenId},
};

const TOKENS: &str = "tokens";
const ENTRIES: &str = "audit-entries";
const MAX_NAME: usize = 200;
const MAX_COMMUNITIES: usize = 1000;

#[tonic::async_trait]
impl AccessService for Api {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let wanted = request
            .token
            .ok_or_else(|| Error::invalid("token", "is missing"))?;
        let new = new_token(wanted)?;
        let (token, bearer) = self.gateway.create_token(&entry.caller, new).await?;
        entry.set_subject(token.id.to_string());
        Ok(Response::new(CreateTokenResponse {
            token: Some(token.into()),
            secret: bearer.text(),
        }))
    }

    async fn list_tokens(
        &self,
        request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let after = input::after_page(TOKENS, &request.page_token, |text| {
            let (time, id) = text.split_once(' ')?;
            Some((Time(time.parse().ok()?), TokenId::parse(id)?))
        })?;
        let found = self
            .gateway
            .list_tokens(&entry.caller, after, size + 1)
            .await?;
        let (page, next_page_token) = input::page(found, size, |last| {
            input::page_token(TOKENS, &format!("{} {}", last.create_time.0, last.id))
        });
        let tokens = page.into_iter().map(Into::into).collect();
        Ok(Response::new(ListTokensResponse {
            tokens,
            next_page_token,
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let id = input::id("token_id", &request.token_id, TokenId::parse)?;
        self.gateway.revoke_token(&entry.caller, id).await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let (entry, request) = self.enter(request).await?;
        let size = input::page_size(request.page_size)?;
        let community_id = match request.community_id.as_str() {
            "" => None,
            text => Some(input::community_id("community_id", text)?),
        };
        let before = input::after_page(ENTRIES, &request.page_token, |text| text.parse().ok())?;
        let found = self
            .gateway
            .list_audit_entries(&entry.caller, community_id, before, size + 1)
            .await?;
        let (page, next_page_token) = input::page(found, size, |last| {
            input::page_token(ENTRIES, &last.number.to_string())
        });
        let entries = page.into_iter().map(Into::into).collect();
        Ok(Response::new(ListAuditEntriesResponse {
            entries,
            next_page_token,
        }))
    }
}

fn new_token(wanted: TokenMessage) -> Result<NewToken> {
    let expire_time = wanted
        .expire_time
        .map(|time| input::time("token.expire_time", time))
        .transpose()?;
    let principal = input::optional_text("token.principal", wanted.principal, MAX_NAME)?;
    Ok(NewToken {
        display_name: input::optional_text("token.display_name", wanted.display_name, MAX_NAME)?,
        role: role(wanted.role)?,
        scope: scope(&wanted.community_ids)?,
        expire_time,
        principal: principal_of(&principal)?,
    })
}

fn role(number: i32) -> Result<Role> {
    match RoleMessage::try_from(number) {
        Ok(RoleMessage::Reader) => Ok(Role::Reader),
        Ok(RoleMessage::Driver) => Ok(Role::Driver),
        Ok(RoleMessage::Admin) => Ok(Role::Admin),
        Ok(RoleMessage::Unspecified) | Err(_) => Err(Error::invalid(
            "token.role",
            "must be ROLE_READER, ROLE_DRIVER or ROLE_ADMIN",
        )),
    }
}

fn scope(ids: &[String]) -> Result<Scope> {
    if ids.is_empty() {
        return Ok(Scope::Everywhere);
    }
    if ids.len() > MAX_COMMUNITIES {
        let why = format!("has more than {MAX_COMMUNITIES} entries");
        return Err(Error::invalid("token.community_ids", why));
    }
    let communities: BTreeSet<CommunityId> = ids
        .iter()
        .map(|id| input::community_id("token.community_ids", id))
        .collect::<Result<_>>()?;
    Ok(Scope::Only(communities))
}

/// What is ours begins with a parenthesis.
fn principal_of(text: &str) -> Result<Option<Principal>> {
    match text {
        "" => Ok(None),
        text if text.starts_with('(') => Err(Error::invalid(
            "token.principal",
            "must not begin with a parenthesis",
        )),
        text => Ok(Some(Principal::trusted(text))),
    }
}

impl From<Token> for TokenMessage {
    fn from(token: Token) -> Self {
        let role = match token.role {
            Role::Reader => RoleMessage::Reader,
            Role::Driver => RoleMessage::Driver,
            Role::Admin => RoleMessage::Admin,
        };
        let communities = match token.scope {
            Scope::Everywhere => BTreeSet::new(),
            Scope::Only(communities) => communities,
        };
        Self {
            token_id: token.id.to_string(),
            display_name: token.display_name,
            role: role.into(),
            community_ids: communities.iter().map(ToString::to_string).collect(),
            expire_time: token.expire_time.map(convert::timestamp),
            create_time: Some(convert::timestamp(token.create_time)),
            last_use_time: token.last_use_time.map(convert::timestamp),
            principal: token.principal.to_string(),
        }
    }
}

impl From<AuditEntry> for EntryMessage {
    fn from(entry: AuditEntry) -> Self {
        Self {
            entry_number: entry.number,
            record_time: Some(convert::timestamp(entry.record_time)),
            token_id: entry.token_id,
            rpc: entry.rpc,
            community_id: entry.community_id,
            subject: entry.subject,
            code: entry.code,
            entry_hash: entry.hash.to_vec(),
        }
    }
}
