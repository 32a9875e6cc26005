//! `resend_verification`: puts the mails of an address' sign-ups into the outbox once more.

use std::sync::Arc;

use domain::accounts::{Email, resend};
use domain::jobs::ResendVerification;
use queue::{JobContext, JobError};

use crate::App;

/// Enqueues the mails, once: the token is spent in the same transaction.
pub(crate) async fn run(job: ResendVerification, cx: JobContext<Arc<App>>) -> Result<(), JobError> {
    let email = Email::parse(&job.email).map_err(JobError::discard)?;
    let mut tx = cx.app.pool.begin().await?;
    if !outbox::once(&mut tx, cx.id).await? {
        tracing::info!("done before, nothing to do");
        return Ok(());
    }
    let mails = resend(&mut tx, &email).await?;
    tx.commit().await?;
    tracing::info!(mails, "enqueued");
    Ok(())
}
