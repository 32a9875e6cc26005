//! The jobs page, over a queue in which there is a job in every state.

mod actions;
mod hostile;
mod pages;

use std::time::{Duration, Instant};

use domain::jobs::{DeliverWebhook, ResendVerification};
use migrations::testing::database;
use queue::{
    Job, JobContext, JobError, JobId, KeyLimit, Options, Queue, QueueSettings, Registry, Schedule,
    Worker, WorkerError, WorkerSettings,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ADA, Browser};
use crate::app::{TestApp, pool, settings};

/// Nothing here takes longer, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a job of these tests does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    Succeed,
    /// To be tried again in an hour.
    Fail,
    Discard,
    /// Until it is told to stop.
    Hang,
}

/// A job of these tests.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) act: Act,
    pub(super) text: String,
}

impl Job for Task {
    const NAME: &'static str = "task";
    const MAX_ATTEMPTS: u16 = 5;
}

/// The service, an admin's browser can be opened on it, and a worker that serves its queue.
pub(super) struct Fixture {
    pub(super) app: TestApp,
    pub(super) queue: Queue,
    shutdown: CancellationToken,
    worker: Option<JoinHandle<Result<(), WorkerError>>>,
}

/// A job in each state.
pub(super) struct Jobs {
    pub(super) ready: JobId,
    pub(super) in_hand: JobId,
    pub(super) retrying: JobId,
    pub(super) scheduled: JobId,
    pub(super) parked: JobId,
    pub(super) blocked: JobId,
    pub(super) dead: JobId,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let redis = queue::testing::settings();
        let queue = Queue::connect(redis.clone()).await.unwrap();
        let database = database().await;
        let pool = pool(&database, database.options.get_port());
        Self {
            app: TestApp::over(database, pool, redis, &settings()).await,
            queue,
            shutdown: CancellationToken::new(),
            worker: None,
        }
    }

    pub(super) async fn browser(&self) -> Browser<'_> {
        Browser::of_admin(&self.app, ADA).await
    }

    pub(super) async fn enqueue(&self, act: Act, text: &str) -> JobId {
        let text = text.to_owned();
        self.queue.enqueue(&Task { act, text }).await.unwrap()
    }

    /// A worker for tasks, which knows no other job, and a schedule.
    pub(super) fn work(&mut self) {
        let hourly = Schedule::cron("hourly-task", "17 * * * *");
        let registry = Registry::new().register(run).schedule(hourly, |_| Task {
            act: Act::Succeed,
            text: "by the clock".to_owned(),
        });
        let settings = WorkerSettings {
            queues: vec![QueueSettings::from(Task::QUEUE)],
            concurrency: 4,
            drain_timeout: Duration::ZERO,
            on_span: None,
        };
        let worker = Worker::new(self.queue.clone(), registry, (), settings);
        let abort = CancellationToken::new();
        self.worker = Some(tokio::spawn(worker.run(self.shutdown.clone(), abort)));
    }

    /// Has one job in each state; those of a worker need one.
    pub(super) async fn fill(&mut self) -> Jobs {
        self.work();
        let key = || Options {
            slot: Some(KeyLimit::one("customer 7")),
            ..Options::default()
        };
        let hang = |text: &str| Task {
            act: Act::Hang,
            text: text.to_owned(),
        };
        let queue = self.queue.clone();
        let in_hand = queue.enqueue_with(&hang("in hand"), &key()).await.unwrap();
        self.until_counts("a job runs", |counts| counts.in_hand == 1)
            .await;
        let blocked = queue.enqueue_with(&hang("blocked"), &key()).await.unwrap();
        let scheduled = Task {
            act: Act::Succeed,
            text: "scheduled".to_owned(),
        };
        let hour = Duration::from_secs(60 * 60);
        let stranger = ResendVerification {
            email: "grace@example.com".to_owned(),
        };
        let jobs = Jobs {
            ready: queue
                .enqueue(&DeliverWebhook::new(Uuid::now_v7()))
                .await
                .unwrap(),
            in_hand: in_hand.id(),
            retrying: self.enqueue(Act::Fail, "retrying").await,
            scheduled: queue.enqueue_in(&scheduled, hour).await.unwrap(),
            parked: queue.enqueue(&stranger).await.unwrap(),
            blocked: blocked.id(),
            dead: self.enqueue(Act::Discard, "dead").await,
        };
        self.until_counts("all are where they belong", |counts| {
            (counts.in_hand, counts.delayed, counts.parked) == (1, 2, 1)
                && (counts.blocked, counts.dead) == (1, 1)
        })
        .await;
        jobs
    }

    /// Waits until the default queue's counts are like that.
    pub(super) async fn until_counts(&self, what: &str, are: impl Fn(&queue::Counts) -> bool) {
        until(what, async || {
            are(&self.queue.counts(Task::QUEUE).await.unwrap())
        })
        .await;
    }

    /// Ends the worker, which hands back what hangs.
    pub(super) async fn end(mut self) {
        self.stop().await;
    }

    /// Ends the worker: what is ready stays so.
    pub(super) async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(worker) = self.worker.take() {
            let ended = tokio::time::timeout(PATIENCE, worker).await;
            ended.unwrap().unwrap().unwrap();
        }
    }
}

async fn run(task: Task, context: JobContext<()>) -> Result<(), JobError> {
    let error = format!("the task was to fail: {}", task.text);
    match task.act {
        Act::Succeed => Ok(()),
        Act::Fail => Err(JobError::retry_after(error, Duration::from_secs(60 * 60))),
        Act::Discard => Err(JobError::discard(error)),
        Act::Hang => {
            context.cancel.cancelled().await;
            Err(JobError::retry(error))
        }
    }
}

/// Waits until the condition holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
