//! TLS to the database: the certificate is verified before anything else is said.

use std::{fs, net::TcpListener, process::Output};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{create, serve};
use crate::harness::{Binary, Cluster, Home};

/// Who vouches for a server: the PEM file that says so, and the server's own two.
struct Authority {
    ca: String,
    cert: String,
    key: String,
}

impl Authority {
    fn of(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Self {
            ca: issuer.pem(),
            cert: server.signed_by(&key, &issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A cluster that takes connections over TCP with this certificate, and its port.
fn cluster(authority: &Authority) -> (Cluster, u16) {
    let cluster = Cluster::start(&[]);
    let cert = cluster.give("server.crt", &authority.cert);
    let key = cluster.give("server.key", &authority.key);
    cluster.stop("fast");
    let port = free_port();
    cluster.start_again(&[
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        "ssl=on",
        &format!("ssl_cert_file={}", cert.display()),
        &format!("ssl_key_file={}", key.display()),
    ]);
    (cluster, port)
}

/// Free once this has returned.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn url(host: &str, port: u16, ca: &std::path::Path) -> String {
    let ca = ca.display();
    format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={ca}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_reached_over_tls() {
    let authority = Authority::of("localhost");
    let (_cluster, port) = cluster(&authority);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &authority.ca).unwrap();
    let home = Home::at(&url("localhost", port, &ca));
    let gateway = Binary::serve(&home, &[]);
    create(&gateway.api().await, "a").await.unwrap();
    let sessions = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'metagov'";
    assert_eq!(home.ask::<bool>(sessions).await, [true]);
}

#[test]
fn a_server_that_nobody_vouches_for_or_of_another_name_is_refused() {
    let (right, other) = (Authority::of("localhost"), Authority::of("localhost"));
    let (_cluster, port) = cluster(&right);
    let folder = tempfile::tempdir().unwrap();
    let refused = |host: &str, trusted: &Authority| -> Output {
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, &trusted.ca).unwrap();
        let home = Home::at(&url(host, port, &ca));
        let mut command = serve(&home, &home.data());
        command.args(["--database-wait", "1s"]).output().unwrap()
    };
    for output in [refused("localhost", &other), refused("127.0.0.1", &right)] {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let line = said.lines().find(|line| line.starts_with("error: "));
        let line = line.expect("it says why");
        assert!(line.contains("METAGOV_DATABASE_URL"), "{line}");
        assert!(line.contains("certificate"), "{line}");
    }
}
