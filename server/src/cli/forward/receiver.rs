//! Posting to the driver, until it has taken what is posted.

use std::time::{Duration, SystemTime};

use reqwest::{Client, Response, StatusCode, header::RETRY_AFTER, redirect::Policy};
use serde_json::Value;
use tokio::time::sleep;
use url::Url;

use crate::cli::{
    Exit, Failure,
    failure::{innermost, printable},
};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// The longest wait that a receiver may ask for.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long it may take to answer.
const CALL: Duration = Duration::from_secs(30);

/// Where to post.
pub(super) struct Receiver {
    client: Client,
    to: Url,
    next: Duration,
}

/// Why a try came to nothing.
enum Trouble {
    /// It may pass; not before that long, if it says so.
    Passing(String, Option<Duration>),
    /// The same would be refused again.
    Lasting(String),
}

/// Reads the address.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("is no address such as http://127.0.0.1:3000/events".to_owned()),
    }
}

impl Receiver {
    pub(super) fn at(to: Url) -> Result<Self, Failure> {
        // Only the first call counts: https needs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(CALL)
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("metagov/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Failure::new(Exit::Other, format!("no HTTP client: {e}")))?;
        let next = FIRST;
        Ok(Self { client, to, next })
    }

    /// Posts until it is taken, with a 2xx. `id` tells repeats apart, as the header
    /// `metagov-event-id`.
    pub(super) async fn take(&mut self, id: &str, body: &Value) -> Result<(), Failure> {
        loop {
            let trouble = match self.post(id, body).await {
                Ok(()) => {
                    self.next = FIRST;
                    return Ok(());
                }
                Err(trouble) => trouble,
            };
            // Not the whole address, which may hold a secret.
            let host = self.to.host_str().unwrap_or_default().to_owned();
            match trouble {
                Trouble::Lasting(why) => {
                    let why = format!("--to: {host} {why}; nothing was skipped");
                    return Err(Failure::new(Exit::Refused, why));
                }
                Trouble::Passing(why, asked) => {
                    let delay = self.delay(asked);
                    let seconds = delay.as_secs_f64();
                    let text = format!("{host}: {why}; again in {seconds:.1} s");
                    eprintln!("{}", printable(&text));
                    sleep(delay).await;
                }
            }
        }
    }

    /// Half a second, doubled up to a minute, each times a random 0.5 to 1.0, and no less
    /// than the receiver asks for.
    fn delay(&mut self, asked: Option<Duration>) -> Duration {
        let delay = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        delay.max(asked.unwrap_or_default().min(PATIENCE))
    }

    async fn post(&self, id: &str, body: &Value) -> Result<(), Trouble> {
        let request = self.client.post(self.to.clone());
        let request = request
            .header("content-type", "application/json")
            .header("metagov-event-id", id)
            .body(body.to_string());
        let answer = request.send().await;
        let answer =
            answer.map_err(|e| Trouble::Passing(innermost(&e.without_url()).to_string(), None))?;
        let status = answer.status();
        let says = format!("answers {status}");
        match status {
            _ if status.is_success() => Ok(()),
            _ if passes(status) => Err(Trouble::Passing(says, retry_after(&answer))),
            _ => Err(Trouble::Lasting(says)),
        }
    }
}

fn passes(status: StatusCode) -> bool {
    use StatusCode as S;
    status.is_server_error()
        || [S::REQUEST_TIMEOUT, S::TOO_EARLY, S::TOO_MANY_REQUESTS].contains(&status)
}

/// How long the receiver wants to be left alone, if it says: in seconds, or until a time.
fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    until.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "127.0.0.1:3000", "ftp://example.org", "/events"] {
            assert!(address(text).is_err(), "{text}");
        }
        assert!(address("https://example.org/events?key=1").is_ok());
    }

    #[test]
    fn waits_grow_to_a_minute_and_are_as_long_as_asked() {
        let to = address("http://127.0.0.1:1").unwrap();
        let mut receiver = Receiver::at(to).unwrap();
        let mut most: f64 = 0.5;
        for _ in 0..10 {
            let delay = receiver.delay(None).as_secs_f64();
            assert!((most / 2.0..=most).contains(&delay), "{delay} of {most}");
            most = (most * 2.0).min(60.0);
        }
        let hour = Duration::from_secs(3600);
        assert_eq!(
            receiver.delay(Some(Duration::from_secs(120))).as_secs(),
            120
        );
        assert_eq!(receiver.delay(Some(hour * 24)), hour);
    }

    #[test]
    fn only_what_a_later_try_may_cure_is_tried_again() {
        for (status, again) in [
            (500, true),
            (503, true),
            (429, true),
            (400, false),
            (302, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(passes(status), again, "{status}");
        }
    }
}
