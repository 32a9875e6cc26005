//! Deliveries: that one endpoint is told of one event, and what came of it.

use std::num::NonZeroU8;

use queue::KeyLimit;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Error;
use crate::jobs::DeliverWebhook;

/// How many deliveries of one account are on their way at once. Together with those below they are
/// half of a worker's places, so receivers that hang do not hold up what others are told.
const AT_ONCE: NonZeroU8 = NonZeroU8::new(4).unwrap();

/// How many of those that are made again, or go to an endpoint that fails: what an endpoint takes at
/// once does not wait for them.
const AGAIN_AT_ONCE: NonZeroU8 = NonZeroU8::new(2).unwrap();

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits for its first attempt or another one.
    Pending,
    /// The endpoint has taken it.
    Delivered,
    /// It was given up, and may be replayed.
    Failed,
}

impl DeliveryState {
    /// Every one, for whoever reads or describes them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The name it has in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, for good.
    pub id: Uuid,
    /// Of what the endpoint is told.
    pub event_id: Uuid,
    /// How far it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was tried last.
    pub attempted_at: Option<OffsetDateTime>,
    /// How long the last attempt took, in milliseconds.
    pub duration_ms: Option<i32>,
    /// The status of the last attempt's answer; none where there was no answer.
    pub response_status: Option<i16>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// About when the next attempt is made, while it is pending.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// When the event was accepted.
    pub created_at: OffsetDateTime,
}

/// A delivery with the answer to its last attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The delivery.
    pub delivery: Delivery,
    /// The beginning of the answer's body, as text.
    pub response_body: Option<String>,
}

/// Deliveries that are about to be stored, and their jobs.
pub(super) struct ToMake {
    pub(super) ids: Vec<Uuid>,
    pub(super) endpoints: Vec<Uuid>,
    /// For the job of each.
    slots: Vec<KeyLimit>,
}

/// A delivery to each of these endpoints of the account; of each, whether it fails.
pub(super) fn to_make(
    account_id: Uuid,
    endpoints: impl IntoIterator<Item = (Uuid, bool)>,
) -> ToMake {
    let (endpoints, slots): (_, Vec<_>) = endpoints
        .into_iter()
        .map(|(id, fails)| (id, slot(account_id, fails)))
        .unzip();
    ToMake {
        ids: slots.iter().map(|_| Uuid::now_v7()).collect(),
        endpoints,
        slots,
    }
}

impl ToMake {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Puts a job for each into the outbox, in one statement.
    pub(super) async fn enqueue(self, conn: &mut PgConnection) -> Result<(), Error> {
        enqueue(conn, &self.jobs()).await
    }

    /// The job for each, as rows of the outbox for the statement that makes the deliveries.
    pub(super) fn rows(&self) -> Result<outbox::Rows, Error> {
        let rows = outbox::Rows::slotted(&self.jobs(), outbox::Options::default())?;
        Ok(rows)
    }

    fn jobs(&self) -> Vec<(DeliverWebhook, KeyLimit)> {
        let jobs = self.ids.iter().zip(&self.slots);
        jobs.map(|(id, slot)| (DeliverWebhook::new(*id), slot.clone()))
            .collect()
    }
}

/// Puts a job into the outbox for each of these deliveries of the account, which were made before.
pub(super) async fn enqueue_again(
    conn: &mut PgConnection,
    account_id: Uuid,
    ids: Vec<Uuid>,
) -> Result<(), Error> {
    let slot = slot(account_id, true);
    let jobs = ids.into_iter();
    let jobs: Vec<_> = jobs
        .map(|id| (DeliverWebhook::new(id), slot.clone()))
        .collect();
    enqueue(conn, &jobs).await
}

async fn enqueue(
    conn: &mut PgConnection,
    jobs: &[(DeliverWebhook, KeyLimit)],
) -> Result<(), Error> {
    if !jobs.is_empty() {
        outbox::enqueue_many_slotted(conn, jobs, outbox::Options::default()).await?;
    }
    Ok(())
}

/// What jobs of an account share: those that deliver again or to an endpoint that fails, and the
/// others.
pub(super) fn slot(account_id: Uuid, again: bool) -> KeyLimit {
    if again {
        KeyLimit::new(format!("{account_id} again"), AGAIN_AT_ONCE)
    } else {
        KeyLimit::new(account_id.to_string(), AT_ONCE)
    }
}

/// The delivery with this id to this endpoint of the account.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find_delivery(
    pool: &PgPool,
    account_id: Uuid,
    endpoint_id: Uuid,
    id: Uuid,
) -> Result<Option<Answer>, Error> {
    let row = sqlx::query!(
        r#"SELECT delivery.id, event_id, state AS "state: DeliveryState", attempts, attempted_at,
                  duration_ms, response_status, error, next_attempt_at, delivery.created_at,
                  response_body
           FROM webhook_deliveries AS delivery
           JOIN webhook_endpoints AS endpoint ON endpoint.id = endpoint_id
           WHERE delivery.id = $3 AND endpoint_id = $2 AND account_id = $1"#,
        account_id,
        endpoint_id,
        id,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Answer {
        delivery: Delivery {
            id: row.id,
            event_id: row.event_id,
            state: row.state,
            attempts: row.attempts,
            attempted_at: row.attempted_at,
            duration_ms: row.duration_ms,
            response_status: row.response_status,
            error: row.error,
            next_attempt_at: row.next_attempt_at,
            created_at: row.created_at,
        },
        response_body: row.response_body,
    }))
}

/// Up to `limit` deliveries to an endpoint, newest first, from the one after `before` on; of one
/// state or event, where these are given.
///
/// Whose endpoint it is, is the caller's to check.
///
/// # Errors
/// When the database cannot be asked.
pub async fn list_deliveries(
    pool: &PgPool,
    endpoint_id: Uuid,
    state: Option<DeliveryState>,
    event_id: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Delivery>, Error> {
    let before = before.unwrap_or(Uuid::max());
    // A statement for each index: one for all of them would read past whatever does not fit.
    let deliveries = match (event_id, state) {
        (Some(event_id), _) => {
            sqlx::query_as!(
                Delivery,
                r#"SELECT id, event_id, state AS "state: DeliveryState", attempts, attempted_at,
                          duration_ms, response_status, error, next_attempt_at, created_at
                   FROM webhook_deliveries
                   WHERE event_id = $1 AND endpoint_id = $2 AND state = coalesce($3, state)
                     AND id < $4 ORDER BY id DESC LIMIT $5"#,
                event_id,
                endpoint_id,
                state.map(DeliveryState::as_str),
                before,
                limit,
            )
            .fetch_all(pool)
            .await?
        }
        (None, Some(state)) => {
            sqlx::query_as!(
                Delivery,
                r#"SELECT id, event_id, state AS "state: DeliveryState", attempts, attempted_at,
                          duration_ms, response_status, error, next_attempt_at, created_at
                   FROM webhook_deliveries
                   WHERE endpoint_id = $1 AND state = $2 AND id < $3 ORDER BY id DESC LIMIT $4"#,
                endpoint_id,
                state.as_str(),
                before,
                limit,
            )
            .fetch_all(pool)
            .await?
        }
        (None, None) => {
            sqlx::query_as!(
                Delivery,
                r#"SELECT id, event_id, state AS "state: DeliveryState", attempts, attempted_at,
                          duration_ms, response_status, error, next_attempt_at, created_at
                   FROM webhook_deliveries
                   WHERE endpoint_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"#,
                endpoint_id,
                before,
                limit,
            )
            .fetch_all(pool)
            .await?
        }
    };
    Ok(deliveries)
}
