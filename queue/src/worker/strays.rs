//! Warns of jobs in partitions of a queue that nobody serves.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Queue;

/// Between two looks: what is there has come by a change of settings.
const EVERY: Duration = Duration::from_secs(600);

/// Looks now and then until `stop`, at a queue of which the settings name the partitions.
pub(super) async fn warn_until(queue: Queue, name: String, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = warn(&queue, &name) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn warn(queue: &Queue, name: &str) {
    let strays = match queue.strays(name).await {
        Ok(strays) => strays,
        Err(error) => {
            tracing::debug!(queue.name = name, %error, "cannot look for partitions above");
            return;
        }
    };
    for stray in strays.into_iter().filter(|stray| !stray.served) {
        let counts = stray.counts;
        tracing::warn!(
            queue.name = name,
            partition = stray.partition,
            jobs = counts.ready + counts.in_hand + counts.delayed + counts.parked + counts.blocked,
            dead = counts.dead,
            partitions = queue.partitions(name),
            "no worker serves this partition: run one with a higher number until it is drained"
        );
    }
}
