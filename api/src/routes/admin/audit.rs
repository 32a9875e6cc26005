//! STUB until the session's audit lands.
use super::signed_in::SignedIn;
use crate::{App, problem::Problem};
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    CancelJob,
    DeleteJob,
    RetryJob,
    RetryAll,
    PauseQueue,
    ResumeQueue,
    RunSchedule,
}
pub(super) async fn record(
    _app: &App,
    admin: &SignedIn,
    action: Action,
    subject: &str,
) -> Result<(), Problem> {
    tracing::info!(account.id = %admin.caller.account_id, ?action, subject, "an admin acts");
    Ok(())
}
