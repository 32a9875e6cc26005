//! The binary `worker`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use domain::webhooks::{Keys, Targets};
use queue::{Queue, WorkerSettings};
use service::database;
use service::health::{self, Health};
use service::metrics::{self, Metrics, Snapshot};
use service::settings::{Environment, Reader, Worker};
use service::shutdown::{Shutdown, Tasks};
use service::telemetry::{self, spans};
use sqlx::PgPool;
use tokio::net::TcpListener;
use worker::mail::Mailer;
use worker::metrics::{Backlog, Counts};
use worker::settings::{Settings, queue_settings, served_queues};
use worker::webhook::{Sender, System};
use worker::{App, jobs};

mod console;

/// Runs the jobs
#[derive(Parser)]
#[command(name = "worker", version)]
enum Command {
    /// Run jobs until SIGTERM or SIGINT
    Run,
    /// Ask a running `worker run` whether it is ready; exit with 1 if not
    Healthcheck {
        /// Ask only whether it is alive
        #[arg(long)]
        live: bool,
    },
    /// Look into the queues, and change what is there
    Jobs(console::Jobs),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Run => run(),
        Command::Healthcheck { live } => healthcheck(live),
        Command::Jobs(jobs) => console::run(jobs),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How long threads that wait for something outside, as a stranger's name server, hold up the end.
const LAST_WAIT: Duration = Duration::from_secs(1);

fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ran = runtime.block_on(work());
    runtime.shutdown_timeout(LAST_WAIT);
    ran
}

async fn work() -> anyhow::Result<()> {
    let settings = Settings::read(Reader::from_env())?;
    let name = env!("CARGO_PKG_NAME");
    telemetry::init_with_spans(&settings.telemetry, settings.traces.as_ref(), name);
    let shutdown = Shutdown::on_signals(settings.shutdown.grace)?;

    let pool = database::pool(&settings.database, database::Returns::Asked);
    let mut redis =
        queue_settings(&settings.redis, &settings.queue).context("REDIS_CA cannot be used")?;
    // A Redis that evicts keys loses jobs: a warning to a developer, a refusal everywhere else.
    redis.tuning.require_noeviction = settings.environment != Environment::Development;
    let queue = Queue::connect(redis).await?;
    let metrics = Metrics::new("worker", env!("CARGO_PKG_VERSION")).with_pool(pool.clone());
    let app = App {
        pool: pool.clone(),
        mailer: Mailer::new(&settings.mail)?,
        public_url: settings.public_url,
        webhook_keys: Keys::new(&settings.webhooks.keys),
        webhooks: Sender::new(Targets::new(settings.webhooks.allow_private), System),
        counts: Counts::new(&metrics),
    };
    let jobs = WorkerSettings {
        queues: served_queues(jobs::queues(), &settings.worker)?,
        concurrency: settings.worker.concurrency,
        // The rest of the grace period is for handing back what did not finish.
        drain_timeout: settings.shutdown.grace.mul_f64(0.7),
        on_span: settings.traces.is_some().then_some(spans::of_job),
    };

    let scrapes = metrics::listen(&settings.metrics).await?;
    let addr = settings.worker.health_addr;
    let listener = TcpListener::bind(addr)
        .await
        .with_context(|| format!("cannot listen on {addr}; WORKER_HEALTH_ADDR names another"))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        environment = ?settings.environment,
        concurrency = jobs.concurrency,
        queues = jobs.queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>().join(","),
        mail = if settings.mail.smtp.is_some() { "smtp" } else { "folder" },
        probes = %listener.local_addr()?,
        "starting",
    );

    let health = health(pool.clone(), queue.clone(), &shutdown);
    let queues = jobs.queues.iter().map(|queue| queue.name.clone());
    let backlog = Backlog {
        queue: queue.clone(),
        queues: queues.collect(),
        pool: pool.clone(),
    };
    let metrics = backlog.told_by(with_slots(metrics, jobs.concurrency));
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn_background("metrics", metrics::serve(scrapes, metrics));
    tasks.spawn_background("probes", health::serve(listener, health));
    tasks.spawn("jobs", worker::run(app, queue, jobs, shutdown.clone()));
    let worked = tasks.run().await;
    database::close(&pool, &shutdown).await;
    spans::flush(&shutdown).await;
    Ok(worked?)
}

/// Adds how many jobs this worker runs at once.
fn with_slots(metrics: Metrics, slots: usize) -> Metrics {
    metrics.asking(move || async move {
        let mut now = Snapshot::default();
        let slots = f64::from(u32::try_from(slots).unwrap_or(u32::MAX));
        let help = "Jobs that the worker may run at once.";
        now.gauge("worker_slots", help, &[], &[(&[], slots)]);
        now
    })
}

fn health(pool: PgPool, queue: Queue, shutdown: &Shutdown) -> Health {
    Health::new(shutdown.soft.clone())
        .with_probe("postgres", move || {
            let pool = pool.clone();
            async move {
                let current = migrations::check_current(&pool).await;
                current.map(drop).map_err(|error| error.to_string())
            }
        })
        .with_probe("redis", move || {
            let queue = queue.clone();
            async move { queue.ping().await.map_err(|_| "does not answer".to_owned()) }
        })
}

fn healthcheck(live: bool) -> anyhow::Result<()> {
    let worker = Reader::from_env().read(Worker::read)?;
    health::check(worker.health_addr, if live { "/livez" } else { "/readyz" })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
