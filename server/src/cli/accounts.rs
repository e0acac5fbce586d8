//! `metagov identity link` and `unlink`: which account belongs to whom.

use std::io::Write;

use clap::{Args, ValueEnum};
use metagov_proto::{
    json,
    v1::{Account, LinkAccountRequest, LinkMethod, LinkQuality, UnlinkAccountRequest},
};

use super::{
    Failure,
    common::{Common, Place},
    failure::answered,
    parameters::{Parameters, Setting},
    schema::Schema,
};

/// How a link was made, as people write it.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Method {
    /// The person logged in.
    Oauth,
    /// An administrator said so.
    Manual,
    /// The addresses match.
    Email,
}

impl Method {
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Oauth => LinkMethod::Oauth.into(),
            Self::Manual => LinkMethod::Manual.into(),
            Self::Email => LinkMethod::Email.into(),
        }
    }
}

/// How sure a link is, as people write it.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Quality {
    /// Not confirmed.
    Unconfirmed,
    /// Confirmed, weakly.
    Weak,
    /// Confirmed, strongly.
    Strong,
}

impl Quality {
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Unconfirmed => LinkQuality::Unconfirmed.into(),
            Self::Weak => LinkQuality::Weak.into(),
            Self::Strong => LinkQuality::Strong.into(),
        }
    }
}

/// An account on a platform.
#[derive(Clone, Args)]
struct Named {
    /// The provider of the account, usually a plugin's name.
    #[arg(value_name = "PROVIDER")]
    provider: String,

    /// The account.
    #[arg(value_name = "USER_ID")]
    user: String,

    /// The community on the platform, if accounts are only unique within it. Default none.
    #[arg(long, value_name = "ID", hide_env = true)]
    platform: Option<String>,
}

/// Which account, to whom.
#[derive(Clone, Args)]
pub struct Link {
    /// The identity.
    #[arg(value_name = "IDENTITY_ID")]
    id: String,

    #[command(flatten)]
    account: Named,

    /// Anything else: name=text, or name:=JSON. Replaces what there was.
    #[arg(value_name = "NAME=VALUE", value_parser = Setting::parse)]
    custom_data: Vec<Setting>,

    /// How the link was made. Default manual.
    #[arg(
        long,
        value_name = "METHOD",
        hide_env = true,
        hide_default_value = true
    )]
    #[arg(default_value = "manual")]
    method: Method,

    /// How sure it is. Default strong.
    #[arg(
        long,
        value_name = "QUALITY",
        hide_env = true,
        hide_default_value = true
    )]
    #[arg(default_value = "strong")]
    quality: Quality,

    #[command(flatten)]
    common: Common,
}

impl Link {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("identity {}", self.id);
        let Named {
            provider,
            user,
            platform,
        } = self.account;
        let done = format!("account {provider}:{user} linked to {}", self.id);
        let custom_data = Parameters::new(self.custom_data, None, "")?;
        let custom_data = custom_data.fit(&Schema::of(None), "custom_data", true)?;
        let request = LinkAccountRequest {
            identity_id: self.id,
            account: Some(Account {
                provider,
                platform_id: platform.unwrap_or_default(),
                user_id: user,
                link_method: self.method.number(),
                link_quality: self.quality.number(),
                custom_data: Some(json::from_json(custom_data)),
            }),
        };
        let mut client = self.common.open().await?;
        let answer = client.identities.link_account(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("LinkAccountResponse", &answer);
        self.common.output.answer(out, done, answer)
    }
}

/// Which account. One that is not linked is no fault.
#[derive(Clone, Args)]
pub struct Unlink {
    #[command(flatten)]
    account: Named,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    common: Common,
}

impl Unlink {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let Named {
            provider,
            user,
            platform,
        } = self.account;
        let doing = format!("account {provider}:{user}");
        let request = UnlinkAccountRequest {
            community_id: self.place.community,
            provider,
            platform_id: platform.unwrap_or_default(),
            user_id: user,
        };
        let mut client = self.common.open().await?;
        let answer = client.identities.unlink_account(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("UnlinkAccountResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} unlinked"), answer)
    }
}
