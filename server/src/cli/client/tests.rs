//! Where a gateway is looked for, and what is sent there.

use std::{fs, net::SocketAddr};

use metagov_proto::v1::ListPluginsRequest;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming};

use super::*;

fn connection(endpoint: &str) -> Connection {
    Connection {
        endpoint: endpoint.to_owned(),
        token: None,
        data_dir: "no/such/folder".into(),
        ca: None,
        insecure_plaintext: false,
    }
}

async fn refused(connection: &Connection) -> Failure {
    connection.open().await.err().expect("it is refused")
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_told_with_its_address() {
    // Bound and let go: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    for scheme in ["http", "https"] {
        let endpoint = format!("{scheme}://{address}");
        let mut connection = connection(&endpoint);
        let authority = Authority::new();
        connection.ca = Some(authority.file.path().to_owned());
        let failure = refused(&connection).await;
        assert_eq!(failure.exit, Exit::Unreachable);
        let start = format!("no gateway answers at {endpoint}: ");
        assert!(failure.to_string().starts_with(&start), "{failure}");
        assert!(failure.text.contains("is the gateway running"), "{failure}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_one_is_named() {
    for endpoint in [
        "ftp://example.org",
        "127.0.0.1:50051",
        "",
        "http://",
        "http://a b",
        "/only/a/path",
        "http://u:hunter2@127.0.0.1",
    ] {
        let failure = refused(&connection(endpoint)).await;
        assert_eq!(failure.exit, Exit::Unreachable, "{endpoint}");
        let start = "--endpoint (METAGOV_ENDPOINT): ";
        assert!(failure.text.starts_with(start), "{failure}");
        assert!(!failure.text.contains("hunter2"), "{failure}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_told_by_its_flag() {
    for text in ["", "s3 cret", "s3cret\u{e9}"] {
        let mut connection = connection("http://127.0.0.1:1");
        connection.token = Some(text.to_owned());
        let failure = refused(&connection).await;
        assert_eq!(failure.exit, Exit::Refused, "{text:?}");
        assert!(failure.text.starts_with("--token (METAGOV_TOKEN): "));
        assert!(!failure.text.contains("cret"), "{failure}");
    }
}

#[tokio::test]
async fn a_token_is_not_sent_where_it_could_be_overheard() {
    let mut connection = connection("http://gateway.example.org:50051");
    connection.token = Some("s3cret".to_owned());
    let failure = refused(&connection).await;
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.text.contains("--insecure-plaintext"), "{failure}");
    assert!(!failure.text.contains("s3cret"), "{failure}");
}

/// The one in the data folder is for the gateway on this machine and for no other.
#[test]
fn the_token_that_was_left_is_for_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("admin.token"), "from-the-file\n").unwrap();
    let sent = |endpoint: &str| {
        let data_dir = folder.path().to_owned();
        let connection = Connection {
            data_dir,
            ..connection(endpoint)
        };
        let local = connection.options().is_local().unwrap();
        connection.token(local).unwrap().is_some()
    };
    assert!(sent("http://127.0.0.1:50051"));
    assert!(sent("https://localhost:50051"));
    assert!(!sent("https://gateway.example.org"));
    assert!(!sent("http://gateway.example.org"));
}

/// Who vouches for certificates, and its own in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// A server that has nothing to say, by TLS.
    fn serve(&self, name: &str) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
        let tls = ServerTlsConfig::new().identity(identity);
        serve(Server::builder().tls_config(tls).unwrap())
    }
}

fn serve(mut server: Server) -> SocketAddr {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let server = server.add_service(health);
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

#[tokio::test]
async fn a_gateway_with_a_private_authority_is_reached() {
    let authority = Authority::new();
    let address = authority.serve("127.0.0.1");
    let mut connection = connection(&format!("https://{address}"));
    connection.ca = Some(authority.file.path().to_owned());
    let mut client = connection.open().await.unwrap();
    let answer = client.plugins.list_plugins(ListPluginsRequest {}).await;
    // It is no gateway, but it has answered.
    assert_eq!(answer.unwrap_err().code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = authority.serve("127.0.0.1");
    let mut connection = connection(&format!("https://{address}"));
    for ca in [None, Some(other.file.path().to_owned())] {
        connection.ca = ca;
        let failure = refused(&connection).await;
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.text.contains("certificate"), "{failure}");
        assert!(failure.text.contains("--ca (METAGOV_CA)"), "{failure}");
    }
    let address = authority.serve("gateway.example.org");
    let mut connection = self::connection(&format!("https://{address}"));
    connection.ca = Some(authority.file.path().to_owned());
    let failure = refused(&connection).await;
    assert!(failure.text.contains("not valid for name"), "{failure}");
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_not_there() {
    let address = serve(Server::builder());
    let authority = Authority::new();
    let mut connection = connection(&format!("https://{address}"));
    connection.ca = Some(authority.file.path().to_owned());
    let failure = refused(&connection).await;
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(
        failure.text.contains("exactly when the gateway does TLS"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_file_without_certificates_is_named() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "no PEM", &key, garbage] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let mut connection = connection("https://127.0.0.1:1");
        connection.ca = Some(file.path().to_owned());
        let failure = refused(&connection).await;
        assert_eq!(failure.exit, Exit::Refused, "{failure}");
        let start = format!("--ca (METAGOV_CA): {}: ", file.path().display());
        assert!(failure.text.starts_with(&start), "{failure}");
    }
    let mut connection = connection("https://127.0.0.1:1");
    connection.ca = Some("no/such/file.pem".into());
    let failure = refused(&connection).await;
    assert!(failure.text.contains("no/such/file.pem"), "{failure}");
}
