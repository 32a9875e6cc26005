//! Forgetting sessions that are over, a batch for each call.

use sqlx::PgPool;

use crate::Error;

/// Forgets up to `limit` refresh tokens that have ended, used or not, and the sessions that end
/// with their last one; returns how many tokens.
///
/// A used token that has not ended stays: by it, a theft is noticed.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_refresh_tokens(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    // Both parts see the rows as they were before, so the second asks for a token that holds.
    let purged = sqlx::query_scalar!(
        r#"WITH token AS (
             DELETE FROM refresh_tokens WHERE token_hash = ANY (ARRAY(
               SELECT token_hash FROM refresh_tokens WHERE expires_at <= now()
               ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
             RETURNING session_id
           ), session AS (
             DELETE FROM sessions WHERE id IN (SELECT session_id FROM token)
             AND NOT EXISTS (
               SELECT FROM refresh_tokens WHERE session_id = sessions.id AND expires_at > now())
           )
           SELECT count(*) AS "count!" FROM token"#,
        limit,
    )
    .fetch_one(pool)
    .await?;
    Ok(purged.unsigned_abs())
}

/// Forgets up to `limit` sessions that were ended a day ago, with their tokens; returns how many
/// sessions.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_ended(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "DELETE FROM sessions WHERE id = ANY (ARRAY(
             SELECT id FROM sessions WHERE revoked_at < now() - interval '1 day'
             ORDER BY revoked_at LIMIT $1 FOR UPDATE SKIP LOCKED))",
        limit,
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}

/// Forgets up to `limit` sessions whose cookie has expired, with it; returns how many.
///
/// # Errors
/// When the machinery fails.
pub async fn purge_cookies(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "DELETE FROM sessions WHERE id = ANY (ARRAY(
             SELECT cookie.session_id
             FROM session_cookies AS cookie JOIN sessions ON sessions.id = cookie.session_id
             WHERE cookie.expires_at <= now()
             ORDER BY cookie.expires_at LIMIT $1 FOR UPDATE OF sessions SKIP LOCKED))",
        limit,
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}
