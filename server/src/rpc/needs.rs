//! What each request needs: a role, and that what it is about is the caller's. The
//! whole table on one page; [`Api::enter`] is the one place where it is asked for.
//!
//! A handler cannot read its message without `enter`, unless it goes around it; then
//! `call.rs` lets no answer out, since nobody authorised it.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use metagov_proto::v1 as proto;
use tonic::Request;

use super::{Api, input};
use crate::{
    error::{Error, Result},
    gateway::{About, Gateway},
    model::{
        Caller, CommunityId, DeliveryId, IdentityId, InstallationId, ProcessId,
        Role::{self, Admin, Driver, Reader},
    },
};

/// A call that is on its way: who calls, and what became known of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) caller: Caller,
    community: OnceLock<Option<CommunityId>>,
    subject: Mutex<String>,
    refused: AtomicBool,
}

impl Entry {
    pub(super) fn new(caller: Caller) -> Self {
        Self {
            caller,
            community: OnceLock::new(),
            subject: Mutex::default(),
            refused: AtomicBool::new(false),
        }
    }

    /// Whether it was authorised.
    pub(super) fn is_authorised(&self) -> bool {
        self.community.get().is_some()
    }

    /// Whether it was refused by [`Gateway::authorise`].
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The community that it is about.
    pub(super) fn community(&self) -> Option<CommunityId> {
        self.community.get().cloned().flatten()
    }

