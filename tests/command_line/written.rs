//! The three forms of an answer, alike for all verbs.

use super::{run, with};

#[tokio::test]
async fn every_list_is_written_in_all_three_forms() {
    let gateway = with(&["randomness"]).await;
    let at = ["--community", "co-op"];
    run(&gateway, &[&["identity", "create"][..], &at].concat())
        .await
        .done();
    run(&gateway, &["subscription", "create", "bot"])
        .await
        .done();
    for (verb, at, head, key) in [
        (["community", "list"], &[][..], "COMMUNITY", "communities"),
        (["plugin", "list"], &[], "PLUGIN", "plugins"),
        (
            ["plugin", "installations"],
            &at,
            "INSTALLATION",
            "installations",
        ),
        (["action", "list"], &[], "ACTION", "plugins"),
        (["events", "list"], &[], "TIME", "events"),
        (
            ["subscription", "list"],
            &[],
            "SUBSCRIPTION",
            "subscriptions",
        ),
        (["identity", "list"], &at, "IDENTITY", "identities"),
        (["token", "list"], &[], "TOKEN", "tokens"),
        (["audit", "list"], &[], "NUMBER", "entries"),
    ] {
        let verb = [&verb[..], at].concat();
        let text = run(&gateway, &verb).await.done();
        assert!(text.starts_with(head), "{verb:?}: {text}");
        let json = [&verb[..], &["--output", "json"]].concat();
        let answer = run(&gateway, &json).await.json();
        assert!(!answer[key].as_array().unwrap().is_empty(), "{verb:?}");
        let yaml = [&verb[..], &["--output", "yaml"]].concat();
        let text = run(&gateway, &yaml).await.done();
        assert!(text.starts_with(&format!("{key}:\n- ")), "{verb:?}: {text}");
    }
}

#[tokio::test]
async fn what_is_done_is_a_line_for_people_and_the_answer_for_scripts() {
    let gateway = with(&[]).await;
    let update = ["community", "update", "co-op", "--name", "no: 'yes'"];
    let json = [&update[..], &["--output", "json"]].concat();
    let answer = run(&gateway, &json).await.json();
    assert_eq!(answer["community"]["displayName"], "no: 'yes'");
    let yaml = [&update[..], &["--output", "yaml"]].concat();
    let text = run(&gateway, &yaml).await.done();
    assert!(
        text.starts_with("community:\n  communityId: co-op\n"),
        "{text}"
    );
    assert!(text.contains("displayName: \"no: 'yes'\""), "{text}");
}
