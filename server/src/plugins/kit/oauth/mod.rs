//! OAuth 2.0 by code: a person agrees at the platform, and the platform calls back.
//!
//! ```text
//! Plugin::new::<Config, Operator>("plaza", "…")
//!     .oauth(client)                       // fn(&Operator) -> Result<Client>: as whom we come
//!     .install(ask_to_install, installed)  // what is asked; what the answer makes of it
//!     .login(ask_to_log_in, account)       // the same for a person who logs in
//!     .refresh(renew)                      // only where tokens are not renewed as RFC 6749 says
//! ```
//!
//! `installed` asks the platform with the token it was granted, and says what the
//! community is called there: what the platform *proved*, not what a parameter of the
//! callback claims ([`Granted::claimed`]). `setup` runs after it. From then on
//! [`super::Context::credentials`] is the access token, fresh for all steps.
//!
//! RFC 6749 (OAuth 2.0), 7636 (PKCE), 9207 (`iss`), 9700 (best current practice).
//! Read `client.rs` for what is sent, `builder.rs` for how a plugin says it.

mod builder;
mod client;

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use url::Url;

pub use builder::AnOAuth;
pub use client::Begun;

use super::{Account, Object, Pure, Secret, Signal, Step, Time};
use crate::model::Credentials;

/// The longest that a token is believed to live: ten years.
const MAX_LIFE: u64 = 10 * 365 * 24 * 3600;

/// The operator's application at the platform.
#[derive(Clone, Debug)]
pub struct Client {
    /// By which the platform knows it.
    pub id: String,
    /// What proves it.
    pub secret: Secret,
    /// Where a code becomes a token.
    pub token_url: Url,
    /// What the platform says as `iss`, if it does (RFC 9207). Then a callback that says
    /// something else, or nothing, is refused.
    pub issuer: Option<String>,
}

/// What a person is asked at the platform.
#[derive(Clone, Debug)]
pub struct Consent {
    /// The page that asks.
    pub authorize_url: Url,
    /// The scopes, as the platform writes a list of them; may be empty.
    pub scope: String,
    /// Whether the platform knows PKCE (by S256): then a stolen code is of no use.
    pub pkce: bool,
    /// Parameters of the platform's own.
    pub parameters: Vec<(String, String)>,
}

/// What the platform granted. `A` is its answer to the code.
pub struct Granted<A> {
    /// The answer; [`TokenAnswer`] is what all have in common.
    pub answer: A,
    /// What else the callback said, such as GitHub's `installation_id`. Anyone may have
    /// written it into the address: ask the platform whether it is so.
    pub claimed: BTreeMap<String, String>,
}

/// Short, since it holds tokens.
impl<A> fmt::Debug for Granted<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").finish_non_exhaustive()
    }
}

/// A token as RFC 6749, section 5.1 answers it. Flatten it into an answer that has more.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenAnswer {
    /// The token itself.
    pub access_token: Secret,
    /// For how many seconds it works; for ever, if absent.
    pub expires_in: Option<u64>,
    /// What it is renewed with.
    pub refresh_token: Option<Secret>,
}

impl TokenAnswer {
    /// As the gateway keeps it.
    pub fn credentials(&self, now: Time) -> Credentials {
        let life = self.expires_in.map(|seconds| seconds.min(MAX_LIFE));
        let text = |secret: &Secret| secret.reveal().to_owned();
        Credentials {
            access_token: text(&self.access_token),
            refresh_token: self.refresh_token.as_ref().map(text),
            expire_time: life.map(|seconds| now.after(Duration::from_secs(seconds))),
        }
    }
}

/// What an authorization makes of an installation.
#[derive(Clone, Debug, Default)]
pub struct Authorized {
    /// What the community is called on the platform, as the platform proved it. Unique
    /// within the gateway.
    pub platform_id: String,
    /// What the configuration begins with. What is configured already stays.
    pub config: Object,
    /// What later steps take with [`super::Context::credentials`]. `None` where they
    /// use the operator's own token.
    pub credentials: Option<Credentials>,
    /// What is to be done besides, such as linking the account of who installed it.
    pub signals: Vec<Signal>,
}

/// A plugin's OAuth without its types.
pub struct OAuth {
    /// The operator's application.
    pub client: Pure<Object, Client>,
    /// If it can be installed so.
    pub install: Option<Flow<Authorized>>,
    /// If people can log in.
    pub login: Option<Flow<Account>>,
    /// Renews what has expired.
    pub refresh: Step<Credentials, Credentials>,
}

/// What is asked, and what the answer makes of it.
pub struct Flow<T> {
    /// What a person is asked.
    pub ask: Pure<Object, Consent>,
    /// Reads what was granted.
    pub read: Step<Granted<Value>, T>,
}
