//! A change that waits for the writer, and the caller who waits for the change.

use std::{cell::RefCell, future::Future, panic::AssertUnwindSafe, pin::Pin};

use futures::FutureExt;
use tokio::sync::oneshot;

use super::Tx;
use crate::error::{Error, Result};

/// A change that waits, without its types.
pub(super) trait Job: Send {
    /// Runs the change and keeps what it returned. Whether it was good.
    fn run<'a>(&'a self, tx: &'a Tx) -> Pin<Box<dyn Future<Output = bool> + 'a>>;
    /// Whether it waits for what every other gateway takes, too.
    fn is_last(&self) -> bool;
    /// Whether it failed since somebody else was quicker.
    fn has_lost(&self) -> bool;
    /// Replaces a good value, since the commit failed.
    fn spoil(&self, error: &Error);
    /// Tells the caller.
    fn answer(self: Box<Self>);
}

/// One with them.
pub(super) struct Change<T, F> {
    change: F,
    last: bool,
    value: RefCell<Option<Result<T>>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Change<T, F> {
    /// `last` says that it waits for what every other gateway takes, too; the caller waits
    /// at the other end of `reply`.
    pub(super) fn new(change: F, last: bool, reply: oneshot::Sender<Result<T>>) -> Self {
        let value = RefCell::new(None);
        Self {
            change,
            last,
            value,
            reply,
        }
    }
}

impl<T, F> Job for Change<T, F>
where
    T: Send,
    F: AsyncFn(&Tx) -> Result<T> + Send,
{
    fn run<'a>(&'a self, tx: &'a Tx) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            let ran = AssertUnwindSafe((self.change)(tx)).catch_unwind().await;
            let value = ran.unwrap_or_else(|_| Err(Error::internal("a change panicked")));
            let good = value.is_ok();
            if !good {
                tx.take_events();
            }
            self.value.replace(Some(value));
            good
        })
    }

    fn is_last(&self) -> bool {
        self.last
    }

    fn has_lost(&self) -> bool {
        let value = self.value.borrow();
        matches!(*value, Some(Err(Error::Changed | Error::Contended)))
    }

    fn spoil(&self, error: &Error) {
        let mut value = self.value.borrow_mut();
        if !matches!(*value, Some(Err(_))) {
            *value = Some(Err(error.clone()));
        }
    }

    fn answer(self: Box<Self>) {
        let value = self.value.into_inner();
        let value = match value {
            Some(Err(Error::Contended)) => Err(Error::StoreUnavailable),
            Some(value) => value,
            None => Err(Error::internal("a change did not run")),
        };
        // A caller who went away does not want to know.
        _ = self.reply.send(value);
    }
}
