//! The measurements, each with what it proves on the way.

use std::time::{Duration, Instant};

use outbox::Relay;
use queue::{Job, JobId};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::servers::Servers;
use crate::{Figures, Options};

/// Most rows that are enqueued one to a transaction.
const ALONE: usize = 2000;
/// Jobs in one statement of `enqueue_many`.
const MANY: usize = 1000;
/// Handlers that spend tokens at the same time.
const HANDLERS: usize = 8;

#[derive(Serialize, Deserialize)]
struct NoOp {
    padding: String,
}

impl Job for NoOp {
    const NAME: &'static str = "no_op";
}

pub(crate) async fn all(options: &Options) -> Figures {
    let servers = Servers::new(options).await;
    let mut figures = Figures::from([("lost", 0.0), ("doubled", 0.0)]);
    let jobs = enqueue(options, &servers.pool, &mut figures).await;
    relay(&servers, &jobs, &mut figures).await;
    spend(&servers.pool, &jobs, &mut figures).await;
    servers.remove(&jobs).await;
    figures
}

fn rate(jobs: usize, begun: Instant) -> f64 {
    jobs as f64 / begun.elapsed().as_secs_f64()
}

/// Some rows one to a transaction, the rest many at once.
async fn enqueue(options: &Options, pool: &PgPool, figures: &mut Figures) -> Vec<JobId> {
    let job = || NoOp {
        padding: "x".repeat(options.payload),
    };
    let mut ids = Vec::with_capacity(options.rows);
    let alone = options.rows.div_ceil(10).min(ALONE);
    let begun = Instant::now();
    for _ in 0..alone {
        let mut tx = pool.begin().await.unwrap();
        ids.push(outbox::enqueue(&mut tx, &job()).await.unwrap());
        tx.commit().await.unwrap();
    }
    figures.insert("enqueue_tx", rate(alone, begun));

    let jobs: Vec<NoOp> = (alone..options.rows).map(|_| job()).collect();
    let begun = Instant::now();
    for some in jobs.chunks(MANY) {
        let mut tx = pool.begin().await.unwrap();
        ids.extend(outbox::enqueue_many(&mut tx, some).await.unwrap());
        tx.commit().await.unwrap();
    }
    figures.insert("enqueue_many", rate(jobs.len(), begun));
    ids
}

/// All rows wait; one relay moves them.
async fn relay(servers: &Servers, jobs: &[JobId], figures: &mut Figures) {
    let cancel = CancellationToken::new();
    let relay = Relay::new(servers.pool.clone(), servers.queue.clone());
    let (commands, cpu) = servers.spent().await;
    let begun = Instant::now();
    let running = tokio::spawn(relay.run(cancel.clone()));
    while servers.any_waiting().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    figures.insert("relay", rate(jobs.len(), begun));
    let after = servers.spent().await;
    cancel.cancel();
    running.await.unwrap();
    let rows = jobs.len() as f64;
    figures.insert("relay_commands_per_row", (after.0 - commands) / rows);
    figures.insert("relay_redis_cpu_us_per_row", (after.1 - cpu) / rows);

    let relayed = servers.relayed().await;
    for id in jobs {
        count(figures, relayed.get(id).copied().unwrap_or(0));
    }
}

/// Spends every token, and notes every job as done; each for the second time too.
async fn spend(pool: &PgPool, jobs: &[JobId], figures: &mut Figures) {
    for (name, way) in [
        ("once_per_second", Way::Once),
        ("mark_done_per_second", Way::MarkDone),
    ] {
        let begun = Instant::now();
        let mut handlers = JoinSet::new();
        for some in jobs.chunks(jobs.len().div_ceil(HANDLERS).max(1)) {
            handlers.spawn(way.handle(pool.clone(), some.to_vec()));
        }
        let first: usize = handlers.join_all().await.iter().sum();
        figures.insert(name, rate(jobs.len(), begun));
        let again = way.handle(pool.clone(), jobs[..jobs.len().min(1000)].to_vec());
        *figures.entry("lost").or_default() += (jobs.len() - first) as f64;
        *figures.entry("doubled").or_default() += again.await as f64;
    }
}

#[derive(Clone, Copy)]
enum Way {
    Once,
    MarkDone,
}

impl Way {
    /// A transaction for each job, and how many found that there was something to do.
    async fn handle(self, pool: PgPool, jobs: Vec<JobId>) -> usize {
        let mut done = 0;
        for id in jobs {
            let mut tx = pool.begin().await.unwrap();
            let first = match self {
                Self::Once => outbox::once(&mut tx, id).await.unwrap(),
                Self::MarkDone => outbox::mark_done(&mut tx, id).await.unwrap(),
            };
            tx.commit().await.unwrap();
            done += usize::from(first);
        }
        done
    }
}

fn count(figures: &mut Figures, times: u32) {
    match times {
        0 => *figures.entry("lost").or_default() += 1.0,
        times => *figures.entry("doubled").or_default() += f64::from(times - 1),
    }
}
