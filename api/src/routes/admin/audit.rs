//! What admins do is in the log before it is done.

use super::signed_in::SignedIn;

/// What somebody is about to do.
pub(super) struct Action<'a> {
    /// In a word of lower-case letters and `_`: `retry`.
    pub(super) name: &'a str,
    /// The queue that it is in.
    pub(super) queue: Option<&'a str>,
    /// The id or the name of what it is done to, if it is one thing.
    pub(super) target: Option<&'a str>,
}

/// Logs that this admin does this now.
pub(super) fn record(admin: &SignedIn, action: &Action<'_>) {
    tracing::info!(
        account.id = %admin.caller.account_id,
        session.id = %admin.caller.session_id,
        action.name,
        action.queue,
        action.target,
        "an admin acts"
    );
}
