//! What callers send, checked and converted: each check names its field and says what
//! to do. What is checked here needs no knowledge of the gateway's state.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use metagov_proto::json;
use prost_types::{Struct, Timestamp, Value, value::Kind};

use crate::{
    error::{Error, Result},
    model::{Caller, CommunityId, JsonLimits, Object, RequestId, RequestKey, Time},
};

const MAX_PAGE: i32 = 1000;
const DEFAULT_PAGE: u64 = 50;
const MIN_HEARTBEAT: Duration = Duration::from_secs(1);
const MAX_HEARTBEAT: Duration = Duration::from_secs(300);
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);

/// The id of a community.
pub(super) fn community_id(field: &str, text: &str) -> Result<CommunityId> {
    CommunityId::parse(text).ok_or_else(|| {
        let why = "must be a lower-case letter or digit, then up to 62 of those or hyphens";
        Error::invalid(field, why)
    })
}

/// An id that the gateway gave: `parse` is that of its type.
pub(super) fn id<T>(field: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    parse(text).ok_or_else(|| {
        let why = match text {
            "" => "is missing",
            _ => "is not an id: send one as the gateway returned it",
        };
        Error::invalid(field, why)
    })
}

/// The same, where empty means none.
pub(super) fn optional_id<T>(
    field: &str,
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    if text.is_empty() {
        Ok(None)
    } else {
        id(field, text, parse).map(Some)
    }
}

/// A text that is needed, at most so many characters, none of which deceives.
pub(super) fn text(field: &str, text: String, max: usize) -> Result<String> {
    if text.is_empty() {
        return Err(Error::invalid(field, "is missing"));
    }
    optional_text(field, text, max)
}

/// The same, where empty means none.
pub(super) fn optional_text(field: &str, text: String, max: usize) -> Result<String> {
    if text.chars().count() > max {
        return Err(Error::invalid(
            field,
            format!("is longer than {max} characters"),
        ));
    }
    if text.chars().any(deceives) {
        return Err(Error::invalid(
            field,
            "has a control character, such as a line break or one that turns the direction of text",
        ));
    }
    Ok(text)
}

/// Whether a character makes a line look like another: a control, a line separator, or an
/// embedding, override or isolate of text in the other direction. What joins letters and
/// marks a direction without a scope is needed to write some languages.
fn deceives(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A request id; empty means none.
pub(super) fn request_key(caller: &Caller, text: &str) -> Result<Option<RequestKey>> {
    if text.is_empty() {
        return Ok(None);
    }
    if *caller == Caller::Nobody {
        // Else one could get another's answer.
        return Err(Error::invalid("request_id", "needs a token"));
    }
    let id = RequestId::parse(text).ok_or_else(|| {
        Error::invalid(
            "request_id",
            "must be 1 to 128 visible ASCII characters; best take a UUID",
        )
    })?;
    let principal = caller.principal();
    Ok(Some(RequestKey { principal, id }))
}

/// How many to return.
pub(super) fn page_size(size: i32) -> Result<u64> {
    match size {
        0 => Ok(DEFAULT_PAGE),
        1..=MAX_PAGE => Ok(size.unsigned_abs().into()),
        _ => Err(Error::invalid(
            "page_size",
            format!("must be 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}"),
        )),
    }
}

/// A token for the next page of a kind of list, which goes on after `last`.
pub(super) fn page_token(kind: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{kind} {last}"))
}

/// Where the page before ended; `parse` reads what [`page_token`] was given.
pub(super) fn after_page<T>(
    kind: &str,
    token: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    if token.is_empty() {
        return Ok(None);
    }
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let last = text.strip_prefix(kind)?.strip_prefix(' ')?;
        parse(last)
    };
    let why = "is not a next_page_token of this list; leave it empty to begin anew";
    read()
        .map(Some)
        .ok_or_else(|| Error::invalid("page_token", why))
}

/// A page of a list with its token: `rows` has one more than `size` if there is more.
pub(super) fn page<T>(
    mut rows: Vec<T>,
    size: u64,
    token: impl Fn(&T) -> String,
) -> (Vec<T>, String) {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if rows.len() <= size {
        return (rows, String::new());
    }
    rows.truncate(size);
    let next = rows.last().map(token).unwrap_or_default();
    (rows, next)
}

