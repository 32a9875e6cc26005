//! Sign-up: the account, the password and the mail about it, in one transaction.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Email, Password};
use crate::Error;
use crate::jobs::{Mail, SendEmail};

/// Signs up with an address, known or not, and mails to it what became of it.
///
/// - A new address: an account that waits for its verification, and the mail with the link.
/// - One that was never verified: the same again, beside the earlier sign-ups. Each link brings
///   the password of its own sign-up, for nobody knows yet which of them is the owner's.
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
    // One statement for all three cases, so that two sign-ups at once cannot collide. It locks the
    // account's row, so that no verification comes between it and the next.
    sqlx::query!(
        "INSERT INTO accounts (id, email, email_key) VALUES ($1, $2, $3)
         ON CONFLICT (email_key) DO UPDATE SET email = excluded.email
             WHERE accounts.verified_at IS NULL",
        Uuid::now_v7(),
        email.as_str(),
        key,
    )
    .execute(&mut *tx)
    .await?;
    let waiting = sqlx::query!(
        "INSERT INTO sign_ups (id, account_id, password_hash)
         SELECT $1, id, $3 FROM accounts WHERE email_key = $2 AND verified_at IS NULL
         RETURNING id, account_id",
        Uuid::now_v7(),
        key,
        hash,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let template = match waiting {
        Some(sign_up) => Mail::VerifyAddress {
            account_id: sign_up.account_id,
            sign_up_id: sign_up.id,
        },
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
