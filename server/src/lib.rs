#![deny(missing_docs)]
//! The Metagov gateway: the governance layer between the tools that communities use and
//! the programs that govern with them.
//!
//! Rooms, each of which may only import from those below it (a test holds this):
//!
//! ```text
//!   rpc   http      EDGES   speak a protocol, decide nothing
//!     gateway       RULES   one function per use case
//!  feed plugins store  MEANS   live tail, platforms, database
//!   model   error   WORDS   plain data, no I/O
//! ```
//!
//! Beside them: [`config`] (settings), [`listen`] (connections, TLS), [`metrics`] and
//! [`traces`] (for operators; any room counts, as any room logs), `cli` (a client of the
//! running gateway), and this file, the only place that builds things. Read [`rpc`], [`plugins::kit`], then
//! `gateway/processes.rs`.

pub mod cli;
pub mod config;
pub mod error;
pub mod feed;
mod folder;
pub mod gateway;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod model;
pub mod plugins;
mod proof;
pub mod rpc;
pub mod store;
pub mod traces;

use std::{
    fmt,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper::Request;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::ServiceExt;

use crate::{
    config::Config,
    feed::Feed,
    gateway::Gateway,
    listen::{Broken, Certificate, Listener},
    plugins::kit::{Http, HttpSettings, Plugin, named_addresses},
    store::{
        KeySource, Keys, OpenError, Store,
        backup::{self, BackupError, Progress, Saved},
        master_key::{self, Rekeyed},
    },
};

/// How much longer than its drain a gateway may wait for its database.
const LAST_COMMIT: Duration = Duration::from_secs(5);

const MASTER_KEY: &str = "--master-key (METAGOV_MASTER_KEY)";
const MASTER_KEY_FILE: &str = "--master-key-file (METAGOV_MASTER_KEY_FILE)";
const NEW_KEY: &str = "--new-master-key-file (METAGOV_NEW_MASTER_KEY_FILE)";

/// Why the gateway does not start: one line that names the setting and the remedy.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A gateway that serves.
pub struct Running {
    /// Where gRPC and grpc-web are served.
    pub api: SocketAddr,
    /// Where webhooks and public actions are served.
    pub public: SocketAddr,
    gateway: Arc<Gateway>,
    store: Store,
    health: HealthReporter,
    closing: watch::Sender<bool>,
    drain_timeout: Duration,
    servers: Vec<JoinHandle<()>>,
    chores: Vec<JoinHandle<()>>,
    /// Held for as long as the gateway lives: one gateway per data folder.
    _lock: Option<File>,
}

/// Starts the gateway: opens the database, brings its tables up to date, serves.
pub async fn run(config: Config, plugins: Vec<Plugin>) -> Result<Running, StartError> {
    // reqwest is built without a default; only the first call counts.
    _ = rustls::crypto::ring::default_provider().install_default();
    config.check().map_err(StartError)?;
    let (api_keys, public_keys) = certificates(&config)?;
    let _lock = prepare_folder(&config)?;
    let api = bind(config.listen, "--listen (METAGOV_LISTEN)").await?;
    let public = bind(
        config.public_listen,
        "--public-listen (METAGOV_PUBLIC_LISTEN)",
    )
    .await?;
    let (api_address, public_address) = (local(&api)?, local(&public)?);

    metrics::metrics().begin();
    let (closing, closed) = watch::channel(false);
    let store = Store::open(&database(&config)?)
        .await
        .map_err(|e| not_opened(&config, e))?;
    // Events are packed so that a page of them fits in an answer, with room to spare.
    let page = config.limits.max_response_size / 4;
    let feed = Feed::follow(store.clone(), page, closed.clone())
        .await
        .map_err(broken)?;
    let settings = gateway::Settings {
        public_url: url::Url::parse(&config.public_base(public_address)).map_err(broken)?,
        step_timeout: config.step_timeout,
        replica_lease: config.replica_lease,
        poll_interval: config.poll_interval,
        event_retention: config.event_retention,
        max_event_size: config.limits.max_event_size,
        json: json_limits(&config.limits),
        redirect_uris: config.access.redirect_uris.clone(),
        insecure_no_auth: config.access.insecure_no_auth,
        operator: config.operator.clone(),
    };
    let http = Http::new(outgoing(&config)).map_err(broken)?;
    let gateway = Gateway::new(store.clone(), feed, plugins, settings, http);
    gateway.join().await.map_err(broken)?;
    if !config.access.insecure_no_auth {
        first_token(&config, &gateway).await?;
    }
    let chores = vec![
        tokio::spawn(gateway.clone().do_chores(closed.clone())),
        tokio::spawn(gateway.clone().follow_tokens(closed.clone())),
        tokio::spawn(gateway.clone().follow_subscriptions(closed.clone())),
    ];
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in rpc::SERVICES {
        health
            .set_service_status(service, ServingStatus::Serving)
            .await;
    }
    for keys in [&api_keys, &public_keys].into_iter().flatten() {
        tokio::spawn(keys.clone().follow(closed.clone()));
    }
    let api = Listener::api(api, api_keys, &config.limits);
    let public = Listener::public(public, public_keys, &config.limits);
    let servers = vec![
        serve_api(
            &config,
            api,
            gateway.clone(),
            health_service,
            closed.clone(),
        )?,
        serve_public(&config, public, gateway.clone(), closed),
    ];
    Ok(Running {
        api: api_address,
        public: public_address,
        gateway,
        store,
        health,
        closing,
        drain_timeout: config.drain_timeout,
        servers,
        chores,
        _lock,
    })
}

/// Brings the database up to date; the names of the steps that were taken.
pub async fn migrate(config: &Config) -> Result<Vec<String>, StartError> {
    let _lock = prepare_folder(config)?;
    store::migrate(&database(config)?)
        .await
        .map_err(|e| no_database(config, &e))
}

/// Encrypts all that is secret anew with another master key, while no gateway runs: with
/// that of `file`, or with a new one for the data folder. What to tell the operator.
pub async fn rekey(config: &Config, file: Option<&Path>) -> Result<String, StartError> {
    let _lock = prepare_folder(config)?;
    let settings = database(config)?;
    let new = file.map(named_key).transpose()?;
    if new.is_none() && own_key(config).is_none() {
        let why = "is needed, since the present key is not kept in the data folder; name a file with the new key (make one with: openssl rand -hex 32)";
        return Err(StartError(format!("{NEW_KEY}: {why}")));
    }
    let done = master_key::rekey(&settings, new.as_ref()).await;
    let Rekeyed { rows, kept } = done.map_err(|e| not_opened(config, e))?;
    let then = match (file, kept) {
        (Some(file), _) => format!(
            "from now on serve with --master-key-file {}",
            file.display()
        ),
        (None, Some(kept)) => format!(
            "the old key is now {}: older copies of the database need it",
            kept.display()
        ),
        (None, None) => "the new key is in the data folder".to_owned(),
    };
    Ok(format!("encrypted {rows} rows anew; {then}"))
}

fn named_key(file: &Path) -> Result<Keys, StartError> {
    match master_key::read_key(file) {
        Ok(Some(keys)) => Ok(keys),
        Ok(None) => {
            let why = "is missing; make it with: openssl rand -hex 32";
            Err(StartError(format!("{NEW_KEY}: {} {why}", file.display())))
        }
        Err(OpenError::MasterKey(why)) => Err(StartError(format!("{NEW_KEY}: {why}"))),
        Err(OpenError::Database(error)) => Err(broken(error)),
    }
}

/// Writes all that the database holds into a file, `-` for the standard output, also
/// while a gateway serves it. What to tell the operator.
pub async fn backup(
    config: &Config,
    file: &Path,
    force: bool,
    progress: Progress<'_>,
) -> Result<String, StartError> {
    let settings = database(config)?;
    let saved = match is_standard(file) {
        true => backup::save(&settings, io::stdout(), progress).await,
        false => save(&settings, file, force, progress).await,
    };
    let Saved { rows, position } = saved.map_err(|e| not_moved(config, file, e))?;
    Ok(format!("wrote {rows} up to position {position}"))
}

async fn save(
    settings: &store::Settings,
    file: &Path,
    force: bool,
    progress: Progress<'_>,
) -> Result<Saved, BackupError> {
    let draft = folder::Draft::begin(file, force)?;
    let saved = backup::save(settings, draft.file(), progress).await?;
    draft.finish()?;
    Ok(saved)
}

/// Fills a database that holds nothing from a file, `-` for the standard input, while no
/// gateway runs. What to tell the operator.
pub async fn restore(
    config: &Config,
    file: &Path,
    progress: Progress<'_>,
) -> Result<String, StartError> {
    let input = || -> io::Result<Box<dyn io::Read + Send>> {
        Ok(match is_standard(file) {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(file)?),
        })
    };
    let failed = |error| not_moved(config, file, error);
    input().map_err(|error| failed(error.into()))?;
    let settings = database(config)?;
    let _lock = prepare_folder(config)?;
    let restored = backup::restore(&settings, !is_standard(file), input, progress);
    let restored = restored.await.map_err(failed)?;
    Ok(format!(
        "restored {} of {} up to position {}; the feed is now {}, and cursors of before are refused as foreign",
        restored.rows, restored.create_time, restored.position, restored.feed_id
    ))
}

fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

fn not_moved(config: &Config, file: &Path, error: BackupError) -> StartError {
    match error {
        BackupError::File(why) => StartError(format!("{}: {why}", file.display())),
        BackupError::MasterKey(why) => not_opened(config, OpenError::MasterKey(why)),
        BackupError::Refused(why) => of_database(config, &why),
        BackupError::Database(error) => {
            let why = error.to_string().replacen("internal: ", "", 1);
            of_database(config, &format!("the database fails: {why}"))
        }
    }
}

impl Running {
    /// Drains: health says NOT_SERVING, streams end with UNAVAILABLE, running calls
    /// finish, and what is not finished within the drain time-out is cut off.
    pub async fn stop(mut self) -> Result<(), StartError> {
        let grace = match proof::is(proof::Bug::NoDrain) {
            true => Duration::ZERO,
            false => self.drain_timeout,
        };
        let until = Instant::now() + grace;
        for service in rpc::SERVICES.into_iter().chain([""]) {
            self.health
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
        self.closing.send_replace(true);
        // Watchers of the health have seen it; now their streams may end.
        tokio::time::sleep(Duration::from_millis(50)).await;
        for service in rpc::SERVICES.into_iter().chain([""]) {
            self.health.clear_service_status(service).await;
        }
        for mut server in self.servers {
            if timeout_at(until, &mut server).await.is_err() {
                tracing::warn!("calls were still running at the end of the drain time-out");
                server.abort();
            }
        }
        for chore in self.chores {
            _ = timeout_at(until, chore).await;
        }
        // Work whose caller went away.
        if timeout_at(until, self.gateway.idle()).await.is_err() {
            tracing::warn!("work was still running at the end of the drain time-out");
        }
        // Nobody is left who would read; this waits for the last commit.
        _ = timeout_at(until + LAST_COMMIT, self.store.close()).await;
        Ok(())
    }

    /// Resolves if the gateway ends by itself, which it should not.
    pub async fn ended(&mut self) {
        let servers = self.servers.iter_mut();
        // How it ended stands in the log.
        _ = futures::future::select_all(servers).await;
    }
}

/// Somebody must be able to create tokens: the first start leaves one in a file.
async fn first_token(config: &Config, gateway: &Gateway) -> Result<(), StartError> {
    let file = config.data_dir.join("admin.token");
    // Beside it, until it is valid: another gateway may have the same folder.
    let new = config
        .data_dir
        .join(format!("admin.token.{}", uuid::Uuid::new_v4().simple()));
    let cannot =
        |e: std::io::Error| error::Error::internal(format!("cannot write {}: {e}", file.display()));
    let keep = |text: &str| folder::write_private(&new, &format!("{text}\n")).map_err(cannot);
    let failed = |why: error::Error| {
        let why = why.to_string().replacen("internal: ", "", 1);
        StartError(format!(
            "--data-dir (METAGOV_DATA_DIR): no token could be made: {why}; choose a folder that can be written"
        ))
    };
    let made = gateway.first_token(keep).await.map_err(failed)?;
    if let Some(token_id) = made {
        let kept = fs::rename(&new, &file).and_then(|()| folder::sync(&file));
        kept.map_err(|error| failed(cannot(error)))?;
        let file = file.display();
        tracing::info!(%token_id, %file, "made a token that may do everything; it is in this file");
    } else if new.exists() {
        fs::remove_file(&new).map_err(|error| failed(cannot(error)))?;
    }
    Ok(())
}

fn serve_api(
    config: &Config,
    listener: Listener,
    gateway: Arc<Gateway>,
    health: rpc::HealthServer<impl rpc::Health>,
    closing: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
    let origins = config.cors_origins.iter().map(|origin| origin.parse());
    let settings = rpc::Settings {
        max_request_size: config.limits.max_request_size,
        max_response_size: config.limits.max_response_size,
        open_reflection: config.is_local(),
        cors_origins: origins.collect::<Result<_, _>>().map_err(broken)?,
        hosts: rpc::Hosts::of(&config.access.hosts, config.listen.ip()),
    };
    let routes = rpc::routes(gateway.clone(), health, &settings).map_err(broken)?;
    let service = rpc::server(gateway, &settings).service(routes.prepare());
    let service = service.map_request(|request: Request<_>| request.map(tonic::body::Body::new));
    Ok(tokio::spawn(listener.serve(service, closing)))
}

fn serve_public(
    config: &Config,
    listener: Listener,
    gateway: Arc<Gateway>,
    closing: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let settings = http::Settings {
        max_body: config.limits.max_hook_size,
        timeout: config.limits.hook_timeout,
        rate: config.limits.hook_rate,
    };
    let routes = http::routes(gateway, &settings);
    tokio::spawn(listener.serve(routes, closing))
}

/// Those of the API's listener and of the public one, where they have some.
type Certificates = (Option<Arc<Certificate>>, Option<Arc<Certificate>>);

fn certificates(config: &Config) -> Result<Certificates, StartError> {
    let access = &config.access;
    let load = |prefix: &str, cert: &Option<PathBuf>, key: &Option<PathBuf>| {
        let Some((cert, key)) = cert.as_ref().zip(key.as_ref()) else {
            return Ok(None);
        };
        let loaded = Certificate::load(cert, key);
        loaded.map(Some).map_err(|error| no_tls(prefix, &error))
    };
    Ok((
        load("", &access.tls_cert, &access.tls_key)?,
        load("public-", &access.public_tls_cert, &access.public_tls_key)?,
    ))
}

fn no_tls(prefix: &str, error: &Broken) -> StartError {
    let (flag, remedy) = match error {
        Broken::Cert(_) => (
            "tls-cert",
            "the certificates in PEM, the server's own first",
        ),
        Broken::Key(_) => ("tls-key", "the private key of that certificate in PEM"),
    };
    let flag = format!("{prefix}{flag}");
    let variable = flag.to_uppercase().replace('-', "_");
    StartError(format!(
        "--{flag} (METAGOV_{variable}): {error}; give {remedy}"
    ))
}

async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        StartError(format!(
            "{setting}: cannot listen at {address}: {error}; choose another address"
        ))
    })
}

