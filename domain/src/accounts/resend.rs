//! Mails of a sign-up that did not arrive, once more.

use sqlx::{PgConnection, PgPool};

use super::Email;
use crate::Error;
use crate::jobs::{Mail, ResendVerification, SendEmail};

/// The most sign-ups whose mails are sent again: the newest.
pub const MOST_RESENT: i64 = 3;

/// Asks for the mails of the sign-ups with this address once more.
///
/// Whether there are any is not looked up here: the worker does. So the work and the answer are
/// the same for every address.
///
/// # Errors
/// When the machinery fails.
pub async fn request_resend(pool: &PgPool, email: &Email) -> Result<(), Error> {
    let job = ResendVerification {
        email: email.as_str().to_owned(),
    };
    outbox::enqueue(&mut *pool.acquire().await?, &job).await?;
    Ok(())
}

/// Puts the mails into the outbox that there are to say about this address, and counts them.
///
/// Every waiting sign-up gets its own mail again, up to [`MOST_RESENT`]. Nobody knows which is the
/// owner's, and a password belongs to its sign-up: one mail for "the" sign-up would let whoever
/// signed up last with a stranger's address be confirmed by that stranger's own request. The mails
/// tell when each of them was, and the owner's click chooses, as it did before.
///
/// A verified account is told that there is nothing to confirm; an unknown address hears nothing.
///
/// # Errors
/// When the machinery fails.
pub async fn resend(conn: &mut PgConnection, email: &Email) -> Result<usize, Error> {
    let rows = sqlx::query!(
        r#"SELECT accounts.id, email, sign_ups.id AS "sign_up_id?"
           FROM accounts LEFT JOIN sign_ups
             ON account_id = accounts.id AND sign_ups.password_hash IS NOT NULL
           WHERE email_key = $1 AND (verified_at IS NOT NULL OR sign_ups.id IS NOT NULL)
           ORDER BY sign_ups.id DESC LIMIT $2"#,
        email.key(),
        MOST_RESENT,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mails: Vec<_> = rows
        .into_iter()
        .map(|row| SendEmail {
            to: row.email,
            template: match row.sign_up_id {
                Some(sign_up_id) => Mail::VerifyAddress {
                    account_id: row.id,
                    sign_up_id,
                },
                None => Mail::AlreadyVerified,
            },
        })
        .collect();
    outbox::enqueue_many(conn, &mails).await?;
    Ok(mails.len())
}
