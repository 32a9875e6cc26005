use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    serve::Listener,
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use service::shutdown::Shutdown;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::Api;

/// How long a connection may sit without a whole request head.
///
/// It ends clients that send a byte a minute, and idle ones. Longer than the 60 s after which
/// nginx drops its idle connections, so that it never sends into one that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// The same once the service stops: enough for a head, or the end of an answer, that is on its way.
const LAST_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes of a head, and of an answer that waits to be read: with all connections that may be
/// open, less than the memory of a container.
const LONGEST_HEAD: usize = 64 * 1024;

/// How long an answer may take to be read once the time for its request is over.
const TIME_TO_READ: Duration = Duration::from_secs(2);

/// How long a client may read nothing of an answer that does not fit on its way.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is said that there are too many connections.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// The most that are open at once. Others wait, unaccepted, until one of them ends.
    pub most: usize,
    /// A connection ends when nothing of an answer could be written for so long.
    pub write_timeout: Duration,
}

impl Connections {
    /// So many, or fewer where the process may open too few files (`ulimit -n`): a quarter of
    /// those stays for everything else. Without a free one nobody could be served, probes included.
    pub fn at_most(most: usize) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let room = usize::try_from(files / 4 * 3).unwrap_or(usize::MAX);
        Self {
            most: most.min(room).max(1),
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

/// How [`serve`] stops.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// For so long after the soft signal it still accepts, so that whoever asks `/readyz` hears
    /// the 503 before connections are refused.
    pub lead: Duration,
    /// The time after which a request is given up; what is still open shortly after it is waiting
    /// for its client, and is cut.
    pub request_timeout: Duration,
}

/// Requests did not get their answers, because the hard signal or the end of the drain came first.
#[derive(Debug, thiserror::Error)]
#[error("{0} request(s) were cut off")]
pub struct CutOff(usize);

/// Serves `api` until the soft signal, then finishes what is in hand.
///
/// Connections without a request end soon after the signal, the others with the answer that they
/// are owed. The hard signal ends them all.
///
/// `axum::serve` would do, but it sets no limit: neither to how many there are, nor to the time for
/// the head of a request, for the reading of an answer, and for the end.
///
/// # Errors
/// When requests had to be cut off. Never for an accept that fails: it is retried.
pub async fn serve(
    mut listener: TcpListener,
    api: Api,
    limits: Connections,
    shutdown: Shutdown,
    drain: Drain,
) -> Result<(), CutOff> {
    let draining = CancellationToken::new();
    let cut = Arc::new(AtomicUsize::new(0));
    let connections = TaskTracker::new();
    let mut slots = Slots::new(limits.most);
    let mut closing = pin!(async {
        shutdown.soft.cancelled().await;
        tokio::select! {
            () = sleep(drain.lead) => {}
            () = shutdown.hard.cancelled() => {}
        }
    });
    loop {
        let accept = async {
            let slot = slots.free().await;
            (slot, Listener::accept(&mut listener).await)
        };
        let (slot, (stream, peer)) = tokio::select! {
            accepted = accept => accepted,
            () = &mut closing => break,
        };
        // Answers are small and written whole; waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let connection = Connection {
            api: api.clone(),
            peer,
            in_hand: Arc::default(),
            write_timeout: limits.write_timeout,
            draining: draining.clone(),
            longest: drain.request_timeout + TIME_TO_READ,
            hard: shutdown.hard.clone(),
        };
        let cut = Arc::clone(&cut);
        connections.spawn(async move {
            if connection.run(stream).await == End::Cut {
                cut.fetch_add(1, Ordering::Relaxed);
            }
            drop(slot);
        });
    }
    drop(listener);
    let open = connections.len();
    tracing::info!(connections = open, "no longer accepting connections");
    draining.cancel();
    connections.close();
    connections.wait().await;
    match cut.load(Ordering::Relaxed) {
        0 => Ok(()),
        requests => Err(CutOff(requests)),
    }
}

/// Room for connections.
struct Slots {
    free: Arc<Semaphore>,
    most: usize,
    warned: Option<Instant>,
}

impl Slots {
    fn new(most: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            warned: None,
        }
    }

    /// Waits until there is room for one more.
    async fn free(&mut self) -> Option<OwnedSemaphorePermit> {
        if self.free.available_permits() == 0 {
            let lately = |warned: Instant| warned.elapsed() < BETWEEN_WARNINGS;
            if !self.warned.is_some_and(lately) {
                self.warned = Some(Instant::now());
                let most = self.most;
                tracing::warn!(most, "all connections are taken; new ones wait");
            }
        }
        // Nobody closes the semaphore, which would be its only error.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// One connection, from its first byte to its last.
struct Connection {
    api: Api,
    peer: SocketAddr,
    /// Cloned into each request and its answer, so that the count tells whether there is one.
    in_hand: Arc<()>,
    write_timeout: Duration,
    draining: CancellationToken,
    longest: Duration,
    hard: CancellationToken,
}

#[derive(PartialEq, Eq)]
enum End {
    /// Nothing was owed.
    Clean,
    /// A request was in hand.
    Cut,
}

impl Connection {
    async fn run(self, stream: TcpStream) -> End {
        let service = service_fn(async |mut request: hyper::Request<Incoming>| {
            let held = Arc::clone(&self.in_hand);
            request.extensions_mut().insert(ConnectInfo(self.peer));
            let answer = self.api.answer(request).await;
            Ok::<_, Infallible>(answer.map(|body| Held { body, _held: held }))
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(LONGEST_HEAD);
        // Its clock runs only while nothing can be written.
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.write_timeout));
        let stream = pin!(stream);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.over() => return self.end(),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
        End::Clean
    }

    /// Waits until a draining connection may be dropped.
    async fn over(&self) {
        let patience = async {
            sleep(LAST_HEAD_TIMEOUT).await;
            // One with a request ends by itself after the answer.
            if self.is_busy() {
                sleep(self.longest.saturating_sub(LAST_HEAD_TIMEOUT)).await;
            }
        };
        tokio::select! {
            () = patience => {}
            () = self.hard.cancelled() => {}
        }
    }

    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.in_hand) > 1
    }

    fn end(&self) -> End {
        if self.is_busy() {
            tracing::warn!("connection dropped in mid-request");
            End::Cut
        } else {
            End::Clean
        }
    }
}

/// The body of an answer, which keeps its request in hand until it is written.
struct Held {
    body: Body,
    _held: Arc<()>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body)
            .poll_frame(cx)
            .map_err(BoxError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_left_when_all_connections_are_taken() {
        assert_eq!(Connections::at_most(7).most, 7);
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = Connections::at_most(usize::MAX).most as u64;
        assert!(most > 0 && most <= files / 4 * 3, "{most} of {files}");
    }
}
