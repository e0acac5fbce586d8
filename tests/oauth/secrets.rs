//! What is secret about OAuth goes to the platform, and nowhere else.

use std::{
    io,
    sync::{Arc, Mutex},
};

use metagov_proto::v1::{
    CheckInstallationRequest, ListInstallationsRequest, UpdateInstallationRequest,
};
use serde_json::json;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::{
    provider::{Asked, CANARY, steward},
    scene::{Scene, install, login},
};
use crate::harness::object;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// All that happens to secrets, also what goes wrong with them; everything that was said
/// about it.
async fn story(scene: &Scene) -> Vec<String> {
    let mut said = Vec::new();
    scene.provider.state().life = Some(3600);
    let asked = scene.asked(install("commons")).await;
    let state = Asked::read(&asked).of("state").unwrap().to_owned();
    let back = scene.provider.agree(&asked, steward("north"));
    said.push(format!("{:?}", scene.visit(&back).await));
    said.push(format!("{:?}", scene.visit(&back).await));
    said.push(format!(
        "{:?}",
        scene.goes(login("commons"), steward("north")).await
    ));
    said.push(format!(
        "{:?}",
        scene.goes(install("others"), steward("north")).await
    ));
    let installation = scene.installations("commons").await.remove(0);
    let id = installation.installation_id.clone();
    said.push(format!("{:?}", scene.say("plaza").await));
    scene
        .change_rows("UPDATE credential SET expire_time = 1")
        .await;
    said.push(format!("{:?}", scene.say("plaza").await));
    scene.provider.state().forget_tokens();
    said.push(format!("{:?}", scene.say("plaza").await));
    let mut plugins = scene.api().plugins();
    let check = CheckInstallationRequest {
        installation_id: id.clone(),
    };
    said.push(format!(
        "{:?}",
        plugins.check_installation(check.clone()).await
    ));
    scene
        .change_rows("UPDATE credential SET expire_time = 1")
        .await;
    said.push(format!("{:?}", scene.say("plaza").await));
    said.push(format!("{:?}", plugins.check_installation(check).await));
    let update = UpdateInstallationRequest {
        installation_id: id,
        config_patch: object(json!({ "greeting": "Hello" })),
        etag: String::new(),
    };
    said.push(format!("{:?}", plugins.update_installation(update).await));
    // A code that is not, which the provider repeats in its refusal.
    let asked = scene.asked(install("commons")).await;
    let wrong = Asked::read(&asked).of("state").unwrap().to_owned();
    let url = format!(
        "{}/auth/plaza/callback?code={CANARY}wrong&state={wrong}",
        scene.gateway.public
    );
    said.push(format!("{:?}", scene.visit(url).await));
    let list = ListInstallationsRequest {
        community_id: "commons".into(),
        ..Default::default()
    };
    said.push(format!("{:?}", plugins.list_installations(list).await));
    said.push(format!("{:?}", scene.api().log().await));
    assert!(
        !said.join("").contains(&state),
        "a state is told to nobody else"
    );
    said
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// On one thread, so that all that is logged is logged there.
#[tokio::test]
async fn no_token_is_told_logged_or_written_down() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(
            "trace,hyper=info,hyper_util=info,h2=info,sqlx=info",
        ))
        .with_writer(log.clone())
        .finish();
    // What logs is asked once who listens: of one listener, on its own thread alone.
    let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _logged = tracing::subscriber::set_default(subscriber);
    let scene = Scene::open().await;
    let begun = scene.asked(login("commons")).await;
    let pending = Asked::read(&begun).of("state").unwrap().to_owned();
    let said = story(&scene).await.join("\n");
    assert!(said.contains("invalid_grant"), "it went wrong, too");

    let verifiers: Vec<String> = {
        let state = scene.provider.state();
        let forms = state.forms.iter();
        forms
            .filter_map(|form| form.get("code_verifier").cloned())
            .collect()
    };
    assert!(verifiers.len() >= 3);
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        lines.contains("AuthorizePlugin"),
        "the calls were logged: {lines}"
    );
    assert!(lines.contains("a platform grants no token"), "{lines}");
    let secrets = verifiers
        .iter()
        .map(String::as_str)
        .chain([CANARY, &pending]);
    let written = scene.gateway.home().kept().await;
    // It looks into the database.
    let known = |(_, bytes): &(String, Vec<u8>)| contains(bytes, "commons");
    assert!(written.iter().any(known));
    for secret in secrets {
        assert!(!said.contains(secret), "{secret} is told: {said}");
        let line = lines.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is logged");
        for (name, bytes) in &written {
            assert!(!contains(bytes, secret), "{secret} is in {name}");
        }
    }
}
