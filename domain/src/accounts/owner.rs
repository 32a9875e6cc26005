//! What only the owner of an account may do: an access token may be stolen, a password is typed.

use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::Password;
use crate::Error;

/// Why what only an owner may do is refused.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// It is not the account's password, or the account is gone.
    #[error("the password is wrong")]
    WrongPassword,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for OwnerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<outbox::Error> for OwnerError {
    fn from(error: outbox::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// A transaction of whoever knows the password. It has the account's row to itself.
pub(super) struct Owner {
    pub(super) tx: Transaction<'static, Postgres>,
    /// The account's address as it is now.
    pub(super) email: String,
}

/// Begins it.
pub(super) async fn begin(
    pool: &PgPool,
    account_id: Uuid,
    password: Password,
) -> Result<Owner, OwnerError> {
    let hash = check(pool, account_id, password).await?;
    hold(pool.begin().await?, account_id, hash).await
}

/// Checks the password, and gives the hash that it fits.
pub(super) async fn check(
    pool: &PgPool,
    account_id: Uuid,
    password: Password,
) -> Result<Option<String>, OwnerError> {
    let hash = sqlx::query_scalar!(
        "SELECT password_hash FROM accounts WHERE id = $1",
        account_id
    )
    .fetch_optional(pool)
    .await?
    .flatten();
    if !password.matches(hash.clone()).await? {
        return Err(OwnerError::WrongPassword);
    }
    Ok(hash)
}

/// Takes the account's row, which has still this hash.
pub(super) async fn hold(
    mut tx: Transaction<'static, Postgres>,
    account_id: Uuid,
    hash: Option<String>,
) -> Result<Owner, OwnerError> {
    // To check it took a while. A password that was replaced meanwhile opens nothing any more.
    let email = sqlx::query_scalar!(
        "SELECT email FROM accounts WHERE id = $1 AND password_hash = $2 FOR UPDATE",
        account_id,
        hash,
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(OwnerError::WrongPassword)?;
    Ok(Owner { tx, email })
}
