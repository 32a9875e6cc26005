//! `widget`: takes effect once, however often it comes.

use std::sync::Arc;

use domain::jobs::Widget;
use queue::{JobContext, JobError};

use crate::App;

/// Does its work in one transaction, in which the once-token is spent first: a job that comes a
/// second time, after a crash or a lost answer, finds it gone.
pub(crate) async fn run(job: Widget, cx: JobContext<Arc<App>>) -> Result<(), JobError> {
    let mut tx = cx.app.pool.begin().await?;
    if !outbox::once(&mut tx, cx.id).await? {
        tracing::info!("done before, nothing to do");
        return Ok(());
    }
    // Call a function of `domain` with `&mut tx` here, as `resend_verification` does. What cannot
    // be taken back, such as a mail, goes out as `send_email` does it: sent first, noted last.
    tx.commit().await?;
    tracing::info!(?job, "done");
    Ok(())
}
