//! A NATS of a test's own: the real server of Debian's package, which can be away.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use sea_orm::prelude::Uuid;

use super::PATIENCE;

/// A server that runs, or is away; its port stays the same.
pub(crate) struct Nats {
    port: u16,
    server: Option<Child>,
}

impl Nats {
    /// One that has not been started.
    pub(crate) fn away() -> Self {
        // Below the ports that the kernel hands out itself: while this one is away, nobody
        // may be given its port.
        let port = 10_000 + (Uuid::new_v4().as_u128() % 10_000) as u16;
        let server = None;
        Self { port, server }
    }

    /// One that takes connections.
    pub(crate) async fn start() -> Self {
        let mut nats = Self::away();
        nats.comes().await;
        nats
    }

    pub(crate) fn url(&self) -> url::Url {
        let url = format!("nats://127.0.0.1:{}", self.port);
        url.parse().unwrap()
    }

    /// It is started, again or for the first time.
    pub(crate) async fn comes(&mut self) {
        let port = self.port.to_string();
        let server = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &port])
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server, which tests/tools/install nats installs");
        self.server = Some(server);
        let until = tokio::time::Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(tokio::time::Instant::now() < until, "it does not start");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// It is killed.
    pub(crate) fn goes(&mut self) {
        if let Some(mut server) = self.server.take() {
            _ = server.kill();
            _ = server.wait();
        }
    }

    /// Somebody publishes there; once this returns, the server has taken it.
    pub(crate) fn publish(&self, subject: &str, payload: &str) {
        let mut line = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = payload.len();
        let said = format!(
            "CONNECT {{\"verbose\":false}}\r\nPUB {subject} {length}\r\n{payload}\r\nPING\r\n"
        );
        line.write_all(said.as_bytes()).unwrap();
        let mut heard = BufReader::new(line).lines();
        let ponged = heard.any(|line| line.unwrap() == "PONG");
        assert!(ponged, "it hung up");
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.goes();
    }
}
