//! A Discourse at the HTTP line: as much of it as is asked for.

use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use metagov_proto::v1::Installation;
use serde_json::{Value, json};
use sha2::Sha256;
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{any, method, path, path_regex},
};

use crate::harness::Api;

/// The secret of every forum's webhook.
pub(super) const SECRET: &str = "what only the two of us know";

/// A new topic's first post, as Discourse answers with it.
pub(super) const CREATED: &str = include_str!("../platforms/discourse/created.json");
/// A webhook's body.
pub(super) const POST_CREATED: &str = include_str!("../platforms/discourse/post_created.json");
/// A webhook's body.
pub(super) const TOPIC_CREATED: &str = include_str!("../platforms/discourse/topic_created.json");
/// A webhook's body.
pub(super) const USER_UPDATED: &str = include_str!("../platforms/discourse/user_updated.json");

/// A forum.
pub(super) struct Forum {
    pub(super) server: MockServer,
    /// What `GET posts/31.json` answers with: status and body.
    pub(super) post: Arc<Mutex<(u16, Value)>>,
}

impl Forum {
    /// With nobody in its directory.
    pub(super) async fn start() -> Self {
        Self::with_users(0).await
    }

    /// With so many users, called `user1`, `user2` …
    pub(super) async fn with_users(count: usize) -> Self {
        let server = MockServer::start().await;
        let forum = Self {
            server,
            post: Arc::new(Mutex::new((404, json!({"errors": ["not found"]})))),
        };
        let site =
            json!({"user_fields": [{"id": 1, "name": "Region"}, {"id": 2, "name": "Skill"}]});
        forum.get("/site.json", site).await;
        let about = json!({"about": {"title": "The commons"}});
        forum.get("/about.json", about).await;
        let admins = json!([{"id": 1, "username": "steward"}]);
        forum.get("/admin/users/list/active.json", admins).await;
        let directory = Mock::given(method("GET")).and(path("/directory_items.json"));
        let directory = directory.respond_with(Directory(count));
        directory.mount(&forum.server).await;
        let shown = Mock::given(method("GET")).and(path_regex(r"^/posts/\d+\.json$"));
        let shown = shown.respond_with(Post(forum.post.clone()));
        shown.mount(&forum.server).await;
        forum
    }

    /// Answers a GET.
    pub(super) async fn get(&self, at: &str, body: Value) {
        let answer = ResponseTemplate::new(200).set_body_json(body);
        let mock = Mock::given(method("GET"))
            .and(path(at))
            .respond_with(answer);
        mock.mount(&self.server).await;
    }

    /// Answers everything that is not answered otherwise from now on.
    pub(super) async fn answer(&self, status: u16, body: &str) {
        let answer = ResponseTemplate::new(status).set_body_raw(body, "application/json");
        let mock = Mock::given(any()).respond_with(answer).with_priority(10);
        mock.mount(&self.server).await;
    }

    /// Answers this before anything else.
    pub(super) async fn answer_first(&self, at: &str, answer: ResponseTemplate) {
        let mock = Mock::given(path(at)).respond_with(answer).with_priority(1);
        mock.mount(&self.server).await;
    }

    /// What the post with the poll looks like from now on.
    pub(super) fn show(&self, status: u16, post: Value) {
        *self.post.lock().unwrap() = (status, post);
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        self.server.uri()
    }

    /// How a community configures it.
    pub(super) fn config(&self) -> Value {
        json!({
            "server_url": self.url(),
            "api_key": "the key",
            "api_username": "Steward",
            "webhook_secret": SECRET,
        })
    }

    /// Enables it for a new community.
    pub(super) async fn join(&self, api: &Api, community: &str) -> Installation {
        api.community(community).await;
        api.enable(community, "discourse", self.config()).await
    }

    /// Everything that was asked.
    pub(super) async fn requests(&self) -> Vec<Request> {
        self.server.received_requests().await.unwrap()
    }

    /// What was asked last.
    pub(super) async fn last(&self) -> Request {
        self.requests().await.pop().expect("a request")
    }
}

/// Pages of the user directory, 50 users each; the field `1` says the region.
struct Directory(usize);

impl Respond for Directory {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut pairs = request.url.query_pairs();
        let page: usize = pairs
            .find(|(key, _)| key == "page")
            .unwrap()
            .1
            .parse()
            .unwrap();
        let ids = (page * 50 + 1)..=((page + 1) * 50).min(self.0);
        let item = |id: usize| {
            let fields = json!({"1": {"value": "north", "searchable": true}});
            let user = json!({"id": id, "username": format!("user{id}"), "user_fields": fields});
            json!({"id": id, "days_visited": 3, "user": user})
        };
        let items: Vec<Value> = ids.map(item).collect();
        let meta = json!({"total_rows_directory_items": self.0});
        ResponseTemplate::new(200).set_body_json(json!({"directory_items": items, "meta": meta}))
    }
}

struct Post(Arc<Mutex<(u16, Value)>>);

impl Respond for Post {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let (status, body) = self.0.lock().unwrap().clone();
        ResponseTemplate::new(status).set_body_json(body)
    }
}

/// A webhook's request, as Discourse sends it.
#[derive(Clone)]
pub(super) struct Webhook {
    pub(super) instance: Option<String>,
    pub(super) event: String,
    pub(super) signature: Option<String>,
    pub(super) body: String,
}

impl Webhook {
    /// Signed by this forum.
    pub(super) fn of(forum: &Forum, event: &str, body: &str) -> Self {
        Self {
            instance: Some(forum.url()),
            event: event.to_owned(),
            signature: Some(sign(SECRET, body)),
            body: body.to_owned(),
        }
    }

    /// Delivers it; the status and body of the reply.
    pub(super) async fn send(&self, to: &str) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client
            .post(to)
            .header("content-type", "application/json")
            .header("x-discourse-event", &self.event)
            .body(self.body.clone());
        for (name, value) in [
            ("x-discourse-instance", &self.instance),
            ("x-discourse-event-signature", &self.signature),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let reply = request.send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }
}

/// The signature of a body, as in X-Discourse-Event-Signature.
pub(super) fn sign(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
