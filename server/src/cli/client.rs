//! The way to a running gateway.

use std::{
    ops::{Deref, DerefMut},
    path::PathBuf,
    time::Duration,
};

use clap::{ArgAction, Args};
use metagov_client::{ConnectError, Options};

use super::{Exit, Failure, bearer::Token};

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

/// The services of one gateway; a verb may add what it needs of them.
pub(super) struct Client(metagov_client::Client);

impl Deref for Client {
    type Target = metagov_client::Client;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Connection {
    /// Connects, or says why that does not work, with the flags as people know them.
    pub(super) async fn open(&self) -> Result<Client, Failure> {
        let mut options = self.options();
        let local = options.is_local().map_err(|e| explained(&e, None))?;
        let token = self.token(local)?;
        options.token = token.as_ref().map(|token| token.secret.clone());
        let client = options.reach().await.map(Client);
        client.map_err(|e| explained(&e, token.as_ref()))
    }

    /// All but the token.
    pub(super) fn options(&self) -> Options {
        Options {
            endpoint: self.endpoint.clone(),
            token: None,
            ca: self.ca.clone(),
            insecure_plaintext: self.insecure_plaintext,
            call_timeout: Some(CALL),
        }
    }

    /// The token that is given, else, for a gateway on this machine, the one that it left.
    fn token(&self, local: bool) -> Result<Option<Token>, Failure> {
        match &self.token {
            Some(token) => Ok(Some(Token::given(token))),
            None if local => Token::left_in(&self.data_dir),
            None => Ok(None),
        }
    }
}

/// Names the flags, which the client does not know, beside the variables.
fn explained(error: &ConnectError, token: Option<&Token>) -> Failure {
    let exit = match error {
        ConnectError::Endpoint | ConnectError::Unreachable { .. } => Exit::Unreachable,
        _ => Exit::Refused,
    };
    let source = token.map_or("METAGOV_TOKEN", |token| &token.source);
    let flags = [
        ("METAGOV_ENDPOINT", "--endpoint (METAGOV_ENDPOINT)"),
        ("METAGOV_TOKEN", source),
        ("METAGOV_CA", "--ca (METAGOV_CA)"),
        ("METAGOV_INSECURE_PLAINTEXT=true", "--insecure-plaintext"),
    ];
    let text = flags
        .iter()
        .fold(error.to_string(), |text, (variable, flag)| {
            text.replace(variable, flag)
        });
    Failure::new(exit, text)
}

#[cfg(test)]
mod tests;
