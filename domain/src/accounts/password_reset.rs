//! A forgotten password: a token by mail buys a new one.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::verification::forget_sign_ups;
use super::{Email, Password, password_change};
use crate::jobs::{Mail, SendEmail};
use crate::{Error, Token};

/// How long a reset token can be used, in hours.
pub const PASSWORD_RESET_HOURS: i32 = 1;

/// What the mail of a reset has to say, and to whom.
#[derive(Debug)]
pub struct PasswordReset {
    /// Lets whoever has it choose a password; the mail is its only copy.
    pub token: Token,
    /// The account's own spelling of the address: where mail has reached its owner before.
    pub to: String,
}

/// Why a token does not reset a password.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// We never issued it for this.
    #[error("the token is unknown")]
    Unknown,
    /// It is older than [`PASSWORD_RESET_HOURS`].
    #[error("the token has expired")]
    Expired,
    /// It was used, or the password or the address was changed after it was sent.
    #[error("the token was used before, or the account was changed after it was sent")]
    Used,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for ResetError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Asks for a mail that lets the owner of this address choose a new password.
///
/// Whether it has an account is not looked up here: the worker does, when it writes the mail. So
/// the work and the answer are the same for every address.
///
/// # Errors
/// When the machinery fails.
pub async fn request_password_reset(pool: &PgPool, email: &Email) -> Result<(), Error> {
    let mail = SendEmail {
        to: email.as_str().to_owned(),
        template: Mail::ResetPassword,
    };
    outbox::enqueue(&mut *pool.acquire().await?, &mail).await?;
    Ok(())
}

/// Makes a token for the account with this address; the mail that carries it is the only copy.
///
/// `None` when there is no such account. One that is not verified gets a token, too: its mail goes
/// to the address, so whoever follows it proves that.
///
/// # Errors
/// When the machinery fails.
pub async fn issue_password_reset(
    pool: &PgPool,
    email: &Email,
) -> Result<Option<PasswordReset>, Error> {
    let token = Token::generate();
    // The lock makes it wait for a change that is just ending this account's tokens.
    let to = sqlx::query_scalar!(
        r#"WITH account AS (
             SELECT id, email FROM accounts WHERE email_key = $2 FOR SHARE
           ), issued AS (
             INSERT INTO password_reset_tokens (token_hash, account_id, expires_at)
             SELECT $1, id, now() + make_interval(hours => $3) FROM account
           )
           SELECT email AS "email!" FROM account"#,
        &token.hash(),
        email.key(),
        PASSWORD_RESET_HOURS,
    )
    .fetch_optional(pool)
    .await?;
    Ok(to.map(|to| PasswordReset { token, to }))
}

/// Uses the token up, and makes `password` the account's.
///
/// All sessions end, and every other link that was sent. An account that was not verified is
/// from now on: the password is of somebody who reads its mail. What was typed at its sign-ups,
/// by nobody knows whom, is forgotten.
///
/// # Errors
/// When the token is unknown, expired or used, or the machinery fails.
pub async fn complete_password_reset(
    pool: &PgPool,
    token: &Token,
    password: Password,
) -> Result<(), ResetError> {
    // Asked first without any lock: a token that is made up costs no hash.
    usable(&mut *pool.acquire().await?, token).await?;
    let hash = password.hash().await?;

    let mut tx = pool.begin().await?;
    // The account's row is what two uses at once, of one token or of two, have to wait for. What
    // they then may do is asked by a second statement, which sees what the other has done.
    sqlx::query!(
        "SELECT accounts.id FROM accounts JOIN password_reset_tokens ON account_id = accounts.id
         WHERE token_hash = $1 FOR UPDATE OF accounts",
        &token.hash(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let account_id = usable(&mut tx, token).await?;
    password_change::replace(&mut tx, account_id, &hash, None).await?;
    forget_sign_ups(&mut tx, account_id, None).await?;
    tx.commit().await?;
    Ok(())
}

/// Whose password the token resets.
async fn usable(conn: &mut PgConnection, token: &Token) -> Result<Uuid, ResetError> {
    let found = sqlx::query!(
        r#"SELECT account_id, used_at IS NOT NULL AS "used!", expires_at <= now() AS "expired!"
           FROM password_reset_tokens WHERE token_hash = $1"#,
        &token.hash(),
    )
    .fetch_optional(conn)
    .await?
    .ok_or(ResetError::Unknown)?;
    if found.used {
        return Err(ResetError::Used);
    }
    if found.expired {
        return Err(ResetError::Expired);
    }
    Ok(found.account_id)
}
