//! A worker process: the queue's worker and the outbox' relay, as in the product,
//! with handlers that write down when they begin and end.

use std::{future::Future, time::Duration};

use anyhow::Result;
use queue::{
    CatchUp, JobContext, JobError, Queue, QueueSettings, Rate, Registry, Schedule, Worker,
    WorkerSettings,
};
use rustix::process::{Signal, getpid, kill_process};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    brief::{Brief, GATE, QUEUES},
    history::{Event, How, Kind, Micros, Release, Serial},
    jobs::{
        Bounded, Delayed, Done, Failing, Gated, Keyed, Latest, Link, Long, Member, Once, Plain,
        Poison, Scheduled, Task, Unique, Unknown, Versioned, VersionedV1,
    },
    journal::{Journal, micros},
    process, stall,
};

/// What every handler gets.
#[derive(Clone)]
struct App {
    journal: Journal,
    pool: PgPool,
}

type Context = JobContext<App>;
type Outcome = Result<(), JobError>;

/// Runs until SIGTERM.
pub(crate) async fn run(brief: Brief) -> Result<()> {
    let shutdown = process::on_sigterm()?;
    let journal = brief.journal()?;
    let _stalls = stall::watch(journal.clone());
    silence_injected_panics();
    journal.write(Event::Up {
        pid: std::process::id(),
        release: brief.release,
        keys: brief.keys(),
    });
    let pool = brief.database(20)?;
    let queue = Queue::connect(brief.sealing(None)?).await?;
    let relay = outbox::Relay::with_settings(
        pool.clone(),
        queue.clone(),
        outbox::Settings {
            sweep: brief.lease / 4,
            resend_after: brief.lease * 3 / 2,
            step_timeout: brief.lease,
            max_backoff: brief.lease / 2,
            ..outbox::Settings::default()
        },
    );
    let settings = WorkerSettings {
        // Slots stay free, also with the long jobs of several dead workers: what is late is late
        // for another reason.
        concurrency: 64,
        queues: queues(brief.release),
        drain_timeout: brief.drain().timeout,
        on_span: None,
    };
    let app = App { journal, pool };
    let worker = Worker::new(queue, registry(&brief), app, settings);
    let (worked, ()) = tokio::join!(
        worker.run(shutdown.clone(), CancellationToken::new()),
        relay.run(shutdown),
    );
    Ok(worked?)
}

/// A queue with a limit is served slowly, so that it fills up; not by the release before, which
/// would park what it cannot read, and what was parked comes back on top of the limit. Nor does
/// that know of gates.
fn queues(release: Release) -> Vec<QueueSettings> {
    let (slow, gated) = (Kind::Bounded.queue(), Kind::Gated.queue());
    let gate = QueueSettings {
        most_at_once: Some(GATE.most),
        rate: Some(Rate {
            jobs: GATE.per_second,
            per: Duration::from_secs(1),
            burst: GATE.burst,
        }),
        ..gated.into()
    };
    let mut queues = vec![QueueSettings::limited(slow, 2), gate];
    if release == Release::Old {
        queues.clear();
    }
    let others = QUEUES
        .into_iter()
        .filter(|queue| ![slow, gated].contains(queue));
    queues.extend(others.map(QueueSettings::from));
    queues
}

fn registry(brief: &Brief) -> Registry<App> {
    let mut registry = Registry::new()
        .register(|Plain(task), cx| attempt(Kind::Plain, None, task, cx))
        .register(|Long(task), cx| attempt(Kind::Long, None, task, cx))
        .register(|Poison(task), cx| attempt(Kind::Poison, None, task, cx))
        .register(|Once(task), cx| attempt(Kind::Once, None, task, cx))
        .register(|Done(task), cx| attempt(Kind::Done, None, task, cx))
        .register(|Delayed(task), cx| attempt(Kind::Delayed, None, task, cx))
        .register(|Unique(task), cx| attempt(Kind::Unique, None, task, cx))
        .register(|Bounded(task), cx| attempt(Kind::Bounded, None, task, cx))
        .register(|Link(task), cx| attempt(Kind::Link, None, task, cx))
        .register(|Member(task), cx| attempt(Kind::Member, None, task, cx))
        .register(|Latest(task), cx| attempt(Kind::Latest, None, task, cx))
        .register(|Keyed(task), cx| attempt(Kind::Keyed, None, task, cx))
        .register(|Gated(task), cx| attempt(Kind::Gated, None, task, cx))
        .register(slot);
    if brief.release == Release::Old {
        return registry
            .register(|VersionedV1(task), cx| attempt(Kind::Versioned, Some(1), task, cx));
    }
    registry = registry
        .register(|job: Versioned, cx| attempt(Kind::Versioned, Some(job.written), job.task, cx));
    if brief.last {
        return registry.register(|Unknown(task), cx| attempt(Kind::Unknown, None, task, cx));
    }
    for (name, seconds, policy) in SCHEDULES {
        let schedule = Schedule::every(name, Duration::from_secs(seconds)).catch_up(policy);
        registry = registry.schedule(schedule, move |slot| Scheduled {
            schedule: name.to_owned(),
            slot: micros(slot),
        });
    }
    registry
}

