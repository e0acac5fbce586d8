//! A connection that does not begin to speak is closed.
//!
//! HTTP/1.1 has a limit of its own for each head, but which HTTP it is only shows by the
//! first bytes, and neither those nor HTTP/2's preface have one.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// As long as HTTP/2's preface; no useful request of HTTP/1.1 is shorter.
const FIRST: usize = 24;

/// A stream whose first bytes must come in time.
pub(super) struct Opening<T> {
    stream: T,
    /// How many of the first bytes are missing.
    missing: usize,
    /// Runs as long as they are.
    until: Option<Pin<Box<Sleep>>>,
}

impl<T> Opening<T> {
    pub(super) fn new(stream: T, patience: Duration) -> Self {
        Self {
            stream,
            missing: FIRST,
            until: Some(Box::pin(sleep(patience))),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Opening<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.missing = self.missing.saturating_sub(buf.filled().len() - before);
        if self.missing == 0 {
            self.until = None;
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opening<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_connection_that_does_not_begin_to_speak_ends() {
        for sent in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut client, server) = duplex(64);
            let mut server = Opening::new(server, PATIENCE);
            client.write_all(sent).await.unwrap();
            let ended = server.read_exact(&mut [0; FIRST]).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn once_it_has_begun_it_may_be_silent() {
        let (mut client, server) = duplex(64);
        let mut server = Opening::new(server, PATIENCE);
        for _ in 0..2 {
            client.write_all(&[b'x'; FIRST]).await.unwrap();
            server.read_exact(&mut [0; FIRST]).await.unwrap();
            let silence = tokio::time::timeout(2 * PATIENCE, server.read_u8()).await;
            assert!(silence.is_err(), "it waits on");
        }
    }
}
