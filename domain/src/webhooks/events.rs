//! Events: what has happened to an account, told once however often it is sent.

use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::EventType;
use super::deliveries::{self, ToMake};
use crate::Error;

/// How long an idempotency key is remembered, in hours.
pub const IDEMPOTENCY_HOURS: i32 = 24;

/// By which a delivery refers to its endpoint.
const OF_ENDPOINT: &str = "webhook_deliveries_endpoint_id_fkey";

/// How often an event is stored anew because an endpoint was deleted meanwhile.
const TRIES: u32 = 5;

/// Something that has happened.
#[derive(Debug)]
pub struct Event {
    /// Its id, for good: the `webhook-id` of each delivery.
    pub id: Uuid,
    /// What kind of thing.
    pub kind: String,
    /// As it was sent, to the last digit.
    pub data: Json<Box<RawValue>>,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
}

/// What an event is made of.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// What kind of thing has happened.
    pub kind: &'a EventType,
    /// A JSON object that Postgres can read: not nested without end.
    pub data: &'a RawValue,
}

/// What a client calls a request, so that it may send it again: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The text is no key. The message may be shown to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 visible ASCII characters")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
            .ok_or(InvalidIdempotencyKey)
    }
}

/// What became of a request with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The event's id.
    pub id: Uuid,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
    /// How many endpoints are told.
    pub deliveries: i32,
    /// It was accepted before, by the same request.
    pub replayed: bool,
}

/// Why an event was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// A request with this key is being worked on.
    #[error("a request with this key is in flight")]
    InFlight,
    /// The key was used for another request.
    #[error("the key was used for another request")]
    OtherRequest,
    /// The account is gone.
    #[error("there is no such account")]
    NoAccount,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for AcceptError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Stores the event, its deliveries and their jobs, once for each key.
///
/// `request_hash` is the SHA-256 of what was sent: what tells a request that is sent again from
/// another with its key. One that fails leaves nothing, and may be sent again; one that was given up
/// in the middle may have been stored, which its key then tells.
///
/// Two round trips: which endpoints are told, and one statement for all rows, jobs included, which
/// needs no transaction around it. One more for a request that was sent before.
///
/// # Errors
/// When the key is in use or was used otherwise, the account is gone, or the machinery fails.
pub async fn accept_event(
    pool: &PgPool,
    account_id: Uuid,
    key: &IdempotencyKey,
    request_hash: [u8; 32],
    event: NewEvent<'_>,
) -> Result<Accepted, AcceptError> {
    let id = Uuid::now_v7();
    let mut tries = 0;
    let (stored, deliveries) = loop {
        let told = deliveries::to_make(account_id, told(pool, account_id, event.kind).await?);
        let stored = store(pool, account_id, key, request_hash, id, &event, &told).await;
        tries += 1;
        match stored {
            // An endpoint was deleted in between; it is not there to be told the next time.
            Err(Error::Database(sqlx::Error::Database(cause)))
                if tries < TRIES && cause.constraint() == Some(OF_ENDPOINT) => {}
            // All else that is referred to is the account.
            Err(Error::Database(sqlx::Error::Database(cause)))
                if cause.is_foreign_key_violation() && cause.constraint() != Some(OF_ENDPOINT) =>
            {
                return Err(AcceptError::NoAccount);
            }
            stored => break (stored?, told.len()),
        }
    };
    let Some(created_at) = stored else {
        return accepted_before(pool, account_id, key, request_hash).await;
    };
    Ok(Accepted {
        id,
        created_at,
        deliveries: i32::try_from(deliveries).unwrap_or(i32::MAX),
        replayed: false,
    })
}

/// The endpoints that are told of an event of this kind, and of each whether it fails.
async fn told(
    pool: &PgPool,
    account_id: Uuid,
    kind: &EventType,
) -> Result<Vec<(Uuid, bool)>, sqlx::Error> {
    let told = sqlx::query!(
        r#"SELECT id, failing_since IS NOT NULL AS "fails!" FROM webhook_endpoints
           WHERE account_id = $1 AND disabled_at IS NULL
             AND (event_types = '{}' OR event_types && $2)"#,
        account_id,
        &kind.filters(),
    )
    .fetch_all(pool)
    .await?;
    Ok(told.into_iter().map(|row| (row.id, row.fails)).collect())
}

