//! Requests to cancel jobs, as ticks tell them to a worker.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{JobId, cancel::REMEMBERED, envelope::whole_ms};

/// The jobs of one queue that are to be cancelled.
///
/// A job that starts is looked up only while there are any, and one that runs waits for
/// news only once it waits for something itself: no list of running jobs is kept.
#[derive(Default)]
pub(super) struct Requests {
    /// There are any.
    any: AtomicBool,
    known: Mutex<Known>,
    news: Notify,
}

#[derive(Default)]
struct Known {
    /// Each job and the score of its request: about when it was made, in ms.
    jobs: HashMap<JobId, u64>,
    /// The same in the order of their scores, to forget the oldest.
    order: VecDeque<(u64, JobId)>,
}

impl Requests {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what a tick has told, and forgets what Redis has forgotten by `now`.
    pub(super) fn learn(&self, told: &[(JobId, u64)], now: u64) {
        if told.is_empty() && !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut known = self.known();
        for &(job, score) in told {
            // Some are told again, of the millisecond of the last tick above all.
            if known.jobs.insert(job, score) != Some(score) {
                known.order.push_back((score, job));
            }
        }
        let oldest = now.saturating_sub(whole_ms(REMEMBERED));
        while let Some(&(score, job)) = known.order.front()
            && score < oldest
        {
            known.order.pop_front();
            // It may have been asked for again since.
            if known.jobs.get(&job) == Some(&score) {
                known.jobs.remove(&job);
            }
        }
        self.any.store(!known.jobs.is_empty(), Ordering::Release);
        drop(known);
        if !told.is_empty() {
            self.news.notify_waiters();
        }
    }

    /// Whether this job is to be cancelled.
    pub(super) fn name(&self, job: JobId) -> bool {
        self.any.load(Ordering::Acquire) && self.known().jobs.contains_key(&job)
    }

    /// Waits until this job is to be cancelled.
    pub(super) async fn named(&self, job: JobId) {
        loop {
            // Before the look: it hears of what comes from now on.
            let news = self.news.notified();
            if self.name(job) {
                return;
            }
            news.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_again_is_kept_once() {
        let (requests, job) = (Requests::default(), JobId::new());
        for now in 1000..1100 {
            requests.learn(&[(job, 1000)], now);
        }
        assert_eq!(requests.known().order.len(), 1);
    }

    #[test]
    fn a_request_is_forgotten_a_day_after_it_was_made_last() {
        let day = whole_ms(REMEMBERED);
        let (once, again) = (JobId::new(), JobId::new());
        let requests = Requests::default();
        assert!(!requests.name(once));
        requests.learn(&[(once, 1000), (again, 1001), (again, 5000)], 5000);
        requests.learn(&[], day + 1000);
        assert!(requests.name(once) && requests.name(again));
        requests.learn(&[], day + 1002);
        assert!(!requests.name(once) && requests.name(again));
        requests.learn(&[], day + 5001);
        assert!(!requests.name(again) && !requests.any.load(Ordering::Relaxed));
        assert!(requests.known().order.is_empty());
    }
}
