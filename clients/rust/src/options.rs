//! Connecting: which gateway, as whom, and how its answers are known to be its own.

use std::{env, fmt, path::PathBuf, time::Duration};

use http::Uri;
use tonic::transport::Endpoint;

use crate::{Bearer, Client, advice, place, tls};

/// How long it may take until the gateway takes the connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the gateway is, and who calls.
///
/// [`Options::from_env`] reads the environment, and each field may be set after that:
///
/// ```
/// use metagov_client::Options;
///
/// # fn run() -> Result<(), metagov_client::ConnectError> {
/// let endpoint = "https://gateway.example.org".to_owned();
/// let options = Options { endpoint, ..Options::from_env()? };
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Options {
    /// `http://host:port`, or `https://host:port` for TLS. METAGOV_ENDPOINT, default
    /// `http://127.0.0.1:50051`.
    pub endpoint: String,
    /// The bearer token that is sent with every call. METAGOV_TOKEN, default none.
    pub token: Option<String>,
    /// A PEM file of who vouches for the gateway's certificate. METAGOV_CA, default whom
    /// the system trusts.
    pub ca: Option<PathBuf>,
    /// Whether the token is sent to another machine even without TLS, where whoever is on
    /// the way can read it. METAGOV_INSECURE_PLAINTEXT, default false.
    pub insecure_plaintext: bool,
    /// How long a call may take until its answer begins. No variable, default without end.
    pub call_timeout: Option<Duration>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address cannot be one.
    #[error("METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051")]
    Endpoint,
    /// The token cannot be one.
    #[error("METAGOV_TOKEN: a token is visible ASCII, without spaces and line breaks")]
    Token,
    /// The token would be sent where it could be overheard.
    #[error(
        "METAGOV_TOKEN is not sent to {endpoint}: it could be read on the way; use https://, \
         or a tunnel, or say METAGOV_INSECURE_PLAINTEXT=true"
    )]
    Plaintext {
        /// Where to.
        endpoint: String,
    },
    /// The variable METAGOV_INSECURE_PLAINTEXT is neither `true` nor `false`.
    #[error("METAGOV_INSECURE_PLAINTEXT: is neither true nor false")]
    Switch,
    /// Nobody is named who vouches for a certificate.
    #[error("METAGOV_CA: {}: {why}", file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No gateway answers; from [`Options::reach`] alone.
    #[error(
        "no gateway answers at {endpoint}: {why}; {}",
        advice::transport(source)
    )]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// The innermost source, such as "Connection refused".
        why: String,
        /// All that is known.
        source: tonic::transport::Error,
    },
}

/// The client of the gateway that the environment names: METAGOV_ENDPOINT, METAGOV_TOKEN,
/// METAGOV_CA and METAGOV_INSECURE_PLAINTEXT, as [`Options`] says.
///
/// It connects when it is first used, and again whenever the connection has broken. Call
/// it in a Tokio runtime.
///
/// # Errors
///
/// A variable is wrong; see [`ConnectError`].
pub fn connect() -> Result<Client, ConnectError> {
    Options::from_env()?.connect()
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:50051".to_owned(),
            token: None,
            ca: None,
            insecure_plaintext: false,
            call_timeout: None,
        }
    }
}

impl Options {
    /// What the environment says; an empty variable is as good as none.
    ///
    /// # Errors
    ///
    /// METAGOV_INSECURE_PLAINTEXT is neither `true` nor `false`.
    pub fn from_env() -> Result<Self, ConnectError> {
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let default = Self::default();
        Ok(Self {
            endpoint: given("METAGOV_ENDPOINT").unwrap_or(default.endpoint),
            token: given("METAGOV_TOKEN"),
            ca: given("METAGOV_CA").map(PathBuf::from),
            insecure_plaintext: match given("METAGOV_INSECURE_PLAINTEXT").as_deref() {
                Some("true") => true,
                None | Some("false") => false,
                Some(_) => return Err(ConnectError::Switch),
            },
            ..default
        })
    }

    /// The client, which connects when it is first used. Call it in a Tokio runtime.
    ///
    /// # Errors
    ///
    /// An option is wrong; see [`ConnectError`].
    pub fn connect(&self) -> Result<Client, ConnectError> {
        let (endpoint, bearer) = self.way()?;
        let channel = endpoint.connect_lazy();
        Ok(Client::new(endpoint, channel, bearer))
    }

    /// The client, once the gateway has taken the connection, within 5 seconds.
    ///
    /// # Errors
    ///
    /// An option is wrong, or no gateway answers; see [`ConnectError`].
    pub async fn reach(&self) -> Result<Client, ConnectError> {
        let (endpoint, bearer) = self.way()?;
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|e| self.unreachable(e))?;
        Ok(Client::new(endpoint, channel, bearer))
    }

    /// Whether the gateway is on this machine, by its address.
    ///
    /// # Errors
    ///
    /// The address cannot be one.
    pub fn is_local(&self) -> Result<bool, ConnectError> {
        Ok(place::is_local(&place::parse(&self.endpoint)?))
    }

    fn way(&self) -> Result<(Endpoint, Bearer), ConnectError> {
        let uri = place::parse(&self.endpoint)?;
        let bearer = Bearer::of(self.token_for(&uri)?)?;
        Ok((self.endpoint_at(uri)?, bearer))
    }

    /// The token to send, never to somewhere from where it could be overheard.
    fn token_for(&self, uri: &Uri) -> Result<Option<&str>, ConnectError> {
        let safe = place::is_secure(uri) || place::is_local(uri) || self.insecure_plaintext;
        match self.token.as_deref() {
            Some(_) if !safe => Err(ConnectError::Plaintext {
                endpoint: self.endpoint.clone(),
            }),
            token => Ok(token),
        }
    }

    fn endpoint_at(&self, uri: Uri) -> Result<Endpoint, ConnectError> {
        let secure = place::is_secure(&uri);
        let mut endpoint = Endpoint::from(uri).connect_timeout(CONNECT);
        if let Some(limit) = self.call_timeout {
            endpoint = endpoint.timeout(limit);
        }
        if !secure {
            return Ok(endpoint);
        }
        let tls = tls::config(self.ca.as_deref())?.timeout(CONNECT);
        endpoint.tls_config(tls).map_err(|e| self.unreachable(e))
    }

    fn unreachable(&self, source: tonic::transport::Error) -> ConnectError {
        ConnectError::Unreachable {
            endpoint: self.endpoint.clone(),
            why: tls::innermost(&source).to_string(),
            source,
        }
    }
}

/// Without the token.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("Options");
        options.field("endpoint", &self.endpoint);
        options.field("token", &self.token.as_ref().map(|_| "…"));
        options.field("ca", &self.ca);
        options.field("insecure_plaintext", &self.insecure_plaintext);
        options.field("call_timeout", &self.call_timeout).finish()
    }
}

#[cfg(test)]
mod tests;