/// Stores all of it, and returns when; `None` where the key is used, or in use.
///
/// The account is held before anything else, as its deletion holds it: without that a key that is
/// used anew after its day would be held first, and the two could wait for each other.
///
/// The lock ends with the statement. It is not waited for: whoever sends twice at once hears that
/// at once, and holds no connection.
async fn store(
    pool: &PgPool,
    account_id: Uuid,
    key: &IdempotencyKey,
    request_hash: [u8; 32],
    id: Uuid,
    event: &NewEvent<'_>,
    told: &ToMake,
) -> Result<Option<OffsetDateTime>, Error> {
    let jobs = told.rows()?;
    let created_at = sqlx::query_scalar!(
        "WITH owner AS MATERIALIZED (
           SELECT id FROM accounts WHERE id = $1 FOR KEY SHARE
         ), kept AS (
           INSERT INTO idempotency_keys (account_id, key, request_hash, event_id, deliveries)
           SELECT $1, $2, $3, $4, cardinality($8::uuid[])
           WHERE (SELECT count(*) FROM owner) >= 0
             AND pg_try_advisory_xact_lock(hashtextextended($2, uuid_hash($1)))
           ON CONFLICT (account_id, key) DO UPDATE
             SET request_hash = excluded.request_hash, event_id = excluded.event_id,
                 deliveries = excluded.deliveries, created_at = now()
             WHERE idempotency_keys.created_at <= now() - make_interval(hours => $5)
           RETURNING created_at
         ), event AS (
           INSERT INTO events (id, account_id, type, data)
           SELECT $4, $1, $6, $7::text::json FROM kept
         ), delivery AS (
           INSERT INTO webhook_deliveries (id, event_id, endpoint_id)
           SELECT made.id, $4, made.endpoint_id
           FROM kept, unnest($8::uuid[], $9::uuid[]) AS made (id, endpoint_id)
         ), job AS (
           INSERT INTO job_outbox (id, envelope, queue, run_at, once)
           SELECT job.id, job.envelope, $12, $13, $14
           FROM kept, unnest($10::uuid[], $11::bytea[]) AS job (id, envelope)
         )
         SELECT created_at FROM kept",
        account_id,
        key.0,
        &request_hash,
        id,
        IDEMPOTENCY_HOURS,
        event.kind.as_str(),
        event.data.get(),
        &told.ids,
        &told.endpoints,
        &jobs.ids,
        &jobs.envelopes,
        jobs.queue,
        jobs.run_at,
        jobs.once,
    )
    .fetch_optional(pool)
    .await?;
    Ok(created_at)
}

/// What was answered to the request that has used this key; without one, it is being worked on.
///
/// Also who did not get the lock asks: another one that repeats the request may have it.
async fn accepted_before(
    pool: &PgPool,
    account_id: Uuid,
    key: &IdempotencyKey,
    request_hash: [u8; 32],
) -> Result<Accepted, AcceptError> {
    let seen = sqlx::query!(
        "SELECT request_hash, event_id, deliveries, created_at FROM idempotency_keys
         WHERE account_id = $1 AND key = $2 AND created_at > now() - make_interval(hours => $3)",
        account_id,
        key.0,
        IDEMPOTENCY_HOURS,
    )
    .fetch_optional(pool)
    .await?
    .ok_or(AcceptError::InFlight)?;
    if seen.request_hash != request_hash {
        return Err(AcceptError::OtherRequest);
    }
    Ok(Accepted {
        id: seen.event_id,
        created_at: seen.created_at,
        deliveries: seen.deliveries,
        replayed: true,
    })
}

/// The account's event with this id.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find_event(pool: &PgPool, account_id: Uuid, id: Uuid) -> Result<Option<Event>, Error> {
    let event = sqlx::query_as!(
        Event,
        r#"SELECT id, type AS kind, data AS "data: Json<Box<RawValue>>", created_at
           FROM events WHERE account_id = $1 AND id = $2"#,
        account_id,
        id,
    )
    .fetch_optional(pool)
    .await?;
    Ok(event)
}

/// Up to `limit` of the account's events, newest first, from the one after `before` on.
///
/// # Errors
/// When the database cannot be asked.
pub async fn list_events(
    pool: &PgPool,
    account_id: Uuid,
    kind: Option<&EventType>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Event>, Error> {
    let before = before.unwrap_or(Uuid::max());
    // Two statements, each with its index: one for both would read past every other type.
    let events = match kind {
        None => {
            sqlx::query_as!(
                Event,
                r#"SELECT id, type AS kind, data AS "data: Json<Box<RawValue>>", created_at
                   FROM events WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"#,
                account_id,
                before,
                limit,
            )
            .fetch_all(pool)
            .await?
        }
        Some(kind) => {
            sqlx::query_as!(
                Event,
                r#"SELECT id, type AS kind, data AS "data: Json<Box<RawValue>>", created_at
                   FROM events WHERE account_id = $1 AND type = $2 AND id < $3
                   ORDER BY id DESC LIMIT $4"#,
                account_id,
                kind.as_str(),
                before,
                limit,
            )
            .fetch_all(pool)
            .await?
        }
    };
    Ok(events)
}
