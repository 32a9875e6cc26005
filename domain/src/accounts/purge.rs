//! Forgetting what has ended, a batch for each call.

use std::time::Duration;

use sqlx::PgPool;

use crate::Error;
use crate::age::first_id_after;

/// How long a sign-up is kept, in days. Its link holds for a day; until then it answers "expired"
/// or "used" rather than "unknown".
pub const SIGN_UP_DAYS: u64 = 7;

/// Forgets the sign-ups older than [`SIGN_UP_DAYS`] of up to `limit` accounts with their tokens,
/// and such of these accounts as were never verified; returns how many sign-ups.
///
/// An account without sign-ups does not come about otherwise, so none is looked for.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_sign_ups(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let before = first_id_after(Duration::from_secs(SIGN_UP_DAYS * 24 * 60 * 60));
    let mut tx = pool.begin().await?;
    // The account's row is what a sign-up and a verification lock first, so it is here as well:
    // neither comes between the statements, and the last one sees what they have done before.
    let accounts = sqlx::query_scalar!(
        "SELECT accounts.id FROM sign_ups JOIN accounts ON accounts.id = account_id
         WHERE sign_ups.id < $1 ORDER BY sign_ups.id LIMIT $2
         FOR NO KEY UPDATE OF accounts SKIP LOCKED",
        before,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    let purged = sqlx::query!(
        "DELETE FROM sign_ups WHERE account_id = ANY ($1) AND id < $2",
        &accounts,
        before,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "DELETE FROM accounts WHERE id = ANY ($1) AND verified_at IS NULL
         AND NOT EXISTS (SELECT FROM sign_ups WHERE account_id = accounts.id)",
        &accounts,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(purged.rows_affected())
}

/// Forgets up to `limit` verification tokens a day after their end, and returns how many.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_verification_tokens(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "DELETE FROM verification_tokens WHERE token_hash = ANY (ARRAY(
             SELECT token_hash FROM verification_tokens
             WHERE expires_at < now() - interval '1 day'
             ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))",
        limit,
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}

/// Forgets up to `limit` tokens for a new password a day after their end, and returns how many.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_password_reset_tokens(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "DELETE FROM password_reset_tokens WHERE token_hash = ANY (ARRAY(
             SELECT token_hash FROM password_reset_tokens
             WHERE expires_at < now() - interval '1 day'
             ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))",
        limit,
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}

/// Forgets up to `limit` changes of an address with their tokens a day after their end, completed
/// or not, and returns how many.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_email_changes(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "DELETE FROM email_changes WHERE id = ANY (ARRAY(
             SELECT id FROM email_changes WHERE expires_at < now() - interval '1 day'
             ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))",
        limit,
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}
