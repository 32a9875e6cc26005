//! What waits for the relay.

use std::time::{Duration, SystemTime};

use sqlx::PgPool;

use crate::Error;

/// Up to how many jobs are counted: more is too many, however many more.
const MOST_COUNTED: i64 = 10_000;

/// What waits for the relay, which mostly is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Jobs, counted up to 10 000.
    pub waiting: u64,
    /// How long ago the oldest was enqueued, by this machine's clock.
    pub oldest: Option<Duration>,
}

/// Tells what waits, by the relay's index: it costs as much as there waits, and at most some
/// milliseconds.
///
/// A job that the sweeper sends again is as old as it is.
///
/// # Errors
/// When a statement fails.
pub async fn backlog(pool: &PgPool) -> Result<Backlog, Error> {
    let mut tx = crate::begin(pool).await?;
    let found = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM (SELECT FROM job_outbox WHERE state = 0 LIMIT $1) AS counted) AS "waiting!",
                  (SELECT id FROM job_outbox WHERE state = 0 ORDER BY id LIMIT 1) AS oldest"#,
        MOST_COUNTED,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    let begun = found.oldest.and_then(|id| id.get_timestamp());
    let begun = begun.map(|at| {
        let (seconds, nanos) = at.to_unix();
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    });
    Ok(Backlog {
        waiting: u64::try_from(found.waiting).unwrap_or_default(),
        // One from the future is new.
        oldest: begun.map(|at| at.elapsed().unwrap_or_default()),
    })
}
