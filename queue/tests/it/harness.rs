//! A queue of its own for each test, workers in this process, and the check that
//! nothing is left in Redis.
//!
//! A test gets its queue from a [`Fixture`] and must end it, which checks.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use queue::{
    Counts, Job, JobContext, JobError, JobId, Queue, QueueSettings, Registry, Settings, Worker,
    WorkerSettings,
    redis::{aio::MultiplexedConnection, streams::StreamInfoConsumersReply},
    testing::{self, Namespace},
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Short enough for a quick suite, long enough for two busy cores.
pub(crate) const LEASE: Duration = Duration::from_millis(1200);
/// Nothing in the suite takes longer, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// Settings with a short lease.
pub(crate) fn quick(mut settings: Settings) -> Settings {
    settings.lease = LEASE;
    settings.tuning.scan = Duration::from_millis(200);
    settings.tuning.block = Duration::from_millis(500);
    settings.tuning.response_timeout = Duration::from_secs(1);
    settings.tuning.reconcile = Duration::from_secs(1);
    settings
}

/// A queue in a namespace of its own, and what its workers have done.
pub(crate) struct Fixture {
    pub(crate) queue: Queue,
    pub(crate) log: Arc<Log>,
    namespace: Namespace,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::tuned(|_| {}).await
    }

    /// With other settings than usual.
    pub(crate) async fn tuned(tune: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = quick(testing::settings());
        tune(&mut settings);
        Self::over(settings).await
    }

    /// On another server.
    pub(crate) async fn at(url: &str) -> Self {
        use queue::redis::IntoConnectionInfo;
        let server = url.into_connection_info().unwrap();
        Self::over(quick(Settings::new(server, testing::namespace()))).await
    }

    /// With all of its settings.
    pub(crate) async fn over(settings: Settings) -> Self {
        Self {
            queue: Queue::connect(settings.clone()).await.unwrap(),
            log: Arc::default(),
            namespace: Namespace::new(settings),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.namespace.settings()
    }

    /// The name of a key of the default queue.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{{{}:default}}:{name}", self.settings().namespace)
    }

    /// A connection of the test's own.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        let client = queue::redis::Client::open(self.settings().redis.clone()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// A worker for everything in [`registry`].
    pub(crate) fn start(&self, concurrency: usize) -> Running {
        start(&self.queue, &self.log, concurrency)
    }

    /// Checks that the test, whose workers have ended, leaves nothing.
    pub(crate) async fn end(self) {
        self.namespace.end().await;
    }

    /// Checks the same on other servers than it began with.
    pub(crate) async fn end_at(self, servers: Settings) {
        self.namespace.end_at(servers).await;
    }

    /// Checks that it leaves as many jobs as it means to, and nothing else.
    pub(crate) async fn end_leaving(self, left: Counts) {
        self.namespace.end_leaving(left).await;
    }
}

pub(crate) struct Running {
    pub(crate) shutdown: CancellationToken,
    pub(crate) abort: CancellationToken,
    handle: JoinHandle<Result<(), queue::WorkerError>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.ended().await;
    }

    pub(crate) async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.handle)
            .await
            .expect("the worker ends")
            .expect("the worker does not panic")
            .expect("the worker ends well");
    }
}

/// A worker for everything in [`registry`].
pub(crate) fn start(queue: &Queue, log: &Arc<Log>, concurrency: usize) -> Running {
    start_with(queue, registry(), log, concurrency, Duration::from_secs(5))
}

pub(crate) fn start_with(
    queue: &Queue,
    registry: Registry<Arc<Log>>,
    log: &Arc<Log>,
    concurrency: usize,
    drain_timeout: Duration,
) -> Running {
    let (shutdown, abort) = (CancellationToken::new(), CancellationToken::new());
    let worker = Worker::new(
        queue.clone(),
        registry,
        Arc::clone(log),
        WorkerSettings {
            concurrency,
            drain_timeout,
            ..WorkerSettings::default()
        },
    );
    Running {
        handle: tokio::spawn(worker.run(shutdown.clone(), abort.clone())),
        shutdown,
        abort,
    }
}

/// A worker for everything in [`registry`] that serves this queue.
pub(crate) fn start_serving(
    queue: &Queue,
    log: &Arc<Log>,
    served: QueueSettings,
    concurrency: usize,
) -> Running {
    let (shutdown, abort) = (CancellationToken::new(), CancellationToken::new());
    let settings = WorkerSettings {
        queues: vec![served],
        concurrency,
        drain_timeout: Duration::from_secs(5),
    };
    let worker = Worker::new(queue.clone(), registry(), Arc::clone(log), settings);
    Running {
        handle: tokio::spawn(worker.run(shutdown.clone(), abort.clone())),
        shutdown,
        abort,
    }
}

pub(crate) fn task(act: Act) -> Task {
    Task { number: 0, act }
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn until_done(log: &Log, jobs: usize) {
    until("jobs are done", async || log.done_count() >= jobs).await;
}

/// Waits until nothing is left to do, and checks that Redis agrees.
pub(crate) async fn assert_settled(queue: &Queue, dead: u64) {
    until("the queue is settled", async || {
        let Ok(counts) = queue.counts("default").await else {
            return false;
        };
        counts
            == Counts {
                dead,
                ..Counts::default()
            }
    })
    .await;
}

/// Runs one command.
pub(crate) async fn query<T: queue::redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut cmd = queue::redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    cmd.query_async(connection).await.unwrap()
}

/// This many jobs in the hands of a worker that has ended.
pub(crate) fn held(jobs: u64) -> Counts {
    Counts {
        in_hand: jobs,
        ..Counts::default()
    }
}

/// This many jobs that wait for their time.
pub(crate) fn delayed(delayed: u64) -> Counts {
    Counts {
        delayed,
        ..Counts::default()
    }
}

/// The consumers that are known, alive or not, beside the owner of what was handed
/// back.
pub(crate) async fn consumers(fixture: &Fixture) -> BTreeSet<String> {
    let mut connection = fixture.connection().await;
    let alive = ["ZRANGE", &fixture.key("alive"), "0", "-1"];
    let mut names: BTreeSet<String> = query(&mut connection, &alive).await;
    for stream in ["s:0", "s:1", "s:2"] {
        let mut cmd = queue::redis::cmd("XINFO");
        cmd.arg(&["CONSUMERS", &fixture.key(stream), "g"]);
        // A stream without a group has none.
        let info = cmd.query_async::<StreamInfoConsumersReply>(&mut connection);
        let info = info.await.map(|info| info.consumers).unwrap_or_default();
        names.extend(info.into_iter().map(|consumer| consumer.name));
    }
    names.remove("~");
    names
}

/// Waits until one worker is left, and what the dead left of themselves is gone.
///
/// Their consumers go with the scan after the one that took their last entry.
pub(crate) async fn until_alone(fixture: &Fixture) {
    until("one worker is left", async || {
        consumers(fixture).await.len() == 1
    })
    .await;
}
