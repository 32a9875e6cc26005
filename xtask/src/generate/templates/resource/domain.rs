//! {Things}: each belongs to the account that made it.
//!
//! Ids are UUIDs of version 7, so a list is a walk backwards through an index: newest first, and
//! the last id of a page is where the next begins, whatever is inserted or deleted meanwhile.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Error;

/// {A thing}, as its owner made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widget {
    /// Its id, for good.
    pub id: Uuid,
    //# each
    /// {Its field}.
    pub FIELD: RUST_TYPE,
    //# end
    /// Grows with each change.
    pub version: i64,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

/// What {a thing} is made of.
#[derive(Debug)]
pub struct NewWidget {
    //# each
    /// {Its field}.
    pub FIELD: RUST_TYPE,
    //# end
}

/// What is to be changed; what is `None` stays.
#[derive(Debug, Default)]
pub struct WidgetChange {
    //# each
    /// {Its field}.
    pub FIELD: Option<RUST_TYPE>,
    //# end
}

/// Why {a thing} was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is none, or it is somebody else's.
    #[error("there is no such {thing}")]
    NotFound,
    /// It has another version than the one that was to be changed.
    #[error("the {thing} was changed meanwhile")]
    VersionMismatch,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Makes {a thing}; `None` when the account is gone.
///
/// # Errors
/// When the database cannot be asked.
pub async fn create(
    pool: &PgPool,
    account_id: Uuid,
    new: &NewWidget,
) -> Result<Option<Widget>, Error> {
    // The lock is that of the foreign key: an account that is being deleted is waited for.
    let widget = sqlx::query_as!(
        Widget,
        "INSERT INTO widgets (id, account_id, {columns})
         SELECT $1, id, {values} FROM accounts WHERE id = $2 FOR KEY SHARE
         RETURNING id, {columns}, version, created_at, updated_at",
        Uuid::now_v7(),
        account_id,
        //# each
        NEW_FIELD,
        //# end
    )
    .fetch_optional(pool)
    .await?;
    Ok(widget)
}

/// The account's {thing} with this id.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find(pool: &PgPool, account_id: Uuid, id: Uuid) -> Result<Option<Widget>, Error> {
    let widget = sqlx::query_as!(
        Widget,
        "SELECT id, {columns}, version, created_at, updated_at
         FROM widgets WHERE account_id = $1 AND id = $2",
        account_id,
        id,
    )
    .fetch_optional(pool)
    .await?;
    Ok(widget)
}

/// Up to `limit` of the account's {things}, newest first, from the one after `before` on.
///
/// # Errors
/// When the database cannot be asked.
pub async fn list(
    pool: &PgPool,
    account_id: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Widget>, Error> {
    let widgets = sqlx::query_as!(
        Widget,
        "SELECT id, {columns}, version, created_at, updated_at
         FROM widgets WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        account_id,
        before.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(widgets)
}

/// Changes the {thing}, if it still has an `expected` version; `None` changes whichever it has.
///
/// # Errors
/// When there is none, it has another version, or the machinery fails.
pub async fn change(
    pool: &PgPool,
    account_id: Uuid,
    id: Uuid,
    expected: Option<&[i64]>,
    change: &WidgetChange,
) -> Result<Widget, ChangeError> {
    let changed = sqlx::query_as!(
        Widget,
        "UPDATE widgets SET
             //# each
             FIELD = coalesce($CHANGED, FIELD),
             //# end
             version = version + 1,
             updated_at = now()
         WHERE account_id = $1 AND id = $2 AND ($3::bigint[] IS NULL OR version = ANY ($3))
         RETURNING id, {columns}, version, created_at, updated_at",
        account_id,
        id,
        expected,
        //# each
        CHANGED_FIELD,
        //# end
    )
    .fetch_optional(pool)
    .await?;
    match changed {
        Some(widget) => Ok(widget),
        None => Err(unchanged(pool, account_id, id).await?),
    }
}

/// Deletes the {thing}.
///
/// # Errors
/// When there is none, it has another version than `expected`, or the machinery fails.
pub async fn delete(
    pool: &PgPool,
    account_id: Uuid,
    id: Uuid,
    expected: Option<&[i64]>,
) -> Result<(), ChangeError> {
    let deleted = sqlx::query!(
        "DELETE FROM widgets
         WHERE account_id = $1 AND id = $2 AND ($3::bigint[] IS NULL OR version = ANY ($3))",
        account_id,
        id,
        expected,
    )
    .execute(pool)
    .await?;
    if deleted.rows_affected() == 0 {
        return Err(unchanged(pool, account_id, id).await?);
    }
    Ok(())
}

/// Why a change found no row: there is none, or it has another version.
async fn unchanged(pool: &PgPool, account_id: Uuid, id: Uuid) -> Result<ChangeError, Error> {
    let found = find(pool, account_id, id).await?;
    Ok(found.map_or(ChangeError::NotFound, |_| ChangeError::VersionMismatch))
}
