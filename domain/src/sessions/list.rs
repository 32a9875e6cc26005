//! The sessions that an account has.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Error;

/// A session that goes on: neither ended nor left alone until its token or cookie expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// When somebody logged in.
    pub created_at: OffsetDateTime,
    /// When it was last refreshed or, in a browser, used; or else the log-in.
    pub last_used_at: OffsetDateTime,
    /// What the program that did so calls itself; empty when it does not say.
    pub user_agent: String,
}

/// At most `limit` sessions of an account, the newest first, from before the session `before` on.
///
/// # Errors
/// When the database cannot be asked.
pub async fn list(
    pool: &PgPool,
    account_id: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Session>, Error> {
    let sessions = sqlx::query_as!(
        Session,
        "SELECT sessions.id, sessions.created_at, last_used_at, user_agent
         FROM sessions CROSS JOIN LATERAL (
           SELECT expires_at FROM refresh_tokens
           WHERE session_id = sessions.id AND used_at IS NULL
           UNION ALL
           SELECT expires_at FROM session_cookies WHERE session_id = sessions.id
         ) AS token
         WHERE account_id = $1 AND revoked_at IS NULL AND expires_at > now()
           AND ($2::uuid IS NULL OR sessions.id < $2)
         ORDER BY sessions.id DESC
         LIMIT $3",
        account_id,
        before,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(sessions)
}

/// Whether the session is this account's and has not been ended.
///
/// # Errors
/// When the database cannot be asked.
pub async fn is_live(pool: &PgPool, account_id: Uuid, session_id: Uuid) -> Result<bool, Error> {
    let live = sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM sessions WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL
           ) AS "live!""#,
        session_id,
        account_id,
    )
    .fetch_one(pool)
    .await?;
    Ok(live)
}
