//! `metagov community`: the groups of people that a gateway knows.

use std::io::Write;

use clap::{Args, Subcommand};
use metagov_proto::v1::{
    Community, CreateCommunityRequest, DeleteCommunityRequest, GetCommunityRequest,
    ListCommunitiesRequest, ListCommunitiesResponse, UpdateCommunityRequest,
};
use prost_types::FieldMask;

use super::{
    Failure,
    common::{Common, Limit, Once},
    failure::answered,
    output::{Columns, time},
    pages,
};

/// Creates, shows, changes and deletes communities of a running gateway.
#[derive(Clone, Subcommand)]
pub enum Communities {
    /// Creates a community. You choose its id.
    Create(Create),
    /// Shows a community.
    Get(Get),
    /// Lists communities, oldest first.
    List(List),
    /// Changes a community.
    Update(Update),
    /// Deletes a community with all it owns. Its open processes are cancelled.
    Delete(Delete),
}

impl Communities {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(out).await,
            Self::Get(get) => get.run(out).await,
            Self::List(list) => list.run(out).await,
            Self::Update(update) => update.run(out).await,
            Self::Delete(delete) => delete.run(out).await,
        }
    }
}

const COLUMNS: Columns<Community, 4> = Columns {
    heads: ["COMMUNITY", "NAME", "CREATED", "CHANGED"],
    cells: |community| {
        [
            community.community_id.clone(),
            community.display_name.clone(),
            time(community.create_time.as_ref()),
            time(community.update_time.as_ref()),
        ]
    },
};

/// Which community there shall be.
#[derive(Clone, Args)]
pub struct Create {
    /// Its id: [a-z0-9], then [a-z0-9-], at most 63. It stays for ever.
    #[arg(value_name = "ID")]
    id: String,

    /// Its name for people. Default none.
    #[arg(long, value_name = "TEXT", hide_env = true)]
    name: Option<String>,

    #[command(flatten)]
    once: Once,

    #[command(flatten)]
    common: Common,
}

impl Create {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("community {}", self.id);
        let request = CreateCommunityRequest {
            community: Some(Community {
                community_id: self.id,
                display_name: self.name.unwrap_or_default(),
                ..Community::default()
            }),
            request_id: self.once.id(),
        };
        let mut client = self.common.open().await?;
        let answer = client.communities.create_community(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("CreateCommunityResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} created"), answer)
    }
}

/// Which community.
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
        let doing = format!("community {}", self.id);
        let community_id = self.id;
        let mut client = self.common.open().await?;
        let request = GetCommunityRequest { community_id };
        let answer = client.communities.get_community(request).await;
        let answer = answered(&doing, answer)?;
        let found = answer.community.as_slice();
        let answer = ("GetCommunityResponse", &answer);
        self.common.output.list(out, &COLUMNS, found, answer)
    }
}

/// How many communities.
#[derive(Clone, Args)]
pub struct List {
    #[command(flatten)]
    limit: Limit,

    #[command(flatten)]
    common: Common,
}

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let communities = pages::all(
            "communities",
            self.limit.limit,
            async |page_size, page_token| {
                let request = ListCommunitiesRequest {
                    page_size,
                    page_token,
                };
                let page = client.communities.list_communities(request).await?;
                let page = page.into_inner();
                Ok((page.communities, page.next_page_token))
            },
        );
        let communities = communities.await?;
        let next_page_token = String::new();
        let all = ListCommunitiesResponse {
            communities,
            next_page_token,
        };
        let answer = ("ListCommunitiesResponse", &all);
        let output = self.common.output;
        output.list(out, &COLUMNS, &all.communities, answer)
    }
}

/// What shall be different. What is not given stays.
#[derive(Clone, Args)]
pub struct Update {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    /// Its name for people.
    #[arg(long, value_name = "TEXT", hide_env = true)]
    name: String,

    /// Only if it is still as it was read: the etag that came with it. Default: in any case.
    #[arg(long, value_name = "ETAG", hide_env = true)]
    etag: Option<String>,

    #[command(flatten)]
    common: Common,
}

impl Update {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("community {}", self.id);
        let request = UpdateCommunityRequest {
            community: Some(Community {
                community_id: self.id,
                display_name: self.name,
                etag: self.etag.unwrap_or_default(),
                ..Community::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["display_name".to_owned()],
            }),
            allow_missing: false,
        };
        let mut client = self.common.open().await?;
        let answer = client.communities.update_community(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("UpdateCommunityResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} updated"), answer)
    }
}

/// Which community.
#[derive(Clone, Args)]
pub struct Delete {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    /// Only if it is still as it was read: the etag that came with it. Default: in any case.
    #[arg(long, value_name = "ETAG", hide_env = true)]
    etag: Option<String>,

    #[command(flatten)]
    common: Common,
}

impl Delete {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("community {}", self.id);
        let request = DeleteCommunityRequest {
            community_id: self.id,
            etag: self.etag.unwrap_or_default(),
        };
        let mut client = self.common.open().await?;
        let answer = client.communities.delete_community(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("DeleteCommunityResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} deleted"), answer)
    }
}
