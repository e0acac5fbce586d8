//! The contestants, each in a process of its own.

mod base;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use metagov_proto::v1::WatchEventsResponse;
use tempfile::TempDir;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

pub(crate) use base::Base;

/// A connection that sends the token, if there is one, with every call.
pub(crate) type Way = InterceptedService<Channel, Bearer>;

#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A server in a process of its own.
pub(crate) struct Server {
    command: Command,
    child: Child,
    endpoint: Endpoint,
    /// From the start of the process to its first answer.
    pub(crate) ready: Duration,
    /// With its token.
    data: PathBuf,
    /// With the database, where that is its alone.
    _folder: Option<TempDir>,
}

impl Server {
    /// The release build of the gateway, on an empty folder.
    pub(crate) async fn gateway() -> Self {
        Self::gateway_with(&[]).await
    }

    /// The same, but everybody may call.
    pub(crate) async fn open_gateway() -> Self {
        Self::gateway_with(&["--insecure-no-auth"]).await
    }

    async fn gateway_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let (command, api) = serve(&data, flags.iter().copied());
        Self::start(command, &api, data, Some(folder)).await
    }

    /// The release build of the gateway, on this database.
    pub(crate) async fn on(base: &Base) -> Self {
        let flags = base.flags();
        let (command, api) = serve(&base.data(), flags.iter().map(String::as_str));
        Self::start(command, &api, base.data(), None).await
    }

    /// Bare tonic with a service that does nothing.
    pub(crate) async fn noop() -> Self {
        let address = free_port();
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([noop::ARGUMENT, &address]);
        Self::start(command, &address, PathBuf::new(), None).await
    }

    /// Bare tonic that sends a message to its readers until they have so many events.
    pub(crate) async fn echo(sample: &WatchEventsResponse, events: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, address) = (folder.path().join("message"), free_port());
        std::fs::write(&file, prost::Message::encode_to_vec(sample)).expect("a file");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(echo::ARGUMENT).arg(&file);
        command.args([&events.to_string(), &address]);
        Self::start(command, &address, PathBuf::new(), Some(folder)).await
    }

    async fn start(
        mut command: Command,
        address: &str,
        data: PathBuf,
        folder: Option<TempDir>,
    ) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        command.stdin(Stdio::null());
        let begin = Instant::now();
        let child = command.spawn().expect("the program starts");
        answers(&endpoint, begin).await;
        Self {
            command,
            child,
            endpoint,
            ready: begin.elapsed(),
            data,
            _folder: folder,
        }
    }

    /// Ends it as a power cut would.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        let begin = Instant::now();
        self.child = self.command.spawn().expect("the program starts");
        answers(&self.endpoint, begin).await;
        self.ready = begin.elapsed();
    }

    pub(crate) async fn channels(&self, count: usize) -> Vec<Way> {
        let bearer = Bearer(self.token());
        let mut channels = Vec::new();
        for _ in 0..count {
            let channel = self.endpoint.connect().await.expect("a connection");
            channels.push(InterceptedService::new(channel, bearer.clone()));
        }
        channels
    }

    /// What a gateway that wants tokens leaves in its data folder.
    fn token(&self) -> Option<MetadataValue<Ascii>> {
        let file = self.data.join("admin.token");
        let token = std::fs::read_to_string(file).ok()?;
        let value = format!("Bearer {}", token.trim_end());
        Some(value.parse().expect("a token is visible ASCII"))
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> i64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("Linux tells");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a line");
        line.split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for the first answer.
async fn answers(endpoint: &Endpoint, begin: Instant) {
    loop {
        if let Ok(channel) = endpoint.connect().await {
            let check = HealthClient::new(channel)
                .check(HealthCheckRequest::default())
                .await;
            if check.is_ok() {
                return;
            }
        }
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{} does not answer",
            endpoint.uri()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The command that serves on a data folder, and where.
fn serve<'a>(data: &Path, flags: impl IntoIterator<Item = &'a str>) -> (Command, String) {
    let (api, public) = (free_port(), free_port());
    let mut command = gateway();
    command
        .args(["serve", "--listen", &api, "--public-listen", &public])
        .args(["--log", "warn", "--data-dir"])
        .arg(data)
        .args(flags);
    (command, api)
}

/// The gateway's program, with no settings but what is told by its flags.
fn gateway() -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("METAGOV_") {
            command.env_remove(name);
        }
    }
    command
}

/// `target/release/metagov`, which `make bench` builds before.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("this program");
    let folder = this.ancestors().nth(2).expect("target/release");
    let program = folder.join("metagov");
    assert!(
        program.exists(),
        "{} is missing: run `make bench`",
        program.display()
    );
    program
}

/// A port below the range from which clients' ports are taken, another one each time.
fn free_port() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + std::process::id() as u16 % 10_000;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

pub(crate) mod echo;

/// Bare tonic with a service that does nothing.
pub(crate) mod noop {
    pub(crate) const ARGUMENT: &str = "--serve-noop";

    pub(crate) fn serve() {
        let address = std::env::args().next_back().and_then(|a| a.parse().ok());
        let (_, health) = tonic_health::server::health_reporter();
        let server = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(health);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let served = runtime
            .expect("a runtime")
            .block_on(server.serve(address.expect("an address")));
        served.expect("it serves");
    }
}
