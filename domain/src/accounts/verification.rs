//! Proof that an address is its owner's: a token that only the mail contains.

use sqlx::PgPool;
use uuid::Uuid;

use crate::{Error, Token};

/// How long a verification token can be used, in hours.
pub const VERIFICATION_HOURS: i32 = 24;

/// Why a token does not verify an address.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// We never issued it, or a later sign-up has replaced it.
    #[error("the token is unknown")]
    Unknown,
    /// It is older than [`VERIFICATION_HOURS`].
    #[error("the token has expired")]
    Expired,
    /// The address was verified before, with this token or another.
    #[error("the token was used before")]
    Used,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for VerifyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Makes a token for the account's address; the mail that carries it is the only copy.
///
/// `None` when there is nothing to verify: the account is verified or gone. Each attempt of the
/// job makes a token of its own, and the first that is used ends them all.
///
/// # Errors
/// When the machinery fails.
pub async fn issue_verification(pool: &PgPool, account_id: Uuid) -> Result<Option<Token>, Error> {
    let token = Token::generate();
    let issued = sqlx::query!(
        "INSERT INTO verification_tokens (token_hash, account_id, expires_at)
         SELECT $1, id, now() + make_interval(hours => $3)
         FROM accounts WHERE id = $2 AND verified_at IS NULL",
        &token.hash(),
        account_id,
        VERIFICATION_HOURS,
    )
    .execute(pool)
    .await?;
    Ok((issued.rows_affected() == 1).then_some(token))
}

/// Uses the token up and returns whose address it proved.
///
/// # Errors
/// When the token is unknown, expired or used, or the machinery fails.
pub async fn verify(pool: &PgPool, token: &Token) -> Result<Uuid, VerifyError> {
    let mut tx = pool.begin().await?;
    let found = sqlx::query!(
        r#"SELECT account_id, used_at IS NOT NULL AS "used!", expires_at <= now() AS "expired!"
           FROM verification_tokens WHERE token_hash = $1"#,
        &token.hash(),
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(VerifyError::Unknown)?;
    if found.used {
        return Err(VerifyError::Used);
    }
    if found.expired {
        return Err(VerifyError::Expired);
    }

    // The account's row is what two uses at once, of one token or of two, have to wait for.
    let verified = sqlx::query!(
        "UPDATE accounts SET verified_at = now() WHERE id = $1 AND verified_at IS NULL",
        found.account_id
    )
    .execute(&mut *tx)
    .await?;
    if verified.rows_affected() == 0 {
        return Err(VerifyError::Used);
    }
    sqlx::query!(
        "UPDATE verification_tokens SET used_at = now() WHERE account_id = $1 AND used_at IS NULL",
        found.account_id
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(found.account_id)
}
