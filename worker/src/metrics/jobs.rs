use std::time::Duration;

use queue::{Attempt, Ended, Observer, Registry};
use service::metrics::Metrics;
use service::metrics::prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

/// Upper bounds in seconds: from a job that only looks into the database to one that takes minutes.
const BUCKETS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0,
];

/// The attempts of this worker, by the kind of job.
#[derive(Debug)]
pub struct Attempts(Vec<Kind>);

/// One kind of job, its series looked up once.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    in_progress: IntGauge,
    durations: Histogram,
    /// In the order of [`Ended::ALL`].
    finished: [IntCounter; Ended::ALL.len()],
}

impl Attempts {
    /// None yet, of the kinds in this registry.
    pub fn new<C: Send + 'static>(metrics: &Metrics, registry: &Registry<C>) -> Self {
        let help = "Jobs that a handler is running.";
        let of_kind = &["queue", "kind"];
        let in_progress = IntGaugeVec::new(Opts::new("jobs_in_progress", help), of_kind);
        let in_progress = metrics.register(in_progress);
        let help = "How long handlers ran, however they ended.";
        let durations = HistogramOpts::new("job_duration_seconds", help).buckets(BUCKETS.into());
        let durations = metrics.register(HistogramVec::new(durations, of_kind));
        let help = "Attempts at jobs that have ended, by how.";
        let finished = Opts::new("jobs_finished_total", help);
        let finished = IntCounterVec::new(finished, &["queue", "kind", "outcome"]);
        let finished = metrics.register(finished);
        let kinds = registry.queue_of_each().into_iter().map(|(name, queue)| {
            let ended = |how: Ended| finished.with_label_values(&[queue, name, how.name()]);
            Kind {
                name,
                in_progress: in_progress.with_label_values(&[queue, name]),
                durations: durations.with_label_values(&[queue, name]),
                finished: Ended::ALL.map(ended),
            }
        });
        Self(kinds.collect())
    }

    /// There are few: to look at each is faster than a hash.
    fn of(&self, attempt: Attempt<'_>) -> Option<&Kind> {
        self.0.iter().find(|kind| kind.name == attempt.kind)
    }
}

impl Observer for Attempts {
    fn began(&self, attempt: Attempt<'_>) {
        if let Some(kind) = self.of(attempt) {
            kind.in_progress.inc();
        }
    }

    fn ended(&self, attempt: Attempt<'_>, how: Ended, took: Duration) {
        if let Some(kind) = self.of(attempt) {
            kind.in_progress.dec();
            kind.durations.observe(took.as_secs_f64());
            let outcomes = Ended::ALL.iter().zip(&kind.finished);
            for (_, finished) in outcomes.filter(|(outcome, _)| **outcome == how) {
                finished.inc();
            }
        }
    }
}