fn json_limits(limits: &config::Limits) -> model::JsonLimits {
    model::JsonLimits {
        depth: limits.max_json_depth.into(),
        values: usize::try_from(limits.max_json_values).unwrap_or(usize::MAX),
        string: limits.max_json_string,
    }
}

fn local(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(broken)
}

fn outgoing(config: &Config) -> HttpSettings {
    let outgoing = &config.outgoing;
    HttpSettings {
        allow_http: outgoing.allow_http,
        allow: outgoing.allow_cidr.clone(),
        named: named_addresses(&config.operator),
        connect_timeout: outgoing.connect_timeout,
        call_timeout: outgoing.call_timeout,
        max_answer_size: outgoing.max_answer_size,
        max_answer_ratio: outgoing.max_answer_ratio,
        max_redirects: outgoing.max_redirects,
        concurrency: outgoing.platform_concurrency,
        lookup: outgoing.resolver.0.clone(),
    }
}

fn database(config: &Config) -> Result<store::Settings, StartError> {
    Ok(store::Settings {
        url: config.database_url(),
        readers: config.database.database_connections,
        wait: config.database.database_wait,
        poll: config.database.feed_poll,
        notify: match &config.database.notify {
            config::Notify::Auto => store::Notify::Channel,
            config::Notify::Poll => store::Notify::Nobody,
            config::Notify::Nats(servers) => store::Notify::Nats(servers.clone()),
        },
        key: key_source(config)?,
    })
}

