//! Log-in: a password for a session.

use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::{Issued, MOST_SESSIONS, cut, issue};
use crate::Error;
use crate::accounts::{Email, Password};

/// Why a log-in is refused.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// No such account, not its password, or an address that was never verified.
    ///
    /// Which of them is not said. Anybody can sign up with a stranger's address and a password of
    /// their own, so "not verified" would tell whoever did that the address had no account.
    #[error("the address or the password is wrong, or the address is not verified")]
    InvalidCredentials,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for LogInError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// A session that was opened, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The session's id.
    pub session_id: Uuid,
    /// Whose it is.
    pub account_id: Uuid,
}

/// Opens a session for whoever knows the password of a verified account.
///
/// An account that has [`MOST_SESSIONS`] loses the one that was not used for the longest time.
///
/// # Errors
/// When the address or the password is wrong or the address is not verified (one error, after the
/// same work in each case), or the machinery fails.
pub async fn log_in(
    pool: &PgPool,
    email: &Email,
    password: Password,
    user_agent: &str,
) -> Result<Issued, LogInError> {
    let (mut tx, opened) = open(pool, email, password, user_agent).await?;
    let refresh_token = issue(&mut tx, opened.session_id).await?;
    tx.commit().await?;
    Ok(Issued {
        session_id: opened.session_id,
        account_id: opened.account_id,
        refresh_token,
    })
}

/// Does all of a log-in but for what will stand for the session, in a transaction that its caller
/// commits with that.
pub(super) async fn open(
    pool: &PgPool,
    email: &Email,
    password: Password,
    user_agent: &str,
) -> Result<(Transaction<'static, Postgres>, Opened), LogInError> {
    let found = sqlx::query!(
        "SELECT id, password_hash FROM accounts WHERE email_key = $1",
        email.key()
    )
    .fetch_optional(pool)
    .await?;
    let (account, hash) = found.map(|row| (row.id, row.password_hash)).unzip();
    let hash = hash.flatten();
    // In every case: without an account, and with one that has no password as it is not verified.
    let right = password.matches(hash.clone()).await?;
    let Some(account_id) = account.filter(|_| right) else {
        return Err(LogInError::InvalidCredentials);
    };

    let session_id = Uuid::now_v7();
    let mut tx = pool.begin().await?;
    // The password may have been changed since it was read. Whoever changes it ends the sessions,
    // and has the account's row meanwhile: this waits, and then finds another hash.
    let opened = sqlx::query!(
        "INSERT INTO sessions (id, account_id, user_agent)
         SELECT $1, id, $4 FROM accounts WHERE id = $2 AND password_hash = $3
         FOR NO KEY UPDATE",
        session_id,
        account_id,
        hash,
        cut(user_agent),
    )
    .execute(&mut *tx)
    .await?;
    if opened.rows_affected() == 0 {
        return Err(LogInError::InvalidCredentials);
    }
    sqlx::query!(
        "UPDATE sessions SET revoked_at = now() WHERE id IN (
           SELECT id FROM sessions WHERE account_id = $1 AND revoked_at IS NULL
           ORDER BY last_used_at DESC, id DESC OFFSET $2
         )",
        account_id,
        MOST_SESSIONS,
    )
    .execute(&mut *tx)
    .await?;
    let opened = Opened {
        session_id,
        account_id,
    };
    Ok((tx, opened))
}
