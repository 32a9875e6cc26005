//! Refresh: a token for the next one.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Issued, cut, issue, revoke};
use crate::{Error, Token};

/// Why a refresh token gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// We never issued it, it has expired, or its session is over.
    #[error("the refresh token is unknown, has expired, or its session is over")]
    Refused,
    /// It was used before. The session is over now: two hold its tokens, and one is a thief.
    #[error("the refresh token was used before, so its session has been ended")]
    Reused {
        /// The session that was ended.
        session_id: Uuid,
    },
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for RefreshError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Uses the token up and gives the next one of its session.
///
/// Of two uses at once, one wins and the other ends the session, as any second use does.
///
/// # Errors
/// When the token is not good (any more), or the machinery fails; then it has not been used.
pub async fn refresh(
    pool: &PgPool,
    token: &Token,
    user_agent: &str,
) -> Result<Issued, RefreshError> {
    let mut tx = pool.begin().await?;
    // With both rows locked, whoever waited for another use or for a log-out sees what it has done.
    // The session first, as a deletion has it, which takes the tokens along.
    let found = sqlx::query!(
        r#"SELECT session_id, account_id, used_at IS NOT NULL AS "used!",
                  expires_at <= now() AS "expired!", revoked_at IS NOT NULL AS "revoked!"
           FROM refresh_tokens JOIN sessions ON sessions.id = session_id
           WHERE token_hash = $1
           FOR UPDATE OF sessions, refresh_tokens"#,
        &token.hash(),
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(RefreshError::Refused)?;
    if found.revoked {
        return Err(RefreshError::Refused);
    }
    if found.used {
        revoke(&mut tx, found.account_id, found.session_id).await?;
        tx.commit().await?;
        return Err(RefreshError::Reused {
            session_id: found.session_id,
        });
    }
    if found.expired {
        return Err(RefreshError::Refused);
    }

    sqlx::query!(
        "UPDATE refresh_tokens SET used_at = now() WHERE token_hash = $1",
        &token.hash(),
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "UPDATE sessions SET last_used_at = now(), user_agent = $2 WHERE id = $1",
        found.session_id,
        cut(user_agent),
    )
    .execute(&mut *tx)
    .await?;
    let refresh_token = issue(&mut tx, found.session_id).await?;
    tx.commit().await?;
    Ok(Issued {
        session_id: found.session_id,
        account_id: found.account_id,
        refresh_token,
    })
}
