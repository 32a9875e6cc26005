//! Who is an admin.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Account, Email, Role};
use crate::Error;

/// Why a role is not changed.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// No account has this address.
    #[error("no account has this address")]
    Unknown,
    /// Nobody has proven the address, so nobody knows whose the account is.
    #[error("the address of this account is not verified")]
    Unverified,
    /// Nobody would be left who is an admin.
    #[error("this is the last admin")]
    LastAdmin,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for RoleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// What this account may do; `None` when it is gone.
///
/// # Errors
/// When the database cannot be asked.
pub async fn role(pool: &PgPool, account_id: Uuid) -> Result<Option<Role>, Error> {
    let role = sqlx::query_scalar!(
        r#"SELECT role AS "role: Role" FROM accounts WHERE id = $1"#,
        account_id
    )
    .fetch_optional(pool)
    .await?;
    Ok(role)
}

/// All admins, oldest account first.
///
/// # Errors
/// When the database cannot be asked.
pub async fn admins(pool: &PgPool) -> Result<Vec<Account>, Error> {
    let admins = sqlx::query_as!(
        Account,
        r#"SELECT id, email, name, role AS "role: Role", version, verified_at, created_at
           FROM accounts WHERE role = 'admin' ORDER BY id"#
    )
    .fetch_all(pool)
    .await?;
    Ok(admins)
}

/// Whether nobody else is an admin. One who asks keeps the others admins until its transaction ends.
///
/// All of them are locked, in one order: of two who go at once, one is the last. For a member
/// nothing is.
pub(super) async fn is_last_admin(
    conn: &mut PgConnection,
    account_id: Uuid,
) -> Result<bool, sqlx::Error> {
    let admins = sqlx::query_scalar!(
        "SELECT id FROM accounts WHERE role = 'admin'
           AND EXISTS (SELECT FROM accounts WHERE id = $1 AND role = 'admin')
         ORDER BY id FOR NO KEY UPDATE",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(admins == [account_id])
}

/// Makes the verified account with this address an admin; returns whose it is.
///
/// # Errors
/// When there is no such account, its address is not verified, or the machinery fails.
pub async fn grant_admin(pool: &PgPool, email: &Email) -> Result<Uuid, RoleError> {
    let mut tx = pool.begin().await?;
    let account = sqlx::query!(
        r#"SELECT id, verified_at IS NOT NULL AS "verified!" FROM accounts
           WHERE email_key = $1 FOR UPDATE"#,
        email.key()
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(RoleError::Unknown)?;
    if !account.verified {
        return Err(RoleError::Unverified);
    }
    sqlx::query!(
        "UPDATE accounts SET role = 'admin', version = version + 1
         WHERE id = $1 AND role <> 'admin'",
        account.id
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(account.id)
}

/// Makes the account with this address a member; returns whose it is.
///
/// # Errors
/// When there is no such account, it is the last admin and `even_the_last` is not set, or the
/// machinery fails.
pub async fn revoke_admin(
    pool: &PgPool,
    email: &Email,
    even_the_last: bool,
) -> Result<Uuid, RoleError> {
    let mut tx = pool.begin().await?;
    // All of them locked, in one order: of two who are revoked at once, one is the last.
    let admins =
        sqlx::query_scalar!("SELECT id FROM accounts WHERE role = 'admin' ORDER BY id FOR UPDATE")
            .fetch_all(&mut *tx)
            .await?;
    let id = sqlx::query_scalar!("SELECT id FROM accounts WHERE email_key = $1", email.key())
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(RoleError::Unknown)?;
    if admins == [id] && !even_the_last {
        return Err(RoleError::LastAdmin);
    }
    sqlx::query!(
        "UPDATE accounts SET role = 'member', version = version + 1
         WHERE id = $1 AND role <> 'member'",
        id
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(id)
}
