//! What is sent where, and what is said about options that are wrong.

use super::*;

fn at(endpoint: &str) -> Options {
    Options {
        endpoint: endpoint.to_owned(),
        token: Some("s3cret".to_owned()),
        ..Options::default()
    }
}

fn refused(options: &Options) -> String {
    let error = options.way().err().expect("it is refused").to_string();
    assert!(!error.contains("s3cret"), "{error}");
    error
}

#[test]
fn a_token_is_not_sent_where_it_could_be_overheard() {
    let mut options = at("http://gateway.example.org:50051");
    let error = refused(&options);
    assert!(error.contains("METAGOV_INSECURE_PLAINTEXT"), "{error}");
    assert!(
        error.contains("http://gateway.example.org:50051"),
        "{error}"
    );
    options.insecure_plaintext = true;
    assert!(options.way().is_ok());
    for endpoint in ["http://127.0.0.1:50051", "http://[::1]", "http://localhost"] {
        assert!(at(endpoint).way().is_ok(), "{endpoint}");
    }
}

#[test]
fn a_file_without_certificates_is_named() {
    let mut options = at("https://127.0.0.1:1");
    for file in ["no/such/file.pem", "Cargo.toml"] {
        options.ca = Some(file.into());
        let error = refused(&options);
        assert!(
            error.starts_with(&format!("METAGOV_CA: {file}: ")),
            "{error}"
        );
    }
}

#[test]
fn the_token_is_not_printed() {
    let printed = format!("{:?}", at("https://gateway.example.org"));
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_told_with_its_address() {
    // Bound and let go: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let error = at(&endpoint).reach().await.err().unwrap().to_string();
    let start = format!("no gateway answers at {endpoint}: ");
    assert!(error.starts_with(&start), "{error}");
    assert!(error.contains("is the gateway running"), "{error}");
}
