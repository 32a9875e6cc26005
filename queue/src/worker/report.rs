//! What a handler says of its job while it runs: a result, and how far it is.
//!
//! Each runner has one page for it, which the contexts of its jobs share one after the
//! other. So a job that says nothing costs neither an allocation nor a lock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{Pipeline, RedisResult};

use super::lane::Lane;
use crate::{JobId, connection::first_error, envelope::whole_ms, progress};

/// A job's result, and how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) json: Vec<u8>,
    pub(crate) ttl: Duration,
}

/// How far the jobs of a lane are, as far as it was not written yet: the latest of each.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<JobId, Vec<u8>>>);

impl Progress {
    fn say(&self, job: JobId, json: Vec<u8>) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.insert(job, json);
    }

    fn take(&self) -> HashMap<JobId, Vec<u8>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What could not be written; a job may have said more meanwhile.
    fn put_back(&self, taken: HashMap<JobId, Vec<u8>>) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (job, json) in taken {
            jobs.entry(job).or_insert(json);
        }
    }
}

/// Where the handler that a runner runs says something.
#[derive(Debug)]
pub(crate) struct Page {
    lanes: Arc<[Arc<Progress>]>,
    result: Mutex<Option<Kept>>,
}

impl Page {
    pub(super) fn new(lanes: &[Arc<Lane>]) -> Arc<Self> {
        Self::of(
            lanes
                .iter()
                .map(|lane| Arc::clone(&lane.progress))
                .collect(),
        )
    }

    fn of(lanes: Arc<[Arc<Progress>]>) -> Arc<Self> {
        Arc::new(Self {
            lanes,
            result: Mutex::new(None),
        })
    }

    /// Takes what the handler has left, when it has ended, and is ready for the next.
    ///
    /// A context that lives on, in a task of the handler's own, keeps its page to itself:
    /// what is said there later is of no job any more.
    pub(super) fn turn(page: &mut Arc<Self>) -> Option<Kept> {
        // First: only who is alone with the page can know that nobody writes on it any more.
        if let Some(alone) = Arc::get_mut(page) {
            let result = alone.result.get_mut();
            return result.unwrap_or_else(PoisonError::into_inner).take();
        }
        let new = Self::of(Arc::clone(&page.lanes));
        let old = std::mem::replace(page, new);
        let mut result = old.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.take()
    }
}

/// The page, for one job.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(super) page: Arc<Page>,
    pub(super) lane: usize,
}

impl Report {
    pub(crate) fn keep(&self, kept: Kept) {
        let page = &self.page;
        *page.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }

    pub(crate) fn progress(&self, job: JobId, json: Vec<u8>) {
        // There is no lane where a test performs a job by itself.
        if let Some(lane) = self.page.lanes.get(self.lane) {
            lane.say(job, json);
        }
    }
}

/// Writes how far jobs are; what cannot be written is kept for the next time.
pub(super) async fn tell(lane: &Lane) {
    let said = lane.progress.take();
    if said.is_empty() {
        return;
    }
    if let Err(error) = write(lane, &said).await {
        tracing::debug!(queue.name = lane.queue, %error, "progress was not written");
        lane.progress.put_back(said);
    }
}

async fn write(lane: &Lane, said: &HashMap<JobId, Vec<u8>>) -> RedisResult<()> {
    let mut pipeline = Pipeline::with_capacity(said.len());
    let ttl = whole_ms(progress::KEPT);
    for (job, json) in said {
        let set = pipeline.cmd("SET").arg(lane.keys.progress(*job));
        set.arg(&json[..]).arg("PX").arg(ttl);
    }
    first_error(&lane.connection.all(&pipeline).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(json: &str) -> Kept {
        Kept {
            json: json.into(),
            ttl: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_page_is_for_one_job_after_the_other() {
        let mut page = Page::of(Arc::default());
        let report = |page: &Arc<Page>| Report {
            page: Arc::clone(page),
            lane: 0,
        };
        let first = report(&page);
        first.keep(kept("1"));
        first.keep(kept("2"));
        let detached = first.clone();
        drop(first);
        assert_eq!(Page::turn(&mut page), Some(kept("2")));
        detached.keep(kept("3"));
        let second = report(&page);
        second.keep(kept("4"));
        detached.keep(kept("5"));
        drop(second);
        assert_eq!(Page::turn(&mut page), Some(kept("4")), "the next job's own");
        detached.keep(kept("6"));
        assert_eq!(Page::turn(&mut page), None, "said after the job's end");
        let before = Arc::as_ptr(&page);
        assert_eq!(Page::turn(&mut page), None);
        assert_eq!(Arc::as_ptr(&page), before, "nobody else has it");
    }

    #[test]
    fn what_could_not_be_written_does_not_hide_what_was_said_since() {
        let progress = Progress::default();
        let (one, two) = (JobId::new(), JobId::new());
        progress.say(one, b"1".to_vec());
        progress.say(two, b"1".to_vec());
        let taken = progress.take();
        progress.say(two, b"2".to_vec());
        progress.put_back(taken);
        let left = progress.take();
        assert_eq!((&left[&one][..], &left[&two][..]), (&b"1"[..], &b"2"[..]));
    }
}
