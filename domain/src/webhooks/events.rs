//! Events: what has happened to an account, told once however often it is sent.

use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{EventType, deliveries};
use crate::Error;

/// How long an idempotency key is remembered, in hours.
pub const IDEMPOTENCY_HOURS: i32 = 24;

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
/// another with its key. One that fails leaves nothing, and may be sent again.
///
/// Five round trips: BEGIN, all that has to be known, all that is written but the jobs, the jobs,
/// COMMIT; one less where no endpoint is told.
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
    let mut tx = pool.begin().await?;
    // The lock ends with the transaction. It is not waited for: whoever sends twice at once hears
    // that at once, and holds no connection. The endpoints are held until the deliveries refer to
    // them.
    let known = sqlx::query!(
        r#"SELECT pg_try_advisory_xact_lock(hashtextextended($2, uuid_hash($1))) AS "locked!",
                  seen.request_hash AS "request_hash?", seen.event_id AS "event_id?",
                  seen.deliveries AS "deliveries?", seen.created_at AS "created_at?",
                  ARRAY(SELECT id FROM webhook_endpoints
                        WHERE account_id = $1 AND disabled_at IS NULL
                          AND (event_types = '{}' OR event_types && $3)
                        FOR KEY SHARE) AS "endpoints!"
           FROM (SELECT) AS request
           LEFT JOIN idempotency_keys AS seen
             ON account_id = $1 AND key = $2 AND created_at > now() - make_interval(hours => $4)"#,
        account_id,
        key.0,
        &event.kind.filters(),
        IDEMPOTENCY_HOURS,
    )
    .fetch_one(&mut *tx)
    .await?;
    if let (Some(hash), Some(id), Some(deliveries), Some(created_at)) = (
        known.request_hash,
        known.event_id,
        known.deliveries,
        known.created_at,
    ) {
        // Before the answer, so that whoever has it finds nothing in flight.
        tx.rollback().await?;
        if hash != request_hash {
            return Err(AcceptError::OtherRequest);
        }
        return Ok(Accepted {
            id,
            created_at,
            deliveries,
            replayed: true,
        });
    }
    if !known.locked {
        return Err(AcceptError::InFlight);
    }

    let id = Uuid::now_v7();
    let made = deliveries::to_make(known.endpoints);
    let count = i32::try_from(made.len()).unwrap_or(i32::MAX);
    let created_at = sqlx::query_scalar!(
        "WITH request AS (
           INSERT INTO idempotency_keys (account_id, key, request_hash, event_id, deliveries)
           VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (account_id, key) DO UPDATE
             SET request_hash = excluded.request_hash, event_id = excluded.event_id,
                 deliveries = excluded.deliveries, created_at = now()
             WHERE idempotency_keys.created_at <= now() - make_interval(hours => $6)
           RETURNING created_at
         ), event AS (
           INSERT INTO events (id, account_id, type, data) SELECT $4, $1, $7, $8::text::json
           FROM request RETURNING id
         ), delivery AS (
           INSERT INTO webhook_deliveries (id, event_id, endpoint_id)
           SELECT made.id, event.id, made.endpoint_id
           FROM event, unnest($9::uuid[], $10::uuid[]) AS made (id, endpoint_id)
         )
         SELECT created_at FROM request",
        account_id,
        key.0,
        &request_hash,
        id,
        count,
        IDEMPOTENCY_HOURS,
        event.kind.as_str(),
        event.data.get(),
        &made.ids,
        &made.endpoints,
    )
    .fetch_optional(&mut *tx)
    .await
    .map_err(|error| match &error {
        // All that is referred to and not held is the account.
        sqlx::Error::Database(cause) if cause.is_foreign_key_violation() => AcceptError::NoAccount,
        _ => error.into(),
    })?
    // Another request had the lock until after this one had looked for its row.
    .ok_or(AcceptError::InFlight)?;
    made.enqueue(&mut tx).await?;
    tx.commit().await?;
    Ok(Accepted {
        id,
        created_at,
        deliveries: count,
        replayed: false,
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
