//! TLS on both listeners: who may be spoken to, how, and what a new certificate does.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use metagov::{Running, config::Config, plugins};
use metagov_proto::v1::ListEventsRequest;
use prost::Message;
use reqwest::{Client, Version};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::harness::{Api, Binary, Home, PATIENCE, admin_token, carried};

const SHORT: Duration = Duration::from_millis(300);

/// The files of a certificate, and what a client trusts of it.
struct Pair {
    folder: TempDir,
    /// The certificate that the files have now.
    pem: String,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut pair = Self {
            folder,
            pem: String::new(),
        };
        pair.renew();
        pair
    }

    /// Another certificate with another key in the same files.
    fn renew(&mut self) {
        let (cert, key) = made(|_| ());
        fs::write(self.key(), key).unwrap();
        fs::write(self.cert(), &cert).unwrap();
        self.pem = cert;
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn flags<'a>(&self, cert: &'a str, key: &'a str) -> [String; 4] {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        [
            cert.to_owned(),
            path(self.cert()),
            key.to_owned(),
            path(self.key()),
        ]
    }
}

/// A certificate for this machine and its key, in PEM.
fn made(set: impl FnOnce(&mut rcgen::CertificateParams)) -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    set(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    (cert.pem(), key.serialize_pem())
}

/// A gateway whose listeners both do TLS.
struct Secure {
    running: Running,
    token: String,
    pair: Pair,
    _home: Home,
}

impl Secure {
    async fn start(set: impl FnOnce(&mut Config)) -> Self {
        let (home, pair) = (Home::new(), Pair::new());
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_listen: "127.0.0.1:0".parse().unwrap(),
            ..Config::default()
        };
        home.furnish(&mut config);
        config.access.tls_cert = Some(pair.cert());
        config.access.tls_key = Some(pair.key());
        config.access.public_tls_cert = Some(pair.cert());
        config.access.public_tls_key = Some(pair.key());
        config.outgoing.allow_http = true;
        config.outgoing.allow_cidr = vec!["127.0.0.0/8".parse().unwrap()];
        set(&mut config);
        let data = config.data_dir.clone();
        let running = metagov::run(config, plugins::all()).await.unwrap();
        Self {
            running,
            token: admin_token(&data),
            pair,
            _home: home,
        }
    }

    async fn api(&self) -> Api {
        api(self.running.api, &self.pair.pem, &self.token)
            .await
            .unwrap()
    }
}

/// Clients over TLS that trust this certificate alone.
async fn api(address: SocketAddr, pem: &str, token: &str) -> Result<Api, tonic::transport::Error> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    let channel = endpoint.tls_config(tls)?.connect().await?;
    Ok(Api {
        channel: carried(channel, token),
    })
}

/// A web client that trusts this certificate alone.
fn web(pem: &str) -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([root])
}

/// What ALPN agrees on when a client offers these.
async fn agreed(address: SocketAddr, pem: &str, offers: &[&str]) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = offers.iter().map(|name| name.as_bytes().into()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let protocol = stream.get_ref().1.alpn_protocol().unwrap_or_default();
    Ok(String::from_utf8(protocol.to_vec()).unwrap())
}

#[tokio::test]
async fn both_listeners_speak_tls() {
    let secure = Secure::start(|_| ()).await;
    let api = secure.api().await;
    api.community("a").await;
    let (api_at, public_at) = (secure.running.api, secure.running.public);
    for (client, version) in [
        (web(&secure.pair.pem), Version::HTTP_2),
        (web(&secure.pair.pem).http1_only(), Version::HTTP_11),
    ] {
        let list = ListEventsRequest::default().encode_to_vec();
        let url = format!(
            "https://localhost:{}/metagov.v1.EventService/ListEvents",
            api_at.port()
        );
        let length = u32::try_from(list.len()).unwrap().to_be_bytes();
        let frame = [&[0][..], &length, &list].concat();
        let post = client.build().unwrap().post(url).body(frame);
        let post = post.header("content-type", "application/grpc-web+proto");
        let post = post.bearer_auth(&secure.token);
        let answer = post.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert!(
            answer
                .bytes()
                .await
                .unwrap()
                .ends_with(b"grpc-status:0\r\n")
        );
    }
    let hook = format!(
        "https://localhost:{}/api/hooks/a/discourse",
        public_at.port()
    );
    let client = web(&secure.pair.pem).build().unwrap();
    let answer = client.post(hook).body("{}").send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_11);
    assert_eq!(answer.status(), 404);
    let said: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(said["error"]["reason"], "WEBHOOK_NOT_FOUND");
}

