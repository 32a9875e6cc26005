//! `deliver_webhook`: one attempt to tell one endpoint of one event.

use std::sync::Arc;
use std::time::Instant;

use domain::jobs::DeliverWebhook;
use domain::webhooks::{Attempt, Due, Outcome, due, give_up, note};
use queue::{JobContext, JobError};
use time::OffsetDateTime;

use crate::App;
use crate::webhook::{CallError, Headers};

/// Sends the event, unless that was done before, and notes what came of it.
///
/// As with a mail, the token is looked at first and spent last, with the note: a crash in between
/// sends the event again, under the same `webhook-id`. A receiver that fails is no failure of the
/// job: the note makes another job for the next attempt. What this one retries is our own trouble.
pub(crate) async fn run(job: DeliverWebhook, cx: JobContext<Arc<App>>) -> Result<(), JobError> {
    let pool = &cx.app.pool;
    if !outbox::is_pending(pool, cx.id).await? {
        tracing::info!("done before, nothing to do");
        return Ok(());
    }
    let attempt = match due(pool, job.delivery_id).await? {
        Due::Attempt(attempt) => attempt,
        Due::Disabled => {
            tracing::info!("the endpoint is disabled");
            let error = "the endpoint was disabled before this could be delivered";
            return Ok(give_up(pool, cx.id, job.delivery_id, error).await?);
        }
        Due::Nothing => {
            tracing::info!("there is nothing left to deliver");
            outbox::once(&mut *pool.acquire().await?, cx.id).await?;
            return Ok(());
        }
    };
    let outcome = deliver(attempt, &cx.app).await;
    let noted = note(pool, cx.id, &job, &outcome).await?;
    cx.app.counts.delivery(&noted);
    let status = outcome.response.as_ref().map(|response| response.status);
    let error = outcome.error.as_deref();
    if outcome.by_us {
        tracing::error!(delivery.id = %job.delivery_id, error, ?noted, "could not be attempted");
    } else {
        tracing::info!(delivery.id = %job.delivery_id, status, error, ?noted, "attempted");
    }
    Ok(())
}

async fn deliver(attempt: Attempt, app: &App) -> Outcome {
    let begun = Instant::now();
    let timestamp = OffsetDateTime::now_utc().unix_timestamp();
    let Some(signature) = attempt.signatures(&app.webhook_keys, timestamp) else {
        tracing::error!("WEBHOOK_SECRET has lost the key of this endpoint's secret");
        return Outcome {
            called: attempt.url,
            duration: begun.elapsed(),
            response: None,
            error: Some("the endpoint's secret is lost: rotate it".to_owned()),
            by_us: true,
        };
    };
    let headers = Headers {
        id: attempt.event_id.to_string(),
        timestamp,
        signature,
    };
    let called = app.webhooks.post(&attempt.url, headers, attempt.body).await;
    let duration = begun.elapsed();
    match called {
        Ok(response) => Outcome {
            called: attempt.url,
            duration,
            error: about(response.status),
            response: Some(response),
            by_us: false,
        },
        Err(error) => Outcome {
            called: attempt.url,
            duration,
            response: None,
            error: Some(error.to_string()),
            by_us: error == CallError::Resolver,
        },
    }
}

/// What a status does not say by itself.
fn about(status: u16) -> Option<String> {
    let redirect = (300..400).contains(&status);
    redirect.then(|| "redirects are not followed: change the endpoint's URL".to_owned())
}
