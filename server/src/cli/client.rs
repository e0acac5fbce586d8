//! The way to a running gateway.

use std::time::Duration;

use clap::Args;
use metagov_proto::v1::{
    community_service_client::CommunityServiceClient, plugin_service_client::PluginServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::{Exit, Failure};

/// How long it may take until the gateway takes the connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one call may take: enabling a plugin asks its platform.
const CALL: Duration = Duration::from_secs(120);

/// Where the gateway is, and who calls.
#[derive(Clone, Args)]
pub struct Connection {
    /// The address of the gateway's gRPC. Default http://127.0.0.1:50051.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    endpoint: String,

    /// The token that is sent with every call. Default none.
    ///
    /// Better given as the variable METAGOV_TOKEN: other users of the machine may see
    /// the flags of a command.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

/// The services of one gateway.
pub(super) struct Client {
    pub(super) communities: CommunityServiceClient<InterceptedService<Channel, Bearer>>,
    pub(super) plugins: PluginServiceClient<InterceptedService<Channel, Bearer>>,
}

impl Connection {
    pub(super) async fn open(&self) -> Result<Client, Failure> {
        let bearer = Bearer(self.token.as_deref().map(header).transpose()?);
        let endpoint = self.endpoint()?;
        let channel = endpoint.connect().await.map_err(|e| self.unreachable(&e))?;
        let channel = InterceptedService::new(channel, bearer);
        Ok(Client {
            communities: CommunityServiceClient::new(channel.clone()),
            plugins: PluginServiceClient::new(channel),
        })
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let wrong = |why| {
            Failure::new(
                Exit::Unreachable,
                format!("--endpoint (METAGOV_ENDPOINT): {why}"),
            )
        };
        if !self.endpoint.starts_with("http://") {
            return Err(wrong(
                "must begin with http://; this command speaks no TLS, use a tunnel or a local proxy",
            ));
        }
        let endpoint = Endpoint::from_shared(self.endpoint.clone())
            .map_err(|_| wrong("is no address such as http://127.0.0.1:50051"))?;
        Ok(endpoint.connect_timeout(CONNECT).timeout(CALL))
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> Failure {
        // The innermost source is the one that people understand ("Connection refused").
        let mut why: &dyn std::error::Error = error;
        while let Some(source) = why.source() {
            why = source;
        }
        let endpoint = &self.endpoint;
        Failure::new(
            Exit::Unreachable,
            format!(
                "no gateway answers at {endpoint}: {why}; is it running, and is METAGOV_ENDPOINT right?"
            ),
        )
    }
}

fn header(token: &str) -> Result<MetadataValue<Ascii>, Failure> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| {
        let why = "--token (METAGOV_TOKEN): a token is visible ASCII, without line breaks";
        Failure::new(Exit::Refused, why)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends the token with every call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(endpoint: &str) -> Connection {
        let endpoint = endpoint.to_owned();
        let token = None;
        Connection { endpoint, token }
    }

    #[tokio::test]
    async fn a_gateway_that_is_not_there_is_told_with_its_address() {
        // Bound and let go: nobody listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", free.local_addr().unwrap());
        drop(free);
        let failure = connection(&endpoint).open().await.err().unwrap();
        assert_eq!(failure.exit, Exit::Unreachable);
        let start = format!("no gateway answers at {endpoint}: ");
        assert!(failure.to_string().starts_with(&start), "{failure}");
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_one_is_named() {
        for endpoint in [
            "https://example.org",
            "127.0.0.1:50051",
            "",
            "http://",
            "http://a b",
        ] {
            let failure = connection(endpoint).open().await.err().unwrap();
            assert_eq!(failure.exit, Exit::Unreachable, "{endpoint}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let header = header("s3cret").unwrap();
        assert!(!format!("{header:?}").contains("s3cret"));
        let why = super::header("s3cret\n").unwrap_err();
        assert!(!why.to_string().contains("s3cret"));
    }
}
