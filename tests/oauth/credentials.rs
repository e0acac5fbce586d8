//! What was granted: renewed in time, once for all, kept, and forgotten.

use std::time::{Duration, Instant};

use metagov_proto::v1::{
    CheckInstallationRequest, DeleteCommunityRequest, DisablePluginRequest, Installation,
};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};
use tonic::Code;
use wiremock::ResponseTemplate;

use super::{
    provider::steward,
    scene::{Scene, browser, install, plugins},
};
use crate::harness::{Cluster, Home, Kind, PATIENCE, Wire, fault};

/// A scene whose community has enabled the plugin with a token of so many seconds.
async fn enabled(life: u64) -> (Scene, Installation) {
    let scene = Scene::open().await;
    scene.provider.state().life = Some(life);
    let installation = scene.installs("commons", steward("north")).await;
    (scene, installation)
}

/// Time passes: what was granted is about to expire, or has.
async fn expires(scene: &Scene) {
    let soon = "UPDATE credential SET expire_time = expire_time - 3600000000";
    scene.change_rows(soon).await;
}

#[tokio::test]
async fn what_is_fresh_is_used_as_it_is() {
    let (scene, _) = enabled(3600).await;
    for _ in 0..3 {
        scene.say("plaza").await.unwrap();
    }
    assert_eq!(scene.provider.asked_for("refresh_token"), 0);
}

