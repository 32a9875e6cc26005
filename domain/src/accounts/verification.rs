//! Proof that an address is its owner's: a token that only the mail contains.

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Error, Token};

/// How long a verification token can be used, in hours.
pub const VERIFICATION_HOURS: i32 = 24;

/// What the mail of a sign-up has to say.
#[derive(Debug)]
pub struct Verification {
    /// Proves the address; the mail is its only copy.
    pub token: Token,
    /// When somebody signed up, by which the owner can tell their own sign-up from a stranger's.
    pub signed_up_at: OffsetDateTime,
}

/// Why a token does not verify an address.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// We never issued it, or the address was verified by the link of another sign-up.
    #[error("the token is unknown")]
    Unknown,
    /// It is older than [`VERIFICATION_HOURS`].
    #[error("the token has expired")]
    Expired,
    /// The address was verified before, with this token or another of the same sign-up.
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

/// Makes a token for a sign-up; the mail that carries it is the only copy.
///
/// `None` when there is nothing to verify: the account is verified or gone. Each attempt of the
/// job makes a token of its own, and the first that is used ends them all.
///
/// # Errors
/// When the machinery fails.
pub async fn issue_verification(
    pool: &PgPool,
    sign_up_id: Uuid,
) -> Result<Option<Verification>, Error> {
    let token = Token::generate();
    // The lock makes it wait for a verification that is just deleting this sign-up.
    let signed_up_at = sqlx::query_scalar!(
        r#"WITH waiting AS (
             SELECT sign_ups.id, sign_ups.created_at
             FROM sign_ups JOIN accounts ON accounts.id = account_id
             WHERE sign_ups.id = $2 AND verified_at IS NULL
             FOR SHARE OF accounts
           ), issued AS (
             INSERT INTO verification_tokens (token_hash, sign_up_id, expires_at)
             SELECT $1, id, now() + make_interval(hours => $3) FROM waiting
           )
           SELECT created_at AS "created_at!" FROM waiting"#,
        &token.hash(),
        sign_up_id,
        VERIFICATION_HOURS,
    )
    .fetch_optional(pool)
    .await?;
    Ok(signed_up_at.map(|signed_up_at| Verification {
        token,
        signed_up_at,
    }))
}

/// Uses the token up and returns whose address it proved.
///
/// The password of the token's sign-up becomes the account's; every other sign-up is forgotten.
///
/// # Errors
/// When the token is unknown, expired or used, or the machinery fails.
pub async fn verify(pool: &PgPool, token: &Token) -> Result<Uuid, VerifyError> {
    let mut tx = pool.begin().await?;
    // The account's row is what two uses at once, of one token or of two, have to wait for. What
    // they then may do is asked by a second statement, which sees what the other has done.
    sqlx::query!(
        "SELECT accounts.id FROM accounts
         JOIN sign_ups ON account_id = accounts.id
         JOIN verification_tokens ON sign_up_id = sign_ups.id
         WHERE token_hash = $1 FOR UPDATE OF accounts",
        &token.hash(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let found = sqlx::query!(
        r#"SELECT sign_up_id, account_id, used_at IS NOT NULL AS "used!",
                  expires_at <= now() AS "expired!"
           FROM verification_tokens JOIN sign_ups ON sign_ups.id = sign_up_id
           WHERE token_hash = $1"#,
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

    let verified = sqlx::query!(
        "UPDATE accounts SET verified_at = now(), password_hash = sign_ups.password_hash
         FROM sign_ups
         WHERE sign_ups.id = $1 AND accounts.id = account_id AND verified_at IS NULL",
        found.sign_up_id
    )
    .execute(&mut *tx)
    .await?;
    if verified.rows_affected() == 0 {
        return Err(VerifyError::Used);
    }
    forget_sign_ups(&mut tx, found.account_id, Some(found.sign_up_id)).await?;
    sqlx::query!(
        "UPDATE sign_ups SET password_hash = NULL WHERE id = $1",
        found.sign_up_id
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "UPDATE verification_tokens SET used_at = now() WHERE sign_up_id = $1 AND used_at IS NULL",
        found.sign_up_id
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(found.account_id)
}

/// Deletes the sign-ups of an account with their passwords and tokens, but for `except`.
pub(super) async fn forget_sign_ups(
    conn: &mut PgConnection,
    account_id: Uuid,
    except: Option<Uuid>,
) -> Result<(), Error> {
    sqlx::query!(
        "DELETE FROM sign_ups WHERE account_id = $1 AND id IS DISTINCT FROM $2",
        account_id,
        except,
    )
    .execute(conn)
    .await?;
    Ok(())
}
