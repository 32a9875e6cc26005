//! From Postgres to Redis: the relay, and the sweeper that sends again what nobody finished.

use std::sync::Arc;
use std::time::Duration;

use queue::{JobId, Queue, Relayed};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Error;

/// How the relay paces itself. The defaults are right for most.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The longest wait between two looks at an empty outbox; each wait is between half and all
    /// of it, so that the relays of many processes do not look at the same moment.
    pub poll: Duration,
    /// Rows taken at once. They stay locked until Redis has them.
    pub batch: i64,
    /// How often to look for jobs that were sent and never finished.
    pub sweep: Duration,
    /// How long a sent job may stay unfinished before it is sent again; doubled each time.
    pub resend_after: Duration,
    /// How often a job is sent again before it is set aside.
    pub max_resends: i16,
    /// The longest one step may take: a server that hangs must not hold the rows' locks.
    pub step_timeout: Duration,
    /// The longest wait after an error; the first is a fiftieth of it.
    pub max_backoff: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            batch: 500,
            sweep: Duration::from_secs(30),
            resend_after: Duration::from_secs(600),
            max_resends: 10,
            step_timeout: Duration::from_secs(10),
            max_backoff: Duration::from_secs(5),
        }
    }
}

/// Tells a relay in the same process that a transaction with jobs has committed.
///
/// Saves the wait for the next look, no more: a nudge that is never given loses nothing.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Call it after the commit.
    pub fn nudge(&self) {
        self.0.notify_one();
    }
}

/// Moves jobs from the outbox to the queue. Any number may run at the same time.
pub struct Relay {
    pool: PgPool,
    queue: Queue,
    settings: Settings,
    nudge: Nudge,
}

impl Relay {
    /// A relay with the default pace.
    pub fn new(pool: PgPool, queue: Queue) -> Self {
        Self::with_settings(pool, queue, Settings::default())
    }

    /// A relay with a pace of its own.
    pub fn with_settings(pool: PgPool, queue: Queue, settings: Settings) -> Self {
        Self {
            pool,
            queue,
            settings,
            nudge: Nudge::default(),
        }
    }

    /// What wakes this relay.
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Runs until `cancel`. It does not fail: while Redis or Postgres is away it waits for them.
    pub async fn run(self, cancel: CancellationToken) {
        let mut next_sweep = Instant::now();
        let mut failures = 0;
        while !cancel.is_cancelled() {
            let wait = match self.step(&mut next_sweep).await {
                Ok(moved) => {
                    if failures > 0 {
                        tracing::info!(outbox.failures = failures, "the outbox is relayed again");
                    }
                    failures = 0;
                    if moved > 0 && moved == self.settings.batch.unsigned_abs() {
                        continue; // A full batch: there is more.
                    }
                    self.settings.poll.mul_f64(0.5 + fastrand::f64() / 2.0)
                }
                Err(error) => {
                    failures += 1;
                    // The first says what is wrong, the rest would only repeat it.
                    if failures == 1 {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the outbox waits"
                        );
                    }
                    self.backoff(failures)
                }
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.nudge.0.notified(), if failures == 0 => {}
            }
        }
    }

    /// One look: sweeps when it is time to, then moves a batch.
    async fn step(&self, next_sweep: &mut Instant) -> Result<u64, Error> {
        let step = async {
            if Instant::now() >= *next_sweep {
                // First, so that a sweep that fails, or takes too long, does not stop the relay.
                *next_sweep = Instant::now() + self.settings.sweep;
                self.sweep().await?;
            }
            self.relay_batch().await
        };
        // Dropping the step rolls its transaction back. What Redis already has is sent again.
        tokio::time::timeout(self.settings.step_timeout, step)
            .await
            .unwrap_or(Err(Error::TimedOut(self.settings.step_timeout)))
    }

    /// Moves up to a batch of waiting jobs to Redis and returns how many it moved.
    ///
    /// # Errors
    /// When Postgres or Redis fails; the rows then still wait.
    pub async fn relay_batch(&self) -> Result<u64, Error> {
        let mut tx = self.pool.begin().await?;
        let rows = sqlx::query!(
            "SELECT id, queue, envelope, run_at, once FROM job_outbox
             WHERE state = 0 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
            self.settings.batch
        )
        .fetch_all(&mut *tx)
        .await?;
        if rows.is_empty() {
            return Ok(0);
        }

        let (mut once, mut plain): (Vec<Uuid>, Vec<Uuid>) = (Vec::new(), Vec::new());
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            if row.once {
                once.push(row.id);
            } else {
                plain.push(row.id);
            }
            jobs.push(Relayed {
                envelope: row.envelope,
                id: JobId::from(row.id),
                queue: row.queue,
                run_at: row.run_at.map(Into::into),
            });
        }
        // Before the commit: a crash in between sends a job twice, never zero times.
        self.queue.relay(&jobs).await?;

        if !once.is_empty() {
            sqlx::query!(
                "UPDATE job_outbox SET state = 1, sent_at = now() WHERE id = ANY($1)",
                &once
            )
            .execute(&mut *tx)
            .await?;
        }
        if !plain.is_empty() {
            sqlx::query!("DELETE FROM job_outbox WHERE id = ANY($1)", &plain)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        tracing::debug!(outbox.moved = jobs.len(), "relayed");
        Ok(jobs.len() as u64)
    }

    /// Lets jobs that were sent and not finished be sent again, and returns how many.
    ///
    /// Each time a job waits twice as long: one that is merely retried for hours must not pile up
    /// copies of itself. After the last time it is set aside, so that a job which kills its
    /// worker does not come back for ever.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn sweep(&self) -> Result<u64, Error> {
        let swept = sqlx::query!(
            "UPDATE job_outbox
             SET state = CASE WHEN resends < $2 THEN 0 ELSE 2 END,
                 resends = CASE WHEN resends < $2 THEN resends + 1 ELSE resends END
             WHERE id IN (
                 SELECT id FROM job_outbox
                 WHERE state = 1
                   AND sent_at < now() - make_interval(secs => $1)
                   AND greatest(sent_at, run_at) < now() - make_interval(secs => $1 * 2 ^ resends)
                 ORDER BY sent_at LIMIT $3 FOR UPDATE SKIP LOCKED)
             RETURNING id, state, resends",
            self.settings.resend_after.as_secs_f64(),
            self.settings.max_resends,
            self.settings.batch,
        )
        .fetch_all(&self.pool)
        .await?;
        for row in &swept {
            if row.state == 2 {
                tracing::error!(job.id = %row.id, job.resends = row.resends,
                    "set aside: sent again and again, never finished");
            } else {
                tracing::warn!(job.id = %row.id, job.resends = row.resends,
                    "not finished in time, sending it again");
            }
        }
        Ok(swept.len() as u64)
    }

    /// Doubles from a fiftieth of the longest wait up to it, with jitter.
    fn backoff(&self, failures: u32) -> Duration {
        let first = self.settings.max_backoff / 50;
        let wait = first
            .saturating_mul(1 << (failures - 1).min(6))
            .min(self.settings.max_backoff);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}
