//! The end of an account.

use sqlx::PgPool;
use uuid::Uuid;

use super::{OwnerError, Password, owner};
use crate::jobs::{Mail, SendEmail};

/// Deletes an account with all that belongs to it, and says good-bye by mail.
///
/// What belongs to it goes by the cascades of the schema, each with an index: 100,000 events with
/// their deliveries take about a second, and none is kept for more than 30 days. Jobs that are
/// still in a queue find nothing, and end.
///
/// # Errors
/// When `password` is not the account's, or the machinery fails.
pub async fn delete(pool: &PgPool, account_id: Uuid, password: Password) -> Result<(), OwnerError> {
    let mut owner = owner::begin(pool, account_id, password).await?;
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
