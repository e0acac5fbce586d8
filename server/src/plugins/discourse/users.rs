//! Set-up, and the users' fields: one row of state for each user, `user/<id>`.
//!
//! The fields as they were are what makes `user_fields_changed` a change. Set-up learns
//! them from the user directory: 50 users a request, in at most 11 requests, since
//! Discourse refuses later pages (`PAGE_SIZE` and `PAGE_LIMIT` in
//! `app/controllers/directory_items_controller.rb`). The most active 550 users come
//! first; any other user's first change is reported without the fields from before, and
//! so is everyone's on a forum whose directory is switched off.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    super::kit::{Error, Folded, Happened, Installed, Object, Result, Signal, Trouble},
    Cx, api,
};

const PAGE_SIZE: usize = 50;
const LAST_PAGE: usize = 10;

#[derive(Deserialize)]
struct About {
    about: Forum,
}

#[derive(Deserialize)]
struct Forum {
    title: String,
}

pub(super) async fn setup(cx: &Cx) -> Result<Installed> {
    let platform_id = api::server(&cx.config)?;
    let About { about } = api::get(cx, "about.json")?.read().await?;
    check_key(cx).await?;
    let mut state = vec![("community_name".to_owned(), json!(about.title))];
    for (id, user) in learn(cx).await? {
        state.push((key(id), json!(user)));
    }
    Ok(Installed {
        platform_id,
        state,
        ..Installed::default()
    })
}

/// A public page says nothing about the key, so this asks for one that only
/// administrators see. To others Discourse denies that it exists.
async fn check_key(cx: &Cx) -> Result<()> {
    let request = api::get(cx, "admin/users/list/active.json")?;
    match request.read::<Vec<IgnoredAny>>().await {
        Err(Error::Platform {
            plugin,
            trouble: Trouble::Rejected { status: 404, .. },
        }) => {
            let why = "the API key does not act for an administrator".to_owned();
            let trouble = Trouble::Unauthorized(why);
            Err(Error::Platform { plugin, trouble })
        }
        answer => answer.map(drop),
    }
}

/// What `site.json` says about the fields that users have.
#[derive(Deserialize)]
struct Site {
    #[serde(default)]
    user_fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    id: i64,
}

#[derive(Deserialize)]
struct Page {
    directory_items: Vec<Item>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    total_rows_directory_items: usize,
}

#[derive(Deserialize)]
struct Item {
    id: i64,
    user: Option<User>,
}

/// A user, as a row of state holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct User {
    username: String,
    #[serde(default)]
    user_fields: Object,
}

/// The users and their fields, without a request for each.
async fn learn(cx: &Cx) -> Result<BTreeMap<i64, User>> {
    let site: Site = api::get(cx, "site.json")?.read().await?;
    let fields: Vec<String> = site.user_fields.iter().map(|f| f.id.to_string()).collect();
    let mut users = BTreeMap::new();
    for number in 0..=LAST_PAGE {
        let Some(page) = page(cx, number, &fields.join("|")).await? else {
            break;
        };
        // Our own account may stand on the first page once more.
        let full = page.directory_items.len() >= PAGE_SIZE;
        let asked = (number + 1) * PAGE_SIZE;
        let more = page
            .meta
            .is_none_or(|m| m.total_rows_directory_items > asked);
        let known = page.directory_items.into_iter();
        users.extend(known.filter_map(|item| Some((item.id, item.user?.unwrapped()))));
        if !full || !more {
            break;
        }
    }
    Ok(users)
}

