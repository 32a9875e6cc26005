//! Endpoints: where an account wants to be told, and of what.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{EventFilter, Keys, Secret, Target};
use crate::Error;

/// The most endpoints of one account: each event is delivered to as many.
pub const MOST_ENDPOINTS: i64 = 50;

/// How long the secret before a rotation still signs as well, in hours.
pub const SECRET_OVERLAP_HOURS: i32 = 24;

/// A URL that is told of an account's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id, for good.
    pub id: Uuid,
    /// Where deliveries are sent to.
    pub url: String,
    /// Its owner's words.
    pub description: String,
    /// The filters that an event's type has to pass one of; empty for all events.
    pub event_types: Vec<String>,
    /// Since when it is told of nothing.
    pub disabled_at: Option<OffsetDateTime>,
    /// Why: `owner`, `gone` (it answered 410) or `failing` (for days).
    pub disabled_reason: Option<String>,
    /// Since when every attempt has failed.
    pub failing_since: Option<OffsetDateTime>,
    /// Until when the secret before the last rotation signs as well.
    pub old_secret_until: Option<OffsetDateTime>,
    /// Grows with each change.
    pub version: i64,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

/// What an endpoint is made of.
#[derive(Debug)]
pub struct NewEndpoint<'a> {
    /// Where deliveries are sent to.
    pub url: &'a Target,
    /// Its owner's words.
    pub description: &'a str,
    /// Empty for all events.
    pub event_types: &'a [EventFilter],
}

/// What is to be changed; what is `None` stays.
#[derive(Debug, Default)]
pub struct Change<'a> {
    /// Where deliveries are sent to.
    pub url: Option<&'a Target>,
    /// Its owner's words.
    pub description: Option<&'a str>,
    /// Empty for all events.
    pub event_types: Option<&'a [EventFilter]>,
    /// Whether it is told of anything.
    pub enabled: Option<bool>,
}

/// The versions that a change may be made to; `None` for any.
pub type Versions<'a> = Option<&'a [i64]>;

/// Why no endpoint was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There are [`MOST_ENDPOINTS`].
    #[error("the account has as many endpoints as it may have")]
    TooMany,
    /// The account is gone.
    #[error("there is no such account")]
    NoAccount,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for CreateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Why an endpoint was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is none, or it is somebody else's.
    #[error("there is no such endpoint")]
    NotFound,
    /// It has another version than the one that was to be changed.
    #[error("the endpoint was changed meanwhile")]
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

