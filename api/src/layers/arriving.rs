//! Whether a request is late because its client is.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use hyper::body::{Frame, SizeHint};

/// Tells whether somebody is waiting for more of a request's body.
pub(super) struct Awaited(Option<Arc<AtomicBool>>);

impl Awaited {
    /// Watches the body, if there is one.
    pub(super) fn watch(request: Request) -> (Self, Request) {
        if request.body().is_end_stream() {
            return (Self(None), request);
        }
        let awaited = Arc::new(AtomicBool::new(false));
        let watch = |body| {
            Body::new(Arriving {
                body,
                awaited: Arc::clone(&awaited),
            })
        };
        let request = request.map(watch);
        (Self(Some(awaited)), request)
    }

    /// Whether whoever reads the body has read all that has come, and it has not ended.
    pub(super) fn now(&self) -> bool {
        let awaited = self.0.as_ref();
        awaited.is_some_and(|awaited| awaited.load(Ordering::Relaxed))
    }
}

/// A body that notes when it keeps its reader waiting.
struct Arriving {
    body: Body,
    awaited: Arc<AtomicBool>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.awaited.store(frame.is_pending(), Ordering::Relaxed);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
