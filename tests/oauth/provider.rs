//! The platform of the plugin `plaza`, at the HTTP line: it checks everything that a
//! provider has to check, and gives tokens that are easy to find where they must not be.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::{Url, form_urlencoded};
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

use crate::harness::PATIENCE;

/// What the operator's application is called, and what proves it.
pub(super) const CLIENT_ID: &str = "gateway";
pub(super) const CLIENT_SECRET: &str = "canary-of-the-client";
/// What everything begins with that nobody may see.
pub(super) const CANARY: &str = "canary-";

/// Who agrees, and to what.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) user: String,
    pub(super) square: String,
    pub(super) is_steward: bool,
}

/// The steward of a square, who is called after it.
pub(super) fn steward(square: &str) -> Person {
    Person {
        user: format!("steward-of-{square}"),
        square: square.to_owned(),
        is_steward: true,
    }
}

/// A code that was not used yet.
struct Code {
    person: Person,
    challenge: Option<String>,
    redirect_uri: String,
}

pub(super) struct State {
    codes: HashMap<String, Code>,
    /// Whose the tokens are that work now.
    access: HashMap<String, Person>,
    refresh: HashMap<String, Person>,
    /// Counts what was made, so that nothing has a name twice.
    made: u32,
    /// For how many seconds tokens say that they work.
    pub(super) life: Option<u64>,
    /// Whether a refresh token works once.
    pub(super) rotates: bool,
    /// How long an answer at the token's address takes.
    pub(super) delay: Duration,
    /// What is answered instead at the token's address.
    pub(super) instead: Option<ResponseTemplate>,
    /// The forms that came to the token's address.
    pub(super) forms: Vec<BTreeMap<String, String>>,
    /// The tokens that something was said with, and that left.
    pub(super) said_with: Vec<String>,
    pub(super) left_with: Vec<String>,
}

/// The provider. Its clones are one.
#[derive(Clone)]
pub(super) struct Provider {
    server: Arc<MockServer>,
    state: Arc<Mutex<State>>,
    held: Arc<Mutex<Option<Hold>>>,
}

/// Says that a token was asked for, and waits.
type Hold = (UnboundedSender<()>, mpsc::Receiver<()>);

impl Provider {
    pub(super) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            codes: HashMap::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            made: 0,
            life: None,
            rotates: true,
            delay: Duration::ZERO,
            instead: None,
            forms: Vec::new(),
            said_with: Vec::new(),
            left_with: Vec::new(),
        }));
        let server = Arc::new(MockServer::start().await);
        type Answer = fn(&mut State, &Request) -> ResponseTemplate;
        let places: [(&str, &str, Answer); 5] = [
            ("POST", "/token", State::token),
            ("POST", "/mint", State::mint),
            ("GET", "/me", State::me),
            ("POST", "/say", State::say),
            ("POST", "/leave", State::leave),
        ];
        let held = Arc::default();
        let provider = Self {
            server,
            state,
            held,
        };
        for (verb, at, answer) in places {
            let mock = Mock::given(method(verb)).and(path(at));
            let answers = Answers {
                state: provider.state.clone(),
                held: provider.held.clone(),
                answer,
            };
            mock.respond_with(answers).mount(&provider.server).await;
        }
        let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(3));
        let mock = Mock::given(method("GET")).and(path("/slow"));
        mock.respond_with(slow).mount(&provider.server).await;
        provider
    }

    /// The next token is held back: first that it was asked for, then the way to let it
    /// go.
    pub(super) fn hold(&self) -> (UnboundedReceiver<()>, mpsc::Sender<()>) {
        let ((asked, is_asked), (go, wait)) = (unbounded_channel(), mpsc::channel());
        *self.held.lock().unwrap() = Some((asked, wait));
        (is_asked, go)
    }

    pub(super) fn uri(&self) -> String {
        self.server.uri()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A person agrees to what they are asked at this address; where they are sent.
    pub(super) fn agree(&self, asked: &str, person: Person) -> Url {
        let asked = Asked::read(asked);
        assert!(asked.url.as_str().starts_with(&self.uri()), "{}", asked.url);
        assert_eq!(asked.of("response_type"), Some("code"));
        assert_eq!(asked.of("client_id"), Some(CLIENT_ID));
        let method = asked.of("code_challenge").map(|_| "S256");
        assert_eq!(asked.of("code_challenge_method"), method);
        let mut state = self.state();
        let code = state.make("code");
        let redirect_uri = asked.of("redirect_uri").unwrap().to_owned();
        let mut back = Url::parse(&redirect_uri).unwrap();
        back.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", asked.of("state").unwrap());
        let code_is = Code {
            person,
            challenge: asked.of("code_challenge").map(str::to_owned),
            redirect_uri,
        };
        state.codes.insert(code, code_is);
        back
    }

    /// A person says no; where they are sent.
    pub(super) fn refuse(&self, asked: &str, error: &str) -> Url {
        let asked = Asked::read(asked);
        let mut back = Url::parse(asked.of("redirect_uri").unwrap()).unwrap();
        back.query_pairs_mut()
            .append_pair("error", error)
            .append_pair("error_description", "<script>alert(1)</script>")
            .append_pair("state", asked.of("state").unwrap());
        back
    }

    /// How often a token was asked for so.
    pub(super) fn asked_for(&self, grant_type: &str) -> usize {
        let state = self.state();
        let forms = state.forms.iter();
        forms
            .filter(|form| form["grant_type"] == grant_type)
            .count()
    }
}