fn key_source(config: &Config) -> Result<KeySource, StartError> {
    let access = &config.access;
    if let Some(key) = &access.master_key {
        let why = "not 64 hex digits; give the key that the database is encrypted with";
        let wrong = || StartError(format!("{MASTER_KEY}: {why}"));
        return Ok(KeySource::Given(Keys::from_hex(key).ok_or_else(wrong)?));
    }
    Ok(match (&access.master_key_file, own_key(config)) {
        (Some(file), _) => KeySource::File(file.clone()),
        (None, Some(file)) => KeySource::Own(file),
        (None, None) => KeySource::Nowhere,
    })
}

/// The file in the data folder for the master key, if it is kept there.
fn own_key(config: &Config) -> Option<PathBuf> {
    let access = &config.access;
    let given = access.master_key.is_some() || access.master_key_file.is_some();
    let alone = config.database_url().starts_with("sqlite:");
    (alone && !given).then(|| config.data_dir.join("master.key"))
}

/// Makes the data folder, readable by its owner only, and takes it for this process.
fn prepare_folder(config: &Config) -> Result<Option<File>, StartError> {
    if config.database_url.is_some() && own_key(config).is_none() {
        return Ok(None);
    }
    let folder = &config.data_dir;
    let failed = |what: &str, error: &dyn fmt::Display| {
        let folder = folder.display();
        StartError(format!(
            "--data-dir (METAGOV_DATA_DIR): {what} {folder}: {error}; choose a folder that can be written"
        ))
    };
    folder::make_private(folder).map_err(|e| failed("cannot make", &e))?;
    let lock = File::create(folder.join("lock")).map_err(|e| failed("cannot write into", &e))?;
    lock.try_lock().map_err(|_| {
        let folder = folder.display();
        StartError(format!(
            "--data-dir (METAGOV_DATA_DIR): another gateway uses {folder}; stop it, or choose another folder"
        ))
    })?;
    Ok(Some(lock))
}

fn not_opened(config: &Config, error: OpenError) -> StartError {
    match error {
        OpenError::Database(error) => no_database(config, &error),
        OpenError::MasterKey(why) if config.access.master_key.is_some() => {
            StartError(format!("{MASTER_KEY}: {why}"))
        }
        OpenError::MasterKey(why) => StartError(format!("{MASTER_KEY_FILE}: {why}")),
    }
}

fn no_database(config: &Config, error: &error::Error) -> StartError {
    let why = error.to_string().replacen("internal: ", "", 1);
    of_database(config, &format!("the database cannot be opened: {why}"))
}

fn of_database(config: &Config, why: &str) -> StartError {
    let mut why = why.to_owned();
    let place = match &config.database_url {
        Some(url) => {
            // It may hold a password, and the driver repeats it.
            why = why.replace(url, "the URL");
            "--database-url (METAGOV_DATABASE_URL)".to_owned()
        }
        None => format!(
            "--data-dir (METAGOV_DATA_DIR): {}",
            config.data_dir.display()
        ),
    };
    StartError(format!("{place}: {why}"))
}

fn broken(error: impl fmt::Display) -> StartError {
    StartError(error.to_string())
}