    /// What it is about: an id, or a name.
    pub(super) fn subject(&self) -> String {
        let subject = self.subject.lock();
        subject.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_subject(&self, subject: String) {
        // Who calls chooses it, and rows are kept.
        let short = subject.chars().take(200).collect();
        *self.subject.lock().unwrap_or_else(PoisonError::into_inner) = short;
    }
}

impl Api {
    /// Lets a call in: its message, if its caller may ask for that.
    pub(super) async fn enter<R: Asks>(&self, request: Request<R>) -> Result<(Arc<Entry>, R)> {
        let (_, extensions, message) = request.into_parts();
        let entry = extensions.get::<Arc<Entry>>().cloned();
        let entry = entry.ok_or_else(|| Error::internal("a call came in without its caller"))?;
        entry.set_subject(message.subject());
        let needs = message.needs(&self.gateway);
        let about = message.about()?;
        let authorised = self.gateway.authorise(&entry.caller, needs, &about).await;
        match authorised {
            // An error means that it was asked before; the first answer stands.
            Ok(community) => _ = entry.community.set(community),
            Err(error) => {
                entry.refused.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok((entry, message))
    }
}

/// What a request needs.
pub(super) trait Asks {
    /// The least role; none if anybody may.
    fn needs(&self, gateway: &Gateway) -> Option<Role>;
    /// What it is about. All of it must be the caller's.
    fn about(&self) -> Result<Vec<About>>;
    /// The same for the audit: an id, or a name.
    fn subject(&self) -> String;
}

/// A line for each request: role, what it is about, what it is called in the audit.
macro_rules! requests {
    ($($request:ident: $role:ident, |$it:ident| $about:expr, $subject:expr;)+) => {$(
        impl Asks for proto::$request {
            fn needs(&self, _: &Gateway) -> Option<Role> {
                Some($role)
            }
            fn about(&self) -> Result<Vec<About>> {
                let $it = self;
                _ = $it;
                Ok($about)
            }
            fn subject(&self) -> String {
                let $it = self;
                _ = $it;
                $subject.clone()
            }
        }
    )+};
}

requests! {
    CreateCommunityRequest: Driver, |r| vec![About::NewCommunity(named(&r.community)?)], id_of(&r.community);
    GetCommunityRequest: Reader, |r| community(&r.community_id)?, r.community_id;
    ListCommunitiesRequest: Reader, |r| vec![], String::new();
    UpdateCommunityRequest: Driver, |r| vec![About::Community(named(&r.community)?)], id_of(&r.community);
    DeleteCommunityRequest: Driver, |r| vec![About::OldCommunity(input::community_id("community_id", &r.community_id)?)], r.community_id;

    ListPluginsRequest: Reader, |r| vec![], String::new();
    GetPluginRequest: Reader, |r| vec![], String::new();
    EnablePluginRequest: Driver, |r| community(&r.community_id)?, r.plugin;
    AuthorizePluginRequest: Driver, |r| authorizing(r)?, r.plugin;
    GetInstallationRequest: Reader, |r| installation(&r.installation_id)?, r.installation_id;
    ListInstallationsRequest: Reader, |r| community(&r.community_id)?, r.community_id;
    UpdateInstallationRequest: Driver, |r| installation(&r.installation_id)?, r.installation_id;
    DisablePluginRequest: Driver, |r| installation(&r.installation_id)?, r.installation_id;
    CheckInstallationRequest: Driver, |r| installation(&r.installation_id)?, r.installation_id;
    RotateWebhookRequest: Driver, |r| installation(&r.installation_id)?, r.installation_id;
    ListDeliveriesRequest: Reader, |r| community(&r.community_id)?, r.community_id;
    RetryDeliveryRequest: Driver, |r| delivery(&r.delivery_id)?, r.delivery_id;

    StartProcessRequest: Driver, |r| community(&r.community_id)?, r.process_type;
    GetProcessRequest: Reader, |r| process(&r.process_id)?, r.process_id;
    ListProcessesRequest: Reader, |r| communities(&r.community_ids)?, String::new();
    WatchProcessRequest: Reader, |r| process(&r.process_id)?, r.process_id;
    CloseProcessRequest: Driver, |r| process(&r.process_id)?, r.process_id;
    CancelProcessRequest: Driver, |r| process(&r.process_id)?, r.process_id;

    WatchEventsRequest: Reader, |r| vec![], String::new();
    ListEventsRequest: Reader, |r| vec![], String::new();

    // A principal's own, whatever its role: others' have other names.
    CreateSubscriptionRequest: Reader, |r| vec![], r.subscription.as_ref().map_or(String::new(), |s| s.subscription_id.clone());
    GetSubscriptionRequest: Reader, |r| vec![], r.subscription_id;
    ListSubscriptionsRequest: Reader, |r| vec![], String::new();
    AcknowledgeEventsRequest: Reader, |r| vec![], r.subscription_id;
    SeekSubscriptionRequest: Reader, |r| vec![], r.subscription_id;
    DeleteSubscriptionRequest: Reader, |r| vec![], r.subscription_id;

    CreateIdentityRequest: Driver, |r| community(&r.community_id)?, r.community_id;
    GetIdentityRequest: Reader, |r| identity("identity_id", &r.identity_id)?, r.identity_id;
    ListIdentitiesRequest: Reader, |r| community(&r.community_id)?, r.community_id;
    MergeIdentitiesRequest: Driver, |r| merging(r)?, r.primary_identity_id;
    LinkAccountRequest: Driver, |r| identity("identity_id", &r.identity_id)?, r.identity_id;
    UnlinkAccountRequest: Driver, |r| community(&r.community_id)?, r.provider;

    CreateTokenRequest: Admin, |r| vec![], String::new();
    ListTokensRequest: Admin, |r| vec![], String::new();
    RevokeTokenRequest: Admin, |r| vec![], r.token_id;
    ListAuditEntriesRequest: Admin, |r| maybe_community(&r.community_id)?, r.community_id;
}

/// Anybody may perform what the plugin lets anybody perform.
impl Asks for proto::PerformActionRequest {
    fn needs(&self, gateway: &Gateway) -> Option<Role> {
        let action = gateway.get_action(&self.action);
        let is_open = action.is_ok_and(|action| action.allow_anonymous);
        (!is_open).then_some(Driver)
    }

    fn about(&self) -> Result<Vec<About>> {
        community(&self.community_id)
    }

    fn subject(&self) -> String {
        self.action.clone()
    }
}

fn community(text: &str) -> Result<Vec<About>> {
    let id = input::community_id("community_id", text)?;
    Ok(vec![About::Community(id)])
}

fn maybe_community(text: &str) -> Result<Vec<About>> {
    match text {
        "" => Ok(Vec::new()),
        text => community(text),
    }
}

fn communities(texts: &[String]) -> Result<Vec<About>> {
    let each = texts
        .iter()
        .map(|text| input::community_id("community_ids", text).map(About::Community));
    each.collect()
}

fn named(community: &Option<proto::Community>) -> Result<CommunityId> {
    let missing = || Error::invalid("community", "is missing");
    let community = community.as_ref().ok_or_else(missing)?;
    input::community_id("community.community_id", &community.community_id)
}

fn id_of(community: &Option<proto::Community>) -> String {
    let id = community.as_ref().map(|community| &community.community_id);
    id.cloned().unwrap_or_default()
}

fn installation(text: &str) -> Result<Vec<About>> {
    let id = input::id("installation_id", text, InstallationId::parse)?;
    Ok(vec![About::Installation(id)])
}

fn process(text: &str) -> Result<Vec<About>> {
    let id = input::id("process_id", text, ProcessId::parse)?;
    Ok(vec![About::Process(id)])
}

fn delivery(text: &str) -> Result<Vec<About>> {
    let id = input::id("delivery_id", text, DeliveryId::parse)?;
    Ok(vec![About::Delivery(id)])
}

fn identity(field: &str, text: &str) -> Result<Vec<About>> {
    let id = input::id(field, text, IdentityId::parse)?;
    Ok(vec![About::Identity(id)])
}

fn merging(it: &proto::MergeIdentitiesRequest) -> Result<Vec<About>> {
    let mut both = identity("primary_identity_id", &it.primary_identity_id)?;
    both.extend(identity(
        "secondary_identity_id",
        &it.secondary_identity_id,
    )?);
    Ok(both)
}

fn authorizing(it: &proto::AuthorizePluginRequest) -> Result<Vec<About>> {
    let mut about = community(&it.community_id)?;
    if !it.identity_id.is_empty() {
        about.extend(identity("identity_id", &it.identity_id)?);
    }
    Ok(about)
}
