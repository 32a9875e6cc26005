//! The once-token of jobs that have no row in the outbox.

use std::time::Duration;

use queue::JobId;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::Error;

/// Notes that the job is done. `false`: it was done before, there is nothing left to do.
///
/// What [`once`](crate::once) is for jobs that were enqueued directly, or with
/// [`Delivery::AtLeastOnce`](crate::Delivery::AtLeastOnce). Call it first, in the transaction that
/// holds the job's effects. A duplicate waits here until that transaction has ended.
///
/// The note is kept for [`Settings::keep_done`](crate::Settings::keep_done).
///
/// ```
/// # use queue::{JobContext, JobError};
/// # struct CountVisit;
/// # struct App { pool: sqlx::PgPool }
/// async fn run(job: CountVisit, cx: JobContext<App>) -> Result<(), JobError> {
///     let mut tx = cx.app.pool.begin().await?;
///     if !outbox::mark_done(&mut tx, cx.id).await? {
///         return Ok(()); // Somebody has done it.
///     }
///     // The effects, in `tx`.
///     tx.commit().await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When the statement fails.
pub async fn mark_done(conn: &mut PgConnection, id: JobId) -> Result<bool, Error> {
    let noted = sqlx::query!(
        "INSERT INTO job_done (id) VALUES ($1) ON CONFLICT DO NOTHING",
        Uuid::from(id)
    )
    .execute(conn)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Forgets up to `limit` of the oldest jobs that were done longer ago than `keep`.
pub(crate) async fn purge(pool: &PgPool, keep: Duration, limit: i64) -> Result<u64, Error> {
    let mut tx = crate::begin(pool).await?;
    let purged = sqlx::query!(
        "DELETE FROM job_done WHERE id IN (
             SELECT id FROM job_done WHERE done_at < now() - make_interval(secs => $1)
             ORDER BY done_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        keep.as_secs_f64(),
        limit,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(purged.rows_affected())
}
