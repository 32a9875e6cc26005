//! What an owner may write into their account as they like.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Account, Name, Role, find};
use crate::Error;

/// The new values; `None` leaves the old one.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// What to be called.
    pub name: Option<Name>,
}

/// Why a profile is not changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The account is gone.
    #[error("the account is gone")]
    Gone,
    /// It has another version than the one that was to be changed.
    #[error("the account has been changed meanwhile")]
    Outdated,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for ProfileError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Changes an account, if it has one of these `versions`; `None` changes whichever it has.
///
/// # Errors
/// When it is gone, has another version, or the machinery fails.
pub async fn change_profile(
    pool: &PgPool,
    account_id: Uuid,
    change: &ProfileChange,
    versions: Option<&[i64]>,
) -> Result<Account, ProfileError> {
    let name = change.name.as_ref().map(Name::as_str);
    let changed = sqlx::query_as!(
        Account,
        r#"UPDATE accounts
           SET name = coalesce($2, name), version = version + (coalesce($2, name) <> name)::int
           WHERE id = $1 AND ($3::bigint[] IS NULL OR version = ANY ($3))
           RETURNING id, email, name, role AS "role: Role", version, verified_at, created_at"#,
        account_id,
        name,
        versions,
    )
    .fetch_optional(pool)
    .await?;
    match changed {
        Some(account) => Ok(account),
        None if find(pool, account_id).await?.is_some() => Err(ProfileError::Outdated),
        None => Err(ProfileError::Gone),
    }
}
