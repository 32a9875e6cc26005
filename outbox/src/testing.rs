//! For tests: the jobs that wait in the outbox, as `queue::testing` has those in Redis.

use std::panic::Location;

use queue::testing::{Waiting, pick};
use queue::{Job, Packer};
use sqlx::PgPool;
use time::OffsetDateTime;

/// The jobs of one kind that no relay has taken yet, oldest first.
///
/// # Panics
/// When Postgres does not answer, or a payload does not fit the job, or is encrypted.
pub async fn enqueued<J: Job>(pool: &PgPool) -> Vec<Waiting<J>> {
    enqueued_with(pool, &Packer::default()).await
}

/// Like [`enqueued`], where payloads are encrypted in the database too.
///
/// # Panics
/// When Postgres does not answer, or a payload cannot be unpacked, or does not fit the job.
pub async fn enqueued_with<J: Job>(pool: &PgPool, packer: &Packer) -> Vec<Waiting<J>> {
    let rows: Vec<(Vec<u8>, Option<OffsetDateTime>)> = sqlx::query_as(
        "SELECT envelope, run_at FROM job_outbox WHERE state = 0 AND queue = $1 ORDER BY id",
    )
    .bind(J::QUEUE)
    .fetch_all(pool)
    .await
    .expect("Postgres answers");
    let read = |(envelope, run_at): (Vec<u8>, Option<OffsetDateTime>)| {
        Waiting::read(&envelope, run_at.map(Into::into), packer)
    };
    rows.into_iter().filter_map(read).collect()
}

/// Checks that a job that fits waits in the outbox, and returns the first.
///
/// # Panics
/// When there is none, with the jobs of that kind which wait; as [`enqueued`].
#[track_caller]
pub fn assert_enqueued<J: Job>(
    pool: &PgPool,
    fits: impl Fn(&J) -> bool,
) -> impl Future<Output = Waiting<J>> {
    let at = Location::caller();
    async move { pick(enqueued(pool).await, fits, at) }
}