/// The longest silence that is wanted.
pub(super) fn heartbeat(wanted: Option<prost_types::Duration>) -> Result<Duration> {
    let Some(wanted) = wanted else {
        return Ok(DEFAULT_HEARTBEAT);
    };
    let why = "must be 1 s to 5 min, or unset for 15 s";
    let bad = || Error::invalid("heartbeat_interval", why);
    // By hand: the conversion of the crate panics on the least of all numbers.
    let seconds = u64::try_from(wanted.seconds).map_err(|_| bad())?;
    let nanos = u32::try_from(wanted.nanos).map_err(|_| bad())?;
    if nanos >= 1_000_000_000 || seconds > MAX_HEARTBEAT.as_secs() {
        return Err(bad());
    }
    let wanted = Duration::new(seconds, nanos);
    let fits = (MIN_HEARTBEAT..=MAX_HEARTBEAT).contains(&wanted);
    if fits { Ok(wanted) } else { Err(bad()) }
}

/// A moment.
pub(super) fn time(field: &str, time: Timestamp) -> Result<Time> {
    let in_range = (0..=253_402_300_799).contains(&time.seconds);
    if !in_range || !(0..1_000_000_000).contains(&time.nanos) {
        return Err(Error::invalid(
            field,
            "is no time between the years 1970 and 9999",
        ));
    }
    Ok(Time(
        time.seconds * 1_000_000 + i64::from(time.nanos) / 1000,
    ))
}

/// A JSON object within the limits.
pub(super) fn object(limits: &JsonLimits, field: &str, fields: Option<Struct>) -> Result<Object> {
    let Some(fields) = fields else {
        return Ok(Object::new());
    };
    if let Some(place) = json::unsayable(&fields) {
        let why = "is no number that JSON can say";
        return Err(Error::invalid(format!("{field}{place}"), why));
    }
    let mut counting = Counting {
        limits,
        left: limits.values,
    };
    counting
        .check_struct(&fields, 1)
        .map_err(|why| Error::invalid(field, why))?;
    Ok(json::to_json(fields))
}

struct Counting<'a> {
    limits: &'a JsonLimits,
    left: usize,
}

impl Counting<'_> {
    fn check_struct(&mut self, fields: &Struct, depth: usize) -> Result<(), String> {
        self.limits.check_depth(depth)?;
        for (key, value) in &fields.fields {
            self.limits.check_string(key)?;
            self.check_value(value, depth)?;
        }
        Ok(())
    }

    fn check_value(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        self.left = self.limits.count(self.left)?;
        match &value.kind {
            Some(Kind::StringValue(text)) => self.limits.check_string(text),
            Some(Kind::StructValue(fields)) => self.check_struct(fields, depth + 1),
            Some(Kind::ListValue(list)) => {
                self.limits.check_depth(depth + 1)?;
                list.values
                    .iter()
                    .try_for_each(|item| self.check_value(item, depth + 1))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: serde_json::Value) -> Result<Object> {
        let serde_json::Value::Object(fields) = value else {
            panic!("an object")
        };
        let limits = JsonLimits::default();
        object(&limits, "parameters", Some(json::from_json(fields)))
    }

    fn nested(depth: usize) -> serde_json::Value {
        (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }))
    }

    #[test]
    fn an_object_has_limits_of_depth_count_and_length() {
        assert!(check(nested(24)).is_ok() && check(nested(25)).is_err());
        assert!(check(json!({ "a": vec![1; 9_999] })).is_ok());
        assert!(check(json!({ "a": vec![1; 10_000] })).is_err());
        assert!(check(json!({ "a": "x".repeat(65_536) })).is_ok());
        assert!(check(json!({ "a": "x".repeat(65_537) })).is_err());
    }

    #[test]
    fn a_text_has_no_character_that_deceives() {
        let check = |c: char| optional_text("reason", format!("a{c}b"), 200).is_ok();
        let turning = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        let controls = [
            '\0', '\n', '\r', '\t', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}',
        ];
        for bad in turning.chain(controls).chain(['\u{2028}', '\u{2029}']) {
            assert!(!check(bad), "{}", bad.escape_unicode());
        }
        // Letters of any language, what joins them, and emoji.
        for good in [
            'é', 'ש', 'ع', '漢', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '🌱',
        ] {
            assert!(check(good), "{}", good.escape_unicode());
        }
    }

    #[test]
    fn a_page_token_works_for_its_own_list_only() {
        let parse = |text: &str| Some(text.to_owned());
        let token = page_token("processes", "p1");
        assert_eq!(
            after_page("processes", &token, parse),
            Ok(Some("p1".to_owned()))
        );
        assert!(after_page("identities", &token, parse).is_err());
        assert!(after_page("processes", "nonsense!", parse).is_err());
        assert_eq!(after_page("processes", "", parse), Ok(None));
        // A kind of two words.
        let token = page_token("audit entries", "7");
        let last = after_page("audit entries", &token, parse);
        assert_eq!(last, Ok(Some("7".to_owned())));
    }
}
