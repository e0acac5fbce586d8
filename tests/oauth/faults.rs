//! What comes to the callback that should not, and platforms that fail.

use std::time::Duration;

use metagov_proto::v1::AuthorizePluginRequest;
use reqwest::{Method, Url};
use serde_json::json;
use tokio::task::JoinSet;
use wiremock::ResponseTemplate;

use super::{
    provider::{Asked, steward},
    scene::{Scene, Seen, browser, install, login},
};
use crate::harness::{Cluster, Home, Wire};

/// An answer for a person, with nothing in it that came with the request.
fn is_plain_page(seen: &Seen) {
    assert_eq!(seen.status, 400, "{seen:?}");
    assert!(!seen.headers.contains_key("location"), "{seen:?}");
    assert_eq!(seen.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(seen.headers["x-content-type-options"], "nosniff");
    assert_eq!(seen.headers["cache-control"], "no-store");
    assert_eq!(seen.headers["referrer-policy"], "no-referrer");
    assert_eq!(
        seen.headers["content-security-policy"],
        "default-src 'none'"
    );
    for word in ["<", "alert", "evil", "canary", "&lt;"] {
        assert!(!seen.body.contains(word), "{seen:?}");
    }
}

async fn nothing_came_of_it(scene: &Scene) {
    for community in ["commons", "others"] {
        assert!(scene.installations(community).await.is_empty());
        assert!(scene.identities(community).await.is_empty());
    }
}

#[tokio::test]
async fn a_callback_works_once() {
    let scene = Scene::open().await;
    let asked = scene.asked(install("commons")).await;
    let back = scene.provider.agree(&asked, steward("north"));
    let first = scene.visit(&back).await;
    assert!(first.told().contains_key("installation_id"));
    is_plain_page(&scene.visit(&back).await);
    assert_eq!(scene.provider.asked_for("authorization_code"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_callbacks_at_the_same_time_one_works() {
    let scene = Scene::open().await;
    let asked = scene.asked(install("commons")).await;
    let back = scene.provider.agree(&asked, steward("north"));
    let mut visits = JoinSet::new();
    for _ in 0..16 {
        visits.spawn(browser().get(back.as_str()).send());
    }
    let all = visits.join_all().await;
    let sent = all
        .into_iter()
        .filter(|seen| seen.as_ref().unwrap().status() == 303);
    assert_eq!(sent.count(), 1);
    assert_eq!(scene.provider.asked_for("authorization_code"), 1);
    assert_eq!(scene.installations("commons").await.len(), 1);
}

#[tokio::test]
async fn a_callback_that_nobody_began_does_nothing() {
    let scene = Scene::open().await;
    let asked = scene.asked(install("commons")).await;
    let state = Asked::read(&asked).of("state").unwrap().to_owned();
    let evil = "%3Cscript%3Ealert(%27evil%27)%3C/script%3E";
    for query in [
        String::new(),
        "?".to_owned(),
        "?code=canary-1".to_owned(),
        "?state=".to_owned(),
        "?state=&code=canary-1".to_owned(),
        format!("?state={evil}&code={evil}"),
        format!("?error={evil}&error_description={evil}&state={evil}"),
        format!("?state={state}x&code=canary-1"),
        format!("?state={}&code=canary-1", &state[1..]),
        format!("?state={}&code=canary-1", state.to_uppercase()),
        format!("?state={state}&state={state}&code=canary-1"),
        format!("?state={state}&code=canary-1&code=canary-2"),
        "?state=%00%FF%0d%0aLocation:%20https://evil.example".to_owned(),
    ] {
        let url = format!("{}/auth/plaza/callback{query}", scene.gateway.public);
        is_plain_page(&scene.visit(&url).await);
    }
    for plugin in [
        "nope",
        "randomness",
        "%3Cscript%3Ealert('evil')",
        "..%2Fplaza",
        "%00",
    ] {
        let place = format!("auth/{plugin}/callback?state={evil}&code=canary-1");
        let url = format!("{}/{place}", scene.gateway.public);
        is_plain_page(&scene.visit(url).await);
    }
    assert_eq!(scene.provider.asked_for("authorization_code"), 0);
    nothing_came_of_it(&scene).await;
    // None of it has ended what was begun.
    let seen = scene
        .visit(scene.provider.agree(&asked, steward("north")))
        .await;
    assert!(seen.told().contains_key("installation_id"));
}

#[tokio::test]
async fn a_callback_is_for_the_plugin_that_it_was_begun_with() {
    let scene = Scene::open().await;
    let asked = scene.asked(install("commons")).await;
    let back = scene.provider.agree(&asked, steward("north"));
    let elsewhere = back.as_str().replace("/auth/plaza/", "/auth/old-plaza/");
    is_plain_page(&scene.visit(&elsewhere).await);
    // A state that was seen elsewhere is of no use any more.
    is_plain_page(&scene.visit(&back).await);
    assert_eq!(scene.provider.asked_for("authorization_code"), 0);
    nothing_came_of_it(&scene).await;
}

#[tokio::test]
async fn what_took_too_long_is_over() {
    let scene = Scene::open().await;
    let asked = scene.asked(install("commons")).await;
    let back = scene.provider.agree(&asked, steward("north"));
    scene
        .change_rows(r#"UPDATE "authorization" SET expire_time = expire_time - 600000000"#)
        .await;
    is_plain_page(&scene.visit(&back).await);
    assert_eq!(scene.provider.asked_for("authorization_code"), 0);
    nothing_came_of_it(&scene).await;
}

#[tokio::test]
async fn a_login_enables_nothing_and_an_installation_links_nobody() {
    let scene = Scene::open().await;
    for request in [login("commons"), install("commons")] {
        let is_login = request.purpose == login("commons").purpose;
        let asked = scene.asked(request).await;
        let mut back = scene.provider.agree(&asked, steward("north"));
        // What the callback says of it is nothing.
        let other = if is_login { "INSTALL" } else { "LOGIN" };
        back.query_pairs_mut()
            .append_pair("purpose", other)
            .append_pair("community_id", "others");
        let told = scene.visit(back).await.told();
        assert_eq!(told.contains_key("identity_id"), is_login);
        assert_eq!(told.contains_key("installation_id"), !is_login);
        assert_eq!(told["community_id"], "commons");
        assert_eq!(
            scene.installations("commons").await.len(),
            usize::from(!is_login)
        );
    }
    assert!(scene.installations("others").await.is_empty());
}

#[tokio::test]
async fn a_code_is_used_once() {
    let scene = Scene::open().await;
    let first = scene.asked(install("commons")).await;
    let back = scene.provider.agree(&first, steward("north"));
    let code = Asked::read(back.as_str()).of("code").unwrap().to_owned();
    scene.visit(&back).await.told();
    // The same code with a state of its own.
    let second = scene.asked(login("commons")).await;
    let state = Asked::read(&second).of("state").unwrap().to_owned();
    let url = format!(
        "{}/auth/plaza/callback?state={state}&code={code}",
        scene.gateway.public
    );
    assert_eq!(scene.visit(url).await.error(), "server_error");
    assert_eq!(scene.provider.asked_for("authorization_code"), 2);
}

/// Somebody's code, brought to the gateway with another one's state.
#[tokio::test]
async fn a_code_of_another_flow_is_refused() {
    let scene = Scene::open().await;
    let mine = scene.asked(install("others")).await;
    let theirs = scene.asked(install("commons")).await;
    let stolen = scene.provider.agree(&theirs, steward("north"));
    let code = Asked::read(stolen.as_str()).of("code").unwrap().to_owned();
    let state = Asked::read(&mine).of("state").unwrap().to_owned();
    let url = format!(
        "{}/auth/plaza/callback?state={state}&code={code}",
        scene.gateway.public
    );
    assert_eq!(scene.visit(url).await.error(), "server_error", "PKCE");
    nothing_came_of_it(&scene).await;
}

#[tokio::test]
async fn a_person_may_say_no() {
    let scene = Scene::open().await;
    for (word, error) in [
        ("access_denied", "access_denied"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("invalid_scope", "server_error"),
        ("<script>alert('evil')</script>", "server_error"),
    ] {
        let asked = scene.asked(install("commons")).await;
        let back = scene.provider.refuse(&asked, word);
        let seen = scene.visit(&back).await;
        let told = seen.told();
        assert_eq!(seen.error(), error, "{word}");
        assert_eq!(told["state"], "the caller's own & it=alone");
        assert_eq!(told["community_id"], "commons");
        assert_eq!(told.len(), 4);
        assert!(!seen.location().as_str().contains("alert"), "{seen:?}");
        assert_eq!(seen.body, "");
        is_plain_page(&scene.visit(&back).await);
    }
    assert_eq!(scene.provider.asked_for("authorization_code"), 0);
    nothing_came_of_it(&scene).await;
}

#[tokio::test]
async fn a_callback_without_a_code_fails() {
    let scene = Scene::open().await;
    for more in ["", "&code="] {
        let asked = scene.asked(install("commons")).await;
        let state = Asked::read(&asked).of("state").unwrap().to_owned();
        let url = format!(
            "{}/auth/plaza/callback?state={state}{more}",
            scene.gateway.public
        );
        assert_eq!(scene.visit(url).await.error(), "server_error");
    }
    nothing_came_of_it(&scene).await;
}

#[tokio::test]
async fn whatever_a_platform_answers_the_person_comes_back() {
    let scene = Scene::open_with(|config| {
        config.outgoing.call_timeout = Duration::from_millis(500);
    })
    .await;
    let new = ResponseTemplate::new;
    let cases = [
        ("temporarily_unavailable", new(500)),
        (
            "temporarily_unavailable",
            new(503).insert_header("retry-after", "60"),
        ),
        (
            "temporarily_unavailable",
            new(429).insert_header("retry-after", "60"),
        ),
        (
            "temporarily_unavailable",
            new(200).set_body_string("<html>canary-page</html>"),
        ),
        ("temporarily_unavailable", new(200).set_body_string("")),
        ("temporarily_unavailable", new(200).set_body_string("[[[[")),
        (
            "temporarily_unavailable",
            new(200).set_body_string("[".repeat(100_000)),
        ),
        (
            "temporarily_unavailable",
            new(200).set_body_json(json!(null)),
        ),
        ("temporarily_unavailable", new(200).set_body_json(json!({}))),
        (
            "temporarily_unavailable",
            new(200).set_body_json(json!({ "access_token": 7, "as_user": "a" })),
        ),
        (
            "temporarily_unavailable",
            new(200).set_body_json(json!({ "ok": false, "error": "ratelimited" })),
        ),
        (
            "temporarily_unavailable",
            new(302).insert_header("location", "https://evil.example/"),
        ),
        (
            "temporarily_unavailable",
            new(200).set_delay(Duration::from_secs(60)),
        ),
        (
            "server_error",
            new(200).set_body_json(json!({ "error": "bad_verification_code" })),
        ),
        (
            "server_error",
            new(200).set_body_json(json!({ "ok": false, "error": "invalid_code" })),
        ),
        (
            "server_error",
            new(400).set_body_json(json!({ "error": "<script>evil" })),
        ),
        (
            "server_error",
            new(401).set_body_json(json!({ "error": "invalid_client" })),
        ),
        ("server_error", new(404).set_body_string("canary-nothing")),
    ];
    for (error, answer) in cases {
        let about = format!("{answer:?}");
        scene.provider.state().instead = Some(answer);
        let seen = scene.goes(install("commons"), steward("north")).await;
        assert_eq!(seen.error(), error, "{about}");
        let location = seen.location();
        for word in ["<", "%3C", "evil", "canary"] {
            assert!(!location.as_str().contains(word), "{location}");
        }
    }
    nothing_came_of_it(&scene).await;
    scene.provider.state().instead = None;
    scene.installs("commons", steward("north")).await;
}

#[tokio::test]
async fn a_platform_that_is_down_is_told_so() {
    let scene = Scene::open_with(|config| {
        let settings = config.operator.get_mut("plaza").unwrap();
        // Nobody listens on the port of discard.
        settings.insert("api_url".to_owned(), json!("http://127.0.0.1:9"));
    })
    .await;
    let asked = scene.asked(install("commons")).await;
    let state = Asked::read(&asked).of("state").unwrap().to_owned();
    let url = format!(
        "{}/auth/plaza/callback?state={state}&code=canary-1",
        scene.gateway.public
    );
    assert_eq!(scene.visit(url).await.error(), "temporarily_unavailable");
    nothing_came_of_it(&scene).await;
}

/// RFC 9207: whom a callback is from, where the platform says so.
#[tokio::test]
async fn a_callback_of_another_platform_is_refused() {
    let issuer = "https://plaza.example";
    let scene = Scene::open_with(|config| {
        let settings = config.operator.get_mut("plaza").unwrap();
        settings.insert("issuer".to_owned(), json!(issuer));
    })
    .await;
    let back = async |iss: Option<&str>| -> Url {
        let asked = scene.asked(install("commons")).await;
        let mut back = scene.provider.agree(&asked, steward("north"));
        if let Some(iss) = iss {
            back.query_pairs_mut().append_pair("iss", iss);
        }
        back
    };
    for wrong in [
        None,
        Some("https://evil.example"),
        Some("https://plaza.example/"),
    ] {
        let url = back(wrong).await;
        assert_eq!(scene.visit(url).await.error(), "server_error", "{wrong:?}");
    }
    assert_eq!(scene.provider.asked_for("authorization_code"), 0);
    let url = back(Some(issuer)).await;
    assert!(
        scene
            .visit(url)
            .await
            .told()
            .contains_key("installation_id")
    );
}

#[tokio::test]
async fn who_only_looks_ends_nothing() {
    let scene = Scene::open().await;
    let asked = scene.asked(install("commons")).await;
    let back = scene.provider.agree(&asked, steward("north"));
    for method in [Method::HEAD, Method::POST, Method::OPTIONS, Method::PUT] {
        let looked = browser().request(method.clone(), back.as_str());
        let status = looked.send().await.unwrap().status();
        assert_eq!(status.as_u16(), 405, "{method}");
    }
    assert!(
        scene
            .visit(&back)
            .await
            .told()
            .contains_key("installation_id")
    );
}

/// A browser that goes away does not stop it half done.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_closes_the_browser_has_still_agreed() {
    let scene = Scene::open().await;
    let mut watcher = scene.api().watch().await;
    let asked = scene
        .asked(AuthorizePluginRequest {
            plugin: "old-plaza".into(),
            ..install("commons")
        })
        .await;
    let back = scene.provider.agree(&asked, steward("north"));
    // The provider holds its answer back until the browser is gone.
    let (mut heard, go_on) = scene.provider.hold();
    let visit = tokio::spawn(browser().get(back.as_str()).send());
    heard.recv().await.unwrap();
    visit.abort();
    assert!(visit.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    let event = watcher.next().await.payload.unwrap();
    assert!(matches!(
        event,
        metagov_proto::v1::event::Payload::InstallationChanged(_)
    ));
}

/// What was kept stays set up, although nobody was told that it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_undoes_nothing() {
    let cluster = Cluster::start(&[]);
    let wire = Wire::to(&cluster, "INSERT INTO \"credential\"", Duration::ZERO).await;
    let scene = Scene::open_in(Home::at(wire.url()), |_| ()).await;
    let told = scene
        .goes(install("commons"), steward("north"))
        .await
        .told();
    assert!(wire.was_cut());
    let kept = scene.installation(&told["installation_id"]).await;
    assert_eq!(scene.installations("commons").await, [kept]);
    scene.say("plaza").await.unwrap();
    let left_with = scene.provider.state().left_with.clone();
    assert!(left_with.is_empty(), "the platform was told that we leave");
}
