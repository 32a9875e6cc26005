//! Metrics, for Prometheus to read: on a listener of their own, which no user can reach.
//!
//! A process has one [`Metrics`]. What happens often is counted as it happens, by handles that were
//! [registered](Metrics::register) at the start: to count is an atomic addition. What is so at the
//! moment (the connections of a pool, the depth of a queue) is [asked](Metrics::asking) for when
//! somebody reads, in no request's way.
//!
//! Names and units are Prometheus' (<https://prometheus.io/docs/practices/naming/>), and those of
//! OpenTelemetry's semantic conventions where there are some. The value of a label comes from a
//! list that is known beforehand, never from what a stranger has sent: each is a series that
//! Prometheus keeps. docs/observability.md has the table.

mod process;
mod snapshot;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
pub use prometheus;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder, core::Collector};
use sqlx::PgPool;
use tokio::net::TcpListener;

pub use self::snapshot::Snapshot;
use crate::{database::Work, settings, telemetry::chain};

/// How long a question may take to answer; Prometheus waits for 10 s.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// What one process tells of itself.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    asked: Vec<Question>,
}

type Question = Arc<dyn Fn() -> BoxFuture<'static, Snapshot> + Send + Sync>;

impl Metrics {
    /// Of the service `name` in this version: so far the process alone.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        let metrics = Self {
            registry: Registry::new(),
            asked: Vec::new(),
        };
        metrics.asking(move || async move {
            let mut now = Snapshot::default();
            now.gauge(
                "build_info",
                "Which service this is, and its version; the value is always 1.",
                &["service", "version"],
                &[(&[name, version], 1.0)],
            );
            process::measure(&mut now);
            now
        })
    }

    /// Adds what is counted as it happens.
    ///
    /// # Panics
    /// When its name or its labels are not valid, or taken: a mistake of the program.
    pub fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let counted = made.expect("a metric has a valid name and labels");
        let registered = self.registry.register(Box::new(counted.clone()));
        registered.expect("a metric is registered once");
        counted
    }

    /// Adds what is asked for at each scrape; it is left out when it takes longer than
    /// [`ASK_TIMEOUT`].
    #[must_use]
    pub fn asking<F, R>(mut self, question: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Snapshot> + Send + 'static,
    {
        self.asked.push(Arc::new(move || question().boxed()));
        self
    }

    /// Adds the connections of a pool, which is asked without a word to the server.
    #[must_use]
    pub fn with_pool(self, pool: PgPool) -> Self {
        self.asking(move || {
            let (open, idle) = (pool.size(), pool.num_idle());
            let most = pool.options().get_max_connections();
            async move {
                let mut now = Snapshot::default();
                // Two readings: one may have come back in between.
                let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(open);
                now.gauge(
                    "db_client_connections",
                    "Connections to Postgres by what they do.",
                    &["state"],
                    &[
                        (&["idle"], f64::from(idle)),
                        (&["used"], f64::from(open - idle)),
                    ],
                );
                let help = "Connections to Postgres that the pool may open.";
                now.gauge(
                    "db_client_connections_max",
                    help,
                    &[],
                    &[(&[], f64::from(most))],
                );
                now
            }
        })
    }

    /// All of it in the text format (version 0.0.4).
    async fn text(&self) -> prometheus::Result<String> {
        let asked = self.asked.iter().map(async |question| {
            let asking = async {
                let answer = std::pin::pin!(question());
                let work = Work::new();
                let answer = answer.await;
                work.finish();
                answer
            };
            let answer = tokio::time::timeout(ASK_TIMEOUT, asking).await;
            answer.unwrap_or_else(|_| {
                tracing::warn!("a metric was not answered in time, and is left out");
                Snapshot::default()
            })
        });
        let answers = join_all(asked).await;
        let mut families = self.registry.gather();
        let answers = answers.into_iter().flat_map(Snapshot::into_families);
        families.extend(answers);
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

/// Where nothing can listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}; METRICS_ADDR names another address")]
pub struct CannotListen {
    addr: SocketAddr,
    source: io::Error,
}

/// Opens the listener that the settings ask for, if they do.
///
/// # Errors
/// When the address is taken, or not of this machine.
pub async fn listen(settings: &settings::Metrics) -> Result<Option<TcpListener>, CannotListen> {
    let Some(addr) = settings.addr else {
        return Ok(None);
    };
    let refused = |source| CannotListen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(refused)?;
    let addr = listener.local_addr().map_err(refused)?;
    tracing::info!(address = %addr, "metrics");
    Ok(Some(listener))
}

/// Answers `GET /metrics`, and nothing else; without a listener, nobody.
///
/// # Errors
/// None today; the type is that of [`axum::serve()`].
pub async fn serve(listener: Option<TcpListener>, metrics: Metrics) -> io::Result<()> {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let router = Router::new()
        .route("/metrics", get(show))
        .with_state(metrics);
    axum::serve(listener, router).await
}

async fn show(State(metrics): State<Metrics>) -> Response {
    const CONTENT_TYPE: HeaderValue = HeaderValue::from_static(TEXT_FORMAT);
    match metrics.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %chain(&error), "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
