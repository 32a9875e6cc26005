//! Accounts as an admin sees them.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Account, Email, Role};
use crate::Error;

/// At most `limit` accounts that are older than `before`, newest first.
///
/// # Errors
/// When the database cannot be asked.
pub async fn list(pool: &PgPool, before: Option<Uuid>, limit: i64) -> Result<Vec<Account>, Error> {
    // Ids grow with time. The largest stands for "from the newest on", so that one plan serves both.
    let accounts = sqlx::query_as!(
        Account,
        r#"SELECT id, email, name, role AS "role: Role", version, verified_at, created_at
           FROM accounts WHERE id < $1 ORDER BY id DESC LIMIT $2"#,
        before.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(accounts)
}

/// The account with this address, in any case of its letters.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find_by_email(pool: &PgPool, email: &Email) -> Result<Option<Account>, Error> {
    let account = sqlx::query_as!(
        Account,
        r#"SELECT id, email, name, role AS "role: Role", version, verified_at, created_at
           FROM accounts WHERE email_key = $1"#,
        email.key()
    )
    .fetch_optional(pool)
    .await?;
    Ok(account)
}
