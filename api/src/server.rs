use std::{io, pin::pin, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use service::shutdown::Shutdown;
use tokio::net::TcpListener;

/// How long a connection may sit without a whole request head.
///
/// It ends clients that send a byte a minute, and idle ones. Longer than the 60 s after which
/// nginx drops its idle connections, so that it never sends into one that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Serves `router` until the soft signal, then finishes what is in hand.
///
/// For `lead` after the signal it still accepts, so that whoever asks `/readyz` hears the 503
/// before connections are refused. After that every connection ends with the answer it is owed.
/// The hard signal drops what is left.
///
/// `axum::serve` would do, but it sets no time limit for the head of a request.
///
/// # Errors
/// None today: failing to accept a connection is retried.
pub async fn serve(
    mut listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
    lead: Duration,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    let mut closing = pin!(async {
        shutdown.soft.cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(lead) => {}
            () = shutdown.hard.cancelled() => {}
        }
    });
    loop {
        let (stream, _) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = &mut closing => break,
        };
        // Answers are small and written whole; waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    let open = connections.count();
    tracing::info!(connections = open, "no longer accepting connections");
    tokio::select! {
        () = connections.shutdown() => {}
        () = shutdown.hard.cancelled() => tracing::warn!("connections dropped in mid-request"),
    }
    Ok(())
}
