//! Every job that this worker runs, one module each. The list below is the whole of it.

use std::sync::Arc;

use domain::jobs::{DeliverWebhook, Purge, QUEUES};
use queue::{Job as _, QueueSettings, Registry, Schedule};

use crate::App;

mod deliver_webhook;
mod purge;
mod resend_verification;
mod send_email;

/// The queues that hold them, served in turn.
///
/// `QueueSettings::limited("reports", 2)` is one that runs two of its jobs at once in this
/// process, however many of the others there are.
pub fn queues() -> Vec<QueueSettings> {
    let settings = |name| match name {
        // Each may wait for a receiver for 10 s: some of a worker's 16 places are for the others, and
        // one account's take six of these at most.
        DeliverWebhook::QUEUE => QueueSettings::limited(name, 12),
        name => name.into(),
    };
    QUEUES.map(settings).into()
}

/// The jobs' names and what runs them; a schedule is one more line, `.schedule(...)`.
pub fn registry() -> Registry<Arc<App>> {
    Registry::new()
        .register(deliver_webhook::run)
        .register(send_email::run)
        .register(resend_verification::run)
        .register(purge::run)
        .schedule(Schedule::cron("purge", "17 * * * *"), |_| Purge {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_is_right() {
        registry().check().unwrap();
    }

    #[test]
    fn every_job_is_in_a_queue_that_is_served() {
        let served = queues();
        for queue in registry().queues() {
            assert!(served.iter().any(|one| one.name == queue), "{queue}");
        }
    }
}