/// A page of the directory; none if it is switched off.
async fn page(cx: &Cx, number: usize, fields: &str) -> Result<Option<Page>> {
    let request = api::get(cx, "directory_items.json")?
        .query("period", "all")
        .query("order", "days_visited")
        .query("page", &number.to_string());
    let request = match fields {
        "" => request,
        fields => request.query("user_field_ids", fields),
    };
    match request.read().await {
        Ok(page) => Ok(Some(page)),
        // The key was checked before: it is the page that is refused.
        Err(Error::Platform {
            trouble: Trouble::Unauthorized(_) | Trouble::Rejected { .. },
            ..
        }) => {
            // Not what it said: that may repeat our key.
            tracing::info!(number, "no more users in the directory");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl User {
    /// The directory says `{"value": …, "searchable": …}` where a webhook says the value.
    fn unwrapped(mut self) -> Self {
        for field in self.user_fields.values_mut() {
            if let Some(value) = field.get_mut("value") {
                *field = value.take();
            }
        }
        self
    }

    /// The fields that are filled in, each as a list: an empty field may be absent, and
    /// a field of several values that has one may be that one.
    fn filled(&self) -> BTreeMap<&str, &[Value]> {
        let each = self.user_fields.iter().map(|(name, value)| {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                Value::Null => &[],
                Value::String(text) if text.is_empty() => &[],
                one => std::slice::from_ref(one),
            };
            (name.as_str(), values)
        });
        each.filter(|(_, values)| !values.is_empty()).collect()
    }
}

/// A user's fields changed.
#[derive(Serialize, JsonSchema)]
pub(super) struct UserFieldsChanged {
    /// The user.
    id: i64,
    /// What the user is called.
    username: String,
    /// The fields by their id, as they are now.
    user_fields: Object,
    /// The fields as they were, if that is known.
    old_user_fields: Option<Object>,
}

/// A user, as a webhook names it and `fold` takes it.
#[derive(Serialize, Deserialize)]
pub(super) struct Updated {
    id: i64,
    #[serde(flatten)]
    user: User,
}

impl Updated {
    /// To be compared with what is known of the user.
    pub(super) fn signal(self) -> Signal {
        Signal::Fold {
            key: key(self.id),
            input: json!(self),
        }
    }
}

fn key(id: i64) -> String {
    format!("user/{id}")
}

/// Keeps the user, and says so if the fields are not what they were.
pub(super) fn fold(_key: &str, old: Option<User>, new: Updated) -> Result<Folded<User>> {
    let Updated { id, user } = new;
    let changed = old.as_ref().is_none_or(|old| old.filled() != user.filled());
    let data = UserFieldsChanged {
        id,
        username: user.username.clone(),
        user_fields: user.user_fields.clone(),
        old_user_fields: old.map(|old| old.user_fields),
    };
    let event = Signal::Event(Happened {
        user_id: user.username.clone(),
        ..super::hook::happened("user_fields_changed", &data)?
    });
    let state = Some(user);
    let signals = if changed { vec![event] } else { Vec::new() };
    Ok(Folded { state, signals })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user_fields: Value) -> User {
        serde_json::from_value(json!({"username": "ada", "user_fields": user_fields})).unwrap()
    }

    fn updated(user_fields: Value) -> Updated {
        let user = user(user_fields);
        Updated { id: 5, user }
    }

    fn event(folded: &Folded<User>) -> Option<&Happened> {
        match folded.signals.as_slice() {
            [Signal::Event(happened)] => Some(happened),
            _ => None,
        }
    }

    #[test]
    fn a_change_of_fields_is_reported_with_the_fields_before() {
        let old = Some(user(json!({"1": "north"})));
        let folded = fold("user/5", old, updated(json!({"1": "south"}))).unwrap();
        assert_eq!(folded.state, Some(user(json!({"1": "south"}))));
        let happened = event(&folded).unwrap();
        assert_eq!(happened.event_type, "user_fields_changed");
        assert_eq!(happened.user_id, "ada");
        assert_eq!(
            Value::Object(happened.data.clone()),
            json!({
                "id": 5,
                "username": "ada",
                "user_fields": {"1": "south"},
                "old_user_fields": {"1": "north"},
            })
        );
    }

    #[test]
    fn a_new_user_is_reported_without_fields_before() {
        let folded = fold("user/5", None, updated(json!({"1": "south"}))).unwrap();
        assert_eq!(event(&folded).unwrap().data["old_user_fields"], Value::Null);
    }

    #[test]
    fn the_same_fields_are_no_change_however_they_are_written() {
        let learned = user(json!({
            "1": {"value": "north", "searchable": true},
            "2": {"value": ["a"], "searchable": false},
        }));
        let hooked = updated(json!({"1": "north", "2": "a", "3": null, "4": ""}));
        let folded = fold("user/5", Some(learned.unwrapped()), hooked).unwrap();
        assert_eq!(folded.signals, []);
        assert!(folded.state.unwrap().user_fields.contains_key("3"));
    }

    #[test]
    fn a_new_name_is_kept_and_not_reported() {
        let old = User {
            username: "countess".to_owned(),
            ..user(json!({"1": "north"}))
        };
        let folded = fold("user/5", Some(old), updated(json!({"1": "north"}))).unwrap();
        assert_eq!(folded.signals, []);
        assert_eq!(folded.state.unwrap().username, "ada");
    }
}
