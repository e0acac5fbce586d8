//! `metagov identity`: who is who across platforms.

use std::io::Write;

use clap::{Args, Subcommand};
use metagov_proto::v1::{
    CreateIdentityRequest, GetIdentityRequest, Identity, ListIdentitiesRequest,
    ListIdentitiesResponse, MergeIdentitiesRequest,
};

use super::{
    Failure,
    accounts::{Link, Method, Quality, Unlink},
    common::{Common, Limit, Once, Place},
    failure::answered,
    output::Columns,
    pages,
};

/// Says who is who across the platforms of a community.
#[derive(Clone, Subcommand)]
pub enum Identities {
    /// Creates an identity without accounts, and prints its id.
    Create(Create),
    /// Shows an identity; of one that was merged away, the one that it became.
    Get(Get),
    /// Lists the identities of a community.
    List(List),
    /// Makes two identities one: the accounts of both belong to the first.
    Merge(Merge),
    /// Links an account on a platform to an identity, or changes the link.
    Link(Link),
    /// Removes the link of an account.
    Unlink(Unlink),
}

impl Identities {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(out).await,
            Self::Get(get) => get.run(out).await,
            Self::List(list) => list.run(out).await,
            Self::Merge(merge) => merge.run(out).await,
            Self::Link(link) => link.run(out).await,
            Self::Unlink(unlink) => unlink.run(out).await,
        }
    }
}

const COLUMNS: Columns<Identity, 3> = Columns {
    heads: ["IDENTITY", "COMMUNITY", "ACCOUNTS"],
    cells: |identity| {
        let accounts = identity.accounts.iter().map(|account| {
            let platform = match account.platform_id.as_str() {
                "" => String::new(),
                platform => format!(" at {platform}"),
            };
            format!("{}:{}{platform}", account.provider, account.user_id)
        });
        [
            identity.identity_id.clone(),
            identity.community_id.clone(),
            accounts.collect::<Vec<_>>().join(", "),
        ]
    },
};

/// The new identity's id is all that is on the standard output.
#[derive(Clone, Args)]
pub struct Create {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    once: Once,

    #[command(flatten)]
    common: Common,
}

impl Create {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("community {}", self.place.community);
        let request = CreateIdentityRequest {
            community_id: self.place.community,
            request_id: self.once.id(),
        };
        let mut client = self.common.open().await?;
        let answer = client.identities.create_identity(request).await;
        let answer = answered(&doing, answer)?;
        let id = answer.identity.as_ref();
        let id = id.map_or("", |made| made.identity_id.as_str());
        let answer = ("CreateIdentityResponse", &answer);
        self.common.output.answer(out, id, answer)
    }
}

/// Which identity.
#[derive(Clone, Args)]
pub struct Get {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    common: Common,
}

impl Get {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("identity {}", self.id);
        let identity_id = self.id;
        let mut client = self.common.open().await?;
        let request = GetIdentityRequest { identity_id };
        let answer = client.identities.get_identity(request).await;
        let answer = answered(&doing, answer)?;
        let found = answer.identity.as_slice();
        let answer = ("GetIdentityResponse", &answer);
        self.common.output.list(out, &COLUMNS, found, answer)
    }
}

/// Which identities.
#[derive(Clone, Args)]
pub struct List {
    #[command(flatten)]
    place: Place,

    /// Only those with an account of this provider, usually a plugin's name.
    #[arg(long, value_name = "NAME", hide_env = true)]
    provider: Option<String>,

    /// Only the one with this account of the provider.
    #[arg(long, value_name = "ID", hide_env = true, requires = "provider")]
    user: Option<String>,

    /// Only those with an account of this community on the platform.
    #[arg(long, value_name = "ID", hide_env = true)]
    platform: Option<String>,

    /// Only those with an account that was linked in this way.
    #[arg(long, value_name = "METHOD", hide_env = true)]
    method: Option<Method>,

    /// Only those with an account that is linked at least as surely.
    #[arg(long, value_name = "QUALITY", hide_env = true)]
    min_quality: Option<Quality>,

    #[command(flatten)]
    limit: Limit,

    #[command(flatten)]
    common: Common,
}

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let doing = format!("community {}", self.place.community);
        let identities = pages::all(&doing, self.limit.limit, async |page_size, page_token| {
            let request = ListIdentitiesRequest {
                page_size,
                page_token,
                ..self.request()
            };
            let page = client.identities.list_identities(request).await?;
            let page = page.into_inner();
            Ok((page.identities, page.next_page_token))
        });
        let identities = identities.await?;
        let next_page_token = String::new();
        let all = ListIdentitiesResponse {
            identities,
            next_page_token,
        };
        let answer = ("ListIdentitiesResponse", &all);
        let output = self.common.output;
        output.list(out, &COLUMNS, &all.identities, answer)
    }

    fn request(&self) -> ListIdentitiesRequest {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        ListIdentitiesRequest {
            community_id: self.place.community.clone(),
            provider: text(&self.provider),
            user_id: text(&self.user),
            platform_id: text(&self.platform),
            link_method: self.method.map_or(0, Method::number),
            min_link_quality: self.min_quality.map_or(0, Quality::number),
            ..ListIdentitiesRequest::default()
        }
    }
}

/// Which two.
#[derive(Clone, Args)]
pub struct Merge {
    /// The identity that stays.
    #[arg(value_name = "ID")]
    primary: String,

    /// The identity that is folded into it.
    #[arg(value_name = "OTHER_ID")]
    secondary: String,

    #[command(flatten)]
    common: Common,
}

impl Merge {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("identity {}", self.primary);
        let done = format!("identity {} merged into {}", self.secondary, self.primary);
        let request = MergeIdentitiesRequest {
            primary_identity_id: self.primary,
            secondary_identity_id: self.secondary,
        };
        let mut client = self.common.open().await?;
        let answer = client.identities.merge_identities(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("MergeIdentitiesResponse", &answer);
        self.common.output.answer(out, done, answer)
    }
}
