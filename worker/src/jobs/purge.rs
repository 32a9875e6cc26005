//! `purge`: forgets what has ended and what is old, a batch at a time.

use std::sync::Arc;

use domain::jobs::Purge;
use domain::{accounts, audit, sessions, webhooks};
use queue::{JobContext, JobError};
use sqlx::PgPool;

use crate::App;

/// How many rows one statement takes: their locks are held for milliseconds, and the replica and
/// the vacuum keep up.
const BATCH: i64 = 1_000;

/// Forgets everything that is to be forgotten, unless it is cancelled before.
///
/// Each batch is a transaction of its own, and what is locked is left to the next run, so it stands
/// in nobody's way, and any number may run at once. One that is cut off leaves the rest to the next.
pub(crate) async fn run(_: Purge, cx: JobContext<Arc<App>>) -> Result<(), JobError> {
    batches(&cx, "sign-ups", accounts::purge_sign_ups).await?;
    batches(
        &cx,
        "verification tokens",
        accounts::purge_verification_tokens,
    )
    .await?;
    batches(
        &cx,
        "password reset tokens",
        accounts::purge_password_reset_tokens,
    )
    .await?;
    batches(&cx, "e-mail changes", accounts::purge_email_changes).await?;
    batches(&cx, "ended sessions", sessions::purge_ended).await?;
    batches(&cx, "refresh tokens", sessions::purge_refresh_tokens).await?;
    batches(&cx, "sessions of cookies", sessions::purge_cookies).await?;
    batches(&cx, "idempotency keys", webhooks::purge_idempotency_keys).await?;
    batches(&cx, "lost deliveries", webhooks::fail_lost_deliveries).await?;
    batches(&cx, "events", webhooks::purge_events).await?;
    batches(&cx, "actions of admins", audit::purge).await?;
    Ok(())
}

/// Repeats `purge` until it finds less than a batch.
async fn batches(
    cx: &JobContext<Arc<App>>,
    what: &'static str,
    purge: impl AsyncFn(&PgPool, i64) -> Result<u64, domain::Error>,
) -> Result<(), JobError> {
    let mut rows = 0;
    while !cx.cancel.is_cancelled() {
        let batch = purge(&cx.app.pool, BATCH).await?;
        rows += batch;
        if batch < BATCH.unsigned_abs() {
            break;
        }
    }
    if rows > 0 {
        tracing::info!(purge.what = what, purge.rows = rows, "purged");
    }
    Ok(())
}
