//! `send_email`: writes one mail and hands it to the mail server.

use std::sync::Arc;

use domain::jobs::SendEmail;
use queue::{JobContext, JobError};

use crate::App;
use crate::mail::SendError;

mod link;
mod notice;
mod webhook_disabled;
mod write;

use write::{Letter, write};

/// Sends the mail, unless it was sent before.
///
/// A mail cannot be taken back by a rollback, so the token is looked at first and spent last. A
/// crash in between sends the mail again with the same Message-ID, by which a receiver can drop it.
pub(crate) async fn run(job: SendEmail, cx: JobContext<Arc<App>>) -> Result<(), JobError> {
    if !outbox::is_pending(&cx.app.pool, cx.id).await? {
        tracing::info!("sent before, nothing to do");
        return Ok(());
    }
    match write(job, &cx.app).await? {
        None => tracing::info!("there is nothing left to say"),
        Some(Letter { to, content }) => {
            let sent = cx.app.mailer.send(cx.id, &to, content).await;
            cx.app.counts.mail(&sent);
            match sent {
                Ok(()) => tracing::info!("sent"),
                Err(error @ SendError::Permanent(_)) => return Err(JobError::discard(error)),
                Err(error) => return Err(JobError::retry(error)),
            }
        }
    }
    outbox::once(&mut *cx.app.pool.acquire().await?, cx.id).await?;
    Ok(())
}
