//! The end of sessions: one, or all of an account.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::Error;

/// Ends a session of this account, and tells whether there was one to end.
///
/// # Errors
/// When the database cannot be asked.
pub async fn revoke(
    conn: &mut PgConnection,
    account_id: Uuid,
    session_id: Uuid,
) -> Result<bool, Error> {
    let ended = sqlx::query!(
        "UPDATE sessions SET revoked_at = now()
         WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL",
        session_id,
        account_id,
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// Ends all sessions of an account, but for `except`, and tells how many they were.
///
/// Whoever changes a password calls it in the same transaction, after the update of the account's
/// row: that row keeps log-ins with the old password out until the commit.
///
/// # Errors
/// When the database cannot be asked.
pub async fn revoke_all(
    conn: &mut PgConnection,
    account_id: Uuid,
    except: Option<Uuid>,
) -> Result<u64, Error> {
    // Locked in one order, so that two of these at once cannot wait for each other.
    let ended = sqlx::query!(
        "UPDATE sessions SET revoked_at = now() WHERE id IN (
           SELECT id FROM sessions
           WHERE account_id = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $2
           ORDER BY id FOR UPDATE
         )",
        account_id,
        except,
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected())
}
