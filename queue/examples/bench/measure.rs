//! The queue itself.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use queue::{
    Enqueued, Job, JobContext, JobError, Queue, Registry, Settings, Worker, WorkerSettings,
    redis::{self, IntoConnectionInfo},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{Options, Samples, percentile};

/// Jobs one after the other in an idle system.
const PICKUPS: usize = 1000;

#[derive(Serialize, Deserialize)]
struct NoOp {
    number: usize,
    /// Fails at the first attempt.
    fails: bool,
    /// Nanoseconds after the start of the process; 0 when nobody measures.
    sent: u64,
    padding: String,
}

impl Job for NoOp {
    const NAME: &'static str = "no_op";

    fn backoff(_attempt: u16) -> Duration {
        Duration::ZERO
    }
}

/// What the handlers have done in one measurement.
struct Tally {
    times: Vec<AtomicU8>,
    done: AtomicUsize,
    pickups: Mutex<Vec<f64>>,
}

impl Tally {
    fn new(jobs: usize) -> Arc<Self> {
        Arc::new(Self {
            times: (0..jobs).map(|_| AtomicU8::new(0)).collect(),
            done: AtomicUsize::new(0),
            pickups: Mutex::new(Vec::new()),
        })
    }

    async fn reach(&self, jobs: usize) {
        let end = Instant::now() + Duration::from_secs(120);
        while self.done.load(Ordering::Relaxed) < jobs && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_nanos()).unwrap()
}

async fn run(job: NoOp, cx: JobContext<Arc<Tally>>) -> Result<(), JobError> {
    if job.sent > 0 {
        let ms = (now() - job.sent) as f64 / 1e6;
        cx.app.pickups.lock().unwrap().push(ms);
    }
    if job.fails && cx.attempt == 1 {
        return Err(JobError::retry("told to fail"));
    }
    cx.app.times[job.number].fetch_add(1, Ordering::Relaxed);
    cx.app.done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// A namespace of its own for each measurement.
struct Bench<'a> {
    options: &'a Options,
    queue: Queue,
    settings: Settings,
}

impl<'a> Bench<'a> {
    async fn new(options: &'a Options) -> Self {
        let redis = options.redis.as_str().into_connection_info().unwrap();
        let settings = Settings::new(redis, format!("bench-{}-{}", std::process::id(), now()));
        let queue = Queue::connect(settings.clone()).await.unwrap();
        queue.ping().await.unwrap();
        Self {
            options,
            queue,
            settings,
        }
    }

    fn jobs(&self, count: usize, fails: bool) -> Vec<NoOp> {
        (0..count).map(|number| self.job(number, fails)).collect()
    }

    fn job(&self, number: usize, fails: bool) -> NoOp {
        NoOp {
            number,
            fails,
            sent: 0,
            padding: "x".repeat(self.options.payload),
        }
    }

    fn start(&self, tally: &Arc<Tally>) -> Running {
        let shutdown = CancellationToken::new();
        let worker = Worker::new(
            self.queue.clone(),
            Registry::new().register::<NoOp, _, _>(run),
            Arc::clone(tally),
            WorkerSettings::default(),
        );
        Running {
            handle: tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new())),
            shutdown,
        }
    }

    async fn remove(self) {
        let client = redis::Client::open(self.settings.redis.clone()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        for key in ["s:0", "m", "alive", "j", "delayed", "dead", "parked"] {
            let key = format!("{{{}:default}}:{key}", self.settings.namespace);
            let _: redis::Value = redis::cmd("UNLINK")
                .arg(key)
                .query_async(&mut connection)
                .await
                .unwrap();
        }
    }
}

struct Running {
    shutdown: CancellationToken,
    handle: tokio::task::JoinHandle<Result<(), queue::WorkerError>>,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.handle.await.unwrap().unwrap();
    }
}

pub(crate) fn rate(jobs: usize, begun: Instant) -> f64 {
    jobs as f64 / begun.elapsed().as_secs_f64()
}

/// Counts what was not done, and what was done more than once.
fn check(tally: &Tally, samples: &mut Samples) {
    for times in &tally.times {
        match times.load(Ordering::Relaxed) {
            0 => samples.lost += 1,
            times => samples.doubled += u64::from(times - 1),
        }
    }
}

pub(crate) async fn enqueue_one(options: &Options, samples: &mut Samples) {
    let bench = Bench::new(options).await;
    let jobs = bench.jobs(options.one_by_one(), false);
    let begun = Instant::now();
    for job in &jobs {
        bench.queue.enqueue(job).await.unwrap();
    }
    samples.add("enqueue_one", rate(jobs.len(), begun));
    bench.remove().await;
}

