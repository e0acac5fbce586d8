//! Calling a gateway that does TLS.

use std::{fs, path::PathBuf};

use rcgen::{CertificateParams, KeyPair};

use super::{Ran, run_with};
use crate::harness::{Binary, Home};

/// A gateway with a certificate of its own, and the file of that.
struct Secure {
    gateway: Binary,
    home: Home,
    certificate: PathBuf,
}

impl Secure {
    fn start() -> Self {
        let home = Home::new();
        let (certificate, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
        let own = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let signed = params.self_signed(&own).unwrap();
        fs::write(&certificate, signed.pem()).unwrap();
        fs::write(&key, own.serialize_pem()).unwrap();
        let gateway = Binary::serve(
            &home,
            &[
                "--tls-cert",
                certificate.to_str().unwrap(),
                "--tls-key",
                key.to_str().unwrap(),
            ],
        );
        Self {
            gateway,
            home,
            certificate,
        }
    }

    /// Calls with the token of the data folder.
    async fn run(&self, scheme: &str, flags: &[&str]) -> Ran {
        let address = self.gateway.endpoint.rsplit('/').next().unwrap();
        let endpoint = format!("{scheme}://{address}");
        let data = self.home.data();
        let variables = [
            ("METAGOV_ENDPOINT", endpoint.as_str()),
            ("METAGOV_DATA_DIR", data.to_str().unwrap()),
        ];
        run_with(&[&["token", "list"], flags].concat(), &variables).await
    }
}

#[tokio::test]
async fn a_gateway_that_does_tls_is_called_with_its_authority() {
    let secure = Secure::start();
    let ca = ["--ca", secure.certificate.to_str().unwrap()];
    let rows = secure.run("https", &ca).await.rows();
    let id = secure.gateway.token.split('_').nth(1).unwrap();
    assert!(rows.iter().any(|row| row[0] == id), "{rows:?}");
    let ran = secure.run("https", &[]).await;
    ran.failed(3, &["certificate", "--ca (METAGOV_CA)"]);
}

#[tokio::test]
async fn plaintext_to_a_gateway_that_does_tls_says_so() {
    let secure = Secure::start();
    let ran = secure.run("http", &[]).await;
    ran.failed(1, &["the connection broke", "https://"]);
}
