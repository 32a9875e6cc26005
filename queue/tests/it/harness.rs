//! A queue of its own for each test, workers in this process, and the check that
//! nothing is left in Redis.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use queue::{
    Counts, Job, JobContext, JobError, JobId, Queue, Registry, Settings, Worker, WorkerSettings,
    testing,
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
    /// Waits for its token, then fails as a polite handler does.
    AwaitCancel,
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

/// What has happened, for the asserts.
#[derive(Default)]
pub(crate) struct Log {
    /// Starts, in order: job and attempt.
    pub(crate) starts: Mutex<Vec<(JobId, u16)>>,
    pub(crate) done: Mutex<Vec<JobId>>,
    pub(crate) cancelled: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
}

impl Log {
    pub(crate) fn starts_of(&self, id: JobId) -> usize {
        self.starts
            .lock()
            .unwrap()
            .iter()
            .filter(|(other, _)| *other == id)
            .count()
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
        Act::Hang => std::future::pending().await,
        Act::AwaitCancel => {
            cx.cancel.cancelled().await;
            log.cancelled.fetch_add(1, Ordering::SeqCst);
            return Err(JobError::retry("cancelled"));
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
}

/// Settings with a short lease, in a namespace of their own.
pub(crate) fn settings() -> Settings {
    quick(testing::settings())
}

/// The same, for another server.
pub(crate) fn settings_at(url: &str) -> Settings {
    use queue::redis::IntoConnectionInfo;
    quick(Settings::new(
        url.into_connection_info().unwrap(),
        testing::namespace(),
    ))
}

fn quick(mut settings: Settings) -> Settings {
    settings.lease = LEASE;
    settings.tuning.scan = Duration::from_millis(200);
    settings.tuning.block = Duration::from_millis(500);
    settings.tuning.response_timeout = Duration::from_secs(1);
    settings.tuning.reconcile = Duration::from_secs(1);
    settings
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

/// Checks that a queue without workers leaves no key that grows, and removes it.
pub(crate) async fn assert_no_leak(settings: &Settings) {
    let mut connection = connection(settings).await;
    let pattern = format!("{{{}:*", settings.namespace);
    let mut keys: Vec<String> = Vec::new();
    let mut cursor = 0u64;
    loop {
        let (next, page): (u64, Vec<String>) = queue::redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(1000)
            .query_async(&mut connection)
            .await
            .unwrap();
        keys.extend(page);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let mut leaked = Vec::new();
    for key in &keys {
        let kind = key.rsplit_once("}:").unwrap().1;
        match kind {
            // Schedules stay while a release may come back that knows them.
            "m" | "dead" | "cron" | "cronspec" => {}
            marker if marker.starts_with("once:") => {
                let ttl: i64 = query(&mut connection, &["PTTL", key]).await;
                assert!(ttl > 0, "{key} lives for ever");
            }
            "s:0" => {
                let length: u64 = query(&mut connection, &["XLEN", key]).await;
                if length > 0 {
                    leaked.push(format!("{key}: {length} entries"));
                }
                let consumers: Vec<HashMap<String, queue::redis::Value>> =
                    query(&mut connection, &["XINFO", "CONSUMERS", key, "g"]).await;
                for consumer in consumers {
                    let pending = &consumer["pending"];
                    // `~`, the owner of what was handed back, is there for good.
                    let stays = consumer["name"] == queue::redis::Value::BulkString(b"~".to_vec());
                    if !stays || *pending != queue::redis::Value::Int(0) {
                        leaked.push(format!("{key}: {consumer:?}"));
                    }
                }
            }
            _ => leaked.push(key.clone()),
        }
    }
    for key in &keys {
        let _: i64 = query(&mut connection, &["DEL", key]).await;
    }
    assert!(leaked.is_empty(), "left in Redis: {leaked:?}");
}

/// A connection of the test's own.
pub(crate) async fn connection(settings: &Settings) -> queue::redis::aio::MultiplexedConnection {
    let client = queue::redis::Client::open(settings.redis.clone()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Runs one command.
pub(crate) async fn query<T: queue::redis::FromRedisValue>(
    connection: &mut queue::redis::aio::MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut cmd = queue::redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    cmd.query_async(connection).await.unwrap()
}