pub(crate) async fn enqueue_concurrent(options: &Options, samples: &mut Samples) {
    let bench = Bench::new(options).await;
    let each = options.jobs.div_ceil(128);
    let jobs: Vec<_> = (0..128).map(|_| bench.jobs(each, false)).collect();
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for jobs in jobs {
        let queue = bench.queue.clone();
        tasks.spawn(async move {
            for job in &jobs {
                queue.enqueue(job).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    samples.add("enqueue_concurrent", rate(128 * each, begun));
    bench.remove().await;
}

pub(crate) async fn enqueue_many(options: &Options, samples: &mut Samples) {
    let bench = Bench::new(options).await;
    let jobs = bench.jobs(options.jobs, false);
    let begun = Instant::now();
    bench.queue.enqueue_many(&jobs).await.unwrap();
    samples.add("enqueue_many", rate(jobs.len(), begun));
    bench.remove().await;
}

pub(crate) async fn drain(options: &Options, samples: &mut Samples) {
    let bench = Bench::new(options).await;
    bench
        .queue
        .enqueue_many(&bench.jobs(options.jobs, false))
        .await
        .unwrap();
    let before = Usage::read(options).await;
    let tally = Tally::new(options.jobs);
    let begun = Instant::now();
    let worker = bench.start(&tally);
    tally.reach(options.jobs).await;
    samples.add("drain", rate(options.jobs, begun));
    worker.stop().await;
    let after = Usage::read(options).await;
    let jobs = options.jobs as f64;
    samples.add(
        "redis_commands_per_job",
        (after.commands - before.commands) / jobs,
    );
    samples.add(
        "redis_cpu_us_per_job",
        (after.cpu_us - before.cpu_us) / jobs,
    );
    check(&tally, samples);
    bench.remove().await;
}

pub(crate) async fn steady(options: &Options, samples: &mut Samples) {
    let bench = Bench::new(options).await;
    let tally = Tally::new(options.jobs);
    let worker = bench.start(&tally);
    let jobs = bench.jobs(options.jobs, false);
    let begun = Instant::now();
    bench.queue.enqueue_many(&jobs).await.unwrap();
    tally.reach(options.jobs).await;
    samples.add("steady", rate(options.jobs, begun));
    worker.stop().await;
    check(&tally, samples);
    bench.remove().await;
}

pub(crate) async fn retry(options: &Options, samples: &mut Samples) {
    let bench = Bench::new(options).await;
    let jobs = (options.jobs / 2).max(1);
    bench
        .queue
        .enqueue_many(&bench.jobs(jobs, true))
        .await
        .unwrap();
    let tally = Tally::new(jobs);
    let begun = Instant::now();
    let worker = bench.start(&tally);
    tally.reach(jobs).await;
    samples.add("retry", rate(jobs, begun));
    worker.stop().await;
    check(&tally, samples);
    bench.remove().await;
}

/// Unique jobs from 128 tasks, each with a key of its own, and their end.
pub(crate) async fn unique(options: &Options, samples: &mut Samples) {
    let bench = Bench::new(options).await;
    let each = (options.jobs / 2).div_ceil(128);
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..128 {
        let queue = bench.queue.clone();
        let first = task * each;
        let jobs: Vec<_> = (first..first + each).map(|n| bench.job(n, false)).collect();
        tasks.spawn(async move {
            for job in &jobs {
                let key = job.number.to_string();
                let enqueued = queue.enqueue_unique(job, key).await.unwrap();
                assert!(matches!(enqueued, Enqueued::New(_)));
            }
        });
    }
    tasks.join_all().await;
    samples.add("unique", rate(128 * each, begun));
    let tally = Tally::new(128 * each);
    let begun = Instant::now();
    let worker = bench.start(&tally);
    tally.reach(128 * each).await;
    samples.add("unique_drain", rate(128 * each, begun));
    worker.stop().await;
    check(&tally, samples);
    bench.remove().await;
}

pub(crate) async fn pickup(options: &Options, samples: &mut Samples) {
    let bench = Bench::new(options).await;
    let tally = Tally::new(PICKUPS);
    let worker = bench.start(&tally);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for number in 0..PICKUPS {
        let mut job = bench.job(number, false);
        job.sent = now();
        bench.queue.enqueue(&job).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tally.reach(PICKUPS).await;
    worker.stop().await;
    check(&tally, samples);
    let mut pickups = std::mem::take(&mut *tally.pickups.lock().unwrap());
    samples.add("pickup_p50_ms", percentile(&mut pickups, 50));
    samples.add("pickup_p99_ms", percentile(&mut pickups, 99));
    bench.remove().await;
}

/// What Redis has spent so far.
struct Usage {
    commands: f64,
    cpu_us: f64,
}

impl Usage {
    async fn read(options: &Options) -> Self {
        let client = redis::Client::open(options.redis.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let info: String = redis::cmd("INFO")
            .arg("everything")
            .query_async(&mut connection)
            .await
            .unwrap();
        let field = |name: &str| -> f64 {
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().trim().parse().unwrap()
        };
        Self {
            commands: field("total_commands_processed"),
            cpu_us: (field("used_cpu_user") + field("used_cpu_sys")) * 1e6,
        }
    }
}
