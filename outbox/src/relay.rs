//! From Postgres to Redis: the relay.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use queue::{EnqueueError, JobId, Queue, Relayed};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Error, passed_over::PassedOver, sweep::jitter};

/// How the relay paces itself. The defaults are right for most.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The longest wait between two looks at an empty outbox; each wait is between half and all
    /// of it, so that the relays of many processes do not look at the same moment.
    pub poll: Duration,
    /// Rows taken at once. They stay locked until Redis has them.
    pub batch: i64,
    /// A batch ends with the row that makes it larger than this, in bytes of its envelopes: each
    /// can have a quarter of a megabyte, and a relay holds some of its batches three times over.
    pub batch_bytes: i64,
    /// The longest wait between two looks for jobs that were sent and never finished, and for
    /// those that were done long ago.
    pub sweep: Duration,
    /// How long a sent job may stay unfinished before it is sent again; doubled each time.
    pub resend_after: Duration,
    /// How often a job is sent again before it is set aside.
    pub max_resends: i16,
    /// How long [`mark_done`](crate::mark_done) is remembered. Longer than a job can stay in
    /// Redis, as a delayed job, a dead letter that is replayed, or in a backup of its data.
    pub keep_done: Duration,
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
            batch_bytes: 4 * 1024 * 1024,
            sweep: Duration::from_secs(30),
            resend_after: Duration::from_secs(600),
            max_resends: 10,
            keep_done: Duration::from_secs(30 * 24 * 60 * 60),
            step_timeout: Duration::from_secs(10),
            max_backoff: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// How long a job that was sent again this often may stay unfinished, as the sweeper counts.
    fn resent_after(&self, resends: i16) -> Duration {
        let doubled = 1_u32.checked_shl(resends.unsigned_abs().into());
        self.resend_after
            .saturating_mul(doubled.unwrap_or(u32::MAX))
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
    pub(crate) pool: PgPool,
    queue: Queue,
    pub(crate) settings: Settings,
    nudge: Nudge,
    passed_over: PassedOver,
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
            passed_over: PassedOver::default(),
        }
    }

    /// What wakes this relay.
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Runs until `cancel`. It does not fail: while Redis or Postgres is away it waits for them.
    pub async fn run(self, cancel: CancellationToken) {
        tokio::join!(self.keep_relaying(&cancel), self.keep_sweeping(&cancel));
    }

    async fn keep_relaying(&self, cancel: &CancellationToken) {
        let (mut failures, mut more) = (0, false);
        while !cancel.is_cancelled() {
            let step = async {
                if failures > 0 {
                    // Rows that are taken for nothing would be dead versions to clean up after.
                    self.queue.ping().await?;
                }
                self.move_batches(more).await
            };
            let wait = match self.within(step).await {
                Ok(moved) => {
                    if failures > 0 {
                        tracing::info!(outbox.failures = failures, "the outbox is relayed again");
                    }
                    failures = 0;
                    more = moved.more;
                    if more {
                        continue;
                    }
                    self.settings.poll
                }
                // The next batch is without it, so the others need not wait.
                Err(Error::Enqueue(error @ EnqueueError::Queue { .. })) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "a queue's jobs wait in the outbox");
                    continue;
                }
                Err(error) => {
                    failures += 1;
                    more = false;
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
                () = tokio::time::sleep(jitter(wait)) => {}
                () = self.nudge.0.notified(), if failures == 0 => {}
            }
        }
    }

    /// The step, unless it takes too long. Dropping it rolls its transaction back; what Redis
    /// already has is sent again.
    pub(crate) async fn within<T>(
        &self,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(self.settings.step_timeout, step)
            .await
            .unwrap_or(Err(Error::TimedOut(self.settings.step_timeout)))
    }

    /// Moves up to a batch of waiting jobs to Redis and returns how many it moved.
    ///
    /// # Errors
    /// When Postgres or Redis fails; the rows then still wait. Where Redis refuses the jobs of
    /// one queue, the batches after it pass that queue over, for [`Settings::max_backoff`]. That
    /// a queue is full is no failure: its rows wait, and the batches after it pass it over too.
    pub async fn relay_batch(&self) -> Result<u64, Error> {
        Ok(self.move_batch().await?.jobs)
    }

    /// Two batches at once where there is more than one: one is written while the other is read.
    async fn move_batches(&self, more: bool) -> Result<Moved, Error> {
        if !more {
            return Box::pin(self.move_batch()).await;
        }
        let (one, other) =
            tokio::try_join!(Box::pin(self.move_batch()), Box::pin(self.move_batch()))?;
        Ok(Moved {
            jobs: one.jobs + other.jobs,
            more: one.more || other.more,
        })
    }

    async fn move_batch(&self) -> Result<Moved, Error> {
        let mut tx = crate::begin(&self.pool).await?;
        let passed_over = self.passed_over.now();
        let rows = sqlx::query!(
            r#"SELECT id AS "id!", queue AS "queue!", envelope AS "envelope!", run_at,
                      once AS "once!", resends AS "resends!", found AS "found!"
             FROM (SELECT *, count(*) OVER () AS found,
                          sum(octet_length(envelope)) OVER (ORDER BY id) AS bytes
                   FROM (SELECT id, queue, envelope, run_at, once, resends FROM job_outbox
                         WHERE state = 0 AND queue <> ALL($3)
                         ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) AS waiting
                  ) AS measured
             WHERE bytes - octet_length(envelope) < $2 ORDER BY id"#,
            self.settings.batch,
            self.settings.batch_bytes,
            &passed_over,
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(first) = rows.first() else {
            return Ok(Moved::default());
        };
        // Not entered: it is there to be exported, and what takes its time is below.
        let _span = tracing::info_span!("relay", outbox.jobs = rows.len());
        let mut moved = Moved {
            jobs: rows.len() as u64,
            more: first.found == self.settings.batch || (rows.len() as i64) < first.found,
        };

        let (mut once, mut plain): (Vec<Uuid>, Vec<Uuid>) = (Vec::new(), Vec::new());
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            let again_after = if row.once {
                once.push(row.id);
                self.settings.resent_after(row.resends)
            } else {
                plain.push(row.id);
                Duration::ZERO
            };
            jobs.push(Relayed {
                envelope: row.envelope,
                id: JobId::from(row.id),
                queue: row.queue,
                run_at: row.run_at.map(Into::into),
                again_after,
            });
        }
        // Both before the commit: a crash in between sends a job twice, never zero times.
        if jobs
            .iter()
            .any(|job| self.queue.limit(&job.queue).is_some())
        {
            // First Redis, because a queue may take some and leave the others.
            let taken = self.relay_bounded(&jobs).await?;
            let is_taken = |id: &Uuid| taken.contains(id);
            once.retain(is_taken);
            plain.retain(is_taken);
            moved.jobs = taken.len() as u64;
            mark_sent(&mut tx, &once, &plain).await?;
        } else {
            tokio::try_join!(
                async { Ok(self.queue.relay(&jobs).await?) },
                mark_sent(&mut tx, &once, &plain)
            )
            .inspect_err(|error| self.note_refused(error))?;
        }
        tx.commit().await?;
        tracing::debug!(outbox.moved = moved.jobs, "relayed");
        Ok(moved)
    }

    /// Keeps in mind that Redis refuses a queue, if that is the error.
    fn note_refused(&self, error: &Error) {
        if let Error::Enqueue(EnqueueError::Queue { queue, .. }) = error {
            self.passed_over.refuse(queue, self.settings.max_backoff);
        }
    }

    /// Sends jobs of which some are for queues with a limit; returns those that were taken.
    async fn relay_bounded(&self, jobs: &[Relayed]) -> Result<HashSet<Uuid>, Error> {
        let taken: HashSet<Uuid> = match self.queue.relay(jobs).await {
            Ok(()) => jobs.iter().map(|job| job.id.into()).collect(),
            Err(EnqueueError::QueueFull { taken, .. }) => {
                taken.into_iter().map(Into::into).collect()
            }
            Err(error) => {
                let error = Error::from(error);
                self.note_refused(&error);
                return Err(error);
            }
        };
        let mut queues: HashMap<&str, [bool; 2]> = HashMap::new();
        for job in jobs {
            let [took_some, left_some] = queues.entry(&job.queue).or_default();
            let is_taken = taken.contains(&job.id.into());
            *took_some |= is_taken;
            *left_some |= !is_taken;
        }
        for (queue, [took_some, left_some]) in queues {
            let (shortest, longest) = (self.settings.poll, self.settings.max_backoff);
            if !left_some {
                if self.passed_over.take(queue) {
                    tracing::info!(queue.name = queue, "the queue takes all jobs of the outbox");
                }
            } else if self.passed_over.fill(queue, took_some, shortest, longest) {
                tracing::warn!(
                    queue.name = queue,
                    "the queue is full: its jobs wait in the outbox"
                );
            }
        }
        Ok(taken)
    }

    /// Doubles from a fiftieth of the longest wait up to it.
    fn backoff(&self, failures: u32) -> Duration {
        let first = self.settings.max_backoff / 50;
        first
            .saturating_mul(1 << (failures - 1).min(6))
            .min(self.settings.max_backoff)
    }
}

/// What a look at the outbox has done.
#[derive(Clone, Copy, Default)]
struct Moved {
    jobs: u64,
    /// There were more rows than it could take.
    more: bool,
}

/// The rows of once-jobs stay as their tokens, those of plain jobs go.
async fn mark_sent(conn: &mut PgConnection, once: &[Uuid], plain: &[Uuid]) -> Result<(), Error> {
    if !once.is_empty() {
        sqlx::query!(
            "UPDATE job_outbox SET state = 1, sent_at = now() WHERE id = ANY($1)",
            once
        )
        .execute(&mut *conn)
        .await?;
    }
    if !plain.is_empty() {
        sqlx::query!("DELETE FROM job_outbox WHERE id = ANY($1)", plain)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