#[tokio::test]
async fn the_public_address_is_https_then() {
    let secure = Secure::start(|_| ()).await;
    let api = secure.api().await;
    let forum = crate::fakes::Forum::start().await;
    api.community("a").await;
    let discourse = api.enable("a", "discourse", forum.config()).await;
    let base = format!("https://{}/api/hooks/a/discourse/", secure.running.public);
    assert!(
        discourse.webhook_url.starts_with(&base),
        "{}",
        discourse.webhook_url
    );
}

#[tokio::test]
async fn protocols_are_agreed_on() {
    let secure = Secure::start(|_| ()).await;
    let (api, public, pem) = (secure.running.api, secure.running.public, &secure.pair.pem);
    for (offers, of_api) in [
        (&["h2", "http/1.1"][..], "h2"),
        (&["http/1.1"], "http/1.1"),
        (&[], ""),
    ] {
        assert_eq!(agreed(api, pem, offers).await.unwrap(), of_api);
    }
    assert_eq!(
        agreed(public, pem, &["h2", "http/1.1"]).await.unwrap(),
        "http/1.1"
    );
    for (address, offers) in [(public, ["h2"]), (api, ["spdy/3"])] {
        agreed(address, pem, &offers).await.unwrap_err();
    }
}

/// Asks until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "it did not come to be");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_streams_live_on() {
    let mut secure = Secure::start(|_| ()).await;
    let (at, public) = (secure.running.api, secure.running.public);
    let old = secure.pair.pem.clone();
    let mut watcher = secure.api().await.watch().await;
    secure.pair.renew();
    let new = secure.pair.pem.clone();
    until(async || api(at, &new, "").await.is_ok()).await;
    until(async || agreed(public, &new, &[]).await.is_ok()).await;
    assert!(
        api(at, &old, "").await.is_err(),
        "nobody gets the old one any more"
    );
    secure.api().await.community("a").await;
    assert_eq!(watcher.next().await.community_id, "a");
    // And the drain is what it is without TLS.
    let stopped = tokio::spawn(secure.running.stop());
    let end = watcher.try_next().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    stopped.await.unwrap().unwrap();
}

/// Reads the log on to a line that fits.
fn logged(server: &Binary, what: &str) {
    let lines = std::iter::from_fn(|| server.log.recv_timeout(PATIENCE).ok());
    let found = lines.into_iter().find(|line| line.contains(what));
    found.unwrap_or_else(|| panic!("the log does not say {what}"));
}

fn address(server: &Binary) -> SocketAddr {
    server
        .endpoint
        .trim_start_matches("http://")
        .parse()
        .unwrap()
}

fn serve(pair: &Pair) -> (Binary, Home) {
    let home = Home::new();
    let flags = pair.flags("--tls-cert", "--tls-key");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    (Binary::serve(&home, &flags), home)
}

#[tokio::test]
async fn a_new_pair_that_cannot_be_used_leaves_the_old_one() {
    let pair = Pair::new();
    let (server, _home) = serve(&pair);
    let (_, other_key) = made(|_| ());
    for (file, content) in [(pair.key(), other_key.as_str()), (pair.cert(), "no PEM")] {
        fs::write(file, content).unwrap();
        logged(&server, "the one before stays");
        let old = api(address(&server), &pair.pem, &server.token)
            .await
            .unwrap();
        assert_eq!(old.log().await, []);
    }
    fs::remove_file(pair.cert()).unwrap();
    logged(&server, "the one before stays");
    let old = api(address(&server), &pair.pem, &server.token)
        .await
        .unwrap();
    assert_eq!(old.log().await, []);
}

