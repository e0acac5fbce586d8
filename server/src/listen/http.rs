//! HTTP itself: every limit of it that a stranger could lean on, said explicitly.

use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};

use crate::config::Limits;

/// How much of an answer waits for a client that does not read; the rest is not made.
const UNSENT: usize = 256 << 10;

/// HTTP/2, and HTTP/1.1 for browsers.
pub(super) fn both(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.http2_header_list);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .max_pending_accept_reset_streams(limits.http2_pending_resets as usize)
        .max_local_error_reset_streams(limits.http2_local_resets as usize)
        .max_header_list_size(small(limits.http2_header_list))
        .max_frame_size(small(limits.http2_frame_size))
        .adaptive_window(false)
        .initial_stream_window_size(small(limits.http2_stream_window))
        .initial_connection_window_size(small(limits.http2_connection_window))
        .keep_alive_interval(limits.http2_keepalive_interval)
        .keep_alive_timeout(limits.http2_keepalive_timeout)
        .max_send_buf_size(UNSENT);
    builder
}

/// HTTP/1.1 only.
pub(super) fn first(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.hook_head_timeout)
        .max_buf_size(limits.max_hook_head);
    builder
}

/// The settings' own bounds keep them far below what would not fit.
fn small(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
