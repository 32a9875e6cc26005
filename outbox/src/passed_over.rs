//! The queues whose jobs wait in the outbox, while those of others go on.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Which queues the next batches pass over, and until when.
#[derive(Default)]
pub(crate) struct PassedOver(Mutex<HashMap<String, Wait>>);

/// Why a queue is passed over.
enum Wait {
    /// Redis refuses its jobs.
    Refused { until: Instant },
    /// It is full; this stays until it has taken all that a batch had for it.
    Full { until: Instant, wait: Duration },
}

impl PassedOver {
    fn queues(&self) -> MutexGuard<'_, HashMap<String, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queues to pass over now.
    pub(crate) fn now(&self) -> Vec<String> {
        let now = Instant::now();
        let mut queues = self.queues();
        queues.retain(|_, wait| !matches!(wait, Wait::Refused { until } if *until <= now));
        let waiting = queues.iter().filter(|(_, wait)| match wait {
            Wait::Refused { until } | Wait::Full { until, .. } => *until > now,
        });
        waiting.map(|(queue, _)| queue.clone()).collect()
    }

    /// Redis refuses the jobs of this queue.
    pub(crate) fn refuse(&self, queue: &str, wait: Duration) {
        let until = Instant::now() + wait;
        let wait = Wait::Refused { until };
        self.queues().insert(queue.to_owned(), wait);
    }

    /// The queue is full. It is tried again after `shortest` while it takes some of the
    /// jobs, and else ever more seldom, up to `longest`.
    ///
    /// Returns whether it was not before.
    pub(crate) fn fill(
        &self,
        queue: &str,
        took_some: bool,
        shortest: Duration,
        longest: Duration,
    ) -> bool {
        let mut queues = self.queues();
        let wait = match queues.get(queue) {
            Some(Wait::Full { wait, .. }) if !took_some => wait.saturating_mul(2).min(longest),
            _ => shortest.min(longest),
        };
        let until = Instant::now() + wait;
        let before = queues.insert(queue.to_owned(), Wait::Full { until, wait });
        !matches!(before, Some(Wait::Full { .. }))
    }

    /// The queue has taken all jobs of a batch; returns whether it was full before.
    pub(crate) fn take(&self, queue: &str) -> bool {
        let mut queues = self.queues();
        let full = matches!(queues.get(queue), Some(Wait::Full { .. }));
        if full {
            queues.remove(queue);
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_tried_ever_more_seldom_until_it_takes_something() {
        let queues = PassedOver::default();
        let wait = || match queues.queues()["a"] {
            Wait::Full { wait, .. } => wait,
            Wait::Refused { .. } => Duration::ZERO,
        };
        let (shortest, longest) = (Duration::from_secs(100), Duration::from_secs(300));
        assert!(queues.fill("a", false, shortest, longest));
        assert_eq!((queues.now(), wait()), (vec!["a".to_owned()], shortest));
        for expected in [2 * shortest, longest, longest] {
            assert!(!queues.fill("a", false, shortest, longest));
            assert_eq!(wait(), expected);
        }
        assert!(!queues.fill("a", true, shortest, longest));
        assert_eq!(wait(), shortest);
        assert!(queues.take("a"));
        assert!(queues.now().is_empty() && !queues.take("a"));
    }
}
