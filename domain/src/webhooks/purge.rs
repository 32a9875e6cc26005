//! Forgetting what is old, a batch for each call.
//!
//! The id of an event or a delivery begins with its time, so the old end of a primary key is
//! where the oldest rows are: no other index is needed to find them.

use std::time::Duration;

use queue::Job as _;
use sqlx::PgPool;

use super::IDEMPOTENCY_HOURS;
use crate::Error;
use crate::age::first_id_after;
use crate::jobs::DeliverWebhook;

/// How long events and their deliveries are kept, in days.
pub const DELIVERY_DAYS: u64 = 30;

/// How late the next attempt of a delivery is when its job may be gone. All attempts together take a
/// day.
const LOST_AFTER: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Forgets up to `limit` idempotency keys that are no longer honoured, and returns how many.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_idempotency_keys(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM idempotency_keys
             WHERE created_at <= now() - make_interval(hours => $1)
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        IDEMPOTENCY_HOURS,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}

/// Forgets up to `limit` events older than [`DELIVERY_DAYS`] with their deliveries, and returns how
/// many events.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_events(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "DELETE FROM events WHERE id = ANY (ARRAY(
             SELECT id FROM events WHERE id < $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))",
        first_id_after(Duration::from_secs(DELIVERY_DAYS * 24 * 60 * 60)),
        limit,
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}

/// Gives up to `limit` deliveries up whose job is gone, and returns how many.
///
/// A job may become a dead letter, or be deleted by hand. Its delivery then is failed, so that its
/// owner sees it, and may replay it.
///
/// # Errors
/// When the machinery fails.
pub async fn fail_lost_deliveries(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let long_ago = first_id_after(LOST_AFTER);
    // The job of one that is so late was enqueued before that. While there is any such job, the
    // queue is paused or behind, and none of its deliveries is certainly lost.
    if outbox::is_any_pending(pool, DeliverWebhook::QUEUE, long_ago).await? {
        return Ok(0);
    }
    let failed = sqlx::query!(
        "UPDATE webhook_deliveries
         SET state = 'failed', next_attempt_at = NULL, error = 'the delivery was lost: replay it'
         WHERE id = ANY (ARRAY(
             SELECT id FROM webhook_deliveries
             WHERE state = 'pending' AND id < $1
               AND coalesce(next_attempt_at, created_at) < now() - make_interval(secs => $2)
             ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED))",
        long_ago,
        LOST_AFTER.as_secs_f64(),
        limit,
    )
    .execute(pool)
    .await?;
    Ok(failed.rows_affected())
}