/// The address that a person is sent to.
pub(super) struct Asked {
    url: Url,
    query: HashMap<String, String>,
}

impl Asked {
    pub(super) fn read(url: &str) -> Self {
        let url = Url::parse(url).unwrap();
        let query = url.query_pairs().into_owned().collect();
        Self { url, query }
    }

    pub(super) fn of(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

struct Answers {
    state: Arc<Mutex<State>>,
    held: Arc<Mutex<Option<Hold>>>,
    answer: fn(&mut State, &Request) -> ResponseTemplate,
}

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let is_token = request.url.path() == "/token";
        let held = self.held.lock().unwrap().take_if(|_| is_token);
        if let Some((asked, wait)) = held {
            asked.send(()).unwrap();
            wait.recv_timeout(PATIENCE).unwrap();
        }
        (self.answer)(&mut self.state.lock().unwrap(), request)
    }
}

fn says(status: u16, body: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

impl State {
    fn make(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{CANARY}{what}-{}", self.made)
    }

    /// Forgets every token: none works any more.
    pub(super) fn forget_tokens(&mut self) {
        self.access.clear();
        self.refresh.clear();
    }

    fn token(&mut self, request: &Request) -> ResponseTemplate {
        let form: BTreeMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
        self.forms.push(form.clone());
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        let of = |name: &str| form.get(name).map(String::as_str);
        if of("client_id") != Some(CLIENT_ID) || of("client_secret") != Some(CLIENT_SECRET) {
            return says(401, json!({ "error": "invalid_client" }));
        }
        let person = match of("grant_type") {
            Some("authorization_code") => self.redeem(&form),
            Some("refresh_token") => {
                let token = of("refresh_token").unwrap_or_default();
                match self.rotates {
                    true => self.refresh.remove(token),
                    false => self.refresh.get(token).cloned(),
                }
            }
            _ => return says(400, json!({ "error": "unsupported_grant_type" })),
        };
        let Some(person) = person else {
            // It repeats what was said to it, as some do.
            let said = format!("{form:?}");
            return says(
                400,
                json!({ "error": "invalid_grant", "error_description": said }),
            );
        };
        says(200, self.grant(person)).set_delay(self.delay)
    }

    /// A code works once, for who began it, and from where they did.
    fn redeem(&mut self, form: &BTreeMap<String, String>) -> Option<Person> {
        let code = self.codes.remove(form.get("code")?)?;
        let shown = form.get("code_verifier");
        let challenge = shown.map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
        let good =
            code.challenge == challenge && form.get("redirect_uri") == Some(&code.redirect_uri);
        good.then_some(code.person)
    }

    fn grant(&mut self, person: Person) -> Value {
        let (access, refresh) = (self.make("access"), self.make("refresh"));
        // The newest token alone works.
        self.access.retain(|_, owner| owner.square != person.square);
        self.access.insert(access.clone(), person.clone());
        let mut answer = json!({
            "access_token": access, "token_type": "bearer", "as_user": person.user,
        });
        if let Some(life) = self.life {
            answer["expires_in"] = life.into();
            if self.rotates || self.refresh.is_empty() {
                answer["refresh_token"] = refresh.clone().into();
                self.refresh.insert(refresh, person);
            }
        }
        answer
    }

    fn mint(&mut self, request: &Request) -> ResponseTemplate {
        let asked: Value = request.body_json().unwrap();
        let minted = self.grant(steward(asked["square"].as_str().unwrap()));
        says(200, minted)
    }

    fn person(&self, request: &Request) -> Option<(String, Person)> {
        let header = request.headers.get("authorization")?.to_str().ok()?;
        let token = header.strip_prefix("Bearer ")?;
        Some((token.to_owned(), self.access.get(token)?.clone()))
    }

    fn me(&mut self, request: &Request) -> ResponseTemplate {
        let Some((_, person)) = self.person(request) else {
            // It repeats what was said to it, as some do.
            let said = format!("{:?}", request.headers);
            return says(401, json!({ "errors": [said] }));
        };
        let name = format!("The {} square", person.square);
        says(
            200,
            json!({ "square": person.square, "name": name, "is_steward": person.is_steward }),
        )
    }

    fn say(&mut self, request: &Request) -> ResponseTemplate {
        match self.person(request) {
            Some((token, _)) => {
                self.said_with.push(token);
                says(200, json!({ "said": true }))
            }
            None => says(401, json!({})),
        }
    }

    fn leave(&mut self, request: &Request) -> ResponseTemplate {
        match self.person(request) {
            Some((token, _)) => {
                self.left_with.push(token);
                says(200, json!({}))
            }
            None => says(401, json!({})),
        }
    }
}
