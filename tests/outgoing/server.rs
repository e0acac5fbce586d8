//! A server below what a mock of HTTP can do, which says what it heard and how much it
//! could send.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
    time::Instant,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, pki_types::PrivateKeyDer},
};

use crate::harness::PATIENCE;

/// A certificate for this machine, and its key.
pub(super) struct Identity {
    /// In PEM.
    pub(super) certificate: String,
    config: Arc<rustls::ServerConfig>,
}

impl Identity {
    pub(super) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let made = made.self_signed(&key).unwrap();
        let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], secret)
            .unwrap();
        Self {
            certificate: made.pem(),
            config: Arc::new(config),
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.config.clone().into()
    }
}

/// How a request is answered.
#[derive(Clone)]
pub(super) enum Answer {
    /// With these bytes.
    Says(Vec<u8>),
    /// With this head, and then with as much of nothing as is taken.
    Endless(String),
    /// With this head, and then a byte a second.
    Drips(String),
    /// With an empty object, when [`Server::let_go`] says so.
    Waits,
}

/// A status line with headers, and a body.
pub(super) fn says(head: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    Answer::Says([head.as_bytes(), body].concat())
}

/// An empty object.
pub(super) fn ok() -> Answer {
    says("200 OK", b"{}")
}

/// To be found elsewhere.
pub(super) fn moved(status: u16, location: &str) -> Answer {
    says(&format!("{status} Moved\r\nlocation: {location}"), b"")
}

#[derive(Default)]
struct State {
    heard: Mutex<Vec<String>>,
    sent: AtomicU64,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A server, for as long as it is held.
pub(super) struct Server {
    /// As in `http://127.0.0.2:1234`.
    pub(super) url: String,
    pub(super) port: u16,
    state: Arc<State>,
    gate: Arc<Semaphore>,
    listening: JoinHandle<()>,
}

impl Server {
    /// Answers at an address, each request by its head.
    pub(super) async fn start(
        address: &str,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        Self::listen(listener, answer)
    }

    /// The same over TLS.
    pub(super) async fn start_tls(
        identity: &Identity,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listen_as(listener, Some(identity.acceptor()), answer)
    }

    /// Two servers with the same port at two addresses.
    pub(super) async fn pair(addresses: [&str; 2]) -> [Self; 2] {
        let until = Instant::now() + PATIENCE;
        loop {
            let one = TcpListener::bind((addresses[0], 0)).await.unwrap();
            let port = one.local_addr().unwrap().port();
            match TcpListener::bind((addresses[1], port)).await {
                Ok(two) => return [one, two].map(|listener| Self::listen(listener, |_| ok())),
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        }
    }

    fn listen(
        listener: TcpListener,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen_as(listener, None, answer)
    }

    fn listen_as(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (state, gate) = (Arc::<State>::default(), Arc::new(Semaphore::new(0)));
        let (answer, seen, opens) = (Arc::new(answer), state.clone(), gate.clone());
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, seen, opens) = (answer.clone(), seen.clone(), opens.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &*answer, &seen, &opens).await,
                        Some(tls) => {
                            let stream = tls.accept(stream).await.unwrap();
                            serve(stream, &*answer, &seen, &opens).await;
                        }
                    }
                });
            }
        });
        Self {
            url: format!("{scheme}://{address}"),
            port: address.port(),
            state,
            gate,
            listening,
        }
    }

    /// The heads of the requests that came.
    pub(super) fn heard(&self) -> Vec<String> {
        self.state.heard.lock().unwrap().clone()
    }

    /// Waits until so many came.
    pub(super) async fn until_heard(&self, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.heard().len() < count {
            assert!(Instant::now() < until, "{:?}", self.heard());
            tokio::task::yield_now().await;
        }
    }

    /// How many bytes it could send.
    pub(super) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// The most requests that were here at one time.
    pub(super) fn most(&self) -> usize {
        self.state.most.load(Ordering::SeqCst)
    }

    /// Answers so many of those that wait.
    pub(super) fn let_go(&self, count: usize) {
        self.gate.add_permits(count);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &(impl Fn(&str) -> Answer + ?Sized),
    state: &State,
    gate: &Semaphore,
) {
    let Some(head) = head(&mut stream).await else {
        return;
    };
    let answer = answer(&head);
    let now = state.now.fetch_add(1, Ordering::SeqCst) + 1;
    state.most.fetch_max(now, Ordering::SeqCst);
    state.heard.lock().unwrap().push(head);
    // An error means that the gateway hung up, which is its right.
    let _ = send(&mut stream, answer, state, gate).await;
    state.now.fetch_sub(1, Ordering::SeqCst);
    let _ = stream.shutdown().await;
}

/// Reads a request with its body; its head.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.ok().filter(|n| *n > 0)?;
        text.extend_from_slice(&part[..count]);
        let seen = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = seen.split_once("\r\n\r\n") else {
            continue;
        };
        let lines = head.lines().map(str::to_lowercase);
        let mut length = lines.filter_map(|l| Some(l.strip_prefix("content-length: ")?.to_owned()));
        let length = length
            .next_back()
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return Some(head.to_owned());
        }
    }
}

async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: Answer,
    state: &State,
    gate: &Semaphore,
) -> std::io::Result<()> {
    match answer {
        Answer::Says(bytes) => stream.write_all(&bytes).await,
        Answer::Endless(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                let count = stream.write(&[b' '; 64 << 10]).await?;
                state.sent.fetch_add(count as u64, Ordering::SeqCst);
            }
        }
        Answer::Drips(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
        Answer::Waits => {
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            let Answer::Says(bytes) = ok() else {
                return Ok(());
            };
            stream.write_all(&bytes).await
        }
    }
}
