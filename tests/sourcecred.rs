//! SourceCred: cred out of an instance's `output/accounts.json`, over HTTP.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use metagov_proto::v1::PerformActionRequest;
use serde_json::{Value, json};
use tonic::Code;
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

use crate::harness::{Api, Gateway, fault, object};

/// In the format that `sourcecred analysis` writes.
const ACCOUNTS: &str = include_str!("platforms/sourcecred/accounts.json");

/// An instance's file behind a web server that answers conditional requests.
#[derive(Clone)]
struct File {
    content: Arc<Mutex<String>>,
    /// The name of the validator, and of the header that asks with it.
    validator: (&'static str, &'static str),
    version: Arc<AtomicUsize>,
    /// How often the content was sent.
    sent: Arc<AtomicUsize>,
}

impl File {
    fn of(content: &str) -> Self {
        Self {
            content: Arc::new(Mutex::new(content.to_owned())),
            validator: ("etag", "if-none-match"),
            version: Arc::default(),
            sent: Arc::default(),
        }
    }

    fn with_last_modified(self) -> Self {
        let validator = ("last-modified", "if-modified-since");
        Self { validator, ..self }
    }

    fn change(&self, content: &str) {
        content.clone_into(&mut self.content.lock().unwrap());
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// The value of the validator: an entity tag, or a date.
    fn mark(&self) -> String {
        let version = self.version.load(Ordering::SeqCst);
        match self.validator.0 {
            "etag" => format!("\"v{version}\""),
            _ => format!("Mon, 04 Jan 2021 00:00:0{version} GMT"),
        }
    }

    async fn serve(&self) -> MockServer {
        let server = MockServer::start().await;
        let get = Mock::given(method("GET")).and(path("/output/accounts.json"));
        get.respond_with(self.clone()).mount(&server).await;
        server
    }
}

impl Respond for File {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let (mark, (answers, asks)) = (self.mark(), self.validator);
        let known = request.headers.get(asks).and_then(|v| v.to_str().ok());
        if known == Some(mark.as_str()) {
            return ResponseTemplate::new(304).insert_header(answers, mark);
        }
        self.sent.fetch_add(1, Ordering::SeqCst);
        ResponseTemplate::new(200)
            .insert_header(answers, mark)
            .set_body_raw(self.content.lock().unwrap().clone(), "application/json")
    }
}

fn one_account(name: &str, cred: f64) -> String {
    let identity = json!({"name": name, "aliases": []});
    let account = json!({"account": {"identity": identity}, "totalCred": cred});
    json!({"accounts": [account]}).to_string()
}

/// A gateway whose community `garden` reads this file.
async fn reading(file: &File) -> (Gateway, MockServer) {
    let gateway = Gateway::start().await;
    let instance = file.serve().await;
    gateway.api.community("garden").await;
    enable(&gateway.api, "garden", &instance).await;
    (gateway, instance)
}

async fn enable(api: &Api, community: &str, instance: &MockServer) -> String {
    let config = json!({"server_url": instance.uri()});
    let installation = api.enable(community, "sourcecred", config).await;
    assert_eq!(installation.platform_id, instance.uri());
    installation.installation_id
}

async fn user_cred(api: &Api, parameters: Value) -> Value {
    let cred = api.perform("garden", "sourcecred.user-cred", parameters);
    cred.await.unwrap()
}

async fn total(api: &Api) -> Value {
    let cred = api.perform("garden", "sourcecred.total-cred", json!({}));
    cred.await.unwrap()
}

#[tokio::test]
async fn user_cred_reads_the_real_format() {
    let (gateway, _instance) = reading(&File::of(ACCOUNTS)).await;
    for (asked, cred) in [
        (json!({"username": "miriam"}), 20.75),
        (json!({"id": "140750062325202944"}), 20.75),
        (json!({"id": "miriam-codes"}), 20.75),
        (json!({"id": "rosa"}), 3.75),
        (json!({"username": "watering-bot"}), 0.5),
        // The first account of the file that fits either of them.
        (
            json!({"username": "gardener", "id": "140750062325202944"}),
            3.75,
        ),
    ] {
        let answer = user_cred(&gateway.api, asked.clone()).await;
        assert_eq!(answer, json!({ "value": cred }), "{asked}");
    }
}

