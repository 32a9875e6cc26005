use std::sync::Arc;
use std::time::Duration;

use queue::Queue;
use queue::inspect::Overview;
use service::metrics::{Metrics, Snapshot};
use service::telemetry::chain;
use sqlx::PgPool;
use tokio::time::timeout;

/// How long Redis and Postgres may take to answer, which a scrape waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What waits: in the queues, and in the outbox before them.
///
/// Every worker tells the same of it, so that it is known as long as one of them lives.
#[derive(Clone)]
pub struct Backlog {
    /// Where the queues are.
    pub queue: Queue,
    /// The queues that are told of.
    pub queues: Arc<[String]>,
    /// Where the outbox is.
    pub pool: PgPool,
}

impl Backlog {
    /// Has it asked for at each scrape, and at no other time.
    #[must_use]
    pub fn told_by(self, metrics: Metrics) -> Metrics {
        let outbox = self.clone();
        let metrics = metrics.asking(move || self.clone().in_queues());
        metrics.asking(move || outbox.clone().in_outbox())
    }

    async fn in_queues(self) -> Snapshot {
        let asked = async {
            let mut all = Vec::with_capacity(self.queues.len());
            for name in &*self.queues {
                all.push((name.as_str(), self.queue.overview(name).await?));
            }
            Ok(all)
        };
        let all = match timeout(PATIENCE, asked).await {
            Ok(all) => all.map_err(|error: queue::Error| chain(&error).to_string()),
            Err(_) => Err("no answer".to_owned()),
        };
        let mut now = Snapshot::default();
        up(&mut now, "queue_up", "Redis", all.is_ok());
        match all {
            Ok(all) => tell(&mut now, &all),
            Err(error) => tracing::warn!(error, "the metrics are without the queues"),
        }
        now
    }

    async fn in_outbox(self) -> Snapshot {
        let backlog = match timeout(PATIENCE, outbox::backlog(&self.pool)).await {
            Ok(backlog) => backlog.map_err(|error| chain(&error).to_string()),
            Err(_) => Err("no answer".to_owned()),
        };
        let mut now = Snapshot::default();
        up(&mut now, "outbox_up", "Postgres", backlog.is_ok());
        match backlog {
            Ok(backlog) => {
                let help = "Jobs that wait in the outbox for the relay; counted up to 10000.";
                #[expect(clippy::cast_precision_loss, reason = "at most 10000")]
                let waiting = backlog.waiting as f64;
                now.gauge("outbox_jobs", help, &[], &[(&[], waiting)]);
                let help = "How long ago the oldest of them was enqueued; 0 for none.";
                let oldest = backlog.oldest.unwrap_or_default().as_secs_f64();
                now.gauge("outbox_oldest_job_age_seconds", help, &[], &[(&[], oldest)]);
            }
            Err(error) => tracing::warn!(error, "the metrics are without the outbox"),
        }
        now
    }
}

fn up(now: &mut Snapshot, name: &str, who: &str, answers: bool) {
    let help = format!("Whether {who} has answered this scrape; without, the rest is missing.");
    now.gauge(name, &help, &[], &[(&[], f64::from(u8::from(answers)))]);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a float is what the format has, and is exact up to 2^53"
)]
fn tell(now: &mut Snapshot, all: &[(&str, Overview)]) {
    let mut states = Vec::new();
    for (name, overview) in all {
        let counts = &overview.counts;
        for (state, count) in [
            ("ready", counts.ready),
            ("in_hand", counts.in_hand),
            ("delayed", counts.delayed),
            ("blocked", counts.blocked),
            ("parked", counts.parked),
            ("dead", counts.dead),
        ] {
            states.push(([*name, state], count as f64));
        }
    }
    let states: Vec<(&[&str], f64)> = states.iter().map(|(of, count)| (&of[..], *count)).collect();
    let help = "Jobs by where they are.";
    now.gauge("queue_jobs", help, &["queue", "state"], &states);
    let mut each = |name: &str, help: &str, value: &dyn Fn(&Overview) -> f64| {
        let names: Vec<[&str; 1]> = all.iter().map(|(name, _)| [*name]).collect();
        let values = all.iter().map(|(_, overview)| value(overview));
        let samples: Vec<(&[&str], f64)> = names.iter().map(|of| &of[..]).zip(values).collect();
        now.gauge(name, help, &["queue"], &samples);
    };
    each(
        "queue_oldest_job_age_seconds",
        "How long the oldest job has been ready that no worker has; 0 for none.",
        &|overview| overview.oldest.unwrap_or_default().as_secs_f64(),
    );
    each(
        "queue_paused",
        "1 while no worker may start its jobs.",
        &|overview| f64::from(u8::from(overview.paused)),
    );
    each(
        "queue_workers",
        "Workers that serve it and live.",
        &|overview| {
            let live = overview.consumers.iter();
            live.filter(|consumer| consumer.lease.is_some()).count() as f64
        },
    );
}
