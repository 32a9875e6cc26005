//! The end of an account.

use sqlx::PgPool;
use uuid::Uuid;

use super::{OwnerError, Password, owner, roles};
use crate::Error;
use crate::jobs::{Mail, SendEmail};

/// Why an account is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// It is not the account's password, or the account is gone.
    #[error("the password is wrong")]
    WrongPassword,
    /// Nobody would be left who is an admin.
    #[error("this is the last admin")]
    LastAdmin,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<OwnerError> for DeletionError {
    fn from(error: OwnerError) -> Self {
        match error {
            OwnerError::WrongPassword => Self::WrongPassword,
            OwnerError::Internal(error) => Self::Internal(error),
        }
    }
}

impl From<sqlx::Error> for DeletionError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<outbox::Error> for DeletionError {
    fn from(error: outbox::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Deletes an account with all that belongs to it, and says good-bye by mail.
///
/// What belongs to it goes by the cascades of the schema, each with an index: 100,000 events with
/// their deliveries take about a second, and none is kept for more than 30 days. Jobs that are
/// still in a queue find nothing, and end.
///
/// # Errors
/// When `password` is not the account's, it is the last admin's, or the machinery fails.
pub async fn delete(
    pool: &PgPool,
    account_id: Uuid,
    password: Password,
) -> Result<(), DeletionError> {
    let hash = owner::check(pool, account_id, password).await?;
    let mut tx = pool.begin().await?;
    if roles::is_last_admin(&mut tx, account_id).await? {
        tx.rollback().await?;
        return Err(DeletionError::LastAdmin);
    }
    let mut owner = owner::hold(tx, account_id, hash).await?;
    sqlx::query!("DELETE FROM accounts WHERE id = $1", account_id)
        .execute(&mut *owner.tx)
        .await?;
    let mail = SendEmail {
        to: owner.email,
        template: Mail::AccountDeleted,
    };
    outbox::enqueue(&mut owner.tx, &mail).await?;
    owner.tx.commit().await?;
    Ok(())
}