/// A token with less than a minute left may not outlive the step.
#[tokio::test]
async fn what_expires_within_a_minute_is_renewed_before_it_is_used() {
    let (scene, _) = enabled(3600 + 50).await;
    scene.say("plaza").await.unwrap();
    assert_eq!(scene.provider.asked_for("refresh_token"), 0);
    expires(&scene).await;
    scene.say("plaza").await.unwrap();
    assert_eq!(scene.provider.asked_for("refresh_token"), 1);
    scene.say("plaza").await.unwrap();
    assert_eq!(scene.provider.asked_for("refresh_token"), 1);
    let said_with = scene.provider.state().said_with.clone();
    assert_ne!(said_with[0], said_with[1]);
    assert_eq!(said_with[1], said_with[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_need_it_one_renews() {
    let (scene, _) = enabled(3600).await;
    expires(&scene).await;
    // So that the others come while one waits.
    scene.provider.state().delay = Duration::from_secs(1);
    let mut saying = JoinSet::new();
    for _ in 0..32 {
        let api = scene.gateway.api.clone();
        let words = json!({ "text": "All together" });
        saying.spawn(async move { api.perform("commons", "plaza.say", words).await });
    }
    for said in saying.join_all().await {
        said.unwrap();
    }
    assert_eq!(scene.provider.asked_for("refresh_token"), 1);
    assert_eq!(scene.provider.state().said_with.len(), 32);
}

/// Each knows only of itself what runs.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_gateways_one_renews() {
    let scene = Scene::open_in(Home::on(Kind::Postgres), |_| ()).await;
    scene.provider.state().life = Some(3600);
    scene.installs("commons", steward("north")).await;
    let other = scene.gateway.replica(|_| (), plugins()).await;
    expires(&scene).await;
    scene.provider.state().delay = Duration::from_secs(1);
    let mut saying = JoinSet::new();
    for number in 0..16 {
        let api = [&scene.gateway.api, &other.api][number % 2].clone();
        let words = json!({ "text": "All together" });
        saying.spawn(async move { api.perform("commons", "plaza.say", words).await });
    }
    for said in saying.join_all().await {
        said.unwrap();
    }
    assert_eq!(scene.provider.asked_for("refresh_token"), 1);
    assert_eq!(scene.provider.state().said_with.len(), 16);
}

/// The gateway lives on, and was not told that it is the one who renews.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_not_answered_holds_up_no_renewal() {
    let cluster = Cluster::start(&[]);
    let claim = "UPDATE \"credential\" SET \"claim_replica_id\"";
    let wire = Wire::to(&cluster, claim, Duration::ZERO).await;
    let scene = Scene::open_in(Home::at(wire.url()), |_| ()).await;
    scene.provider.state().life = Some(3600);
    scene.installs("commons", steward("north")).await;
    expires(&scene).await;
    let until = Instant::now() + PATIENCE;
    // This one is told that the database is away; and each connection of before is found
    // dead once.
    while scene.say("plaza").await.is_err() {
        assert!(Instant::now() < until, "they are not renewed");
    }
    assert!(wire.was_cut());
    assert_eq!(scene.provider.asked_for("refresh_token"), 1);
}

/// The provider takes each refresh token once: one that was lost would end it all.
#[tokio::test]
async fn a_refresh_token_that_is_replaced_is_not_lost() {
    let (scene, installation) = enabled(3600).await;
    for times in 1..=3 {
        expires(&scene).await;
        scene.say("plaza").await.unwrap();
        assert_eq!(scene.provider.asked_for("refresh_token"), times);
    }
    let Scene { gateway, provider } = scene;
    let plugins = vec![super::plaza::plugin()];
    let gateway = gateway.restart(plugins).await;
    let scene = Scene { gateway, provider };
    expires(&scene).await;
    scene.say("plaza").await.unwrap();
    let installation = scene.installation(&installation.installation_id).await;
    assert_eq!(installation.problem, "");
}

/// Nothing that is granted can be kept any more, as on a full disk; how that ends.
async fn has_no_room(scene: &Scene) -> &'static str {
    let (begin, end): (&[&str], _) = match scene.gateway.home().kind() {
        Kind::Sqlite => (
            &[
                "CREATE TRIGGER no_room BEFORE UPDATE OF granted ON credential
                BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
            ],
            "DROP TRIGGER no_room",
        ),
        Kind::Postgres => (
            &[
                "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql
                    AS $$ BEGIN RAISE 'no room' USING ERRCODE = '53100'; END $$",
                "CREATE TRIGGER no_room BEFORE UPDATE OF granted ON credential
                    FOR EACH ROW EXECUTE FUNCTION no_room()",
            ],
            "DROP TRIGGER no_room ON credential",
        ),
    };
    for sql in begin {
        scene.change_rows(sql).await;
    }
    end
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_cannot_be_kept_yet_is_not_lost() {
    let (scene, _) = enabled(3600).await;
    expires(&scene).await;
    let end = has_no_room(&scene).await;
    let api = scene.gateway.api.clone();
    let words = json!({ "text": "Good morning" });
    let mut saying = tokio::spawn(async move { api.perform("commons", "plaza.say", words).await });
    let early = timeout(Duration::from_secs(2), &mut saying).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    assert_eq!(scene.provider.asked_for("refresh_token"), 1);
    scene.change_rows(end).await;
    saying.await.unwrap().unwrap();
    scene.say("plaza").await.unwrap();
    assert_eq!(scene.provider.asked_for("refresh_token"), 1);
}

#[tokio::test]
async fn a_refresh_token_that_is_not_replaced_goes_on() {
    let scene = Scene::open().await;
    scene.provider.state().life = Some(3600);
    scene.provider.state().rotates = false;
    scene.installs("commons", steward("north")).await;
    for times in 1..=3 {
        expires(&scene).await;
        scene.say("plaza").await.unwrap();
        assert_eq!(scene.provider.asked_for("refresh_token"), times);
    }
}

/// A step has its time, and what it began to renew has its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_cut_off_does_not_cut_off_the_renewal() {
    let scene = Scene::open_with(|config| config.step_timeout = Duration::from_secs(4)).await;
    scene.provider.state().life = Some(3600);
    scene.installs("commons", steward("north")).await;
    expires(&scene).await;
    let (mut heard, go_on) = scene.provider.hold();
    let api = scene.gateway.api.clone();
    let dawdling = api.perform("commons", "plaza.dawdle", json!({}));
    let late = fault(dawdling.await);
    assert!(
        late.is(Code::Unavailable, "PLATFORM_UNAVAILABLE"),
        "{late:?}"
    );
    heard.recv().await.unwrap();
    go_on.send(()).unwrap();
    // The refresh token was used up: only if the answer was kept does this go well.
    scene.say("plaza").await.unwrap();
    assert_eq!(scene.provider.asked_for("refresh_token"), 1);
}

#[tokio::test]
async fn a_refusal_is_a_problem_of_the_installation() {
    let (scene, installation) = enabled(3600).await;
    let id = &installation.installation_id;
    expires(&scene).await;
    scene.provider.state().forget_tokens();
    let mut watcher = scene.api().watch().await;
    let refused = fault(scene.say("plaza").await);
    assert!(
        refused.is(Code::FailedPrecondition, "PLATFORM_UNAUTHORIZED"),
        "{refused:?}"
    );
    assert!(!refused.message.contains("canary"), "{refused:?}");
    let noted = scene.installation(id).await;
    assert!(noted.problem.contains("invalid_grant"), "{noted:?}");
    assert!(noted.problem_time.is_some());
    watcher.next().await;
    let check = CheckInstallationRequest {
        installation_id: id.clone(),
    };
    let checked = scene.api().plugins().check_installation(check).await;
    let checked = checked.unwrap().into_inner().installation.unwrap();
    assert_eq!(checked.problem, noted.problem);
    // Until somebody authorizes it anew.
    let again = scene.installs("commons", steward("north")).await;
    assert_eq!(
        (again.installation_id.as_str(), again.problem.as_str()),
        (id.as_str(), "")
    );
    scene.say("plaza").await.unwrap();
}

