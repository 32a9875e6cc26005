//! The worker: runs the product's jobs, and carries them from the outbox to the queue.
//!
//! To add a job, you
//! 1. write its payload in `domain/src/jobs.rs`;
//! 2. copy `worker/src/jobs/deliver_webhook.rs` and give it its behaviour in `run`;
//! 3. add one line to [`jobs::registry`], and a queue of its own, if it has one, to
//!    [`domain::jobs::QUEUES`];
//! 4. copy what you need of `worker/tests/it/send_email.rs`, where one job is performed in
//!    place, and where all run that wait.
//!
//! It listens for probes, on the loopback interface only, and for Prometheus where a setting says so.

use std::sync::Arc;

use queue::{Queue, Worker, WorkerError, WorkerSettings};
use service::shutdown::Shutdown;
use sqlx::PgPool;

pub mod jobs;
pub mod mail;
pub mod metrics;
pub mod settings;
pub mod webhook;

use domain::webhooks::Keys;
use mail::Mailer;
use metrics::Counts;
use webhook::Sender;

/// What every job can use.
#[derive(Debug)]
pub struct App {
    /// Postgres.
    pub pool: PgPool,
    /// Sends mail.
    pub mailer: Mailer,
    /// Base of the links in mails, without a slash at the end.
    pub public_url: String,
    /// The keys of webhooks' signing secrets.
    pub webhook_keys: Keys,
    /// Calls webhooks.
    pub webhooks: Sender,
    /// Counts what jobs do, for Prometheus.
    pub counts: Counts,
}

/// Runs jobs and the relay until the shutdown, from the moment that the schema fits.
///
/// # Errors
/// When the worker's settings, or those of Redis, do not allow a safe run. Never because Redis or
/// Postgres is away.
pub async fn run(
    app: App,
    queue: Queue,
    settings: WorkerSettings,
    shutdown: Shutdown,
) -> Result<(), WorkerError> {
    let Shutdown { soft, hard } = shutdown;
    if !migrations::wait_until_current(&app.pool, &soft).await {
        return Ok(());
    }
    let relay = outbox::Relay::new(app.pool.clone(), queue.clone());
    let registry = jobs::registry().observe(app.counts.attempts.clone());
    let worker = Worker::new(queue, registry, Arc::new(app), settings);
    let stop_relay = soft.child_token();
    let work = async {
        let worked = worker.run(soft, hard).await;
        // Also when the worker could not go on: the process has to end.
        stop_relay.cancel();
        worked
    };
    let (worked, ()) = tokio::join!(work, relay.run(stop_relay.clone()));
    worked
}
