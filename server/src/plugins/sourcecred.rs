//! SourceCred: how much cred the contributors of a community have.
//!
//! A SourceCred instance is a folder of files behind a web server. One of them,
//! `output/accounts.json`, holds every account with its cred; all that is here is
//! computed from it. It is the type `CredAccountData` of
//! `src/core/ledger/credAccounts.js` in <https://github.com/sourcecred/sourcecred>,
//! whose header calls it experimental: only what is used is read, and only `totalCred`
//! and the name are insisted on. The file has the cred of each week too and may be
//! several megabytes, so it is read with conditional GETs.
//!
//! An account's aliases are its accounts on other platforms, as node addresses whose
//! parts each end in NUL: `N`, the owner `sourcecred`, the platform `discord`, parts of
//! its own such as `MEMBER` and `user`, and last the user there, `140750062325202944`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kit::{
    Address, Context, Error, Installed, Nothing, Plugin, Result, Trouble, invalid, refuse,
};

pub(super) fn plugin() -> Plugin {
    Plugin::new::<Config, Operator>("sourcecred", "Cred of contributors, by SourceCred.")
        .setup_help(SETUP_HELP)
        .setup(setup)
        .action(
            "user-cred",
            "All the cred that one user has earned, as SourceCred last computed it.",
            user_cred,
        )
        .read_only()
        .anonymous()
        .action(
            "total-cred",
            "The cred of all accounts together.",
            total_cred,
        )
        .read_only()
        .anonymous()
        .action(
            "list-cred",
            "Every account with its cred, the highest first.",
            list_cred,
        )
        .read_only()
        .build()
}

const SETUP_HELP: &str = "\
Publish your SourceCred instance, for example with GitHub Pages, and run \
`yarn sourcecred analysis` whenever it is generated: that writes `output/accounts.json`. \
`server_url` is the address below which the folder `output` is found, such as \
`https://example.github.io/cred`. No account and no key is needed.";

const NO_FILE: &str = "'output/accounts.json' is not there. Run 'yarn sourcecred analysis' \
    when generating the SourceCred instance";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The address of the SourceCred instance, such as `https://example.github.io/cred`.
    #[schemars(url)]
    server_url: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Operator {
    /// Where requests go instead of each configuration's `server_url`.
    api_url: Option<String>,
}

type Cx = Context<Config, Operator>;

/// Reads the file once: what can be read is a SourceCred instance.
async fn setup(cx: &Cx) -> Result<Installed> {
    let server = Address::parse(&cx.config.server_url, "config/server_url")?;
    instance(cx).await?;
    Ok(Installed {
        platform_id: server.to_string(),
        ..Installed::default()
    })
}

async fn instance(cx: &Cx) -> Result<Arc<Instance>> {
    let server = match &cx.operator.api_url {
        Some(url) => Address::parse(url, "METAGOV_SOURCECRED_API_URL").map_err(Error::internal)?,
        None => Address::parse(&cx.config.server_url, "config/server_url")?,
    };
    let file = server.at(["output", "accounts.json"]);
    let read = cx.http.get(file).read_cached().await;
    read.map_err(|error| match error {
        Error::Platform {
            plugin,
            trouble: Trouble::Rejected { status: 404, .. },
        } => {
            let (status, why) = (404, NO_FILE.to_owned());
            let trouble = Trouble::Rejected { status, why };
            Error::Platform { plugin, trouble }
        }
        other => other,
    })
}

/// Who is asked for: `username`, `id` or both.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct User {
    /// The name of the account in SourceCred.
    #[schemars(length(min = 1, max = 300))]
    username: Option<String>,
    /// The user's id on a platform that SourceCred reads, such as a Discord user id or a
    /// Discourse user name. If `username` is given too, the first account that fits
    /// either of them is taken.
    #[schemars(length(min = 1, max = 300))]
    id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Cred {
    /// Cred.
    value: f64,
}

