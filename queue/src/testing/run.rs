//! Runs all that waits, with a worker of its own.

use std::{
    mem,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    Outcome, Ran, Report,
    clock::{next_due, pull_forward},
};
use crate::{
    Counts, Error, Queue, Registry, Settings, Unknown, Worker, WorkerError, WorkerSettings,
    envelope::Header,
};

/// How often the worker moves due jobs: the shortest that there is.
const TICK: Duration = Duration::from_millis(10);
/// How often it looks for jobs of dead workers, and for parked ones.
const SCAN: Duration = Duration::from_millis(50);
/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(5);
/// Most parked jobs that are looked at, to see whether there is a handler now.
const PARKED: usize = 1000;

/// How [`run_until_empty_with`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions {
    /// How long it may take in all.
    pub limit: Duration,
    /// Jobs at once.
    pub concurrency: usize,
    /// What to do about jobs whose time has not come.
    pub delayed: Delayed,
}

/// What to do about jobs whose time has not come: delayed ones, and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delayed {
    /// When all others have run, time leaps to the next of them, as often as needed.
    PullForward,
    /// They stay.
    Leave,
}

impl Default for RunOptions {
    /// Half a minute, one job after the other, and none is left.
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(30),
            concurrency: 1,
            delayed: Delayed::PullForward,
        }
    }
}

/// Why the jobs did not run, or not all of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Redis is away, or the settings are wrong.
    #[error(transparent)]
    Queue(#[from] Error),
    /// The worker could not run.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// Not all was done in time; what was running has been handed back.
    #[error("not done within {limit:?}\n{report}")]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// What has happened until then.
        report: Box<Report>,
    },
}

/// Runs the jobs of all queues that the registry has jobs for, until none waits.
///
/// Jobs that come meanwhile and retries run too; delayed ones when all others have
/// run, in the order of their times, as if the time between had passed. Parked jobs
/// run if the registry knows them. Its schedules fire nothing: see
/// [`fired`](super::fired). The worker is a real one against the real Redis.
///
/// # Errors
/// See [`RunError`].
pub async fn run_until_empty<C>(
    queue: &Queue,
    registry: Registry<C>,
    app: C,
) -> Result<Report, RunError>
where
    C: Clone + Send + Sync + 'static,
{
    run_until_empty_with(queue, registry, app, RunOptions::default()).await
}

/// [`run_until_empty`] with the choice in `options`.
///
/// # Errors
/// As [`run_until_empty`].
pub async fn run_until_empty_with<C>(
    queue: &Queue,
    mut registry: Registry<C>,
    app: C,
    options: RunOptions,
) -> Result<Report, RunError>
where
    C: Clone + Send + Sync + 'static,
{
    let RunOptions {
        limit,
        concurrency,
        delayed,
    } = options;
    let queue = Queue::connect(hurried(queue.settings().clone())).await?;
    let jobs = Arc::<Mutex<Vec<Ran>>>::default();
    let told = Arc::clone(&jobs);
    registry.watch = Some(Box::new(move |header, outcome| {
        note(
            &mut told.lock().unwrap_or_else(PoisonError::into_inner),
            header,
            outcome,
        );
    }));
    registry.schedules.clear();
    let run = Run {
        queue: queue.clone(),
        names: registry.queues(),
        kinds: registry
            .kinds()
            .map(|kind| (kind.name, kind.versions.clone()))
            .collect(),
        delayed,
        jobs,
    };
    let before = run.counts().await?;
    let (shutdown, abort) = (CancellationToken::new(), CancellationToken::new());
    let settings = WorkerSettings {
        queues: run.names.iter().map(|name| (*name).into()).collect(),
        concurrency,
        ..WorkerSettings::default()
    };
    let worker = Worker::new(queue, registry, app, settings);
    let worker = async { Ok(worker.run(shutdown.clone(), abort.clone()).await?) };
    let idle = async {
        match tokio::time::timeout(limit, run.until_idle()).await {
            Ok(idle) => {
                shutdown.cancel();
                idle.map(|()| true).map_err(RunError::from)
            }
            Err(_) => {
                abort.cancel();
                Ok(false)
            }
        }
    };
    let ((), in_time) = Box::pin(async { tokio::try_join!(worker, idle) }).await?;
    let report = run.report(before).await?;
    if in_time {
        return Ok(report);
    }
    let report = Box::new(report);
    Err(RunError::TimedOut { limit, report })
}

