//! Keeps what panics in the application's code from ending the worker.

use std::{
    any::Any,
    future, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};

use crate::registry::Outcome;

/// A handler under way: it may be dropped where no panic of its own is caught.
pub(super) struct Contained(pub(super) BoxFuture<'static, Outcome>);

impl Future for Contained {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.poll_unpin(cx)
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let handler = mem::replace(&mut self.0, future::pending().boxed());
        if let Err(panic) = contain(|| drop(handler)) {
            tracing::error!(panic, "a handler panicked when it was dropped");
        }
    }
}

/// Runs code of the application; its panic becomes a text. Outside of a handler, it
/// would end the worker, and then the next one that takes up the job.
pub(super) fn contain<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(text_of)
}

pub(super) fn text_of(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .unwrap_or_default(),
    }
}
