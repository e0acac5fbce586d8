//! Bare tonic that streams one message again and again, from memory.

use std::{convert::Infallible, future::Future, pin::Pin, task};

use metagov_proto::v1::{WatchEventsRequest, WatchEventsResponse};
use prost::Message;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, ServerStreamingService},
};
use tonic_prost::ProstCodec;

pub(crate) const ARGUMENT: &str = "--serve-echo";

/// Serves, as its arguments say: the message's file, how many events, the address.
pub(crate) fn serve() {
    let arguments: Vec<String> = std::env::args().rev().take(3).collect();
    let [address, events, file] = arguments.as_slice() else {
        panic!("a file, a number and an address");
    };
    let message = std::fs::read(file).expect("the message");
    let message = WatchEventsResponse::decode(message.as_slice()).expect("a message");
    let events: usize = events.parse().expect("a number");
    let count = events.div_ceil(message.events.len());
    let (_, health) = tonic_health::server::health_reporter();
    let server = tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(health)
        .add_service(Echo { message, count });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let address = address.parse().expect("an address");
    let served = runtime.expect("a runtime").block_on(server.serve(address));
    served.expect("it serves");
}

/// The message, and how often each reader gets it.
#[derive(Clone)]
struct Echo {
    message: WatchEventsResponse,
    count: usize,
}

impl NamedService for Echo {
    const NAME: &'static str = "metagov.v1.EventService";
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.server_streaming(echo, request).await)
        })
    }
}

impl ServerStreamingService<WatchEventsRequest> for Echo {
    type Response = WatchEventsResponse;
    type ResponseStream =
        tokio_stream::Iter<Box<dyn Iterator<Item = Result<WatchEventsResponse, Status>> + Send>>;
    type Future = Answer<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<WatchEventsRequest>) -> Self::Future {
        let messages = std::iter::repeat_n(self.message.clone(), self.count).map(Ok);
        let messages: Box<dyn Iterator<Item = _> + Send> = Box::new(messages);
        Box::pin(async { Ok(Response::new(tokio_stream::iter(messages))) })
    }
}
