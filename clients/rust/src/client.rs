//! The services of one gateway.

use metagov_proto::v1::{
    access_service_client::AccessServiceClient, action_service_client::ActionServiceClient,
    community_service_client::CommunityServiceClient, event_service_client::EventServiceClient,
    identity_service_client::IdentityServiceClient, plugin_service_client::PluginServiceClient,
    process_service_client::ProcessServiceClient,
    subscription_service_client::SubscriptionServiceClient,
};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::Bearer;

/// The largest answer that is taken: 64 MiB.
const LARGEST: usize = 64 << 20;

/// The way of every call: one connection, and the token.
pub type Way = InterceptedService<Channel, Bearer>;

/// The services of one gateway, each as tonic makes it.
///
/// A clone is cheap and uses the same connection; a call needs one that is `mut`:
///
/// ```no_run
/// # use metagov_client::{connect, v1::GetCommunityRequest};
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = connect()?;
/// let community_id = "garden".to_owned();
/// let answer = client.communities.get_community(GetCommunityRequest { community_id });
/// println!("{:?}", answer.await?.into_inner().community);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    /// Tokens, and who changed what.
    pub access: AccessServiceClient<Way>,
    /// What is done at once.
    pub actions: ActionServiceClient<Way>,
    /// The tenants.
    pub communities: CommunityServiceClient<Way>,
    /// The feed; [`Client::watch`] reads it without an end.
    pub events: EventServiceClient<Way>,
    /// Who is who on which platform.
    pub identities: IdentityServiceClient<Way>,
    /// The catalogue and what is enabled.
    pub plugins: PluginServiceClient<Way>,
    /// Decisions; [`Client::wait_for_process`] waits for one.
    pub processes: ProcessServiceClient<Way>,
    /// Places in the feed that the gateway keeps.
    pub subscriptions: SubscriptionServiceClient<Way>,
    endpoint: Endpoint,
    way: Way,
    bearer: Bearer,
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint, channel: Channel, bearer: Bearer) -> Self {
        let way = || InterceptedService::new(channel.clone(), bearer.clone());
        Self {
            access: AccessServiceClient::new(way()).max_decoding_message_size(LARGEST),
            actions: ActionServiceClient::new(way()).max_decoding_message_size(LARGEST),
            communities: CommunityServiceClient::new(way()).max_decoding_message_size(LARGEST),
            events: EventServiceClient::new(way()).max_decoding_message_size(LARGEST),
            identities: IdentityServiceClient::new(way()).max_decoding_message_size(LARGEST),
            plugins: PluginServiceClient::new(way()).max_decoding_message_size(LARGEST),
            processes: ProcessServiceClient::new(way()).max_decoding_message_size(LARGEST),
            subscriptions: SubscriptionServiceClient::new(way()).max_decoding_message_size(LARGEST),
            endpoint,
            way: way(),
            bearer,
        }
    }

    /// The way to the gateway, for what is no service of the contract: gRPC's health and
    /// reflection, or a GET of `/readyz`.
    pub fn way(&self) -> Way {
        self.way.clone()
    }

    /// The same over a connection of its own, when this one seems dead.
    pub(crate) fn anew(&self) -> Self {
        let (endpoint, bearer) = (self.endpoint.clone(), self.bearer.clone());
        let channel = endpoint.connect_lazy();
        Self::new(endpoint, channel, bearer)
    }
}