#[tokio::test]
async fn total_cred_is_the_sum_of_all_accounts() {
    let (gateway, _instance) = reading(&File::of(ACCOUNTS)).await;
    // Whole numbers stay whole, and what nobody claimed is nobody's.
    assert_eq!(total(&gateway.api).await, json!({"value": 25}));
}

#[tokio::test]
async fn list_cred_has_every_account_the_highest_first() {
    let (gateway, _instance) = reading(&File::of(ACCOUNTS)).await;
    let list = gateway
        .api
        .perform("garden", "sourcecred.list-cred", json!({}));
    let list = list.await.unwrap();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(name).collect();
    assert_eq!(names, ["miriam", "gardener", "watering-bot"]);
    let discord = json!({
        "provider": "discord",
        "user_id": "140750062325202944",
        "description": "discord/miriam#0001",
    });
    assert_eq!(list[0]["aliases"][0], discord);
    assert_eq!(list[0]["cred"], json!(20.75));
    let bot = json!({
        "id": "Zw3nTq6hDk8eCj5xMo2LiQ",
        "name": "watering-bot",
        "subtype": "BOT",
        "aliases": [],
        "cred": 0.5,
    });
    assert_eq!(list[2], bot);
}

fn name(account: &Value) -> &str {
    account["name"].as_str().unwrap()
}

#[tokio::test]
async fn an_unchanged_file_is_not_read_twice() {
    let file = File::of(ACCOUNTS);
    let (gateway, instance) = reading(&file).await;
    for _ in 0..3 {
        assert_eq!(total(&gateway.api).await, json!({"value": 25}));
        let miriam = user_cred(&gateway.api, json!({"username": "miriam"})).await;
        assert_eq!(miriam, json!({"value": 20.75}));
    }
    let asked = instance.received_requests().await.unwrap().len();
    assert_eq!(asked, 7, "the instance is asked each time");
    assert_eq!(file.sent(), 1, "and sends the file once");
}

#[tokio::test]
async fn a_changed_file_is_read_anew() {
    let file = File::of(ACCOUNTS);
    let (gateway, _instance) = reading(&file).await;
    assert_eq!(total(&gateway.api).await, json!({"value": 25}));
    file.change(&one_account("miriam", 3.5));
    assert_eq!(total(&gateway.api).await, json!({"value": 3.5}));
    assert_eq!(total(&gateway.api).await, json!({"value": 3.5}));
    assert_eq!(file.sent(), 2);
}

#[tokio::test]
async fn a_date_of_change_serves_as_well_as_an_etag() {
    let file = File::of(ACCOUNTS).with_last_modified();
    let (gateway, _instance) = reading(&file).await;
    assert_eq!(total(&gateway.api).await, json!({"value": 25}));
    assert_eq!(file.sent(), 1);
    file.change(&one_account("miriam", 1.0));
    assert_eq!(total(&gateway.api).await, json!({"value": 1}));
    assert_eq!(file.sent(), 2);
}

