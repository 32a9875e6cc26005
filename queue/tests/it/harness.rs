//! A queue of its own for each test, workers in this process, and the check that
//! nothing is left in Redis.
//!
//! A test gets its queue from a [`Fixture`] and must end it, which checks.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use queue::{
    Counts, Queue, QueueSettings, Registry, Settings, Worker, WorkerSettings,
    redis::{aio::MultiplexedConnection, streams::StreamInfoConsumersReply},
    testing::{self, Namespace},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::acts::*;

/// Short enough for a quick suite, long enough for two busy cores.
pub(crate) const LEASE: Duration = Duration::from_millis(1200);
/// Nothing in the suite takes longer, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

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
        on_span: None,
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
