//! The jobs of the tests: each does as its payload says, and writes it down.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use queue::{Job, JobContext, JobError, JobId, Registry};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What a job is told to do.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Act {
    Succeed,
    Sleep(u64),
    FailTimes(u16),
    Discard,
    Panic,
    Hang,
    /// Ends when the test says so, with [`Log::let_go`].
    Hold,
    /// Waits for its token, then fails as a polite handler does.
    AwaitCancel,
    /// Leaves this number, and says it is so far.
    Tell(u64),
    Abort,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) number: usize,
    pub(crate) act: Act,
}

impl Job for Task {
    const NAME: &'static str = "task";
    const MAX_ATTEMPTS: u16 = 3;
    const TIMEOUT: Duration = Duration::from_secs(8);

    fn backoff(_attempt: u16) -> Duration {
        Duration::from_millis(30)
    }
}

/// Like [`Task`], with little patience.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Quick {
    pub(crate) act: Act,
}

impl Job for Quick {
    const NAME: &'static str = "quick";
    const MAX_ATTEMPTS: u16 = 1;
    const TIMEOUT: Duration = Duration::from_millis(100);
}

/// Like [`Task`], with much.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Patient {
    pub(crate) act: Act,
}

impl Job for Patient {
    const NAME: &'static str = "patient";
    const MAX_ATTEMPTS: u16 = 3;
    const TIMEOUT: Duration = Duration::from_secs(60);
}

/// What has happened, for the asserts.
#[derive(Default)]
pub(crate) struct Log {
    /// Starts, in order: job and attempt.
    pub(crate) starts: Mutex<Vec<(JobId, u16)>>,
    pub(crate) done: Mutex<Vec<JobId>>,
    pub(crate) cancelled: AtomicUsize,
    /// Ends every [`Act::Hold`].
    pub(crate) let_go: CancellationToken,
    pub(crate) running: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
}

impl Log {
    pub(crate) fn starts_of(&self, id: JobId) -> usize {
        let starts = self.starts.lock().unwrap();
        starts.iter().filter(|(other, _)| *other == id).count()
    }

    pub(crate) fn done_count(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    /// Each of these was done, and no other, and how often in all.
    pub(crate) fn assert_each_done_once(&self, ids: &[JobId]) {
        let mut times: HashMap<JobId, usize> = HashMap::new();
        for id in self.done.lock().unwrap().iter() {
            *times.entry(*id).or_default() += 1;
        }
        for id in ids {
            assert_eq!(times.remove(id), Some(1), "{id}");
        }
        assert!(times.is_empty(), "jobs that nobody enqueued: {times:?}");
    }
}

pub(crate) async fn run_task(task: Task, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    act(task.act, &cx).await
}

pub(crate) async fn run_patient(
    patient: Patient,
    cx: JobContext<Arc<Log>>,
) -> Result<(), JobError> {
    act(patient.act, &cx).await
}

pub(crate) async fn run_quick(quick: Quick, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    act(quick.act, &cx).await
}

async fn act(act: Act, cx: &JobContext<Arc<Log>>) -> Result<(), JobError> {
    let log = &cx.app;
    log.starts.lock().unwrap().push((cx.id, cx.attempt));
    let running = log.running.fetch_add(1, Ordering::SeqCst) + 1;
    log.most_at_once.fetch_max(running, Ordering::SeqCst);
    struct Leave<'a>(&'a Log);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.running.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let _leave = Leave(log);
    match act {
        Act::Succeed => {}
        Act::Sleep(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Act::FailTimes(times) => {
            if cx.attempt <= times {
                return Err(std::io::Error::other("told to fail").into());
            }
        }
        Act::Discard => return Err(JobError::discard("told to discard")),
        Act::Panic => panic!("told to panic"),
        Act::Hold => log.let_go.cancelled().await,
        Act::Hang => std::future::pending().await,
        Act::AwaitCancel => {
            cx.cancel.cancelled().await;
            log.cancelled.fetch_add(1, Ordering::SeqCst);
            return Err(JobError::retry("cancelled"));
        }
        Act::Tell(number) => {
            cx.set_progress(&number)?;
            cx.set_result(&number, Duration::from_secs(60))?;
        }
        Act::Abort => std::process::abort(),
    }
    log.done.lock().unwrap().push(cx.id);
    Ok(())
}

pub(crate) fn registry() -> Registry<Arc<Log>> {
    Registry::new()
        .register::<Task, _, _>(run_task)
        .register::<Quick, _, _>(run_quick)
        .register::<Patient, _, _>(run_patient)
}
