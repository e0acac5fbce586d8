//! Who may call, under which names, and over what.

use std::{fmt, path::PathBuf};

use clap::{ArgAction, Args};

use super::values;

/// Who may call, under which names, and over what.
#[derive(Clone, PartialEq, Args)]
pub struct Access {
    /// Lets everybody who reaches `--listen` do everything, without a token. Default false.
    ///
    /// For trying things out: it works on a loopback address only.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
    pub insecure_no_auth: bool,

    /// The names that `--listen` is called by, comma separated. Default: the local names on loopback, else all.
    ///
    /// A call whose Host is another is refused, or a web page could reach a local gateway
    /// under a name of its own (DNS rebinding). Unset, a loopback address is called
    /// localhost or by its number, and any other address by every name.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = values::host)]
    pub hosts: Vec<String>,

    /// The certificates of `--listen`, a PEM file, the server's own first. Default none.
    ///
    /// Read again when it changes, with its key. Without it the API is not encrypted, and
    /// an address that is not loopback is refused.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of `--tls-cert`, a PEM file. Default none.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// The certificates of `--public-listen`, as `--tls-cert`. Default none.
    #[arg(long, value_name = "FILE", requires = "public_tls_key")]
    pub public_tls_cert: Option<PathBuf>,

    /// The private key of `--public-tls-cert`, a PEM file. Default none.
    #[arg(long, value_name = "FILE", requires = "public_tls_cert")]
    pub public_tls_key: Option<PathBuf>,

    /// Says that a proxy before `--listen` does TLS. Default false.
    ///
    /// Only then an address that is not loopback may be served without `--tls-cert`.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
    pub plaintext_behind_proxy: bool,

    /// The file with the key that secrets are encrypted with. Default: `master.key` in `--data-dir`.
    ///
    /// 64 hex digits. With SQLite it is made at the first start; another database needs
    /// one that is given. Without it, stored secrets are lost: keep a copy elsewhere.
    #[arg(long, value_name = "FILE", conflicts_with = "master_key")]
    pub master_key_file: Option<PathBuf>,

    /// The same key itself. Default none.
    ///
    /// Better given as the variable METAGOV_MASTER_KEY: other users of the machine may see
    /// the flags of a command.
    #[arg(long, value_name = "KEY")]
    pub master_key: Option<String>,

    /// Where people may be sent after an authorization, comma separated. Default none.
    ///
    /// Compared exactly with the redirect_uri of AuthorizePlugin.
    #[arg(long, value_name = "URLS", value_delimiter = ',', value_parser = values::redirect)]
    pub redirect_uris: Vec<String>,
}

/// Short, since it may hold the key.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("insecure_no_auth", &self.insecure_no_auth)
            .finish_non_exhaustive()
    }
}
