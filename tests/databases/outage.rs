//! What is under way while a database is away and comes back: nothing of it is lost.

use std::time::{Duration, Instant};

use metagov_proto::v1::event::Payload;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    fakes::{Forum, post},
    harness::{Binary, Cluster, Home, PATIENCE, plain},
};

/// A platform asks again for what was refused with 503, as those do that are built well.
#[tokio::test(flavor = "multi_thread")]
async fn through_an_outage_hooks_are_sent_again_and_streams_wait() {
    let (cluster, forum) = (Cluster::start(&[]), Forum::start().await);
    let home = Home::at(cluster.url());
    let gateway = Binary::serve(&home, &[]);
    let api = gateway.api().await;
    api.community("co-op").await;
    let discourse = api.enable("co-op", "discourse", forum.config()).await;
    let mut watcher = api.watch().await;
    let posted = async |id| {
        let hook = forum.hook(&discourse.webhook_url, "post_created", &post(id, "ada"));
        hook.send().await.unwrap()
    };
    for id in 0..3 {
        cluster.stop("immediate");
        let refused = posted(id).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        cluster.start_again(&[]);
        let until = Instant::now() + PATIENCE;
        while !posted(id).await.status().is_success() {
            assert!(Instant::now() < until, "it is not taken again");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // The stream of before shows it; once, however often it was sent.
        let event = watcher.payload().await;
        let Payload::Platform(event) = event else {
            panic!("{event:?}");
        };
        assert_eq!(event.event_type, "discourse.post_created");
        let data = plain(event.data);
        assert_eq!(data["id"], json!(id));
    }
    assert_eq!(gateway.terminate(), Some(0));
}
