//! TLS: the certificate and key of a listener, read again when their files change.
//!
//! Only new connections see a new pair; those that run live on. A pair that cannot be
//! used is logged, and the one before it stays.

use std::{
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use webpki::{EndEntityCert, KeyUsage};

use super::closed;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// No pair of PEM files is larger.
const MAX_FILE: u64 = 1 << 20;

/// Which of the two files cannot be used, and why.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// The certificates.
    Cert(String),
    /// The key, or the pair.
    Key(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Cert(why) | Self::Key(why)) = self;
        f.write_str(why)
    }
}

/// The certificate of a listener and its key, as new connections get them.
#[derive(Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What the two files hold.
type Contents = (Vec<u8>, Vec<u8>);

impl Certificate {
    /// Reads a pair.
    pub fn load(cert: &Path, key: &Path) -> Result<Arc<Self>, Broken> {
        let current = pair(&read(cert, key)?)?;
        warn_of_readers(key);
        Ok(Arc::new(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Arc::new(current)),
        }))
    }

    /// Reads the pair again whenever its files have changed, and at each SIGHUP.
    pub async fn follow(self: Arc<Self>, closing: watch::Receiver<bool>) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return tracing::error!(%error, "TLS files are not read again"),
        };
        // What was there when it was last tried, usable or not: it is not said twice.
        let mut tried = self.contents().await.ok();
        loop {
            let asked = tokio::select! {
                () = closed(closing.clone()) => return,
                _ = hangup.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let now = self.contents().await;
            if !asked && now.as_ref().ok() == tried.as_ref() {
                continue;
            }
            tried = now.as_ref().ok().cloned();
            self.renew(now);
        }
    }

    fn renew(&self, contents: Result<Contents, Broken>) {
        let cert = self.cert.display();
        match contents.and_then(|contents| pair(&contents)) {
            Ok(pair) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(pair);
                tracing::info!(%cert, "a new certificate is in use");
            }
            Err(why) => tracing::error!(
                %why, %cert,
                "the new certificate or key cannot be used; the one before stays"
            ),
        }
    }

    /// Not on a thread that serves: the files may be far away.
    async fn contents(self: &Arc<Self>) -> Result<Contents, Broken> {
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || read(&this.cert, &this.key));
        let gone = |_| Err(Broken::Cert("the reader ended".to_owned()));
        read.await.unwrap_or_else(gone)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}

/// What does TLS with the certificate, and offers these protocols.
pub(super) fn acceptor(certificate: Arc<Certificate>, protocols: &[&str]) -> TlsAcceptor {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    TlsAcceptor::from(Arc::new(config))
}

fn read(cert: &Path, key: &Path) -> Result<Contents, Broken> {
    Ok((
        file(cert).map_err(Broken::Cert)?,
        file(key).map_err(Broken::Key)?,
    ))
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return Err(format!("{} is no PEM file", path.display()));
    }
    fs::read(path).map_err(failed)
}

fn pair((cert, key): &Contents) -> Result<CertifiedKey, Broken> {
    let chain = chain(cert)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        let why = match error {
            pem::Error::NoItemsFound => "there is no private key in the file".to_owned(),
            other => format!("the file is no PEM: {other}"),
        };
        Broken::Key(why)
    })?;
    warn_of_time(&chain[0]);
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            Broken::Key("it is not the key of the certificate".to_owned())
        }
        rustls::Error::InvalidCertificate(why) => {
            Broken::Cert(format!("the certificate is damaged: {why}"))
        }
        other => Broken::Key(format!("the key cannot be used: {other}")),
    })
}

/// All of the file, the server's own first; there is at least one.
fn chain(cert: &[u8]) -> Result<Vec<CertificateDer<'static>>, Broken> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(|error| Broken::Cert(format!("the file is no PEM: {error}")))?;
    let Some(own) = chain.first() else {
        return Err(Broken::Cert(
            "there is no certificate in the file".to_owned(),
        ));
    };
    EndEntityCert::try_from(own)
        .map_err(|error| Broken::Cert(format!("the certificate is damaged: {error}")))?;
    Ok(chain)
}

/// Clients will not take it, but that is theirs to say, and clocks may be wrong.
fn warn_of_time(own: &CertificateDer<'_>) {
    // Its time is what is looked at first; that nobody is trusted here comes later.
    let verified = EndEntityCert::try_from(own).map(|own| {
        let usage = KeyUsage::server_auth();
        own.verify_for_usage(&[], &[], &[], UnixTime::now(), usage, None, None)
            .map(|_| ())
    });
    match verified {
        Ok(Err(webpki::Error::CertExpired { not_after, .. })) => {
            let since = not_after.as_secs();
            tracing::warn!(since, "the certificate has expired");
        }
        Ok(Err(webpki::Error::CertNotValidYet { not_before, .. })) => {
            let from = not_before.as_secs();
            tracing::warn!(from, "the certificate is not valid yet");
        }
        _ => {}
    }
}

fn warn_of_readers(key: &Path) {
    let mode = fs::metadata(key).map(|meta| meta.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o004 != 0) {
        let key = key.display();
        tracing::warn!(%key, "everybody on this machine can read the private key; chmod 600 it");
    }
}
