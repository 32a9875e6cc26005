//! Deliveries once more, and one to try an endpoint.

use sqlx::PgPool;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::DeliveryState;
use super::deliveries::{enqueue_again, to_make};
use crate::Error;
use crate::age::first_id_since;

/// The most deliveries that one call of [`replay_failed`] replays.
pub const MOST_REPLAYED: i64 = 10_000;

/// How many of them are one transaction, which holds their locks.
const BATCH: i64 = 500;

/// How far the clocks of the database and of those that make ids may be apart.
const CLOCKS: Duration = Duration::MINUTE;

/// The type of an event that only tries an endpoint.
const TEST_EVENT: &str = "webhook.test";

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    /// There is no such endpoint or delivery, or it is somebody else's.
    #[error("there is no such endpoint or delivery")]
    NotFound,
    /// The endpoint is disabled: it is told of nothing.
    #[error("the endpoint is disabled")]
    Disabled,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for ResendError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// How far a replay of all that failed has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// How many deliveries are pending again.
    pub deliveries: u64,
    /// There are more, for another call.
    pub more: bool,
}

/// Delivers once more what was delivered or has failed; `false` where it is pending anyway.
///
/// # Errors
/// When there is no such delivery, its endpoint is disabled, or the machinery fails.
pub async fn replay(
    pool: &PgPool,
    account_id: Uuid,
    endpoint_id: Uuid,
    id: Uuid,
) -> Result<bool, ResendError> {
    let mut tx = pool.begin().await?;
    // What two replays at once wait for: the second then finds it pending.
    let found = sqlx::query!(
        r#"SELECT state AS "state: DeliveryState", disabled_at
           FROM webhook_deliveries AS delivery
           JOIN webhook_endpoints AS endpoint ON endpoint.id = endpoint_id
           WHERE delivery.id = $3 AND endpoint_id = $2 AND account_id = $1
           FOR UPDATE OF delivery"#,
        account_id,
        endpoint_id,
        id,
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(ResendError::NotFound)?;
    if found.disabled_at.is_some() {
        return Err(ResendError::Disabled);
    }
    if found.state == DeliveryState::Pending {
        return Ok(false);
    }
    sqlx::query!(
        "UPDATE webhook_deliveries SET state = 'pending', next_attempt_at = now() WHERE id = $1",
        id
    )
    .execute(&mut *tx)
    .await?;
    enqueue_again(&mut tx, account_id, vec![id]).await?;
    tx.commit().await?;
    Ok(true)
}

/// Delivers once more whatever has failed of the events since a time, oldest first.
///
/// In transactions of some hundred deliveries each, so what it has done stays done when it fails,
/// or is cut off, in the middle; to call it again goes on from there. Up to [`MOST_REPLAYED`].
///
/// # Errors
/// When there is no such endpoint, it is disabled, or the machinery fails.
pub async fn replay_failed(
    pool: &PgPool,
    account_id: Uuid,
    endpoint_id: Uuid,
    since: OffsetDateTime,
) -> Result<Replayed, ResendError> {
    let endpoint = super::find_endpoint(pool, account_id, endpoint_id)
        .await?
        .ok_or(ResendError::NotFound)?;
    if endpoint.disabled_at.is_some() {
        return Err(ResendError::Disabled);
    }
    let mut replayed = 0;
    // Not from the oldest that has failed: for all that is older, nothing would be found.
    let mut last = first_id_since(since.saturating_sub(CLOCKS).into());
    while replayed < MOST_REPLAYED.unsigned_abs() {
        let mut tx = pool.begin().await?;
        // From where the batch before ended: one that fails again meanwhile is not taken twice.
        let mut ids = sqlx::query_scalar!(
            "UPDATE webhook_deliveries SET state = 'pending', next_attempt_at = now()
             WHERE id IN (
                 SELECT id FROM webhook_deliveries
                 WHERE endpoint_id = $1 AND state = 'failed' AND id > $2 AND created_at >= $3
                 ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED)
             RETURNING id",
            endpoint_id,
            last,
            since,
            BATCH,
        )
        .fetch_all(&mut *tx)
        .await?;
        ids.sort_unstable();
        let Some(&newest) = ids.last() else {
            return Ok(Replayed {
                deliveries: replayed,
                more: false,
            });
        };
        last = newest;
        replayed += ids.len() as u64;
        enqueue_again(&mut tx, account_id, ids).await?;
        tx.commit().await?;
    }
    Ok(Replayed {
        deliveries: replayed,
        more: true,
    })
}

/// Sends an event of type `webhook.test` to this endpoint alone, whatever its filters are; gives
/// the ids of the event and of its delivery.
///
/// # Errors
/// When there is no such endpoint, it is disabled, or the machinery fails.
pub async fn send_test_event(
    pool: &PgPool,
    account_id: Uuid,
    endpoint_id: Uuid,
) -> Result<(Uuid, Uuid), ResendError> {
    let mut tx = pool.begin().await?;
    let endpoint = sqlx::query!(
        // The account before the endpoint, as its deletion has it.
        r#"SELECT disabled_at, failing_since IS NOT NULL AS "fails!" FROM webhook_endpoints
           WHERE account_id = (SELECT id FROM accounts WHERE id = $1 FOR KEY SHARE) AND id = $2
           FOR KEY SHARE"#,
        account_id,
        endpoint_id,
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(ResendError::NotFound)?;
    if endpoint.disabled_at.is_some() {
        return Err(ResendError::Disabled);
    }
    let event_id = Uuid::now_v7();
    let made = to_make(account_id, [(endpoint_id, endpoint.fails)]);
    let delivery_id = made.ids[0];
    sqlx::query!(
        "WITH event AS (
           INSERT INTO events (id, account_id, type, data)
           VALUES ($1, $2, $3, json_build_object('endpoint_id', $5::uuid)) RETURNING id
         )
         INSERT INTO webhook_deliveries (id, event_id, endpoint_id) SELECT $4, id, $5 FROM event",
        event_id,
        account_id,
        TEST_EVENT,
        delivery_id,
        endpoint_id,
    )
    .execute(&mut *tx)
    .await?;
    made.enqueue(&mut tx).await?;
    tx.commit().await?;
    Ok((event_id, delivery_id))
}