#[tokio::test]
async fn two_instances_of_one_community_are_told_apart() {
    let (one, two) = (one_account("miriam", 1.0), one_account("miriam", 2.0));
    let (one, two) = (File::of(&one).serve().await, File::of(&two).serve().await);
    let gateway = Gateway::start().await;
    gateway.api.community("garden").await;
    for (instance, cred) in [(&one, 1), (&two, 2)] {
        let installation_id = enable(&gateway.api, "garden", instance).await;
        let request = PerformActionRequest {
            community_id: "garden".into(),
            action: "sourcecred.total-cred".into(),
            installation_id,
            parameters: object(json!({})),
            ..Default::default()
        };
        for _ in 0..2 {
            let answer = gateway.api.perform_request(request.clone()).await;
            assert_eq!(answer.unwrap(), json!({ "value": cred }));
        }
    }
    let again = json!({"server_url": format!("{}/", one.uri())});
    let again = fault(gateway.api.try_enable("garden", "sourcecred", again).await);
    assert!(
        again.is(Code::AlreadyExists, "INSTALLATION_EXISTS"),
        "{again:?}"
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_is_said() {
    let (gateway, _instance) = reading(&File::of(ACCOUNTS)).await;
    let ask = async |parameters: Value| {
        let answer = gateway
            .api
            .perform("garden", "sourcecred.user-cred", parameters);
        fault(answer.await)
    };
    let neither = ask(json!({})).await;
    assert!(
        neither.is(Code::InvalidArgument, "INVALID_FIELD"),
        "{neither:?}"
    );
    assert_eq!(neither.fields, ["parameters"]);
    assert!(neither.message.contains("username or an id"), "{neither:?}");
    for nobody in [json!({"username": "nobody"}), json!({"id": "14075006"})] {
        let said = ask(nobody.clone()).await;
        assert!(
            said.is(Code::FailedPrecondition, "PLUGIN_REFUSED"),
            "{said:?}"
        );
        assert!(said.message.contains("not found"), "{said:?}");
        assert_eq!(said.metadata["plugin"], "sourcecred");
    }
    let number = ask(json!({"id": 140_750})).await;
    assert!(
        number.is(Code::InvalidArgument, "SCHEMA_MISMATCH"),
        "{number:?}"
    );
    assert_eq!(number.fields, ["parameters/id"]);
}

#[tokio::test]
async fn an_address_without_the_file_cannot_be_enabled() {
    let gateway = Gateway::start().await;
    gateway.api.community("garden").await;
    let empty = MockServer::start().await;
    let config = json!({"server_url": empty.uri()});
    let absent = fault(gateway.api.try_enable("garden", "sourcecred", config).await);
    assert!(
        absent.is(Code::FailedPrecondition, "PLATFORM_REJECTED"),
        "{absent:?}"
    );
    assert_eq!(absent.metadata["platform_status"], "404");
    assert!(absent.message.contains("sourcecred analysis"), "{absent:?}");

    for content in ["", "{", "[]", r#"{"accounts": 5}"#, "<html></html>"] {
        let instance = File::of(content).serve().await;
        let config = json!({"server_url": instance.uri()});
        let bad = fault(gateway.api.try_enable("garden", "sourcecred", config).await);
        assert!(
            bad.is(Code::Unavailable, "PLATFORM_UNAVAILABLE"),
            "{content}: {bad:?}"
        );
    }
    for wrong in ["ftp://cred.example", "http://a:b@cred.example", "cred"] {
        let config = json!({"server_url": wrong});
        let bad = fault(gateway.api.try_enable("garden", "sourcecred", config).await);
        assert_eq!(bad.code, Code::InvalidArgument, "{wrong}: {bad:?}");
        assert_eq!(bad.fields, ["config/server_url"], "{wrong}");
    }
    let nowhere = gateway
        .api
        .perform("garden", "sourcecred.total-cred", json!({}));
    let nowhere = fault(nowhere.await);
    assert!(
        nowhere.is(Code::FailedPrecondition, "PLUGIN_NOT_ENABLED"),
        "{nowhere:?}"
    );
}

#[tokio::test]
async fn a_file_that_breaks_later_is_not_answered_from_memory() {
    let file = File::of(ACCOUNTS);
    let (gateway, _instance) = reading(&file).await;
    file.change("{\"accounts\": [");
    let broken = gateway
        .api
        .perform("garden", "sourcecred.total-cred", json!({}));
    let broken = fault(broken.await);
    assert!(
        broken.is(Code::Unavailable, "PLATFORM_UNAVAILABLE"),
        "{broken:?}"
    );
    file.change(&one_account("miriam", 2.0));
    assert_eq!(total(&gateway.api).await, json!({"value": 2}));
}

#[tokio::test]
async fn the_operator_may_say_where_requests_go() {
    let file = File::of(ACCOUNTS);
    let instance = file.serve().await;
    let api_url = json!(instance.uri());
    let set = |config: &mut metagov::config::Config| {
        let settings = [("api_url".to_owned(), api_url)].into_iter().collect();
        config.operator.insert("sourcecred".to_owned(), settings);
    };
    let gateway = Gateway::start_with(set, vec![]).await;
    gateway.api.community("garden").await;
    let config = json!({"server_url": "https://cred.garden.invalid/"});
    let installation = gateway.api.enable("garden", "sourcecred", config).await;
    assert_eq!(installation.platform_id, "https://cred.garden.invalid");
    assert_eq!(total(&gateway.api).await, json!({"value": 25}));
}