/// The settings with which a worker looks often at what seldom happens.
fn hurried(mut settings: Settings) -> Settings {
    let tuning = &mut settings.tuning;
    tuning.tick = tuning.tick.min(TICK);
    tuning.scan = tuning.scan.min(SCAN);
    settings
}

fn note(jobs: &mut Vec<Ran>, header: &Header<'_>, outcome: Outcome) {
    let id = header.id();
    match jobs.iter_mut().find(|ran| ran.id == id) {
        Some(ran) => ran.attempts.push(outcome),
        None => jobs.push(Ran {
            id,
            name: header.name.to_owned(),
            queue: header.queue.to_owned(),
            attempts: vec![outcome],
        }),
    }
}

/// What is looked at while the worker runs.
struct Run {
    queue: Queue,
    names: Vec<&'static str>,
    /// Names and versions that have a handler.
    kinds: Vec<(&'static str, RangeInclusive<u16>)>,
    delayed: Delayed,
    jobs: Arc<Mutex<Vec<Ran>>>,
}

/// What a look at the queues has found.
enum Look {
    Busy,
    /// Nothing is to be done before this time has passed.
    Asleep(Duration),
    Empty,
}

impl Run {
    /// Waits until nothing is left to run, and lets time leap where it may.
    async fn until_idle(&self) -> Result<(), Error> {
        // One look may miss a job that goes from one place to the other meanwhile. A
        // second one that sees the same finds it, unless it has run and gone back: that
        // is an attempt.
        let mut quiet = None;
        loop {
            let attempts = self.attempts();
            let look = self.look().await?;
            if matches!(look, Look::Busy) {
                quiet = None;
            } else if let seen = Some((attempts, mem::discriminant(&look)))
                && mem::replace(&mut quiet, seen) == seen
            {
                match look {
                    Look::Asleep(time) => {
                        for name in &self.names {
                            pull_forward(&self.queue, name, time).await?;
                        }
                        quiet = None;
                    }
                    Look::Empty | Look::Busy => return Ok(()),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&self) -> Result<Look, Error> {
        let mut next: Option<Duration> = None;
        for name in &self.names {
            // First, because a job goes from here to there: the other way round it could be missed.
            let wait = next_due(&self.queue, name).await?;
            let counts = self.queue.counts(name).await?;
            if counts.ready + counts.in_hand + counts.blocked > 0 {
                return Ok(Look::Busy);
            }
            if counts.parked > 0 && self.knows_parked(name).await? {
                return Ok(Look::Busy);
            }
            // Its time has come, so the worker's next tick takes it.
            if wait == Some(Duration::ZERO) {
                return Ok(Look::Busy);
            }
            next = [next, wait].into_iter().flatten().min();
        }
        Ok(match next {
            Some(wait) if self.delayed == Delayed::PullForward => Look::Asleep(wait),
            _ => Look::Empty,
        })
    }

    async fn knows_parked(&self, name: &str) -> Result<bool, Error> {
        let newest = self.queue.settings().newest_envelope;
        let parked = self.queue.parked(name, PARKED).await?;
        Ok(parked.iter().any(|job| match &job.reason {
            Unknown::Envelope { version } => *version <= newest,
            Unknown::Key { id } => self.queue.packer().keys.ids().any(|known| known == *id),
            Unknown::Kind { name, version } => {
                let mut kinds = self.kinds.iter();
                kinds.any(|(known, versions)| known == name && versions.contains(version))
            }
        }))
    }

    fn attempts(&self) -> usize {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().map(|ran| ran.attempts.len()).sum()
    }

    /// What is in all queues.
    async fn counts(&self) -> Result<Counts, Error> {
        let mut all = Counts::default();
        for name in &self.names {
            all += self.queue.counts(name).await?;
        }
        Ok(all)
    }

    async fn report(&self, before: Counts) -> Result<Report, Error> {
        let mut left = self.counts().await?;
        left.dead = left.dead.saturating_sub(before.dead);
        left.dead_trimmed = left.dead_trimmed.saturating_sub(before.dead_trimmed);
        left.replaced = left.replaced.saturating_sub(before.replaced);
        left.cancelled = left.cancelled.saturating_sub(before.cancelled);
        let mut parked = Vec::new();
        for name in &self.names {
            // Those of one kind come together.
            let jobs = self.queue.parked(name, PARKED).await?;
            parked.extend(jobs.into_iter().map(|job| job.reason));
        }
        parked.dedup();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Report {
            jobs: jobs.clone(),
            left,
            parked,
        })
    }
}
