//! The way to a running gateway.

use std::{error::Error, fmt, io, net::IpAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args};
use http::Uri;
use metagov_proto::v1::{
    access_service_client::AccessServiceClient, community_service_client::CommunityServiceClient,
    plugin_service_client::PluginServiceClient,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{
    Exit, Failure,
    bearer::{Bearer, Token},
    failure::innermost,
};

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

    /// The token that is sent with every call. Default: see --data-dir.
    ///
    /// Better given as the variable METAGOV_TOKEN: other users of the machine may see
    /// the flags of a command.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,

    /// The data folder of a gateway on this machine. Default ./metagov-data.
    ///
    /// Its file `admin.token` is sent if no other token is given and the endpoint is a
    /// loopback address.
    #[arg(long, value_name = "FOLDER", default_value = "./metagov-data")]
    data_dir: PathBuf,

    /// Who vouches for the gateway's certificate, a PEM file. Default: whom the system trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Sends the token to a gateway elsewhere even without TLS. Default false.
    ///
    /// Whoever is on the way can read it, and call with it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
    insecure_plaintext: bool,
}

/// The way of every call: with the token.
type Way = InterceptedService<Channel, Bearer>;

/// The services of one gateway.
pub(super) struct Client {
    pub(super) access: AccessServiceClient<Way>,
    pub(super) communities: CommunityServiceClient<Way>,
    pub(super) plugins: PluginServiceClient<Way>,
}

impl Connection {
    pub(super) async fn open(&self) -> Result<Client, Failure> {
        let uri = self.uri()?;
        let bearer = Bearer::of(self.token(&uri)?)?;
        let endpoint = self.endpoint(uri)?;
        let channel = endpoint.connect().await.map_err(|e| self.unreachable(&e))?;
        let channel = InterceptedService::new(channel, bearer);
        Ok(Client {
            access: AccessServiceClient::new(channel.clone()),
            communities: CommunityServiceClient::new(channel.clone()),
            plugins: PluginServiceClient::new(channel),
        })
    }

    fn uri(&self) -> Result<Uri, Failure> {
        let wrong = |why| {
            let why = format!("--endpoint (METAGOV_ENDPOINT): {why}");
            Failure::new(Exit::Unreachable, why)
        };
        let uri: Option<Uri> = self.endpoint.parse().ok();
        let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        let uri = uri.ok_or_else(|| wrong("is no address such as http://127.0.0.1:50051"))?;
        // What is before an @ would be a password, and is not repeated.
        match uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            true => Err(wrong("has no place for a user or a password")),
            false => Ok(uri),
        }
    }

    /// The token to send, never to somewhere from where it could be overheard.
    fn token(&self, uri: &Uri) -> Result<Option<Token>, Failure> {
        match &self.token {
            Some(_) if !is_safe(uri) && !self.insecure_plaintext => {
                let endpoint = &self.endpoint;
                let why = format!(
                    "the token is not sent to {endpoint}: it could be read on the way; \
                     use https://, or a tunnel, or say --insecure-plaintext"
                );
                Err(Failure::new(Exit::Refused, why))
            }
            Some(token) => Ok(Some(Token::given(token))),
            None if is_local(uri) => Token::left_in(&self.data_dir),
            None => Ok(None),
        }
    }

    fn endpoint(&self, uri: Uri) -> Result<Endpoint, Failure> {
        let secure = uri.scheme_str() == Some("https");
        let endpoint = Endpoint::from(uri).connect_timeout(CONNECT).timeout(CALL);
        if !secure {
            return Ok(endpoint);
        }
        let tls = match self.authorities()? {
            Some(roots) => ClientTlsConfig::new().trust_anchors(roots.roots),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint
            .tls_config(tls.timeout(CONNECT))
            .map_err(|e| self.unreachable(&e))
    }

    /// Who vouches for certificates, if it is said.
    fn authorities(&self) -> Result<Option<RootCertStore>, Failure> {
        let Some(file) = &self.ca else {
            return Ok(None);
        };
        let wrong = |why: &dyn fmt::Display| {
            let why = format!("--ca (METAGOV_CA): {}: {why}", file.display());
            Failure::new(Exit::Refused, why)
        };
        let text = std::fs::read(file).map_err(|e| wrong(&e))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|e| wrong(&e))?;
            roots.add(certificate).map_err(|e| wrong(&e))?;
        }
        match roots.is_empty() {
            true => Err(wrong(&"there is no certificate in it, as PEM")),
            false => Ok(Some(roots)),
        }
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> Failure {
        let endpoint = &self.endpoint;
        let why = innermost(error);
        let advice = match of_tls(why) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                "who vouches for its certificate can be given with --ca (METAGOV_CA)"
            }
            Some(_) => "does it speak TLS, as https:// says?",
            None => "is it running, and is METAGOV_ENDPOINT right?",
        };
        let why = format!("no gateway answers at {endpoint}: {why}; {advice}");
        Failure::new(Exit::Unreachable, why)
    }
}

/// Whether it is this machine.
fn is_local(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse::<IpAddr>().map(|ip| ip.to_canonical());
    ip.map_or(host.eq_ignore_ascii_case("localhost"), |ip| {
        ip.is_loopback()
    })
}

/// Whether nobody can listen in.
fn is_safe(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https") || is_local(uri)
}

/// What TLS has to say, which may stand in an error of I/O.
fn of_tls<'a>(why: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let held = why.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let held = held.and_then(|held| held.downcast_ref());
    held.or_else(|| why.downcast_ref())
}

#[cfg(test)]
mod tests;
