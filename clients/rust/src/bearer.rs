//! The token that is sent with every call.

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

use crate::ConnectError;

/// Sends a token with every call, or none. It is never printed.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub(crate) fn of(token: Option<&str>) -> Result<Self, ConnectError> {
        Ok(Self(token.map(header).transpose()?))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}

fn header(token: &str) -> Result<MetadataValue<Ascii>, ConnectError> {
    if token.is_empty() || !token.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(ConnectError::Token);
    }
    let value = format!("Bearer {token}").parse();
    let mut value: MetadataValue<Ascii> = value.map_err(|_| ConnectError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_and_not_printed() {
        let mut bearer = Bearer::of(Some("mg_1_s3cret_2")).unwrap();
        let request = bearer.call(Request::new(())).unwrap();
        let sent = request.metadata().get("authorization").unwrap();
        assert_eq!(sent.to_str().unwrap(), "Bearer mg_1_s3cret_2");
        assert!(!format!("{request:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        for text in ["", "s3cret\n", "s3 cret", "s3cret\u{e9}", "s3cret\u{7f}"] {
            let error = Bearer::of(Some(text)).err().unwrap().to_string();
            assert!(error.starts_with("METAGOV_TOKEN: "), "{text:?}: {error}");
            assert!(!error.contains("cret"), "{error}");
        }
    }
}
