//! The eight actions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::kit::{Nothing, Result},
    Cx,
    api::{self, NewPosting},
};

/// A private message.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    /// The text, in Markdown.
    #[schemars(length(min = 1))]
    raw: String,
    /// Who gets it: users, groups or e-mail addresses.
    #[schemars(length(min = 1), inner(regex(pattern = r"^[^,\s]+$")))]
    target_usernames: Vec<String>,
    /// The subject; needed unless it is a reply.
    #[schemars(length(min = 1))]
    title: Option<String>,
    /// Whether it is an official warning; only to one user.
    is_warning: Option<bool>,
    /// The message that it replies to.
    #[schemars(range(min = 1))]
    topic_id: Option<i64>,
}

/// A reply to a topic.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPost {
    /// The text, in Markdown.
    #[schemars(length(min = 1))]
    raw: String,
    /// The topic.
    #[schemars(range(min = 1))]
    topic_id: i64,
}

/// A topic with its first post.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTopic {
    /// The text of the first post, in Markdown.
    #[schemars(length(min = 1))]
    raw: String,
    /// The title.
    #[schemars(length(min = 1))]
    title: String,
    /// The category's id.
    #[schemars(range(min = 1))]
    category: i64,
}

/// A post or a topic.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Its id.
    #[schemars(range(min = 1))]
    id: i64,
}

/// A post, and whether it is to be locked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    /// The post's id.
    #[schemars(range(min = 1))]
    id: i64,
    /// Whether its author may no longer edit it.
    locked: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Post {
    /// Where people read it.
    url: String,
    /// Its topic.
    topic_id: i64,
    /// Its id.
    post_id: i64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Locked {
    /// Whether the post is locked now.
    locked: bool,
}

pub(super) async fn create_message(cx: &Cx, message: NewMessage) -> Result<Post> {
    // A reply belongs to a message that exists; only a new one must say what it is.
    let archetype = match message.topic_id {
        Some(_) => "regular",
        None => "private_message",
    };
    let posting = NewPosting {
        raw: message.raw,
        title: message.title,
        topic_id: message.topic_id,
        target_recipients: Some(message.target_usernames.join(",")),
        archetype: Some(archetype),
        is_warning: message.is_warning,
        ..NewPosting::default()
    };
    create(cx, posting).await
}

pub(super) async fn create_post(cx: &Cx, post: NewPost) -> Result<Post> {
    let posting = NewPosting {
        raw: post.raw,
        topic_id: Some(post.topic_id),
        ..NewPosting::default()
    };
    create(cx, posting).await
}

pub(super) async fn create_topic(cx: &Cx, topic: NewTopic) -> Result<Post> {
    let posting = NewPosting {
        raw: topic.raw,
        title: Some(topic.title),
        category: Some(topic.category),
        ..NewPosting::default()
    };
    create(cx, posting).await
}

async fn create(cx: &Cx, posting: NewPosting) -> Result<Post> {
    let server = api::server(&cx.config)?;
    let post = api::create(cx, &posting).await?;
    Ok(Post {
        url: api::post_url(&server, &post),
        topic_id: post.topic_id,
        post_id: post.id,
    })
}

// Discourse answers the next four with nothing, or with what it did: only the status
// counts.

pub(super) async fn delete_post(cx: &Cx, post: Which) -> Result<Nothing> {
    let request = api::delete(cx, &format!("posts/{}.json", post.id))?;
    request.send().await?.success()?;
    Ok(Nothing {})
}

pub(super) async fn delete_topic(cx: &Cx, topic: Which) -> Result<Nothing> {
    let request = api::delete(cx, &format!("t/{}.json", topic.id))?;
    request.send().await?.success()?;
    Ok(Nothing {})
}

pub(super) async fn recover_post(cx: &Cx, post: Which) -> Result<Nothing> {
    let request = api::put(cx, &format!("posts/{}/recover", post.id))?;
    request.send().await?.success()?;
    Ok(Nothing {})
}

pub(super) async fn recover_topic(cx: &Cx, topic: Which) -> Result<Nothing> {
    let request = api::put(cx, &format!("t/{}/recover", topic.id))?;
    request.send().await?.success()?;
    Ok(Nothing {})
}

pub(super) async fn lock_post(cx: &Cx, lock: Lock) -> Result<Locked> {
    let locked = if lock.locked { "true" } else { "false" };
    api::put(cx, &format!("posts/{}/locked", lock.id))?
        .form(&[("locked", locked)])
        .read()
        .await
}