#[tokio::test]
async fn a_platform_that_is_down_is_no_problem_of_the_installation() {
    let (scene, installation) = enabled(3600).await;
    expires(&scene).await;
    scene.provider.state().instead = Some(ResponseTemplate::new(503));
    let later = fault(scene.say("plaza").await);
    assert!(
        later.is(Code::Unavailable, "PLATFORM_UNAVAILABLE"),
        "{later:?}"
    );
    let noted = scene.installation(&installation.installation_id).await;
    assert_eq!(noted.problem, "");
    scene.provider.state().instead = None;
    scene.say("plaza").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_renewed_ends_with_its_time() {
    let scene = Scene::open().await;
    scene.installs("commons", steward("north")).await;
    scene
        .change_rows("UPDATE credential SET expire_time = 1")
        .await;
    let ended = fault(scene.say("plaza").await);
    assert!(
        ended.is(Code::FailedPrecondition, "PLATFORM_UNAUTHORIZED"),
        "{ended:?}"
    );
    assert!(ended.message.contains("authorize it anew"), "{ended:?}");
    assert_eq!(scene.provider.asked_for("refresh_token"), 0);
}

#[tokio::test]
async fn a_plugin_may_renew_in_its_own_way() {
    let scene = Scene::open().await;
    scene.provider.state().life = Some(3600);
    let request = metagov_proto::v1::AuthorizePluginRequest {
        plugin: "mint-plaza".into(),
        ..install("commons")
    };
    scene.goes(request, steward("north")).await.told();
    expires(&scene).await;
    scene.say("mint-plaza").await.unwrap();
    assert_eq!(scene.provider.asked_for("refresh_token"), 0);
}

#[tokio::test]
async fn what_the_platform_took_back_is_forgotten() {
    let (scene, installation) = enabled(3600).await;
    let told = browser()
        .post(&installation.webhook_url)
        .body("The steward left.");
    assert_eq!(told.send().await.unwrap().status().as_u16(), 200);
    let noted = scene.installation(&installation.installation_id).await;
    assert_eq!(noted.problem, "The steward left.");
    assert_eq!(credentials(&scene).await, 0);
    let refused = fault(scene.say("plaza").await);
    assert!(
        refused.is(Code::FailedPrecondition, "PLATFORM_UNAUTHORIZED"),
        "{refused:?}"
    );
    assert!(refused.message.contains("AuthorizePlugin"), "{refused:?}");
}

async fn credentials(scene: &Scene) -> i64 {
    scene.count("credential").await
}

#[tokio::test]
async fn what_was_granted_goes_with_its_installation() {
    let (scene, installation) = enabled(3600).await;
    scene.installs("others", steward("south")).await;
    assert_eq!(credentials(&scene).await, 2);
    let disable = DisablePluginRequest {
        installation_id: installation.installation_id,
        etag: String::new(),
    };
    scene.api().plugins().disable_plugin(disable).await.unwrap();
    // The platform was told with the token, before that was forgotten.
    assert_eq!(scene.provider.state().left_with.len(), 1);
    assert_eq!(credentials(&scene).await, 1);
    scene.asked(install("others")).await;
    assert_eq!(scene.count("authorization").await, 1);
    let delete = DeleteCommunityRequest {
        community_id: "others".into(),
        etag: String::new(),
    };
    scene
        .api()
        .communities()
        .delete_community(delete)
        .await
        .unwrap();
    assert_eq!(credentials(&scene).await, 0);
    assert_eq!(scene.count("authorization").await, 0);
}

#[tokio::test]
async fn what_nobody_ended_is_swept_away() {
    let scene = Scene::open().await;
    scene.asked(install("commons")).await;
    scene
        .change_rows(r#"UPDATE "authorization" SET expire_time = 1"#)
        .await;
    scene.asked(install("commons")).await;
    // It sweeps when it starts, if only a moment later, and then each minute.
    let Scene { gateway, provider } = scene;
    let gateway = gateway.restart(vec![super::plaza::plugin()]).await;
    let scene = Scene { gateway, provider };
    let until = tokio::time::Instant::now() + crate::harness::PATIENCE;
    while scene.count("authorization").await > 1 {
        assert!(tokio::time::Instant::now() < until, "it is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(scene.count("authorization").await, 1, "one is not over yet");
}
