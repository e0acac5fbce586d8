//! Who is believed to be the gateway, and what TLS has to say when nobody is.

use std::{error::Error, fs, io, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tonic::transport::ClientTlsConfig;

use crate::ConnectError;

/// TLS with those who vouch for the gateway: the ones of a PEM file, else the system's.
pub(crate) fn config(ca: Option<&Path>) -> Result<ClientTlsConfig, ConnectError> {
    let tls = ClientTlsConfig::new();
    Ok(match ca {
        Some(file) => tls.trust_anchors(roots(file)?.roots),
        None => tls.with_native_roots(),
    })
}

fn roots(file: &Path) -> Result<RootCertStore, ConnectError> {
    let wrong = |why: &dyn ToString| ConnectError::Authorities {
        file: file.to_owned(),
        why: why.to_string(),
    };
    let text = fs::read(file).map_err(|e| wrong(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|e| wrong(&e))?;
        roots.add(certificate).map_err(|e| wrong(&e))?;
    }
    match roots.is_empty() {
        true => Err(wrong(&"there is no certificate in it, as PEM")),
        false => Ok(roots),
    }
}

/// What TLS has to say, anywhere among the sources of an error.
pub(crate) fn fault<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut why = Some(error);
    while let Some(error) = why {
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let held = held.and_then(|held| held.downcast_ref());
        if let Some(fault) = held.or_else(|| error.downcast_ref()) {
            return Some(fault);
        }
        why = error.source();
    }
    None
}

/// The innermost source, which is the one that people understand ("Connection refused").
pub(crate) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut why = error;
    while let Some(source) = why.source() {
        why = source;
    }
    why
}
