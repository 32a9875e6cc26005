//! What came of an attempt: noted once, together with what follows from it.

use std::time::{Duration, SystemTime};

use queue::JobId;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::deliveries::slot;
use crate::Error;
use crate::jobs::{DeliverWebhook, Mail, SendEmail};

/// How long after each failed attempt the next one is made, in seconds: over some 22 hours.
const WAITS: [u32; 10] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 28_800];

/// The longest that a receiver's `Retry-After` is followed.
const LONGEST_WAIT: Duration = Duration::from_secs(28_800);

/// An endpoint that has answered nothing but errors for so many days is disabled.
pub const FAILING_DAYS: i32 = 5;

/// What came of an attempt.
#[derive(Debug)]
pub struct Outcome {
    /// The URL that was called: what is said of it is not said of one that took its place.
    pub called: String,
    /// How long it took.
    pub duration: Duration,
    /// What was answered, if anything was.
    pub response: Option<Response>,
    /// Why there was no answer, or what is wrong with it; for the endpoint's owner.
    pub error: Option<String>,
    /// The attempt failed by us: it says nothing of the endpoint, and does not count against it.
    pub by_us: bool,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// The beginning of its body, at most 16 KiB and without null bytes.
    pub body: String,
    /// When the receiver asks to be called again.
    pub retry_after: Option<Duration>,
}

/// What follows from an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted {
    /// The receiver has it.
    Delivered,
    /// It is tried again after this time.
    Retried(Duration),
    /// It was given up.
    Failed,
    /// It was given up, and the endpoint disabled.
    Disabled,
    /// Nothing: another copy of the job has noted its own, or the delivery is gone.
    Nothing,
}

impl Outcome {
    /// Whether the receiver has taken the event.
    fn is_success(&self) -> bool {
        let response = self.response.as_ref();
        response.is_some_and(|response| (200..300).contains(&response.status))
    }

    /// Whether the receiver never wants to be called again.
    fn is_gone(&self) -> bool {
        let response = self.response.as_ref();
        response.is_some_and(|response| response.status == 410)
    }

    /// The header means something with these two (RFC 6585, 4 and RFC 9110, 15.6.4).
    fn retry_after(&self) -> Option<Duration> {
        let response = self.response.as_ref()?;
        let busy = matches!(response.status, 429 | 503);
        response.retry_after.filter(|_| busy)
    }
}

/// Notes what came of the attempt that the job `id` has made, and sees to what follows.
///
/// All in one transaction with the job's token: a retry is a job of its own, and so is the mail
/// about an endpoint that this attempt has disabled.
///
/// # Errors
/// When the machinery fails; nothing is noted then.
pub async fn note(
    pool: &PgPool,
    id: JobId,
    job: &DeliverWebhook,
    outcome: &Outcome,
) -> Result<Noted, Error> {
    let mut tx = pool.begin().await?;
    if !outbox::once(&mut tx, id).await? {
        return Ok(Noted::Nothing);
    }
    let noted = if outcome.is_success() {
        succeeded(&mut tx, job.delivery_id, outcome).await?
    } else {
        failed(&mut tx, job, outcome).await?
    };
    tx.commit().await?;
    Ok(noted)
}

