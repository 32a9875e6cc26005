//! The sweeper: sends again what nobody finished, and forgets what was done long ago.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{Error, Relay, done};

impl Relay {
    /// Sweeps every now and then until `cancel`, beside the relay: neither waits for the other.
    pub(crate) async fn keep_sweeping(&self, cancel: &CancellationToken) {
        while !cancel.is_cancelled() {
            let wait = match self.within(self.sweep_and_purge()).await {
                // There may be more, for example when Redis has lost everything.
                Ok(most) if most == self.settings.batch.unsigned_abs() => continue,
                Ok(_) => self.settings.sweep,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the outbox was not swept");
                    self.settings.sweep
                }
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(jitter(wait)) => {}
            }
        }
    }

    /// Both once, and the larger count of the two.
    async fn sweep_and_purge(&self) -> Result<u64, Error> {
        let (swept, purged) = (self.sweep().await?, self.purge().await?);
        Ok(swept.max(purged))
    }

    /// Lets up to a batch of jobs that were sent and not finished be sent again, and returns how
    /// many.
    ///
    /// Each time a job waits twice as long: one that is merely retried for hours must not pile up
    /// copies of itself. After the last time it is set aside, so that a job which kills its
    /// worker does not come back for ever.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn sweep(&self) -> Result<u64, Error> {
        let mut tx = crate::begin(&self.pool).await?;
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
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
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

    /// Forgets up to a batch of jobs that [`mark_done`](crate::mark_done) noted longer ago than
    /// [`Settings::keep_done`](crate::Settings::keep_done), oldest first, and returns how many.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn purge(&self) -> Result<u64, Error> {
        let purged = done::purge(&self.pool, self.settings.keep_done, self.settings.batch).await?;
        if purged > 0 {
            tracing::debug!(outbox.purged = purged, "forgot jobs that are done");
        }
        Ok(purged)
    }
}

/// Between half and all of `wait`, so that many processes do not act at the same moment.
pub(crate) fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}
