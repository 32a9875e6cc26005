//! A new password for an account: how it is set, and the change by its owner.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{OwnerError, Password, owner};
use crate::jobs::{Mail, SendEmail};
use crate::{Error, sessions};

/// Changes the password, and tells the owner by mail.
///
/// All sessions end but `session_id`, the one it is changed in.
///
/// # Errors
/// When `current` is not the password, or the machinery fails.
pub async fn change_password(
    pool: &PgPool,
    account_id: Uuid,
    session_id: Uuid,
    current: Password,
    new: Password,
) -> Result<(), OwnerError> {
    // Before the transaction, as it takes long.
    let hash = new.hash().await?;
    let mut owner = owner::begin(pool, account_id, current).await?;
    replace(&mut owner.tx, account_id, &hash, Some(session_id)).await?;
    owner.tx.commit().await?;
    Ok(())
}

/// Makes `hash` the password of an account whose row the transaction has locked.
///
/// It ends what somebody else may have begun who knew the old one or reads old mail: the sessions
/// but for `keep`, the links that reset the password, and an open change of the address.
pub(super) async fn replace(
    conn: &mut PgConnection,
    account_id: Uuid,
    hash: &str,
    keep: Option<Uuid>,
) -> Result<(), Error> {
    // Whoever resets the password of an unverified account has read its mail, and so proven it.
    let email = sqlx::query_scalar!(
        "UPDATE accounts SET password_hash = $2, verified_at = coalesce(verified_at, now())
         WHERE id = $1 RETURNING email",
        account_id,
        hash,
    )
    .fetch_one(&mut *conn)
    .await?;
    sessions::revoke_all(conn, account_id, keep).await?;
    end_resets(conn, account_id).await?;
    end_email_changes(conn, account_id).await?;
    let mail = SendEmail {
        to: email,
        template: Mail::PasswordChanged,
    };
    outbox::enqueue(conn, &mail).await?;
    Ok(())
}

/// Uses up every link that could reset the password.
pub(super) async fn end_resets(conn: &mut PgConnection, account_id: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE password_reset_tokens SET used_at = now()
         WHERE account_id = $1 AND used_at IS NULL",
        account_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets an open change of the address.
pub(super) async fn end_email_changes(
    conn: &mut PgConnection,
    account_id: Uuid,
) -> Result<(), Error> {
    sqlx::query!(
        "DELETE FROM email_changes WHERE account_id = $1 AND completed_at IS NULL",
        account_id
    )
    .execute(conn)
    .await?;
    Ok(())
}
