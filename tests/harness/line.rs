//! The line to a gateway, with a token on every call.

use std::path::Path;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// A connection whose calls carry a token.
pub(crate) type Line = InterceptedService<Channel, Bearer>;

/// Puts the token on a call, if there is one.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            // A test may have put another there.
            if !metadata.contains_key("authorization") {
                metadata.insert("authorization", token.clone());
            }
        }
        Ok(request)
    }
}

/// A line with a token; with none if it is empty.
pub(crate) async fn line(endpoint: &str, token: &str) -> Line {
    let channel = Channel::from_shared(endpoint.to_owned()).unwrap();
    carried(channel.connect().await.unwrap(), token)
}

/// The same over a channel that is there.
pub(crate) fn carried(channel: Channel, token: &str) -> Line {
    let bearer = (!token.is_empty()).then(|| format!("Bearer {token}").parse().unwrap());
    InterceptedService::new(channel, Bearer(bearer))
}

/// The token that the first start made; none where the gateway wants none.
pub(crate) fn admin_token(data: &Path) -> String {
    let text = std::fs::read_to_string(data.join("admin.token")).unwrap_or_default();
    text.trim().to_owned()
}
