//! What is made of an instance's file, and what is said if there is none.

use std::collections::BTreeMap;

use axum::{Router, routing::get};
use serde_json::{Value, json};

use super::{
    super::kit::{Call, Clock, Http, HttpSettings, Object, Place, Time},
    *,
};
use crate::model::{CommunityId, InstallationId};

fn node(parts: &[&str]) -> String {
    format!("N\0sourcecred\0{}\0", parts.join("\0"))
}

fn account(name: &str, address: &str, cred: f64) -> Value {
    json!({
        "account": {
            "active": true,
            "balance": "0",
            "identity": {
                "address": node(&["core", "IDENTITY", &format!("{name}-id")]),
                "aliases": [{"address": address, "description": format!("@{name}")}],
                "id": format!("{name}-id"),
                "name": name,
                "subtype": "USER",
            },
            "paid": "0",
        },
        "cred": [0, cred],
        "totalCred": cred,
    })
}

fn instance() -> Instance {
    let kim = node(&["discourse", "user", "https://forum.example", "kim"]);
    let miriam = node(&["discord", "MEMBER", "user", "140750062325202944"]);
    let kim2 = node(&["github", "USERLIKE", "USER", "miriam"]);
    let file = json!({
        "accounts": [
            account("kim", &kim, 0.25),
            account("miriam", &miriam, 8.0),
            account("kim2", &kim2, 0.25),
        ],
        "intervals": [{"startTimeMs": 0, "endTimeMs": 1}],
        "unclaimedAliases": [],
    });
    serde_json::from_value(file).unwrap()
}

fn found(username: Option<&str>, id: Option<&str>) -> Option<String> {
    let (username, id) = (username.map(str::to_owned), id.map(str::to_owned));
    let (instance, user) = (instance(), User { username, id });
    let account = instance.find(&user)?;
    Some(account.account.identity.name.clone())
}

#[test]
fn a_user_is_found_by_name_or_by_an_id_on_a_platform() {
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(found(Some("miriam"), None), name("miriam"));
    assert_eq!(found(None, Some("140750062325202944")), name("miriam"));
    assert_eq!(found(None, Some("kim")), name("kim"));
    assert_eq!(found(None, Some("miriam")), name("kim2"));
    for neither in ["", "MEMBER", "user", "miriam-id", "14075006232520294"] {
        assert_eq!(found(None, Some(neither)), None, "{neither}");
        assert_eq!(found(Some(neither), None), None, "{neither}");
    }
}

#[test]
fn the_first_account_of_the_file_that_fits_is_taken() {
    let kim2 = found(Some("kim2"), Some("nobody"));
    assert_eq!(kim2.as_deref(), Some("kim2"));
    let miriam = found(Some("miriam"), Some("miriam"));
    assert_eq!(miriam.as_deref(), Some("miriam"));
}

#[test]
fn the_total_is_the_sum_and_always_a_number() {
    assert_eq!(instance().total(), Ok(8.5));
    let empty: Instance = serde_json::from_value(json!({"accounts": []})).unwrap();
    assert_eq!(
        empty.total().map(f64::is_sign_positive),
        Ok(true),
        "0, not -0"
    );
    let accounts = [account("a", "", 1e308), account("b", "", 1e308)];
    let huge: Instance = serde_json::from_value(json!({"accounts": accounts})).unwrap();
    let trouble = huge.total();
    assert!(
        matches!(trouble, Err(Error::Platform { .. })),
        "{trouble:?}"
    );
}

#[test]
fn the_list_begins_with_the_highest_cred() {
    let list = instance().list();
    let names: Vec<&str> = list.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["miriam", "kim", "kim2"]);
    let kim = json!({
        "id": "kim-id",
        "name": "kim",
        "subtype": "USER",
        "aliases": [{"provider": "discourse", "user_id": "kim", "description": "@kim"}],
        "cred": 0.25,
    });
    assert_eq!(serde_json::to_value(&list[1]).unwrap(), kim);
}

