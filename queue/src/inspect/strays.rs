use super::Counts;
use crate::{
    Error, Queue,
    partitions::{MOST, queue_of},
};

/// A partition above those that the settings give the queue, with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its name, such as `queue:3`.
    pub partition: String,
    /// What is in it: all but the two totals are not zero.
    pub counts: Counts,
    /// Whether there is a worker with other settings that serves it.
    pub served: bool,
}

impl Queue {
    /// The partitions of a queue with jobs or dead letters that these settings do not reach.
    ///
    /// There are some when the number was lowered too soon, or producers have a higher one. In a
    /// Cluster it makes a connection for each of up to 63.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn strays(&self, queue: &str) -> Result<Vec<Stray>, Error> {
        let queue = queue_of(queue);
        let mut strays = Vec::new();
        for number in self.partitions(queue)..MOST {
            // Not to be remembered: it is looked at once.
            let partition = self.new_partition(&format!("{queue}:{number}"));
            let counts = self.counts_in(&partition).await?;
            let moving = counts.ready + counts.in_hand + counts.delayed + counts.blocked;
            if moving + counts.parked + counts.dead == 0 {
                continue;
            }
            let consumers = self.consumers_in(&partition).await?;
            strays.push(Stray {
                partition: partition.name,
                counts,
                served: consumers.iter().any(|worker| worker.lease.is_some()),
            });
        }
        Ok(strays)
    }
}