async fn user_cred(cx: &Cx, user: User) -> Result<Cred> {
    let Some(asked) = user.id.as_ref().or(user.username.as_ref()) else {
        let why = "either a username or an id is required";
        return Err(invalid("parameters", why));
    };
    match instance(cx).await?.find(&user) {
        Some(account) => Ok(Cred {
            value: account.total_cred,
        }),
        None => Err(refuse(format!(
            "{asked} not found in the SourceCred instance"
        ))),
    }
}

async fn total_cred(cx: &Cx, _: Nothing) -> Result<Cred> {
    let value = instance(cx).await?.total()?;
    Ok(Cred { value })
}

async fn list_cred(cx: &Cx, _: Nothing) -> Result<Vec<Account>> {
    Ok(instance(cx).await?.list())
}

/// An account with its cred.
#[derive(Serialize, JsonSchema)]
#[cfg_attr(test, derive(Debug, PartialEq))]
struct Account {
    /// SourceCred's id of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The name of the account.
    name: String,
    /// What it is: `USER`, `PROJECT`, `ORGANIZATION` or `BOT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    subtype: Option<String>,
    /// The same account on other platforms.
    aliases: Vec<Alias>,
    /// Its cred.
    cred: f64,
}

/// An account on another platform.
#[derive(Serialize, JsonSchema)]
#[cfg_attr(test, derive(Debug, PartialEq))]
struct Alias {
    /// The platform, as SourceCred calls it: `discord`, `discourse`, `github` …
    provider: String,
    /// The user there; what `sourcecred.user-cred` takes as `id`.
    user_id: String,
    /// What SourceCred calls it, in Markdown.
    description: String,
}

/// What is used of `output/accounts.json`.
#[derive(Deserialize)]
struct Instance {
    accounts: Vec<CredAccount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredAccount {
    total_cred: f64,
    account: LedgerAccount,
}

#[derive(Deserialize)]
struct LedgerAccount {
    identity: Identity,
}

#[derive(Deserialize)]
struct Identity {
    id: Option<String>,
    name: String,
    subtype: Option<String>,
    #[serde(default)]
    aliases: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    address: String,
    #[serde(default)]
    description: String,
}

impl Instance {
    /// The first account that has the id or the name, in the order of the file.
    fn find(&self, user: &User) -> Option<&CredAccount> {
        let fits = |account: &&CredAccount| {
            let identity = &account.account.identity;
            let has = |id| identity.aliases.iter().any(|n| n.user_id() == Some(id));
            user.id.as_deref().is_some_and(has) || user.username.as_ref() == Some(&identity.name)
        };
        self.accounts.iter().find(fits)
    }

    fn total(&self) -> Result<f64> {
        let cred = self.accounts.iter().map(|account| account.total_cred);
        let total = cred.fold(0.0, |sum, cred| sum + cred);
        if total.is_finite() {
            return Ok(total);
        }
        let why = "the sum of all cred is too large for a number".to_owned();
        Err(Error::Platform {
            plugin: String::new(),
            trouble: Trouble::Unavailable(why),
        })
    }

    /// Every account, the highest cred first; equals in the order of the file.
    fn list(&self) -> Vec<Account> {
        let mut accounts: Vec<_> = self.accounts.iter().map(CredAccount::listed).collect();
        accounts.sort_by(|a, b| b.cred.total_cmp(&a.cred));
        accounts
    }
}

impl CredAccount {
    fn listed(&self) -> Account {
        let identity = &self.account.identity;
        Account {
            id: identity.id.clone(),
            name: identity.name.clone(),
            subtype: identity.subtype.clone(),
            aliases: identity.aliases.iter().filter_map(Node::alias).collect(),
            cred: self.total_cred,
        }
    }
}

impl Node {
    /// The last part of the address: `N`, an owner, a plugin, its own parts, nothing.
    fn user_id(&self) -> Option<&str> {
        self.address.rsplit('\0').nth(1)
    }

    /// `None` if this is no address of a user on a platform.
    fn alias(&self) -> Option<Alias> {
        let parts: Vec<&str> = self.address.split('\0').collect();
        let ["N", _owner, provider, .., user_id, ""] = parts[..] else {
            return None;
        };
        Some(Alias {
            provider: provider.to_owned(),
            user_id: user_id.to_owned(),
            description: self.description.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
