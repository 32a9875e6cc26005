//! What admins have done on their pages, and who it was.

use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Error;
use crate::age::first_id_after;

/// How long an action is kept, in days.
pub const ACTION_DAYS: u64 = 365;

/// What somebody is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action<'a> {
    /// In a word of lower-case letters and `_`: `retry`.
    pub name: &'a str,
    /// The queue, if it is in one.
    pub queue: Option<&'a str>,
    /// The id or the name of what it is done to, if it is one thing.
    pub target: Option<&'a str>,
}

/// An action, as the list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its id, which grows with time.
    pub id: Uuid,
    /// Who it was.
    pub account_id: Uuid,
    /// The address of that account; `None` when it is gone.
    pub email: Option<String>,
    /// See [`Action::name`].
    pub action: String,
    /// See [`Action::queue`].
    pub queue: Option<String>,
    /// See [`Action::target`].
    pub target: Option<String>,
    /// What its log lines are found by.
    pub request_id: String,
    /// When.
    pub created_at: OffsetDateTime,
}

/// Notes that this account does this now, in the request of this id.
///
/// Whoever acts records it first: an action that then fails stands there too, but none happens
/// without a line.
///
/// # Errors
/// When the machinery fails; then nothing must be done.
pub async fn record(
    pool: &PgPool,
    account_id: Uuid,
    request_id: &str,
    action: &Action<'_>,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO admin_actions (id, account_id, action, queue, target, request_id)
         VALUES ($1, $2, $3, $4, $5, $6)",
        Uuid::now_v7(),
        account_id,
        action.name,
        action.queue,
        action.target,
        request_id,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// At most `limit` actions of everybody that are older than `before`, newest first.
///
/// # Errors
/// When the database cannot be asked.
pub async fn list(pool: &PgPool, before: Option<Uuid>, limit: i64) -> Result<Vec<Recorded>, Error> {
    let actions = sqlx::query_as!(
        Recorded,
        r#"SELECT admin_actions.id, account_id, email AS "email?", action, queue, target,
                  request_id, admin_actions.created_at
           FROM admin_actions LEFT JOIN accounts ON accounts.id = account_id
           WHERE admin_actions.id < $1
           ORDER BY admin_actions.id DESC LIMIT $2"#,
        before.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(actions)
}

/// Forgets up to `limit` actions that are older than [`ACTION_DAYS`], and returns how many.
///
/// # Errors
/// When the machinery fails.
pub async fn purge(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let before = first_id_after(Duration::from_secs(ACTION_DAYS * 24 * 60 * 60));
    let purged = sqlx::query!(
        "DELETE FROM admin_actions WHERE id = ANY (ARRAY(
             SELECT id FROM admin_actions WHERE id < $1
             ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))",
        before,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}
