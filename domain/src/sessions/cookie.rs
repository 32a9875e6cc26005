//! Sessions of people in a browser, for which a cookie stands.

use sqlx::PgPool;
use uuid::Uuid;

use super::log_in::{LogInError, Opened, open};
use crate::accounts::{Email, Password, Role};
use crate::{Error, Token};

/// How long such a session lasts without being used, in minutes.
pub const COOKIE_IDLE_MINUTES: i32 = 30;

/// How long it lasts in any case, in hours.
pub const COOKIE_HOURS: i32 = 12;

/// Whom a cookie stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSession {
    /// The session.
    pub session_id: Uuid,
    /// Whose it is.
    pub account_id: Uuid,
    /// The account's address.
    pub email: String,
    /// What the account may do now.
    pub role: Role,
    /// Whether a minute of its time is used up, so that [`prolong`] has something to write.
    pub is_aging: bool,
}

/// Opens a session for an admin who knows the password, and gives what stands for it in a cookie.
///
/// # Errors
/// As [`log_in`](super::log_in()); somebody who is no admin is refused alike, after the same work.
pub async fn sign_in(
    pool: &PgPool,
    email: &Email,
    password: Password,
    user_agent: &str,
) -> Result<(Opened, Token), LogInError> {
    let (mut tx, opened) = open(pool, email, password, user_agent).await?;
    let token = Token::generate();
    let stored = sqlx::query!(
        "INSERT INTO session_cookies (token_hash, session_id, expires_at)
         SELECT $1, $2, now() + make_interval(mins => $4)
         FROM accounts WHERE id = $3 AND role = 'admin'",
        &token.hash(),
        opened.session_id,
        opened.account_id,
        COOKIE_IDLE_MINUTES,
    )
    .execute(&mut *tx)
    .await?;
    if stored.rows_affected() == 0 {
        // The transaction ends with it, and the session was never there.
        return Err(LogInError::InvalidCredentials);
    }
    tx.commit().await?;
    Ok((opened, token))
}

/// Whom this cookie stands for; `None` when its session is over, or never was.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find_by_cookie(pool: &PgPool, token: &Token) -> Result<Option<CookieSession>, Error> {
    let session = sqlx::query_as!(
        CookieSession,
        r#"SELECT session_id, account_id, email, role AS "role: Role",
                  expires_at < least(now() + make_interval(mins => $2),
                                     session_cookies.created_at + make_interval(hours => $3))
                               - interval '1 minute' AS "is_aging!"
           FROM session_cookies
           JOIN sessions ON sessions.id = session_id
           JOIN accounts ON accounts.id = account_id
           WHERE token_hash = $1 AND expires_at > now() AND revoked_at IS NULL"#,
        &token.hash(),
        COOKIE_IDLE_MINUTES,
        COOKIE_HOURS,
    )
    .fetch_optional(pool)
    .await?;
    Ok(session)
}

/// Begins the idle time of a cookie's session anew, within its longest time. The session is locked
/// first, as a deletion has it.
///
/// # Errors
/// When the machinery fails.
pub async fn prolong(pool: &PgPool, session_id: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "WITH used AS (UPDATE sessions SET last_used_at = now() WHERE id = $1 RETURNING id)
         UPDATE session_cookies AS cookie
         SET expires_at = least(now() + make_interval(mins => $2),
                                cookie.created_at + make_interval(hours => $3))
         FROM used
         WHERE cookie.session_id = used.id AND cookie.expires_at > now()",
        session_id,
        COOKIE_IDLE_MINUTES,
        COOKIE_HOURS,
    )
    .execute(pool)
    .await?;
    Ok(())
}
