//! What the log says of hooks that are refused: enough, and not too much.

use serde_json::Value;

use crate::{
    fakes::{Forum, WEBHOOK_SECRET, post},
    harness::{Binary, Home},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_hooks_is_counted_in_the_log_and_no_slug_is_in_it() {
    let forum = Forum::start().await;
    let home = Home::new();
    let server = Binary::serve(&home, &["--log", "info,metagov=trace"]);
    let api = server.api().await;
    api.community("co-op").await;
    let made = api.enable("co-op", "discourse", forum.config()).await;
    let (short, slug) = made.webhook_url.rsplit_once('/').unwrap();
    let guess = "0123456789abcdef0123456789abcdef";
    let mut answers = Vec::new();
    for number in 0..40 {
        let to = match number % 2 {
            0 => made.webhook_url.clone(),
            _ => short.to_owned(),
        };
        let hook = forum.signed(&to, "post_created", "sha256=00");
        let answer = hook.body(post(number, "ada").to_string()).send().await;
        answers.push(answer.unwrap().status().as_u16());
    }
    assert_eq!(answers, [401; 40]);
    let wrong = format!("{short}/{guess}");
    let answer = forum.hook(&wrong, "post_created", &post(1, "ada"));
    assert_eq!(answer.send().await.unwrap().status().as_u16(), 404);
    let good = forum.hook(&made.webhook_url, "post_created", &post(1, "ada"));
    assert_eq!(good.send().await.unwrap().status().as_u16(), 200);

    let lines = server.terminate_with_log();
    let told: Vec<Value> = lines
        .iter()
        .filter(|line| line.contains("hooks were refused"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [told] = &told[..] else {
        panic!("one line for all: {told:?}")
    };
    let field = |name: &str| {
        let fields = told.get("fields").unwrap_or(told);
        fields[name].clone()
    };
    assert_eq!(field("monotonic_counter.hooks_refused"), 1, "{told}");
    assert_eq!(field("plugin"), "discourse");
    assert_eq!(field("place"), "co-op");
    for secret in [slug, guess, WEBHOOK_SECRET] {
        let leak = lines.iter().find(|line| line.contains(secret));
        assert_eq!(leak, None);
    }
}
