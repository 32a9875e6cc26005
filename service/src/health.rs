//! Probes: is the process alive, and can it do its work.
//!
//! `/livez` answers without touching anything: a supervisor restarts what fails it. `/readyz` asks
//! every dependency at once and writes nothing: a load balancer sends no requests while it is 503,
//! which it is as soon as the process begins to stop.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::database::Work;

/// How long one dependency may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long [`check`] waits for each step of its exchange.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// After how many seconds it is worth to ask again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// What readiness depends on.
#[derive(Clone)]
pub struct Health {
    draining: CancellationToken,
    probes: Vec<Probe>,
}

#[derive(Clone)]
struct Probe {
    name: &'static str,
    run: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// The body of an answer of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Readiness {
    status: Status,
    /// Each dependency by name: `ok`, or what is wrong with it.
    checks: BTreeMap<&'static str, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ready,
    Unavailable,
    Draining,
}

impl Health {
    /// Depends on nothing yet; not ready from the moment that `draining` is cancelled.
    pub fn new(draining: CancellationToken) -> Self {
        Self {
            draining,
            probes: Vec::new(),
        }
    }

    /// Adds a dependency. The error is shown to whoever asks, so it must hold no secret.
    #[must_use]
    pub fn with_probe<F, R>(mut self, name: &'static str, probe: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        let run = Arc::new(move || probe().boxed());
        self.probes.push(Probe { name, run });
        self
    }

    /// Asks every dependency at once; none takes longer than a second.
    pub async fn readiness(&self) -> Readiness {
        let asked = self.probes.iter().map(async |probe| {
            let asking = async {
                let answer = pin!((probe.run)());
                let work = Work::new();
                let answer = answer.await;
                work.finish();
                answer
            };
            let answer = tokio::time::timeout(PROBE_TIMEOUT, asking).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer within 1 s".to_owned()));
            (probe.name, answer)
        });
        let answers = join_all(asked).await;
        let status = if self.draining.is_cancelled() {
            Status::Draining
        } else if answers.iter().all(|(_, answer)| answer.is_ok()) {
            Status::Ready
        } else {
            Status::Unavailable
        };
        let checks = answers
            .into_iter()
            .map(|(name, answer)| (name, answer.err().unwrap_or_else(|| "ok".to_owned())))
            .collect();
        Readiness { status, checks }
    }

    /// The routes `/livez` and `/readyz`.
    pub fn router<S>(self) -> Router<S> {
        Router::new()
            .route(
                "/livez",
                get(async || Json(serde_json::json!({ "status": "alive" }))),
            )
            .route("/readyz", get(readyz))
            .with_state(self)
    }
}

async fn readyz(State(health): State<Health>) -> Response {
    let readiness = health.readiness().await;
    match readiness.status {
        Status::Ready => Json(readiness).into_response(),
        Status::Unavailable | Status::Draining => {
            let later = [(header::RETRY_AFTER, RETRY_AFTER)];
            (StatusCode::SERVICE_UNAVAILABLE, later, Json(readiness)).into_response()
        }
    }
}

/// Answers probes on a listener of their own, for a process that serves nothing else.
///
/// # Errors
/// None today; the type is that of [`axum::serve()`].
pub async fn serve(listener: TcpListener, health: Health) -> io::Result<()> {
    axum::serve(listener, health.router()).await
}

/// Why a probe of another process did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nobody answered.
    #[error("no answer from http://{0}{1}")]
    Unreachable(SocketAddr, String, #[source] io::Error),
    /// Somebody answered, but not with 200; the text is the answer's body.
    #[error("http://{0}{1} answered {2}")]
    Unhealthy(SocketAddr, String, String),
}

/// Asks `path` of the process that listens on `addr`, as the `healthcheck` subcommands do.
///
/// It blocks for up to some seconds. An unspecified address (`0.0.0.0`) is asked by loopback.
///
/// # Errors
/// When nothing answers in time, or with another status than 200.
pub fn check(addr: SocketAddr, path: &str) -> Result<(), CheckError> {
    let addr = loopback(addr);
    let answer = request(addr, path)
        .map_err(|error| CheckError::Unreachable(addr, path.to_owned(), error))?;
    let mut words = answer.split(' ');
    if words
        .next()
        .is_some_and(|version| version.starts_with("HTTP/"))
        && words.next() == Some("200")
    {
        return Ok(());
    }
    let status = answer.lines().next().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let said = format!("{status} {body}").trim().to_owned();
    Err(CheckError::Unhealthy(addr, path.to_owned(), said))
}

fn request(addr: SocketAddr, path: &str) -> io::Result<String> {
    // HTTP/1.0 keeps the answer to one piece that ends when the connection does.
    let mut stream = TcpStream::connect_timeout(&addr, CHECK_TIMEOUT)?;
    stream.set_read_timeout(Some(CHECK_TIMEOUT))?;
    stream.set_write_timeout(Some(CHECK_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {addr}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn loopback(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    addr
}