/// Makes an endpoint, and the secret that only this answer ever shows.
///
/// # Errors
/// When the account has too many, is gone, or the machinery fails.
pub async fn create_endpoint(
    pool: &PgPool,
    keys: &Keys,
    account_id: Uuid,
    new: NewEndpoint<'_>,
) -> Result<(Endpoint, Secret), CreateError> {
    let (key_id, salt, secret) = keys.generate();
    let mut tx = pool.begin().await?;
    // The account's row is what two creations at once have to wait for, so that both count right.
    // It leaves alone whatever only refers to the account, such as its events.
    sqlx::query_scalar!(
        "SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE",
        account_id
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(CreateError::NoAccount)?;
    let endpoint = sqlx::query_as!(
        Endpoint,
        "INSERT INTO webhook_endpoints
             (id, account_id, url, description, event_types, secret_key_id, secret_salt)
         SELECT $1, $2, $3, $4, $5, $6, $7
         WHERE (SELECT count(*) FROM webhook_endpoints WHERE account_id = $2) < $8
         RETURNING id, url, description, event_types, disabled_at, disabled_reason, failing_since,
                   old_secret_until, version, created_at, updated_at",
        Uuid::now_v7(),
        account_id,
        new.url.as_str(),
        new.description,
        &texts(new.event_types),
        key_id,
        &salt[..],
        MOST_ENDPOINTS,
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(CreateError::TooMany)?;
    tx.commit().await?;
    Ok((endpoint, secret))
}

/// The account's endpoint with this id.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find_endpoint(
    pool: &PgPool,
    account_id: Uuid,
    id: Uuid,
) -> Result<Option<Endpoint>, Error> {
    let endpoint = sqlx::query_as!(
        Endpoint,
        "SELECT id, url, description, event_types, disabled_at, disabled_reason, failing_since,
                old_secret_until, version, created_at, updated_at
         FROM webhook_endpoints WHERE account_id = $1 AND id = $2",
        account_id,
        id,
    )
    .fetch_optional(pool)
    .await?;
    Ok(endpoint)
}

/// Up to `limit` of the account's endpoints, newest first, from the one after `before` on.
///
/// # Errors
/// When the database cannot be asked.
pub async fn list_endpoints(
    pool: &PgPool,
    account_id: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Endpoint>, Error> {
    let endpoints = sqlx::query_as!(
        Endpoint,
        "SELECT id, url, description, event_types, disabled_at, disabled_reason, failing_since,
                old_secret_until, version, created_at, updated_at
         FROM webhook_endpoints WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        account_id,
        before.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(endpoints)
}

/// Changes the endpoint, if it still has an `expected` version; what changes nothing leaves that.
///
/// One that is enabled again, or moved, begins anew: it is not failing until it fails.
///
/// # Errors
/// When there is none, it has another version, or the machinery fails.
pub async fn change_endpoint(
    pool: &PgPool,
    account_id: Uuid,
    id: Uuid,
    expected: Versions<'_>,
    change: Change<'_>,
) -> Result<Endpoint, ChangeError> {
    let event_types = change.event_types.map(texts);
    let changed = sqlx::query_as!(
        Endpoint,
        "UPDATE webhook_endpoints AS endpoint SET
             url = coalesce($4, url),
             description = coalesce($5, description),
             event_types = coalesce($6, event_types),
             disabled_at = CASE WHEN $7 THEN NULL WHEN NOT $7 THEN coalesce(disabled_at, now())
                                ELSE disabled_at END,
             disabled_reason = CASE WHEN $7 THEN NULL
                                    WHEN NOT $7 THEN coalesce(disabled_reason, 'owner')
                                    ELSE disabled_reason END,
             failing_since = CASE WHEN $7 OR $4 <> url THEN NULL ELSE failing_since END,
             version = version + differs::int,
             updated_at = CASE WHEN differs THEN now() ELSE updated_at END
         FROM (SELECT id, ($4 <> url OR $5 <> description OR $6 <> event_types
                           OR $7 <> (disabled_at IS NULL)
                           OR $7 AND failing_since IS NOT NULL) IS TRUE AS differs
               FROM webhook_endpoints
               WHERE account_id = $1 AND id = $2 AND ($3::bigint[] IS NULL OR version = ANY ($3))
               FOR NO KEY UPDATE) AS before
         WHERE endpoint.id = before.id
         RETURNING endpoint.id, url, description, event_types, disabled_at, disabled_reason,
                   failing_since, old_secret_until, version, created_at, updated_at",
        account_id,
        id,
        expected,
        change.url.map(Target::as_str),
        change.description,
        event_types.as_deref(),
        change.enabled,
    )
    .fetch_optional(pool)
    .await?;
    match changed {
        Some(endpoint) => Ok(endpoint),
        None => Err(unchanged(pool, account_id, id).await?),
    }
}

/// Gives the endpoint a new secret, which only this answer ever shows.
///
/// The one before it signs as well for [`SECRET_OVERLAP_HOURS`]; one from before that ends now.
///
/// # Errors
/// When there is none, it has another version than `expected`, or the machinery fails.
pub async fn rotate_secret(
    pool: &PgPool,
    keys: &Keys,
    account_id: Uuid,
    id: Uuid,
    expected: Versions<'_>,
) -> Result<(Endpoint, Secret), ChangeError> {
    let (key_id, salt, secret) = keys.generate();
    let rotated = sqlx::query_as!(
        Endpoint,
        "UPDATE webhook_endpoints SET
             old_secret_key_id = secret_key_id,
             old_secret_salt = secret_salt,
             old_secret_until = now() + make_interval(hours => $5),
             secret_key_id = $3,
             secret_salt = $4,
             version = version + 1,
             updated_at = now()
         WHERE account_id = $1 AND id = $2 AND ($6::bigint[] IS NULL OR version = ANY ($6))
         RETURNING id, url, description, event_types, disabled_at, disabled_reason, failing_since,
                   old_secret_until, version, created_at, updated_at",
        account_id,
        id,
        key_id,
        &salt[..],
        SECRET_OVERLAP_HOURS,
        expected,
    )
    .fetch_optional(pool)
    .await?;
    match rotated {
        Some(endpoint) => Ok((endpoint, secret)),
        None => Err(unchanged(pool, account_id, id).await?),
    }
}

/// Deletes the endpoint with its deliveries; a job that comes for one of them finds none.
///
/// # Errors
/// When there is none, it has another version than `expected`, or the machinery fails.
pub async fn delete_endpoint(
    pool: &PgPool,
    account_id: Uuid,
    id: Uuid,
    expected: Versions<'_>,
) -> Result<(), ChangeError> {
    let deleted = sqlx::query!(
        "DELETE FROM webhook_endpoints
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
    let found = find_endpoint(pool, account_id, id).await?;
    Ok(found.map_or(ChangeError::NotFound, |_| ChangeError::VersionMismatch))
}

fn texts(filters: &[EventFilter]) -> Vec<String> {
    let texts = filters.iter().map(|filter| filter.as_str().to_owned());
    texts.collect()
}
