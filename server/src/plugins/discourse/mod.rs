//! Discourse: posts, messages and polls of a forum, and what happens in it.
//!
//! Sources: <https://docs.discourse.org> (the API), and Discourse's own code where that
//! says nothing: `app/jobs/regular/emit_web_hook_event.rb` (headers and signature of a
//! webhook), `app/controllers/directory_items_controller.rb` (users in pages),
//! `plugins/poll/` (polls). The original's plugin is `metagov/plugins/discourse` in
//! `metagov/gateway`.
//!
//! - `api.rs`: where the forum is, and the requests to it
//! - `users.rs`: set-up, and the users' fields, which are the installation's state
//! - `actions.rs`: the eight actions
//! - `hook.rs`: webhooks, and the three events
//! - `poll.rs`: the process; `markup.rs` writes its post, `votes.rs` counts

mod actions;
mod api;
mod hook;
mod markup;
mod poll;
mod users;
mod votes;

use schemars::JsonSchema;
use serde::Deserialize;

use super::kit::{CloseTimeSupport, Context, Plugin, Secret, SigningSecret};

const SETUP_HELP: &str = "\
1. In Discourse open *Admin → Advanced → API keys* and add a key with global scope for an \
   administrator. It is `api_key`. If its user level is *All users*, `api_username` must \
   name the account to act as; with *Single user* it may stay empty.
2. Enable this plugin with the forum's address as `server_url` and a random text of your \
   choice as `webhook_secret`.
3. Open *Admin → Advanced → Webhooks* and add one with the payload URL `{webhook_url}` and \
   the same secret. Choose the topic, post and user events.";

pub(super) fn plugin() -> Plugin {
    Plugin::new::<Config, Operator>("discourse", "Posts, messages and polls in Discourse.")
        .setup_help(SETUP_HELP)
        .setup(users::setup)
        .fold(users::fold)
        .webhook(hook::receive)
        .event::<hook::PostCreated>("post_created", "A post was written.")
        .event::<hook::TopicCreated>("topic_created", "A topic was opened.")
        .event::<users::UserFieldsChanged>("user_fields_changed", "A user's fields changed.")
        .action(
            "create-message",
            "Send a private message, or reply to one.",
            actions::create_message,
        )
        .action("create-post", "Reply to a topic.", actions::create_post)
        .action("create-topic", "Open a topic.", actions::create_topic)
        .action("delete-post", "Delete a post.", actions::delete_post)
        .action("delete-topic", "Delete a topic.", actions::delete_topic)
        .action("recover-post", "Undelete a post.", actions::recover_post)
        .action("recover-topic", "Undelete a topic.", actions::recover_topic)
        .action(
            "lock-post",
            "Keep the author from editing a post, or no longer.",
            actions::lock_post,
        )
        .process(
            "poll",
            "A poll in a new topic, or in a reply to one.",
            poll::Poll,
        )
        .vote()
        .closable()
        .polled()
        .close_time(CloseTimeSupport::Optional)
        .build()
}

/// How an installation reaches its forum.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// An API key of an administrator.
    api_key: Secret,
    /// The account to act as. Needed with a key for all users.
    #[schemars(length(min = 1))]
    api_username: Option<String>,
    /// The forum's address, such as `https://forum.example.org`.
    #[schemars(regex(pattern = r"^https?://[^?#@]+$"))]
    server_url: String,
    /// The secret that the webhook in Discourse has too. While it is exchanged, a list of
    /// the new one and the old one.
    webhook_secret: SigningSecret,
}

/// The operator's settings.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Operator {
    /// Where requests are sent instead of each installation's `server_url`, for a
    /// forum beside the gateway. Addresses shown to people keep `server_url`.
    #[schemars(regex(pattern = r"^https?://[^?#@]+$"))]
    api_url: Option<String>,
}

type Cx = Context<Config, Operator>;
