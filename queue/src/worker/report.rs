//! What a handler says of its job while it runs: a result, and how far it is.
//!
//! Each runner has one page for it, which the contexts of its jobs share one after the
//! other. So a job that says nothing costs neither an allocation nor a lock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{Pipeline, RedisResult, Value};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{TELL_TIMEOUT, lane::Lane};
use crate::{JobId, connection::first_error, envelope::whole_ms, progress};

/// How often jobs' progress is told.
const TELL_EVERY: Duration = Duration::from_millis(900);

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

    /// Keeps what was to be written for the next time, if Redis did not answer.
    ///
    /// What it refuses is gone: it may refuse for long, and jobs come and go meanwhile.
    fn written(
        &self,
        taken: HashMap<JobId, Vec<u8>>,
        answers: RedisResult<Vec<Value>>,
    ) -> RedisResult<()> {
        let unanswered = match answers {
            Ok(answers) => return first_error(&answers),
            Err(error) => error,
        };
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (job, json) in taken {
            // It may have said more meanwhile.
            jobs.entry(job).or_insert(json);
        }
        Err(unanswered)
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

/// Tells how far jobs are, also while the worker drains, and once more at `finish`.
pub(super) async fn tell_until(lane: Arc<Lane>, finish: CancellationToken) {
    let telling = async {
        loop {
            let last = timeout(TELL_EVERY, finish.cancelled()).await.is_ok();
            tell(&lane).await;
            if last {
                return;
            }
        }
    };
    // Nobody waits for it where Redis does not answer.
    let late = async {
        finish.cancelled().await;
        sleep(TELL_TIMEOUT).await;
    };
    tokio::select! {
        () = telling => {}
        () = late => {}
    }
}

async fn tell(lane: &Lane) {
    let said = lane.progress.take();
    if said.is_empty() {
        return;
    }
    let answers = write(lane, &said).await;
    if let Err(error) = lane.progress.written(said, answers) {
        tracing::debug!(queue.name = lane.queue, %error, "progress was not written");
    }
}

async fn write(lane: &Lane, said: &HashMap<JobId, Vec<u8>>) -> RedisResult<Vec<Value>> {
    let mut pipeline = Pipeline::with_capacity(said.len());
    let ttl = whole_ms(progress::KEPT);
    for (job, json) in said {
        let set = pipeline.cmd("SET").arg(lane.keys.progress(*job));
        set.arg(&json[..]).arg("PX").arg(ttl);
    }
    lane.connection.all(&pipeline).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::ErrorKind;

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
        let lost = (ErrorKind::Io, "connection lost").into();
        progress.written(taken, Err(lost)).unwrap_err();
        let left = progress.take();
        assert_eq!((&left[&one][..], &left[&two][..]), (&b"1"[..], &b"2"[..]));
    }

    #[test]
    fn what_redis_refuses_is_not_kept() {
        let progress = Progress::default();
        for _ in 0..2 {
            progress.say(JobId::new(), b"1".to_vec());
        }
        let refused = redis::parse_redis_value(b"-OOM no memory\r\n").unwrap();
        let answers = vec![Value::Okay, refused];
        progress.written(progress.take(), Ok(answers)).unwrap_err();
        assert!(progress.take().is_empty());
    }
}
