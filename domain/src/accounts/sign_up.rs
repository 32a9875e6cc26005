//! Sign-up: the account and the mail about it, in one transaction.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Email, Password};
use crate::Error;
use crate::jobs::{Mail, SendEmail};

/// Signs up with an address, known or not, and mails to it what became of it.
///
/// - A new address: an account that waits for its verification, and the mail with the link.
/// - One that was never verified: the same again. The new password counts and older links die:
///   whoever came first may not have been the owner, and must not keep a password on an account
///   that the owner then verifies.
/// - A verified one: nothing changes, and its owner is told that somebody tried.
///
/// The statements and their number are the same each time; so is the answer.
///
/// # Errors
/// When the machinery fails; nothing is stored and no mail goes out.
pub async fn sign_up(pool: &PgPool, email: &Email, password: Password) -> Result<(), Error> {
    // Before the transaction: hashing takes longer than all the statements.
    let hash = password.hash().await?;
    let key = email.key();

    let mut tx = pool.begin().await?;
    // One statement for all three cases, so that two sign-ups at once cannot collide.
    let account_id = sqlx::query_scalar!(
        "INSERT INTO accounts (id, email, email_key, password_hash) VALUES ($1, $2, $3, $4)
         ON CONFLICT (email_key) DO UPDATE
             SET email = excluded.email, password_hash = excluded.password_hash
             WHERE accounts.verified_at IS NULL
         RETURNING id",
        Uuid::now_v7(),
        email.as_str(),
        key,
        hash,
    )
    .fetch_optional(&mut *tx)
    .await?;
    sqlx::query!(
        "DELETE FROM verification_tokens USING accounts
         WHERE accounts.id = account_id AND email_key = $1 AND verified_at IS NULL",
        key
    )
    .execute(&mut *tx)
    .await?;
    let template = match account_id {
        Some(account_id) => Mail::VerifyAddress { account_id },
        None => Mail::AlreadyRegistered,
    };
    outbox::enqueue(
        &mut tx,
        &SendEmail {
            to: email.as_str().to_owned(),
            template,
        },
    )
    .await?;
    tx.commit().await?;
    Ok(())
}