/// Gives a delivery up without an attempt.
///
/// # Errors
/// When the machinery fails.
pub async fn give_up(
    pool: &PgPool,
    id: JobId,
    delivery_id: Uuid,
    error: &str,
) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    if outbox::once(&mut tx, id).await? {
        sqlx::query!(
            "UPDATE webhook_deliveries SET state = 'failed', error = $2, next_attempt_at = NULL
             WHERE id = $1 AND state = 'pending'",
            delivery_id,
            error,
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn succeeded(
    conn: &mut PgConnection,
    delivery_id: Uuid,
    outcome: &Outcome,
) -> Result<Noted, Error> {
    // Of a healthy endpoint, nothing is written. It comes before its delivery here as wherever
    // both are locked.
    sqlx::query!(
        "UPDATE webhook_endpoints
         SET failing_since = NULL, version = version + 1, updated_at = now()
         WHERE id = (SELECT endpoint_id FROM webhook_deliveries WHERE id = $1 AND state = 'pending')
           AND url = $2 AND failing_since IS NOT NULL",
        delivery_id,
        outcome.called,
    )
    .execute(&mut *conn)
    .await?;
    let account_id = attempted(conn, delivery_id, "delivered", None, outcome).await?;
    Ok(account_id.map_or(Noted::Nothing, |_| Noted::Delivered))
}

async fn failed(
    conn: &mut PgConnection,
    job: &DeliverWebhook,
    outcome: &Outcome,
) -> Result<Noted, Error> {
    // The first failure after a success, and the one that is too many; those between write nothing,
    // and neither do ours.
    let endpoint = sqlx::query!(
        r#"UPDATE webhook_endpoints AS endpoint SET
             failing_since = coalesce(failing_since, now()),
             disabled_at = CASE WHEN ended.reason IS NOT NULL THEN now() END,
             disabled_reason = ended.reason,
             version = version + 1,
             updated_at = now()
         FROM (SELECT endpoint.id, email,
                      CASE WHEN $2 THEN 'gone'
                           WHEN failing_since < now() - make_interval(days => $3) THEN 'failing'
                      END AS reason
               FROM webhook_deliveries AS delivery
               JOIN webhook_endpoints AS endpoint ON endpoint.id = endpoint_id
               JOIN accounts ON accounts.id = account_id
               WHERE delivery.id = $1 AND state = 'pending' AND disabled_at IS NULL
                 AND endpoint.url = $4 AND NOT $5
               FOR NO KEY UPDATE OF endpoint) AS ended
         WHERE endpoint.id = ended.id AND (failing_since IS NULL OR ended.reason IS NOT NULL)
         RETURNING endpoint.id, ended.email, disabled_reason IS NOT NULL AS "disabled!""#,
        job.delivery_id,
        outcome.is_gone(),
        FAILING_DAYS,
        outcome.called,
        outcome.by_us,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let disabled = endpoint.filter(|endpoint| endpoint.disabled);
    let wait = match disabled {
        Some(_) => None,
        None => wait(job.retries, outcome.retry_after()),
    };
    let next = wait.map(|wait| SystemTime::now() + wait);
    let state = if wait.is_some() { "pending" } else { "failed" };

    let account_id = attempted(conn, job.delivery_id, state, next, outcome).await?;
    let Some(account_id) = account_id else {
        return Ok(Noted::Nothing);
    };
    if let Some(endpoint) = disabled {
        let endpoint_id = endpoint.id;
        let template = Mail::WebhookDisabled { endpoint_id };
        let to = endpoint.email;
        outbox::enqueue(conn, &SendEmail { to, template }).await?;
        return Ok(Noted::Disabled);
    }
    let Some(wait) = wait else {
        return Ok(Noted::Failed);
    };
    let again = DeliverWebhook {
        delivery_id: job.delivery_id,
        retries: job.retries + 1,
    };
    let options = outbox::Options {
        run_at: next,
        slot: Some(&slot(account_id, true)),
        ..outbox::Options::default()
    };
    outbox::enqueue_with(conn, &again, options).await?;
    Ok(Noted::Retried(wait))
}

/// Writes the attempt into its delivery's row and returns whose it is; `None` when the delivery
/// waits for none.
async fn attempted(
    conn: &mut PgConnection,
    delivery_id: Uuid,
    state: &str,
    next: Option<SystemTime>,
    outcome: &Outcome,
) -> Result<Option<Uuid>, Error> {
    let response = outcome.response.as_ref();
    let account_id = sqlx::query_scalar!(
        "UPDATE webhook_deliveries AS delivery SET
             state = $2, next_attempt_at = $3, attempts = attempts + 1, attempted_at = now(),
             duration_ms = $4, response_status = $5, response_body = $6, error = $7
         FROM webhook_endpoints AS endpoint
         WHERE delivery.id = $1 AND state = 'pending' AND endpoint.id = endpoint_id
         RETURNING account_id",
        delivery_id,
        state,
        next.map(OffsetDateTime::from),
        i32::try_from(outcome.duration.as_millis()).unwrap_or(i32::MAX),
        response.and_then(|response| i16::try_from(response.status).ok()),
        response.map(|response| response.body.as_str()),
        outcome.error,
    )
    .fetch_optional(conn)
    .await?;
    Ok(account_id)
}

/// How long to wait after so many failed attempts and one more; `None`: not again.
///
/// Up to a fifth longer than planned, so that what has failed at once does not come back at once.
/// A receiver may ask for more time and not for less, or a day of attempts would be over at once.
fn wait(retries: u16, asked: Option<Duration>) -> Option<Duration> {
    let seconds = *WAITS.get(usize::from(retries))?;
    let jitter = 1.0 + rand::random::<f64>() / 5.0;
    let planned = Duration::from_secs(seconds.into()).mul_f64(jitter);
    Some(planned.max(asked.unwrap_or_default().min(LONGEST_WAIT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_go_on_for_about_a_day() {
        let mut all = Duration::ZERO;
        for (retries, seconds) in (0..).zip(WAITS) {
            let wait = wait(retries, None).unwrap();
            let planned = f64::from(seconds);
            assert!((planned..=planned * 1.2).contains(&wait.as_secs_f64()));
            all += wait;
        }
        assert!((21..27).contains(&(all.as_secs() / 3600)), "{all:?}");
        assert_eq!(wait(10, Some(Duration::ZERO)), None);
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_within_bounds() {
        let asked = |retries, seconds| wait(retries, Some(Duration::from_secs(seconds))).unwrap();
        assert_eq!(asked(0, 100), Duration::from_secs(100));
        assert_eq!(asked(0, u64::MAX), LONGEST_WAIT);
        assert!(asked(9, 1) >= Duration::from_secs(28_800));
    }
}
