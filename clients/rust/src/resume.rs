//! A stream of the gateway that is opened again when it breaks.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use crate::{Client, patience::Patience};

/// What the gateway takes if no heartbeat is asked for.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Reads one message after the other, over however many streams that takes.
pub(crate) struct Resume<T> {
    pub(crate) client: Client,
    stream: Option<Streaming<T>>,
    /// The longest silence of a stream that is alive.
    silence: Duration,
    pub(crate) patience: Patience,
}

impl<T> Resume<T> {
    /// For streams with this heartbeat; two may be lost or late.
    pub(crate) fn new(client: Client, heartbeat: Option<prost_types::Duration>) -> Self {
        let heartbeat = heartbeat.and_then(|interval| interval.try_into().ok());
        let heartbeat: Duration = heartbeat.unwrap_or(HEARTBEAT);
        Self {
            client,
            stream: None,
            silence: heartbeat.saturating_mul(2) + Duration::from_secs(5),
            patience: Patience::new(),
        }
    }

    /// The next message. Dropped while it waits, it has lost nothing.
    pub(crate) async fn message<F>(&mut self, open: impl Fn(Client) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        loop {
            let message = timeout(self.silence, self.read(&open)).await;
            let message = message.unwrap_or_else(|_| {
                // The connection may be dead as well, and nobody has noticed.
                self.client = self.client.anew();
                Err(silent(self.silence))
            });
            match message {
                Ok(message) => {
                    self.patience.restore();
                    return Ok(message);
                }
                Err(error) => {
                    self.stream = None;
                    self.patience.bear(error).await?;
                }
            }
        }
    }

    async fn read<F>(&mut self, open: &impl Fn(Client) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(open(self.client.clone()).await?.into_inner()),
        };
        let message = stream.message().await?;
        message.ok_or_else(|| Status::unavailable("the stream ended"))
    }
}

fn silent(silence: Duration) -> Status {
    let silence = silence.as_secs_f64();
    Status::deadline_exceeded(format!("the stream was silent for {silence} s"))
}