#[tokio::test]
async fn sighup_reads_the_certificate_again() {
    let pair = Pair::new();
    let (server, _home) = serve(&pair);
    let pid = server.pid().to_string();
    let hangup = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(hangup.unwrap().success());
    logged(&server, "a new certificate is in use");
    api(address(&server), &pair.pem, &server.token)
        .await
        .unwrap();
}

#[tokio::test]
async fn who_speaks_otherwise_fails_cleanly() {
    let secure = Secure::start(|_| ()).await;
    // Plain text to TLS.
    for at in [secure.running.api, secure.running.public] {
        for said in [
            &b"POST / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let mut line = TcpStream::connect(at).await.unwrap();
            line.write_all(said).await.unwrap();
            let mut heard = Vec::new();
            _ = timeout(PATIENCE, line.read_to_end(&mut heard))
                .await
                .expect("it ends");
            assert!(!heard.starts_with(b"HTTP"), "{heard:?}");
        }
    }
    let plain = Endpoint::from_shared(format!("http://{}", secure.running.api)).unwrap();
    let channel = carried(plain.connect_lazy(), "");
    let call = Api { channel }.communities();
    let request = metagov_proto::v1::ListCommunitiesRequest::default();
    let refused = timeout(PATIENCE, { call }.list_communities(request)).await;
    refused.expect("it ends").unwrap_err();
    // TLS to plain text.
    let gateway = crate::harness::Gateway::start().await;
    for at in [gateway.endpoint(), gateway.public.clone()] {
        let at = at.trim_start_matches("http://").parse().unwrap();
        let shaken = timeout(PATIENCE, agreed(at, &secure.pair.pem, &["h2"])).await;
        shaken.expect("it ends").unwrap_err();
    }
    secure.api().await.community("a").await;
}

#[tokio::test]
async fn head_timeout_ends_a_handshake_and_meanwhile_others_are_served() {
    let secure = Secure::start(|config| config.limits.head_timeout = SHORT).await;
    let mut silent = Vec::new();
    for n in 0..50 {
        let mut line = TcpStream::connect(secure.running.api).await.unwrap();
        // Some have begun.
        line.write_all(&[0x16, 3, 1, 2, 0][..n % 6]).await.unwrap();
        silent.push(line);
    }
    secure.api().await.community("a").await;
    for mut line in silent {
        let ended = timeout(PATIENCE, line.read_to_end(&mut Vec::new())).await;
        _ = ended.expect("it is closed");
    }
}

#[tokio::test]
async fn head_timeout_ends_who_says_nothing_after_the_handshake() {
    let secure = Secure::start(|config| config.limits.head_timeout = SHORT).await;
    let mut roots = RootCertStore::empty();
    let own = CertificateDer::from_pem_slice(secure.pair.pem.as_bytes()).unwrap();
    roots.add(own).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let stream = TcpStream::connect(secure.running.api).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    _ = ended.expect("it is closed");
}

