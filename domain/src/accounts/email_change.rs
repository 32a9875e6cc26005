//! A change of the address: asked for with the password, confirmed by a link to the new one.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::password_change::{end_email_changes, end_resets};
use super::{Email, OwnerError, Password, owner};
use crate::jobs::{Mail, SendEmail};
use crate::{Error, Token};

/// How long a change can be confirmed after it was asked for, in hours.
pub const EMAIL_CHANGE_HOURS: i32 = 24;

/// What the mail to the new address has to say.
#[derive(Debug)]
pub enum EmailChange {
    /// The address is free, as far as one can tell.
    Confirm {
        /// Proves the address; the mail is its only copy.
        token: Token,
        /// Until when it can be used.
        expires_at: OffsetDateTime,
    },
    /// It belongs to another account. Only its owner hears of it.
    Taken,
}

/// Why a token does not change an address.
#[derive(Debug, thiserror::Error)]
pub enum EmailChangeError {
    /// We never issued it for this, or another change or a new password has ended it.
    #[error("the token is unknown, or its change was given up")]
    Unknown,
    /// The change was asked for more than [`EMAIL_CHANGE_HOURS`] ago.
    #[error("the token has expired")]
    Expired,
    /// The address was changed with it before.
    #[error("the token was used before")]
    Used,
    /// Another account has got the address since the mail was sent.
    #[error("another account has this address now")]
    Taken,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for EmailChangeError {
    fn from(error: sqlx::Error) -> Self {
        let refused = error.as_database_error();
        if refused.is_some_and(|error| error.constraint() == Some("accounts_email_key_unique")) {
            return Self::Taken;
        }
        Self::Internal(error.into())
    }
}

/// Asks for a mail to the new address, and tells the present one.
///
/// Whether somebody has the new address is not looked up here: the worker does, when it writes the
/// mail. A change that was asked for before and not confirmed is given up.
///
/// # Errors
/// When `password` is not the account's, or the machinery fails.
pub async fn request_email_change(
    pool: &PgPool,
    account_id: Uuid,
    password: Password,
    new: &Email,
) -> Result<(), OwnerError> {
    let mut owner = owner::begin(pool, account_id, password).await?;
    end_email_changes(&mut owner.tx, account_id).await?;
    let email_change_id = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO email_changes (id, account_id, email, expires_at)
         VALUES ($1, $2, $3, now() + make_interval(hours => $4))",
        email_change_id,
        account_id,
        new.as_str(),
        EMAIL_CHANGE_HOURS,
    )
    .execute(&mut *owner.tx)
    .await?;
    let mails = [
        SendEmail {
            to: new.as_str().to_owned(),
            template: Mail::ConfirmNewAddress { email_change_id },
        },
        SendEmail {
            to: owner.email,
            template: Mail::AddressChangeRequested,
        },
    ];
    outbox::enqueue_many(&mut owner.tx, &mails).await?;
    owner.tx.commit().await?;
    Ok(())
}

/// Makes a token for a change, if the address can be had; the mail is its only copy.
///
/// `None` when there is nothing to confirm: it is done, given up or too old. An account that was
/// never verified does not have the address: anybody can sign up with it.
///
/// # Errors
/// When the machinery fails.
pub async fn issue_email_change(
    pool: &PgPool,
    email_change_id: Uuid,
) -> Result<Option<EmailChange>, Error> {
    let token = Token::generate();
    // The lock makes it wait for whatever is just ending this change. The key is compared by the
    // collation that its index has.
    let found = sqlx::query!(
        r#"WITH open AS (
             SELECT id, expires_at, EXISTS (
               SELECT FROM accounts
               WHERE email_key = lower(change.email COLLATE "C") COLLATE "default"
                 AND verified_at IS NOT NULL
                 AND accounts.id <> change.account_id
             ) AS taken
             FROM email_changes AS change
             WHERE id = $2 AND completed_at IS NULL AND expires_at > now()
             FOR SHARE OF change
           ), issued AS (
             INSERT INTO email_change_tokens (token_hash, email_change_id)
             SELECT $1, id FROM open WHERE NOT taken
           )
           SELECT expires_at AS "expires_at!", taken AS "taken!" FROM open"#,
        &token.hash(),
        email_change_id,
    )
    .fetch_optional(pool)
    .await?;
    Ok(found.map(|found| match found.taken {
        true => EmailChange::Taken,
        false => EmailChange::Confirm {
            token,
            expires_at: found.expires_at,
        },
    }))
}

/// Uses the token up: its address is the account's from now on. Returns whose.
///
/// Sessions go on. Links that reset the password were sent to the old address, and end. An account
/// with the new address that was never verified gives way: nobody had proven it.
///
/// # Errors
/// When the token is unknown, expired or used, somebody else has the address by now, or the
/// machinery fails.
pub async fn complete_email_change(pool: &PgPool, token: &Token) -> Result<Uuid, EmailChangeError> {
    let mut tx = pool.begin().await?;
    // As for a reset: two uses at once have to wait for each other here.
    let old = sqlx::query_scalar!(
        "SELECT accounts.email FROM accounts
         JOIN email_changes ON account_id = accounts.id
         JOIN email_change_tokens ON email_change_id = email_changes.id
         WHERE token_hash = $1 FOR UPDATE OF accounts",
        &token.hash(),
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(EmailChangeError::Unknown)?;
    let change = sqlx::query!(
        r#"SELECT id, account_id, email, lower(email COLLATE "C") AS "email_key!",
                  completed_at IS NOT NULL AS "used!", expires_at <= now() AS "expired!"
           FROM email_changes JOIN email_change_tokens ON email_change_id = id
           WHERE token_hash = $1"#,
        &token.hash(),
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(EmailChangeError::Unknown)?;
    if change.used {
        return Err(EmailChangeError::Used);
    }
    if change.expired {
        return Err(EmailChangeError::Expired);
    }

    sqlx::query!(
        "DELETE FROM accounts WHERE email_key = $1 AND verified_at IS NULL AND id <> $2",
        change.email_key,
        change.account_id,
    )
    .execute(&mut *tx)
    .await?;
    // Should a sign-up come between the two, one of them finds the other by the constraint.
    sqlx::query!(
        "UPDATE accounts SET email = $2, email_key = $3, version = version + 1 WHERE id = $1",
        change.account_id,
        change.email,
        change.email_key,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "UPDATE email_changes SET completed_at = now() WHERE id = $1",
        change.id
    )
    .execute(&mut *tx)
    .await?;
    end_resets(&mut tx, change.account_id).await?;
    let notice = SendEmail {
        to: old,
        template: Mail::AddressChanged,
    };
    outbox::enqueue(&mut tx, &notice)
        .await
        .map_err(Error::from)?;
    tx.commit().await?;
    Ok(change.account_id)
}
