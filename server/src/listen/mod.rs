//! Connections: what each goes through before the first request of it is read.
//!
//! A [`Listener`] accepts them, at most so many at once (`places.rs`), does TLS
//! (`tls.rs`), sees that they begin to speak in time (`opening.rs`), and serves HTTP on
//! them within the limits of `http.rs`. It knows nothing of what is served. At the drain
//! it stops accepting, tells clients to go elsewhere, and lets what runs finish.

mod http;
mod opening;
mod places;
mod tls;

use std::{error::Error, io, pin::pin, sync::Arc, time::Duration};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::config::Limits;
use opening::Opening;
use places::{Place, Places};
pub use tls::{Broken, Certificate};

/// How long accepting pauses after a fault that is not of one connection, such as too
/// many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// What ends a connection.
type Fault = Box<dyn Error + Send + Sync>;

/// A bound address, and how connections to it are taken.
pub struct Listener {
    socket: TcpListener,
    places: Places,
    manner: Manner,
}

/// What is done with a connection.
struct Manner {
    tls: Option<TlsAcceptor>,
    http: Builder<TokioExecutor>,
    /// How long TLS, and then the first bytes, may take.
    patience: Duration,
}

impl Listener {
    /// For gRPC and grpc-web: HTTP/2 and HTTP/1.1.
    pub fn api(
        socket: TcpListener,
        certificate: Option<Arc<Certificate>>,
        limits: &Limits,
    ) -> Self {
        let manner = Manner {
            tls: certificate.map(|pair| tls::acceptor(pair, &["h2", "http/1.1"])),
            http: http::both(limits),
            patience: limits.head_timeout,
        };
        let places = Places::new(limits.max_connections);
        Self {
            socket,
            places,
            manner,
        }
    }

    /// For platforms and people: HTTP/1.1 only. All of them speak it, and what HTTP/2
    /// would save here is not worth what it lets a stranger do to a server.
    pub fn public(
        socket: TcpListener,
        certificate: Option<Arc<Certificate>>,
        limits: &Limits,
    ) -> Self {
        let manner = Manner {
            tls: certificate.map(|pair| tls::acceptor(pair, &["http/1.1"])),
            http: http::first(limits),
            patience: limits.hook_head_timeout,
        };
        let places = Places::new(limits.max_connections);
        Self {
            socket,
            places,
            manner,
        }
    }

    /// Serves until `closing` is true and the last connection has ended. Dropped before,
    /// it cuts them off.
    pub async fn serve<S, B>(mut self, service: S, closing: watch::Receiver<bool>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Fault>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Fault>,
    {
        let manner = Arc::new(self.manner);
        let mut connections = JoinSet::new();
        loop {
            let (stream, place) = tokio::select! {
                () = closed(closing.clone()) => break,
                accepted = accept(&self.socket, &mut self.places) => accepted,
            };
            let (manner, service, closing) = (manner.clone(), service.clone(), closing.clone());
            connections.spawn(async move {
                manner.take(stream, service, closing).await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
        // Whoever comes now is refused, and does not hang until its time is over.
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

/// The next connection, once there is a place for it.
async fn accept(socket: &TcpListener, places: &mut Places) -> (TcpStream, Place) {
    let place = places.next().await;
    loop {
        match socket.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether a connection was gone before it was accepted, which says nothing of the next.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

impl Manner {
    /// Serves a connection to its end.
    async fn take<S, B>(&self, stream: TcpStream, service: S, closing: watch::Receiver<bool>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Fault>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Fault>,
    {
        // Answers are written whole; waiting for more to send would only delay them.
        _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.speak(stream, service, closing).await;
        };
        tokio::select! {
            () = closed(closing.clone()) => {}
            shaken = timeout(self.patience, tls.accept(stream)) => match shaken {
                Ok(Ok(stream)) => self.speak(stream, service, closing).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS failed"),
                Err(_) => tracing::debug!("TLS took too long"),
            },
        }
    }

    async fn speak<S, B, T>(&self, stream: T, service: S, closing: watch::Receiver<bool>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Fault>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Fault>,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(Opening::new(stream, self.patience));
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(self.http.serve_connection(stream, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = closed(closing) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "a connection broke");
        }
    }
}

async fn closed(mut closing: watch::Receiver<bool>) {
    // An error means that nobody can close it any more: it is over, too.
    _ = closing.wait_for(|closing| *closing).await;
}
