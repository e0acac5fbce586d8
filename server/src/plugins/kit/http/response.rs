//! A whole answer, and what it means.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{super::Result, trouble, turns::whole_seconds};
use crate::error::Trouble;

/// The most bytes of a platform's refusal that are shown to people.
const MAX_SHOWN: usize = 300;
/// The longest wait that is believed.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status: not 429, not 5xx.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Bytes,
}

impl Response {
    /// The answer itself if it is a 2xx, else the error that it means.
    pub fn success(self) -> Result<Self> {
        match self.status {
            status if status.is_success() => Ok(self),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(trouble(Trouble::Unauthorized(self.why())))
            }
            status => Err(trouble(Trouble::Rejected {
                status: status.as_u16(),
                why: self.why(),
            })),
        }
    }

    /// Its status, and what the platform said if it said anything.
    fn why(&self) -> String {
        match self.said().as_str() {
            "" => self.status.to_string(),
            said => format!("{}: {said}", self.status),
        }
    }

    /// The value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the platform said, short enough for people, never markup. Of JSON that has
    /// a list `errors` of sentences, as Discourse's and others' has, those alone.
    pub fn said(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Refusal {
            errors: Vec<String>,
        }
        let text = match serde_json::from_slice(&self.body) {
            Ok(Refusal { errors }) => errors.join("; "),
            Err(_) => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let text = text.trim();
        if text.starts_with('<') {
            return "it answered with a web page".to_owned();
        }
        text.chars()
            .filter(|c| !c.is_control())
            .take(MAX_SHOWN)
            .collect()
    }

    /// How long it wants to be left alone, if it says: in seconds, or until a time.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        let wait = match text.bytes().all(|byte| byte.is_ascii_digit()) {
            // So many that they do not fit are many.
            true if !text.is_empty() => Duration::from_secs(text.parse().unwrap_or(u64::MAX)),
            _ => {
                let until = httpdate::parse_http_date(text).ok()?;
                let wait = until.duration_since(SystemTime::now());
                whole_seconds(wait.unwrap_or_default())
            }
        };
        Some(wait.min(MAX_WAIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry_after: &str) -> Option<u64> {
        let headers = [(http::header::RETRY_AFTER, retry_after.parse().unwrap())];
        let response = Response {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: HeaderMap::from_iter(headers),
            body: Bytes::new(),
        };
        response.retry_after().map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_read_in_seconds() {
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("86400", Some(86_400)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(wait(text), seconds, "{text:?}");
        }
    }

    #[test]
    fn a_wait_is_read_as_a_time() {
        let at = |seconds| SystemTime::now() + Duration::from_secs(seconds);
        let told = wait(&httpdate::fmt_http_date(at(120))).unwrap();
        assert!((118..=120).contains(&told), "{told}");
        let far = httpdate::fmt_http_date(at(365 * 86_400));
        assert_eq!(wait(&far), Some(86_400));
        for past in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(wait(past), Some(0), "{past}");
        }
        assert_eq!(wait("Sun, 06 Nov 1994"), None);
    }
}
