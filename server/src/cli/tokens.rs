//! `metagov token`: who may call the gateway.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use metagov_proto::v1::{
    CreateTokenRequest, CreateTokenResponse, ListTokensRequest, ListTokensResponse,
    RevokeTokenRequest, RevokeTokenResponse, Role, Token,
};

use super::{
    Connection, Exit, Failure,
    output::{Columns, Output, line, time, word},
    pages,
    times::Until,
};

/// Creates, lists and revokes tokens of a running gateway.
#[derive(Clone, Subcommand)]
pub enum Tokens {
    /// Creates a token and prints its secret, which cannot be read again.
    Create(Create),
    /// Lists tokens without their secrets, oldest first.
    List(List),
    /// Revokes a token. Calls with it fail from then on, and its streams end.
    Revoke(Revoke),
}

impl Tokens {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(out).await,
            Self::List(list) => list.run(out).await,
            Self::Revoke(revoke) => revoke.run(out).await,
        }
    }
}

/// The new token's secret is all that is on the standard output.
#[derive(Clone, Args)]
pub struct Create {
    /// What it may do.
    #[arg(long, value_name = "ROLE", hide_env = true)]
    role: Word,

    /// A community where it holds; may be repeated. Default: in every one.
    #[arg(long = "community", value_name = "ID", hide_env = true)]
    communities: Vec<String>,

    /// When it stops working: a duration such as 90d, or a time such as
    /// 2030-01-01T00:00:00Z. Default: never.
    #[arg(long, value_name = "WHEN", hide_env = true, value_parser = Until::parse)]
    expires: Option<Until>,

    /// What it is for, for people.
    #[arg(long, value_name = "TEXT", hide_env = true)]
    name: Option<String>,

    /// Who calls with it, if it replaces another token. Default: its id.
    #[arg(long, value_name = "NAME", hide_env = true)]
    principal: Option<String>,

    /// Writes the secret into this new file, for its owner only, and not to the standard
    /// output.
    #[arg(long, value_name = "FILE", hide_env = true)]
    out: Option<PathBuf>,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connection: Connection,
}

/// A role as people write it.
#[derive(Clone, Copy, ValueEnum)]
enum Word {
    /// Reads.
    Reader,
    /// All a driver needs in its communities.
    Driver,
    /// All, tokens and the audit included.
    Admin,
}

impl Create {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.connection.open().await?;
        // Before the call: a secret that could not be written would be lost.
        let mut file = self.out.as_deref().map(Kept::new).transpose()?;
        let token = Some(self.token());
        let answer = client.access.create_token(CreateTokenRequest { token });
        let answer = match answer.await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                file.iter().for_each(Kept::remove);
                return Err(Failure::answered("token", &status));
            }
        };
        let token = answer.token.clone().unwrap_or_default();
        self.tell(&token);
        let kept = match &mut file {
            Some(file) => file.keep(&answer.secret),
            None => Ok(()),
        };
        kept.and_then(|()| self.print(out, answer)).map_err(|lost| {
            let id = token.token_id;
            let why = format!("{lost}; token {id} was created: revoke it, its secret is lost");
            Failure::new(Exit::Other, why)
        })
    }

    fn token(&self) -> Token {
        let role = match self.role {
            Word::Reader => Role::Reader,
            Word::Driver => Role::Driver,
            Word::Admin => Role::Admin,
        };
        Token {
            display_name: self.name.clone().unwrap_or_default(),
            role: role.into(),
            community_ids: self.communities.clone(),
            expire_time: self.expires.map(Until::time),
            principal: self.principal.clone().unwrap_or_default(),
            ..Token::default()
        }
    }

    /// Says on the standard error what was made, whoever reads the standard output.
    fn tell(&self, token: &Token) {
        let Token { token_id, .. } = token;
        let role = word(token.role().as_str_name(), "ROLE_");
        let place = match token.community_ids.as_slice() {
            [] => "every community".to_owned(),
            some => some.join(", "),
        };
        let end = match time(token.expire_time.as_ref()) {
            end if end.is_empty() => "for ever".to_owned(),
            end => format!("until {end}"),
        };
        let text = format!("token {token_id}: {role} in {place}, {end}");
        eprintln!("{}", super::failure::printable(&text));
    }

    fn print(&self, out: &mut dyn Write, mut answer: CreateTokenResponse) -> Result<(), Failure> {
        if self.out.is_some() {
            // It is in the file, and nowhere else.
            answer.secret.clear();
        }
        match (self.output.is_for_people(), answer.secret.as_str()) {
            (false, _) => self.output.message(out, ("CreateTokenResponse", &answer)),
            (true, "") => Ok(()),
            (true, secret) => line(out, secret),
        }
    }
}

