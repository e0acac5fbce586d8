//! The gRPC edge: the whole API on one page. Speaks the protocol, decides nothing.
//!
//! A handler checks and converts what it was sent (`input.rs`), calls the gateway, and
//! converts what comes back (`convert.rs`); errors become statuses in `status.rs`, the
//! one exhaustive match. One file per service, each named as its noun. `gate.rs` is who
//! may come in at all, `call.rs` what every call goes through, `needs.rs` the table of
//! what each one needs; `page.rs` is how events are encoded once.

mod access;
mod actions;
mod call;
mod communities;
mod convert;
mod counted;
mod deadline;
mod events;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod hosts;
mod identities;
mod input;
mod leash;
mod methods;
mod needs;
mod operations;
pub(crate) mod page;
mod plugins;
mod processes;
mod size;
mod status;
mod subscriptions;

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, header};
use metagov_proto::DESCRIPTORS;
use tonic::service::{Routes, RoutesBuilder};
pub use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_web::GrpcWebLayer;
use tower::{
    ServiceBuilder,
    layer::util::{Identity, Stack},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::gateway::Gateway;
pub use call::{Call, CallLayer};
pub use gate::{Gate, GateLayer};
pub use hosts::{Hosts, Name};
pub use operations::{Operations, OperationsLayer};
pub use size::{Size, SizeLayer};

/// The server traits, over the messages of `metagov-proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod v1 {
    tonic::include_proto!("metagov.v1");
}

/// What the operator may set of this edge.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most bytes of a request.
    pub max_request_size: usize,
    /// The most bytes of an answer.
    pub max_response_size: usize,
    /// The origins whose pages may call, exactly as a browser sends them.
    pub cors_origins: Vec<HeaderValue>,
    /// Whether reflection answers without a token.
    pub open_reflection: bool,
    /// The names that it is called by.
    pub hosts: Hosts,
}

/// The services of the contract, as health speaks of them.
pub const SERVICES: [&str; 8] = [
    "metagov.v1.AccessService",
    "metagov.v1.ActionService",
    "metagov.v1.CommunityService",
    "metagov.v1.EventService",
    "metagov.v1.IdentityService",
    "metagov.v1.PluginService",
    "metagov.v1.ProcessService",
    "metagov.v1.SubscriptionService",
];

/// What is common to all services.
#[derive(Clone)]
struct Api {
    gateway: Arc<Gateway>,
}

impl Api {
    /// A JSON object that a caller sent, within the operator's limits.
    fn object(
        &self,
        field: &str,
        fields: Option<prost_types::Struct>,
    ) -> crate::error::Result<crate::model::Object> {
        input::object(&self.gateway.json_limits(), field, fields)
    }
}

/// Every service: the whole API.
pub fn routes(
    gateway: Arc<Gateway>,
    health: HealthServer<impl Health>,
    settings: &Settings,
) -> Result<Routes, tonic_reflection::server::Error> {
    let api = Api { gateway };
    let mut routes = RoutesBuilder::default();
    macro_rules! serve {
        ($($module:ident::$server:ident),+ $(,)?) => {$(
            routes.add_service(
                v1::$module::$server::new(api.clone())
                    .max_decoding_message_size(settings.max_request_size)
                    .max_encoding_message_size(settings.max_response_size),
            );
        )+};
    }
    serve!(
        community_service_server::CommunityServiceServer,
        plugin_service_server::PluginServiceServer,
        action_service_server::ActionServiceServer,
        process_service_server::ProcessServiceServer,
        event_service_server::EventServiceServer,
        subscription_service_server::SubscriptionServiceServer,
        identity_service_server::IdentityServiceServer,
        access_service_server::AccessServiceServer,
    );
    routes.add_service(health.max_decoding_message_size(settings.max_request_size));
    // Its answers are what is compiled in, not what somebody made large.
    let max = settings.max_request_size;
    routes.add_service(reflection().build_v1()?.max_decoding_message_size(max));
    routes.add_service(reflection().build_v1alpha()?.max_decoding_message_size(max));
    Ok(routes.routes())
}

/// The public services only.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // So that a client without our stubs can read the details of an error.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

/// What every call goes through: the gate first.
pub type Layers = Stack<
    SizeLayer,
    Stack<
        CallLayer,
        Stack<GrpcWebLayer, Stack<CorsLayer, Stack<OperationsLayer, Stack<GateLayer, Identity>>>>,
    >,
>;

/// What the routes run in: gRPC, and grpc-web over HTTP/1.1 and HTTP/2.
pub fn server(gateway: Arc<Gateway>, settings: &Settings) -> ServiceBuilder<Layers> {
    ServiceBuilder::new()
        .layer(GateLayer::new(settings))
        .layer(OperationsLayer {
            gateway: gateway.clone(),
        })
        .layer(cors(&settings.cors_origins))
        .layer(GrpcWebLayer::new())
        .layer(CallLayer {
            gateway,
            open_reflection: settings.open_reflection,
            max_request_size: settings.max_request_size,
        })
        .layer(SizeLayer {
            max_response_size: settings.max_response_size,
        })
}

/// Pages of these origins may call, and read what gRPC says in headers.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            name("connect-protocol-version"),
            name("grpc-timeout"),
            name("x-grpc-web"),
            name("x-user-agent"),
            name("x-request-id"),
        ])
        .expose_headers([
            name("grpc-status"),
            name("grpc-message"),
            name("grpc-status-details-bin"),
            name("x-request-id"),
        ])
        .max_age(Duration::from_secs(3600))
}