/// Name, period in seconds, and what becomes of missed slots.
pub(crate) const SCHEDULES: [(&str, u64, CatchUp); 3] = [
    ("skip", 1, CatchUp::Skip),
    ("one", 2, CatchUp::One),
    ("all", 1, CatchUp::All { at_most: 1000 }),
];

/// The job of a schedule's slot: nothing but its history.
async fn slot(job: Scheduled, cx: Context) -> Outcome {
    let slot = Some((job.schedule, job.slot));
    let mut run = Run::begin(Kind::Scheduled, NO_SERIAL, slot, None, &cx);
    run.how = How::Ok;
    Ok(())
}

/// The serial of jobs that no producer has offered.
const NO_SERIAL: Serial = 0;

/// One attempt at any kind of job.
async fn attempt(kind: Kind, version: Option<u16>, task: Task, cx: Context) -> Outcome {
    let mut run = Run::begin(kind, task.serial, None, version, &cx);
    match kind {
        Kind::Poison => {
            // As an abort would end it, without a core file.
            kill_process(getpid(), Signal::KILL)?;
            std::future::pending::<()>().await;
        }
        Kind::Long => tokio::time::sleep(Duration::from_millis(task.ms)).await,
        _ => tokio::select! {
            biased;
            // It stops at once where it is; a transaction is rolled back.
            () = cx.cancel.cancelled() => return Err(JobError::retry("told to end")),
            worked = work(kind, &task, &cx, &mut run) => worked?,
        },
    }
    run.how = How::Ok;
    Ok(())
}

async fn work(kind: Kind, task: &Task, cx: &Context, run: &mut Run) -> Outcome {
    if kind == Kind::Plain && task.serial.is_multiple_of(8) {
        cx.set_progress(&1)?;
        cx.set_result(&task.serial, RESULTS_STAY)?;
    }
    if !matches!(kind, Kind::Once | Kind::Done) {
        return run.follow(task, cx).await;
    }
    let mut tx = run.or_fail(cx.app.pool.begin()).await?;
    let first = if kind == Kind::Once {
        run.or_fail(outbox::once(&mut tx, cx.id)).await?
    } else {
        run.or_fail(outbox::mark_done(&mut tx, cx.id)).await?
    };
    if first {
        run.or_fail(effect(&mut tx, task, cx)).await?;
        run.follow(task, cx).await?;
        run.or_fail(tx.commit()).await?;
    }
    // What comes after a commit takes time as well, and may be cut short.
    tokio::time::sleep(Duration::from_millis(task.ms / 2)).await;
    Ok(())
}

/// What a job does to the world: a row that says so.
async fn effect(
    conn: &mut sqlx::PgConnection,
    task: &Task,
    cx: &Context,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO chaos_effects (job, serial) VALUES ($1, $2)")
        .bind(cx.id.as_uuid())
        .bind(i64::try_from(task.serial).unwrap_or(i64::MAX))
        .execute(conn)
        .await
        .map(drop)
}

/// An attempt under way; when it is dropped, its end is written down.
struct Run {
    journal: Journal,
    end: Event,
    how: How,
}

impl Run {
    fn begin(
        kind: Kind,
        serial: Serial,
        slot: Option<(String, Micros)>,
        version: Option<u16>,
        cx: &Context,
    ) -> Self {
        let journal = cx.app.journal.clone();
        journal.write(Event::Start {
            serial,
            id: cx.id,
            attempt: cx.attempt,
            kind,
            slot,
            version,
        });
        Self {
            journal,
            end: Event::End {
                serial,
                id: cx.id,
                attempt: cx.attempt,
                how: How::Cancelled,
            },
            how: How::Cancelled,
        }
    }

    /// Takes its time, and fails as often as it shall.
    async fn follow(&mut self, task: &Task, cx: &Context) -> Outcome {
        tokio::time::sleep(Duration::from_millis(task.ms)).await;
        if cx.attempt > task.failures {
            return Ok(());
        }
        match task.failing {
            Failing::Error => {
                self.how = How::Fail;
                Err(JobError::retry(INJECTED))
            }
            Failing::Discard => {
                self.how = How::Discard;
                Err(JobError::discard(INJECTED))
            }
            Failing::Panic => std::panic::panic_any(INJECTED),
        }
    }

    /// The result of a step in Postgres, which may be away: then the attempt fails.
    async fn or_fail<T, E: std::error::Error + Send + Sync + 'static>(
        &mut self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, JobError> {
        let result = step.await;
        if result.is_err() {
            self.how = How::Fail;
        }
        Ok(result?)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Event::End { how, .. } = &mut self.end {
            *how = if std::thread::panicking() {
                How::Panic
            } else {
                self.how
            };
        }
        self.journal.write(self.end.clone());
    }
}

/// Longer than any round.
const RESULTS_STAY: Duration = Duration::from_secs(3600);

const INJECTED: &str = "as the task says";

fn silence_injected_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&INJECTED) {
            usual(panic);
        }
    }));
}
