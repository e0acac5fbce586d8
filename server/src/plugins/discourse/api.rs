//! Where the forum is, and the requests to it.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    super::kit::{Error, Request, Result, invalid, refuse},
    Config, Cx,
};

/// A request that only reads.
pub(super) fn get(cx: &Cx, path: &str) -> Result<Request> {
    Ok(signed(cx, cx.http.get(address(cx, path)?)))
}

/// A request that may write.
pub(super) fn post(cx: &Cx, path: &str) -> Result<Request> {
    Ok(signed(cx, cx.http.post(address(cx, path)?)))
}

/// A request that may write.
pub(super) fn put(cx: &Cx, path: &str) -> Result<Request> {
    Ok(signed(cx, cx.http.put(address(cx, path)?)))
}

/// A request that may write.
pub(super) fn delete(cx: &Cx, path: &str) -> Result<Request> {
    Ok(signed(cx, cx.http.delete(address(cx, path)?)))
}

fn address(cx: &Cx, path: &str) -> Result<Url> {
    let base = match &cx.operator.api_url {
        Some(api_url) => normal(api_url)
            .map_err(|why| Error::internal(format!("METAGOV_DISCOURSE_API_URL {why}")))?,
        None => server(&cx.config)?,
    };
    Url::parse(&format!("{base}/{path}")).map_err(|e| Error::internal(format!("{path}: {e}")))
}

fn signed(cx: &Cx, request: Request) -> Request {
    let request = request
        .header("accept", "application/json")
        .header("api-key", cx.config.api_key.reveal());
    match &cx.config.api_username {
        Some(name) => request.header("api-username", name),
        None => request,
    }
}

/// The forum's address as people see it, without a slash at its end.
pub(super) fn server(config: &Config) -> Result<String> {
    normal(&config.server_url).map_err(|why| invalid("config/server_url", why))
}

/// One spelling for one address: no slash at its end, the host in lower case, no port
/// that goes without saying.
pub(super) fn normal(address: &str) -> Result<String, &'static str> {
    let url = Url::parse(address.trim()).map_err(|_| "is not an address")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user name and no password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end before its ? or #");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Where people read a post. Discourse finds it by its numbers; `-` stands for a topic
/// whose title makes no slug.
pub(super) fn post_url(server: &str, post: &Posted) -> String {
    let slug = slug_or_dash(&post.topic_slug);
    let (topic_id, number) = (post.topic_id, post.post_number);
    format!("{server}/t/{slug}/{topic_id}/{number}")
}

/// Where people read a topic.
pub(super) fn topic_url(server: &str, slug: &str, id: i64) -> String {
    format!("{server}/t/{}/{id}", slug_or_dash(slug))
}

/// A dash where there is no slug, or one that Discourse would not make and that leads
/// elsewhere: the topic is found by its number.
fn slug_or_dash(slug: &str) -> &str {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '%');
    // %2e is a dot, and %2f a slash.
    let good = !slug.is_empty() && slug.chars().all(plain) && !slug.contains("%2");
    if good { slug } else { "-" }
}

/// A post, as replies and webhooks name it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Posted {
    /// The post.
    pub(super) id: i64,
    /// Its topic.
    pub(super) topic_id: i64,
    /// Its topic's title, as in addresses.
    #[serde(default)]
    pub(super) topic_slug: String,
    /// Its place in the topic.
    pub(super) post_number: i64,
}

/// What `POST posts.json` takes.
#[derive(Default, Serialize)]
pub(super) struct NewPosting {
    /// The text, in Markdown.
    pub(super) raw: String,
    /// The new topic's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    /// The new topic's category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) category: Option<i64>,
    /// The topic to reply to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) topic_id: Option<i64>,
    /// Who gets the message, with commas between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_recipients: Option<String>,
    /// `private_message`, or `regular`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) archetype: Option<&'static str>,
    /// Whether the message is an official warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_warning: Option<bool>,
}

/// What `POST posts.json` answers with.
#[derive(Deserialize)]
#[serde(untagged)]
enum Creation {
    Posted(Posted),
    Refused { errors: Vec<String> },
    Queued { action: String },
}

/// Publishes a post.
pub(super) async fn create(cx: &Cx, posting: &NewPosting) -> Result<Posted> {
    match post(cx, "posts.json")?.json(posting).read().await? {
        Creation::Posted(post) => Ok(post),
        Creation::Refused { errors } => Err(refuse(format!(
            "Discourse refused the post: {}",
            errors.join("; ")
        ))),
        Creation::Queued { action } => Err(refuse(format!(
            "Discourse did not publish the post ({action}): the posts of this account wait for \
             review; reject it there, and let the account post without review"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_leads_nowhere_else() {
        let path = |slug| topic_url("https://forum.example.org", slug, 9);
        for good in ["a-new_rule", "тема", "%D1%82", "-"] {
            assert_eq!(path(good), format!("https://forum.example.org/t/{good}/9"));
        }
        for bad in [
            "", ".", "../..", "a/b", "?x", "#x", "%2e%2E", "a%2fb", "a\\b", "a b",
        ] {
            assert_eq!(path(bad), "https://forum.example.org/t/-/9", "{bad}");
        }
    }

    #[test]
    fn one_forum_has_one_spelling() {
        for spelling in [
            "https://Forum.example.org",
            "https://forum.example.org/",
            "https://forum.example.org:443//",
        ] {
            assert_eq!(normal(spelling).unwrap(), "https://forum.example.org");
        }
        assert_eq!(
            normal("http://localhost:3000/talk/").unwrap(),
            "http://localhost:3000/talk"
        );
    }

    #[test]
    fn an_address_holds_no_credentials_and_no_query() {
        for wrong in [
            "forum.example.org",
            "ftp://forum.example.org",
            "https://user:word@forum.example.org",
            "https://forum.example.org/?a=b",
            "https://forum.example.org/#top",
            "https://",
        ] {
            assert!(normal(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_topic_without_a_slug_has_an_address() {
        let post: Posted =
            serde_json::from_str(r#"{"id":1,"topic_id":7,"post_number":2}"#).unwrap();
        assert_eq!(post_url("https://f.org", &post), "https://f.org/t/-/7/2");
    }
}