#[test]
fn an_account_needs_no_more_than_name_and_cred() {
    let file = json!({"accounts": [
        {"totalCred": 3, "account": {"identity": {"name": "miriam"}}},
        {"totalCred": 2, "account": {"identity": {"name": "x", "aliases": [
            {"address": ""}, {"address": "N\0a\0"}, {"address": "no address"}, {"address": "\0\0"},
        ]}}},
    ]});
    let instance: Instance = serde_json::from_value(file).unwrap();
    let list = serde_json::to_value(instance.list()).unwrap();
    let expected = json!([
        {"name": "miriam", "aliases": [], "cred": 3.0},
        {"name": "x", "aliases": [], "cred": 2.0},
    ]);
    assert_eq!(list, expected);
}

#[test]
fn another_file_is_no_instance() {
    for bad in [
        "null",
        "[]",
        "{}",
        r#"{"accounts": {}}"#,
        r#"{"accounts": [{"totalCred": null, "account": {"identity": {"name": "x"}}}]}"#,
        r#"{"accounts": [{"totalCred": 1e999, "account": {"identity": {"name": "x"}}}]}"#,
        r#"{"accounts": [{"totalCred": 1, "account": {}}]}"#,
    ] {
        assert!(serde_json::from_str::<Instance>(bad).is_err(), "{bad}");
    }
}

/// A server that holds the instance below `/cred`, and nothing else.
async fn serve() -> String {
    let accounts = [account("miriam", &node(&["discord", "user", "1"]), 8.0)];
    let file = json!({"accounts": accounts}).to_string();
    let router = Router::new().route("/cred/output/accounts.json", get(async || file));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn call(server_url: &str, operator: Value) -> Call {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Call {
        config: Object::from_iter([("server_url".to_owned(), json!(server_url))]),
        operator: operator.as_object().cloned().unwrap_or_default(),
        http: Http::new(HttpSettings::local()).unwrap(),
        place: Place {
            installation_id: InstallationId::new(),
            community_id: CommunityId::trusted("commons"),
            platform_id: String::new(),
            webhook_url: String::new(),
        },
        state: Arc::new(BTreeMap::new()),
        credentials: Arc::new(|| Box::pin(async { Err(Error::internal("none")) })),
        clock: Clock::set(Time::now()),
    }
}

async fn perform(call: Call, action: &str, parameters: Value) -> Result<Value> {
    let action = &plugin().actions[action];
    let (value, signals) = (action.perform)(call, parameters).await?;
    assert!(signals.is_empty());
    let value = value.unwrap();
    action.result.check(&value, "the result", "result")?;
    Ok(value)
}

#[tokio::test]
async fn an_instance_is_read_over_http() {
    let url = format!("{}/cred/", serve().await);
    let installed = (plugin().setup)(call(&url, Value::Null), ()).await.unwrap();
    assert_eq!(installed.platform_id, url.trim_end_matches('/'));
    for (action, parameters) in [
        ("sourcecred.user-cred", json!({"username": "miriam"})),
        ("sourcecred.user-cred", json!({"id": "1"})),
        ("sourcecred.total-cred", json!({})),
    ] {
        let value = perform(call(&url, Value::Null), action, parameters).await;
        assert_eq!(value, Ok(json!({"value": 8.0})), "{action}");
    }
    let list = perform(call(&url, Value::Null), "sourcecred.list-cred", json!({})).await;
    assert_eq!(list.unwrap()[0]["name"], "miriam");
    let nobody = json!({"username": "nobody"});
    let refused = perform(call(&url, Value::Null), "sourcecred.user-cred", nobody).await;
    let sentence = "nobody not found in the SourceCred instance";
    assert_eq!(refused, Err(refuse(sentence)));
}

#[tokio::test]
async fn requests_go_where_the_operator_says() {
    let api_url = json!({"api_url": format!("{}/cred", serve().await)});
    let call = call("https://cred.invalid", api_url);
    let installed = (plugin().setup)(call, ()).await.unwrap();
    assert_eq!(installed.platform_id, "https://cred.invalid");
}

#[tokio::test]
async fn a_missing_file_is_explained() {
    let elsewhere = call(&serve().await, Value::Null);
    let error = (plugin().setup)(elsewhere, ()).await.unwrap_err();
    assert!(error.to_string().contains(NO_FILE), "{error}");
}

#[tokio::test]
async fn nobody_is_asked_about_nobody() {
    // The address does not exist: a request would end in another error.
    let call = call("https://cred.invalid", Value::Null);
    let error = perform(call, "sourcecred.user-cred", json!({})).await;
    let why = "either a username or an id is required";
    assert_eq!(error, Err(invalid("parameters", why)));
}