/// The one line with which it does not start.
fn refusal(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Binary::command(&["serve", "--data-dir"]);
    command
        .arg(folder.path())
        .args(["--public-listen", "127.0.0.1:0"]);
    let output = command.args(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{args:?} starts");
    // Warnings may come before.
    let said = said.trim_end().lines().last().unwrap_or_default();
    said.strip_prefix("error: ")
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned()
}

#[test]
fn a_pair_that_cannot_be_used_does_not_start() {
    let (pair, other) = (Pair::new(), Pair::new());
    let (cert, key) = (pair.cert(), pair.key());
    let [cert, key] = [&cert, &key].map(|path| path.to_str().unwrap());
    let other_key = other.key();
    let text = pair.folder.path().join("text");
    fs::write(&text, "no PEM at all").unwrap();
    let cut = pair.folder.path().join("cut");
    fs::write(&cut, &pair.pem[..200]).unwrap();
    let nonsense = pair.folder.path().join("nonsense");
    let body = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&nonsense, body).unwrap();
    let missing = pair.folder.path().join("missing");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let folder = path(pair.folder.path());
    for (flag, cert, key) in [
        ("tls-cert", path(&missing).as_str(), key),
        ("tls-key", cert, &path(&missing)),
        ("tls-cert", &path(&text), key),
        ("tls-key", cert, &path(&text)),
        ("tls-cert", &path(&cut), key),
        ("tls-cert", &path(&nonsense), key),
        ("tls-cert", key, cert),
        ("tls-key", cert, cert),
        ("tls-key", cert, &path(&other_key)),
        ("tls-cert", &folder, key),
        ("tls-cert", "/dev/zero", key),
        ("tls-key", cert, "/dev/null"),
    ] {
        for prefix in ["", "public-"] {
            let (cert_flag, key_flag) = (
                format!("--{prefix}tls-cert={cert}"),
                format!("--{prefix}tls-key={key}"),
            );
            let line = refusal(&["--listen", "127.0.0.1:0", &cert_flag, &key_flag]);
            let flag = format!("{prefix}{flag}");
            let variable = flag.to_uppercase().replace('-', "_");
            let named = format!("--{flag} (METAGOV_{variable}): ");
            assert!(line.starts_with(&named), "{cert} {key}: {line}");
            assert!(line.contains("; give the "), "it says what to do: {line}");
            assert!(
                !line.contains("PRIVATE"),
                "it shows nothing of a key: {line}"
            );
        }
    }
    for half in [
        "--tls-cert",
        "--tls-key",
        "--public-tls-cert",
        "--public-tls-key",
    ] {
        let line = refusal(&["--listen", "127.0.0.1:0", half, cert]);
        assert!(line.contains("tls-"), "{line}");
    }
}

#[test]
fn what_others_reach_is_not_served_in_the_open() {
    let pair = Pair::new();
    let tls = pair.flags("--tls-cert", "--tls-key");
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    for open in ["0.0.0.0:0", "[::]:0"] {
        let line = refusal(&["--listen", open]);
        assert!(line.starts_with("--listen (METAGOV_LISTEN): "), "{line}");
        assert!(line.contains("--tls-cert") && line.contains("--plaintext-behind-proxy"));
        for also in [&[][..], &tls, &["--plaintext-behind-proxy"]] {
            let args = [&["--listen", open, "--insecure-no-auth"][..], also].concat();
            let line = refusal(&args);
            let named = "--insecure-no-auth (METAGOV_INSECURE_NO_AUTH): ";
            assert!(line.starts_with(named), "{line}");
        }
    }
    starts(&["--listen=0.0.0.0:0", "--plaintext-behind-proxy"]);
    starts(&[&tls[..], &["--listen=0.0.0.0:0"]].concat());
}

/// Starts it, which must go well; what it logged before it served.
fn starts(args: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Binary::command(&["serve", "--log-format=json", "--data-dir"]);
    command
        .arg(folder.path())
        .arg("--public-listen=127.0.0.1:0")
        .args(args);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    let mut serves = false;
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        serves = line.contains("\"serving\"");
        if serves {
            break;
        }
        lines.push(line);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(serves, "{lines:?}");
    lines
}

/// What it warns of its TLS before it serves.
fn warnings(pair: &Pair) -> Vec<String> {
    let flags = pair.flags("--tls-cert", "--tls-key");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let said = starts(&[&["--listen=127.0.0.1:0"], &flags[..]].concat());
    said.into_iter()
        .filter(|line| line.contains("WARN") && line.contains("listen::tls"))
        .collect()
}

#[test]
fn a_key_that_everybody_reads_and_a_certificate_out_of_time_are_warnings() {
    use std::os::unix::fs::PermissionsExt;
    let pair = Pair::new();
    let mode = |mode| fs::set_permissions(pair.key(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    assert_eq!(warnings(&pair), Vec::<String>::new());
    mode(0o644);
    let said = warnings(&pair);
    assert!(
        said.len() == 1 && said[0].contains("private key"),
        "{said:?}"
    );
    mode(0o600);
    for (year, what) in [(2001, "has expired"), (2101, "is not valid yet")] {
        let (cert, key) = made(|params| {
            params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
        });
        fs::write(pair.cert(), cert).unwrap();
        fs::write(pair.key(), key).unwrap();
        let said = warnings(&pair);
        assert!(said.len() == 1 && said[0].contains(what), "{said:?}");
    }
}
