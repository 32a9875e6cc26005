//! What is counted of the worker's jobs, and what is asked for about the queues.

mod backlog;
mod jobs;

use std::sync::Arc;

use domain::webhooks::Noted;
use service::metrics::Metrics;
use service::metrics::prometheus::{IntCounter, IntCounterVec, Opts};

pub use self::backlog::Backlog;
pub use self::jobs::Attempts;
use crate::mail::SendError;

/// What jobs count as they go; each has it in its [`App`](crate::App).
#[derive(Clone, Debug)]
pub struct Counts {
    /// Of all jobs alike.
    pub attempts: Arc<Attempts>,
    mails: Mails,
    deliveries: Deliveries,
}

#[derive(Clone, Debug)]
struct Mails {
    sent: IntCounter,
    refused: IntCounter,
    failed: IntCounter,
}

#[derive(Clone, Debug)]
struct Deliveries {
    delivered: IntCounter,
    retried: IntCounter,
    failed: IntCounter,
    disabled: IntCounter,
}

impl Counts {
    /// All of them at 0, of the kinds that this worker runs: so that the first is seen as a rise.
    pub fn new(metrics: &Metrics) -> Self {
        let mails = by_outcome(metrics, "mails_total", "Mails by what came of the attempt.");
        let help = "Attempts to deliver an event to a webhook, by what came of them.";
        let deliveries = by_outcome(metrics, "webhook_deliveries_total", help);
        Self {
            attempts: Arc::new(Attempts::new(metrics, &crate::jobs::registry())),
            mails: Mails {
                sent: mails.with_label_values(&["sent"]),
                refused: mails.with_label_values(&["refused"]),
                failed: mails.with_label_values(&["failed"]),
            },
            deliveries: Deliveries {
                delivered: deliveries.with_label_values(&["delivered"]),
                retried: deliveries.with_label_values(&["retried"]),
                failed: deliveries.with_label_values(&["failed"]),
                disabled: deliveries.with_label_values(&["disabled"]),
            },
        }
    }

    /// A mail was sent, or was not.
    pub fn mail(&self, sent: &Result<(), SendError>) {
        let counter = match sent {
            Ok(()) => &self.mails.sent,
            Err(SendError::Permanent(_)) => &self.mails.refused,
            Err(SendError::Temporary(_)) => &self.mails.failed,
        };
        counter.inc();
    }

    /// An attempt to deliver has come to this; one that another copy has noted is not counted twice.
    pub fn delivery(&self, noted: &Noted) {
        let counter = match noted {
            Noted::Delivered => &self.deliveries.delivered,
            Noted::Retried(_) => &self.deliveries.retried,
            Noted::Failed => &self.deliveries.failed,
            Noted::Disabled => &self.deliveries.disabled,
            Noted::Nothing => return,
        };
        counter.inc();
    }
}

fn by_outcome(metrics: &Metrics, name: &str, help: &str) -> IntCounterVec {
    metrics.register(IntCounterVec::new(Opts::new(name, help), &["outcome"]))
}
