//! What is sent to the platform: the person, with a question; a code; a refresh token.
//!
//! What a platform says in a refusal is never repeated, for it may repeat what we said:
//! only the words of RFC 6749, section 5.2 are.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::{Client, Consent, TokenAnswer};
use crate::{
    error::{Error, Result, Trouble},
    model::{Credentials, Object},
    plugins::kit::{Clock, Http},
};

/// Why a platform grants no token, in the RFC's words.
const REFUSALS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Words of platforms that are busy.
const BUSY: [&str; 4] = [
    "server_error",
    "temporarily_unavailable",
    "slow_down",
    "ratelimited",
];

/// Something that was begun: what the platform has to give back, or must see again.
#[derive(Clone, Copy)]
pub struct Begun<'a> {
    /// Where the platform calls back.
    pub callback_url: &'a Url,
    /// What it gives back; secret.
    pub state: &'a str,
    /// What we prove with that it was us (PKCE); secret.
    pub verifier: Option<&'a str>,
}

impl Client {
    /// Where to send a person.
    pub fn authorize_url(&self, consent: &Consent, begun: Begun<'_>) -> Url {
        let mut url = consent.authorize_url.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.id)
            .append_pair("redirect_uri", begun.callback_url.as_str())
            .append_pair("state", begun.state);
        if !consent.scope.is_empty() {
            query.append_pair("scope", &consent.scope);
        }
        if let Some(verifier) = begun.verifier {
            query
                .append_pair("code_challenge", &challenge(verifier))
                .append_pair("code_challenge_method", "S256");
        }
        query.extend_pairs(&consent.parameters);
        drop(query);
        url
    }

    /// What the platform grants for a code.
    pub async fn exchange(&self, http: &Http, code: &str, begun: Begun<'_>) -> Result<Value> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", begun.callback_url.as_str()),
        ];
        form.extend(begun.verifier.map(|verifier| ("code_verifier", verifier)));
        self.ask(http, form).await.map(Value::Object)
    }

    /// New credentials for old ones that have expired. That there are none is
    /// `Unauthorized`.
    pub(super) async fn refresh(
        &self,
        http: &Http,
        old: Credentials,
        clock: Clock,
    ) -> Result<Credentials> {
        let Some(token) = &old.refresh_token else {
            return Err(trouble(Trouble::Unauthorized(
                "its access has ended; authorize it anew".to_owned(),
            )));
        };
        let form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        let answer = match self.ask(http, form).await {
            Err(Error::Platform {
                trouble: Trouble::Rejected { why, .. },
                ..
            }) => return Err(trouble(Trouble::Unauthorized(why))),
            answer => answer?,
        };
        let answer: TokenAnswer =
            serde_json::from_value(Value::Object(answer)).map_err(|_| useless())?;
        let new = answer.credentials(clock.now());
        Ok(Credentials {
            // One that was not replaced goes on.
            refresh_token: new.refresh_token.or(old.refresh_token),
            ..new
        })
    }

    async fn ask(&self, http: &Http, mut form: Vec<(&str, &str)>) -> Result<Object> {
        form.push(("client_id", &self.id));
        form.push(("client_secret", self.secret.reveal()));
        let request = http.post(self.token_url.clone()).form(&form);
        // It changes nothing that anyone could see: a lost answer is begun anew.
        let request = request.reads().header("accept", "application/json");
        let answer = request.send().await?;
        let said: Option<Object> = serde_json::from_slice(&answer.body).ok();
        let is_refused = said.as_ref().is_some_and(refuses);
        match said {
            Some(said) if answer.status.is_success() && !is_refused => Ok(said),
            None if !answer.status.is_client_error() => Err(useless()),
            said => {
                let error = said.as_ref().and_then(|said| said.get("error"));
                let word = error.and_then(Value::as_str).unwrap_or_default();
                let host = self.token_url.host_str();
                let known = REFUSALS.into_iter().find(|known| *known == word);
                let status = answer.status.as_u16();
                tracing::warn!(host, status, word = known, "a platform grants no token");
                Err(refusal(status, word, known))
            }
        }
    }
}

/// GitHub and Slack refuse with status 200.
fn refuses(said: &Object) -> bool {
    said.get("error").is_some_and(|error| !error.is_null())
        || said.get("ok") == Some(&Value::Bool(false))
}

fn refusal(status: u16, word: &str, known: Option<&str>) -> Error {
    if BUSY.contains(&word) {
        return trouble(Trouble::Unavailable("it cannot do it now".to_owned()));
    }
    let why = match known {
        Some(word) => format!("it grants no token ({word})"),
        None => "it grants no token".to_owned(),
    };
    trouble(Trouble::Rejected { status, why })
}

/// The platform answered with something that is no token.
pub(super) fn useless() -> Error {
    let why = "its answer is not what was expected".to_owned();
    trouble(Trouble::Unavailable(why))
}

fn trouble(trouble: Trouble) -> Error {
    let plugin = String::new();
    Error::Platform { plugin, trouble }
}

/// What is shown of a verifier before it is (RFC 7636, section 4.2).
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client {
            id: "c".to_owned(),
            secret: serde_json::from_value("hush".into()).unwrap(),
            token_url: "https://plaza.example/token".parse().unwrap(),
            issuer: None,
        }
    }

    /// The example of RFC 7636, appendix B.
    #[test]
    fn a_challenge_is_the_hash_of_its_verifier() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let expected = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge(verifier), expected);
    }

    #[test]
    fn an_address_asks_for_a_code_and_holds_no_secret() {
        let callback_url = "https://gate.example/auth/plaza/callback".parse().unwrap();
        let begun = Begun {
            callback_url: &callback_url,
            state: "s&t",
            verifier: Some("unsaid"),
        };
        let consent = Consent {
            authorize_url: "https://plaza.example/authorize?theme=dark"
                .parse()
                .unwrap(),
            scope: "bot read".to_owned(),
            pkce: true,
            parameters: vec![("permissions".to_owned(), "8".to_owned())],
        };
        let url = client().authorize_url(&consent, begun);
        let expected = "https://plaza.example/authorize?theme=dark&response_type=code\
            &client_id=c&redirect_uri=https%3A%2F%2Fgate.example%2Fauth%2Fplaza%2Fcallback\
            &state=s%26t&scope=bot+read&code_challenge=";
        assert!(url.as_str().starts_with(expected), "{url}");
        let ending = "&code_challenge_method=S256&permissions=8";
        assert!(url.as_str().ends_with(ending), "{url}");
        assert!(!url.as_str().contains("unsaid") && !url.as_str().contains("hush"));
        let plain = Consent {
            scope: String::new(),
            ..consent
        };
        let begun = Begun {
            verifier: None,
            ..begun
        };
        let url = client().authorize_url(&plain, begun);
        assert!(!url.as_str().contains("challenge") && !url.as_str().contains("scope"));
    }

    #[test]
    fn a_refusal_repeats_nothing_but_the_words_of_the_rfc() {
        let object = |text: &str| serde_json::from_str::<Object>(text).unwrap();
        assert!(refuses(&object(r#"{"ok": false}"#)));
        assert!(refuses(&object(r#"{"error": "bad_verification_code"}"#)));
        assert!(!refuses(&object(r#"{"ok": true, "error": null}"#)));
        let known = refusal(400, "invalid_grant", Some("invalid_grant")).to_string();
        assert!(known.contains("invalid_grant"));
        let unknown = refusal(400, "canary", None).to_string();
        assert!(!unknown.contains("canary"));
    }
}