/// A new file for a secret.
struct Kept<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Kept<'a> {
    /// Makes the file. One that is there is left alone: others may have it open.
    fn new(path: &'a Path) -> Result<Self, Failure> {
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|e| {
            let why = format!("--out: {}: {e}; choose a new file", path.display());
            Failure::new(Exit::Refused, why)
        })?;
        Ok(Self { path, file })
    }

    fn keep(&mut self, secret: &str) -> Result<(), Failure> {
        writeln!(self.file, "{secret}")
            .and_then(|()| self.file.sync_all())
            .map_err(|e| Failure::new(Exit::Other, format!("{}: {e}", self.path.display())))
    }

    fn remove(&self) {
        // What stays is empty.
        let _ = fs::remove_file(self.path);
    }
}

/// Which tokens there are.
#[derive(Clone, Args)]
pub struct List {
    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connection: Connection,
}

const COLUMNS: Columns<Token, 8> = Columns {
    heads: [
        "TOKEN",
        "ROLE",
        "COMMUNITIES",
        "NAME",
        "PRINCIPAL",
        "CREATED",
        "LAST USE",
        "EXPIRES",
    ],
    cells: |token| {
        let communities = match token.community_ids.as_slice() {
            [] => "(all)".to_owned(),
            some => some.join(","),
        };
        [
            token.token_id.clone(),
            word(token.role().as_str_name(), "ROLE_"),
            communities,
            token.display_name.clone(),
            token.principal.clone(),
            time(token.create_time.as_ref()),
            time(token.last_use_time.as_ref()),
            time(token.expire_time.as_ref()),
        ]
    },
};

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.connection.open().await?;
        let tokens = pages::all("tokens", usize::MAX, async |page_size, page_token| {
            let request = ListTokensRequest {
                page_size,
                page_token,
            };
            let page = client.access.list_tokens(request).await?.into_inner();
            Ok((page.tokens, page.next_page_token))
        });
        let tokens = tokens.await?;
        let next_page_token = String::new();
        let all = ListTokensResponse {
            tokens,
            next_page_token,
        };
        let answer = ("ListTokensResponse", &all);
        self.output.list(out, &COLUMNS, &all.tokens, answer)
    }
}

/// Which token.
#[derive(Clone, Args)]
pub struct Revoke {
    /// Its id, as `metagov token list` shows it; of a whole token, the id is taken.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connection: Connection,
}

impl Revoke {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let token_id = id(&self.id).to_owned();
        let doing = format!("token {token_id}");
        let mut client = self.connection.open().await?;
        let answer = client.access.revoke_token(RevokeTokenRequest { token_id });
        let answer = answer.await.map_err(|s| Failure::answered(&doing, &s))?;
        let answer: (_, &RevokeTokenResponse) = ("RevokeTokenResponse", answer.get_ref());
        self.output.answer(out, format!("{doing} revoked"), answer)
    }
}

/// The id in `mg_<id>_<secret>_<checksum>`, so that the secret goes no further; else the
/// text itself.
fn id(text: &str) -> &str {
    let whole = text
        .strip_prefix("mg_")
        .and_then(|rest| rest.split_once('_'));
    whole.map_or(text, |(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn of_a_whole_token_only_the_id_is_taken() {
        assert_eq!(id("mg_0123456789abcdef_s3cret_1"), "0123456789abcdef");
        assert_eq!(id("0123456789abcdef"), "0123456789abcdef");
        assert_eq!(id("mg_"), "mg_");
    }

    #[test]
    fn a_secret_goes_into_a_new_file_of_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut kept = Kept::new(&path).unwrap();
        kept.keep("s3cret").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "s3cret\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let failure = Kept::new(&path).err().unwrap();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.text.contains("--out: "), "{failure}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        assert!(Kept::new(&link).is_err(), "a link is not followed");
        kept.remove();
        assert!(!path.exists());
    }
}
