//! Judging the gateway itself.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use metagov_client::Options;
use metagov_proto::v1::ListCommunitiesRequest;
use serde_json::Value;

use super::{
    asked::{self, Answer},
    finding::Finding,
};
use crate::cli::{Exit, client::Client, pages};

/// How far apart two clocks may be; a date has whole seconds.
const APART: Duration = Duration::from_secs(5);

/// Whether others can listen in. That the certificate holds was seen on connecting.
pub(super) fn tls(options: &Options) -> Finding {
    match (options.endpoint.starts_with("https:"), options.is_local()) {
        (true, _) => Finding::right("TLS", "the certificate is vouched for"),
        (false, Ok(true)) => Finding::right("TLS", "not needed: it is this machine"),
        _ => Finding::doubtful(
            "TLS",
            "whoever is on the way can read along",
            "use https://, or a tunnel",
        ),
    }
}

/// Whether the token holds, and in which communities.
pub(super) async fn token(client: &mut Client) -> (Finding, Vec<String>) {
    let communities = pages::all("communities", usize::MAX, async |page_size, page_token| {
        let request = ListCommunitiesRequest {
            page_size,
            page_token,
        };
        let page = client
            .communities
            .list_communities(request)
            .await?
            .into_inner();
        let ids = page.communities.into_iter().map(|it| it.community_id);
        Ok((ids.collect(), page.next_page_token))
    });
    match communities.await {
        Ok(ids) => {
            let found = format!("it holds; communities that it reads: {}", ids.len());
            (Finding::right("token", found), ids)
        }
        Err(failure) => (Finding::failed("token", &failure), Vec::new()),
    }
}

/// Version, clock and database.
pub(super) async fn state(client: &Client) -> Vec<Finding> {
    let ready = asked::get(client.way(), "/readyz").await;
    let metrics = asked::get(client.way(), "/metrics").await;
    vec![
        version(metrics.as_ref()),
        clock(ready.as_ref().and_then(|answer| answer.date)),
        database(ready.as_ref()),
    ]
}

fn version(metrics: Option<&Answer>) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let told = metrics.filter(|answer| answer.status == StatusCode::OK);
    let told = told.and_then(|answer| {
        let lines = &mut answer.text.lines();
        let line = lines.find(|line| line.starts_with("metagov_build_info{"))?;
        line.split('"').nth(1)
    });
    match told {
        Some(version) if version == own => Finding::right("version", own),
        Some(version) => Finding::doubtful(
            "version",
            format!("the gateway is {version}, this command {own}"),
            "use the command of the gateway's version",
        ),
        None => Finding::doubtful(
            "version",
            format!("this command is {own}; the gateway does not say"),
            "it says so to a token that reads all communities",
        ),
    }
}

fn clock(date: Option<SystemTime>) -> Finding {
    let Some(date) = date else {
        return Finding::doubtful("clock", "the gateway does not say what time it is", "");
    };
    let now = SystemTime::now();
    let apart = now.duration_since(date).unwrap_or_else(|e| e.duration());
    let found = format!("{} s from this machine's", apart.as_secs());
    match apart <= APART {
        true => Finding::right("clock", found),
        false => Finding::wrong(
            "clock",
            Exit::Other,
            found,
            "have both machines keep time by NTP: tokens and votes end by the gateway's clock",
        ),
    }
}

fn database(ready: Option<&Answer>) -> Finding {
    let unknown =
        |found| Finding::doubtful("database", found, "ask /readyz on the gateway's machine");
    let Some(answer) = ready else {
        return unknown("/readyz gives no answer".to_owned());
    };
    match answer.status {
        StatusCode::OK => Finding::right("database", "it can be written"),
        StatusCode::SERVICE_UNAVAILABLE => {
            let told: Value = serde_json::from_str(&answer.text).unwrap_or_default();
            let reason = told["reason"].as_str().unwrap_or("unknown");
            Finding::wrong("database", Exit::NotNow, reason, cure(reason))
        }
        status => unknown(format!("/readyz answers {status}")),
    }
}

/// What helps, by the word of `/readyz`.
fn cure(reason: &str) -> &'static str {
    match reason {
        "draining" => "the gateway is stopping; call the one that comes after it",
        "full" => "give its disk more room; it goes on by itself",
        "read_only" => "let it write its database: a standby and a read-only disk cannot",
        "unreachable" => "start its database, or correct METAGOV_DATABASE_URL",
        "slow" => "look at what its database is busy with",
        _ => "the gateway's log has more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: StatusCode, text: &str) -> Answer {
        Answer {
            status,
            text: text.to_owned(),
            date: None,
        }
    }

    #[test]
    fn another_version_is_doubtful() {
        let other = answer(
            StatusCode::OK,
            "# x\nmetagov_build_info{version=\"9.9.9\"} 1\n",
        );
        assert!(
            version(Some(&other)).written()["found"]
                .as_str()
                .unwrap()
                .contains("9.9.9")
        );
        let own = format!(
            "metagov_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        let own = answer(StatusCode::OK, &own);
        assert_eq!(version(Some(&own)).written()["state"], "right");
        assert_eq!(version(None).written()["state"], "doubtful");
    }

    #[test]
    fn a_clock_that_is_wrong_is_told() {
        assert_eq!(clock(Some(SystemTime::now())).written()["state"], "right");
        for date in [
            SystemTime::now() - Duration::from_secs(60),
            SystemTime::now() + Duration::from_secs(60),
        ] {
            assert_eq!(clock(Some(date)).exit(), Some(Exit::Other));
        }
    }

    #[test]
    fn a_database_that_cannot_be_written_is_told_with_its_reason() {
        let text = r#"{"ready":false,"reason":"full"}"#;
        let full = database(Some(&answer(StatusCode::SERVICE_UNAVAILABLE, text)));
        assert_eq!(full.exit(), Some(Exit::NotNow));
        assert_eq!(full.written()["found"], "full");
        assert_eq!(database(None).exit(), None);
    }
}
