//! One attempt of one job without Redis, and how attempts end, for tests.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    Around, Board, Header, Lease, Page, Registry, Report, Requests, Runners, Settlement, conclude,
    trace,
};
use crate::{
    Packer, UnpackError,
    envelope::{Envelope, NEWEST},
    testing::Outcome,
};

/// Runs the job's attempt as a worker does, and returns what would become of it.
pub(crate) async fn perform<C>(registry: &Registry<C>, app: C, envelope: &Envelope) -> Outcome
where
    C: Clone + Send + Sync + 'static,
{
    let bytes = envelope.encode();
    let (header, payload) = Header::read(&bytes, NEWEST).expect("what was just written");
    let Some(kind) = registry.find(header.name, header.version) else {
        return Outcome::Parked;
    };
    // It knows no keys, as it knows no queue; what is only compressed needs none.
    let json = match Packer::default().unpacked(&header, payload) {
        Ok(json) => json,
        Err(UnpackError::Key(_)) => return Outcome::Parked,
        Err(error) => {
            return Outcome::Dead {
                why: "envelope",
                error: error.to_string(),
            };
        }
    };
    let alone = Runners {
        lanes: Vec::new(),
        board: Arc::new(Board::new(&[], 1)),
        registry: Registry::new(),
        app,
        on_span: None,
        hurry: CancellationToken::new(),
        abort: CancellationToken::new(),
    };
    let lease = Lease {
        consumer: "test".into(),
        doubt: CancellationToken::new(),
        lost: CancellationToken::new(),
    };
    // By the clock of the time-out, which a test may have paused.
    let started = tokio::time::Instant::now().into_std();
    let nobody_cancels = Requests::default();
    let around = Around {
        lease: &lease,
        requests: &nobody_cancels,
        report: Report {
            page: Page::new(&[]),
            lane: 0,
        },
    };
    let run = alone.attempt(kind, &header, &json, around, started);
    let end = trace::inherit(header.traceparent, run).await;
    let settlement = conclude(kind, &header, payload, end);
    let outcome = settlement.as_ref().and_then(outcome);
    outcome.expect("nothing ends this worker before the job")
}

impl<C> Runners<C> {
    /// Tells a test how an attempt ended, unless the job goes to another worker.
    pub(super) fn tell(&self, header: &Header<'_>, settlement: Option<&Settlement>) {
        if let Some(watch) = &self.registry.watch
            && let Some(outcome) = settlement.and_then(outcome)
        {
            watch(header, outcome);
        }
    }
}

/// None for a job that goes to another worker as it is.
fn outcome(settlement: &Settlement) -> Option<Outcome> {
    match settlement {
        Settlement::Done | Settlement::DoneUnique { .. } | Settlement::Completed { .. } => {
            Some(Outcome::Done)
        }
        Settlement::Retry { after, error, .. } => Some(Outcome::Retry {
            after: *after,
            error: error.clone(),
        }),
        Settlement::Park { .. } => Some(Outcome::Parked),
        Settlement::Cancelled { .. } => Some(Outcome::Cancelled),
        Settlement::Dead { why, error, .. } => Some(Outcome::Dead {
            why,
            error: error.clone(),
        }),
        Settlement::HandBack => None,
    }
}
