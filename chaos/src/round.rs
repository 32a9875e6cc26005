//! One round: servers, processes, faults, silence, verdict.

use std::{
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use queue::{CatchUp, Queue};
use sqlx::{PgPool, Row};
use tokio::{sync::Mutex, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    brief::{Brief, GATE, LIMIT, scan},
    check,
    faults::Storms,
    fleet::{Fleet, Role},
    history::{Event, Fault, Final, Kind, Planned, Record, Release},
    journal::{self, Journal},
    progress::Progress,
    report::Report,
    servers::{Kind as RedisKind, Postgres, Programs, Redis},
    stage::Stage,
    stall,
    view::{Look, View},
    worker,
};

/// Before the first fault: what is without faults must be seen too.
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);
/// How long nothing may come to its end, without faults, while something is left to do. Jobs that
/// were with many killed workers run one by one, and the outbox takes its time to send again.
const STANDSTILL: Duration = Duration::from_secs(90);
/// Mean time between two looks at where every job is.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Keys that are there for as long as a queue is.
const LASTING_KEYS: [&str; 8] = ["s:0", "s:1", "s:2", "dead", "m", "cron", "cronspec", "cx"];

/// File of the state after all have ended, beside the history.
const FINAL: &str = "final.json";

/// What a round is to be.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) lease: Duration,
    pub(crate) workers: usize,
    pub(crate) faults: Vec<Fault>,
    pub(crate) redis: RedisKind,
}

/// Runs one round in `folder`, which then holds its history and logs, and prints what it showed.
pub(crate) async fn run(
    plan: &Plan,
    programs: &Programs,
    postgres: &Mutex<Postgres>,
    folder: &Path,
) -> Result<Report> {
    let (history, logs) = (folder.join("history"), folder.join("logs"));
    fs::create_dir_all(&history)?;
    fs::create_dir_all(&logs)?;
    let database = format!("chaos_{}", uuid::Uuid::now_v7().simple());
    let database_url = postgres.lock().await.make_database(&database).await?;
    let redis = Redis::start(plan.redis, programs, folder).await?;
    let journal = Journal::open(&history, "conductor")?;
    let round = Round {
        plan,
        brief: Brief {
            label: String::new(),
            slot: 0,
            life: 0,
            release: Release::New,
            last: false,
            redis: redis.address(),
            database_url,
            history: history.clone(),
            seed: plan.seed,
            lease: plan.lease,
        },
        logs,
        journal: journal.clone(),
    };
    let end = round.play(redis, postgres).await?;
    postgres.lock().await.drop_database(&database).await?;
    fs::write(folder.join(FINAL), serde_json::to_vec(&end)?)?;
    judge(&journal::read(&history)?, &end)
}

/// Checks the history in a folder that an earlier run has left.
pub(crate) fn check_again(folder: &Path) -> Result<ExitCode> {
    let end = serde_json::from_slice(&fs::read(folder.join(FINAL))?)?;
    let report = judge(&journal::read(&folder.join("history"))?, &end)?;
    println!("{report}");
    Ok(if report.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Checks a history, and prints all but the figures.
fn judge(records: &[Record], end: &Final) -> Result<Report> {
    let report = check::check(records, end);
    let mut out = io::stdout();
    let colour = out.is_terminal();
    report.print(&mut out, records, end, colour)?;
    Ok(report)
}

/// What does not change during a round.
struct Round<'a> {
    plan: &'a Plan,
    /// Of no process in particular.
    brief: Brief,
    logs: PathBuf,
    journal: Journal,
}

impl Round<'_> {
    async fn add(&self, fleet: &mut Fleet, role: Role, brief: Brief) -> Result<()> {
        fleet.add(role, brief, &self.logs, &self.journal).await
    }

    fn of(&self, release: Release) -> Brief {
        Brief {
            release,
            ..self.brief.clone()
        }
    }

    /// From the first job to the silence after the last.
    async fn play(&self, redis: Redis, postgres: &Mutex<Postgres>) -> Result<Final> {
        let _stalls = stall::watch(self.journal.clone());
        let (mut workers, mut producers) = (Fleet::default(), Fleet::default());
        for number in 1..=self.plan.workers {
            let old = number == self.plan.workers && number > 1;
            let release = if old { Release::Old } else { Release::New };
            self.add(&mut workers, Role::Worker, self.of(release))
                .await?;
        }
        for release in [Release::New, Release::Old] {
            self.add(&mut producers, Role::Producer, self.of(release))
                .await?;
        }
        let stage = Stage {
            workers,
            producers,
            journal: self.journal.clone(),
            redis: Mutex::new(redis),
            postgres,
            drain: self.brief.drain(),
            paused: std::sync::Mutex::default(),
            queue: Queue::connect(self.brief.queue()?).await?,
        };
        let stop = CancellationToken::new();
        let show = async {
            let end = self.show(stage).await;
            stop.cancel();
            end
        };
        let (end, ()) = tokio::join!(show, self.look_around(&stop));
        end
    }

    async fn show(&self, stage: Stage<'_>) -> Result<Final> {
        self.storm(&stage).await?;
        let Stage {
            workers,
            producers,
            // To its end with this function.
            redis: _redis,
            drain,
            ..
        } = stage;
        producers.end(drain.exit).await?;
        self.journal.write(Event::Quiet);
        // Without schedules: those of the others end with them.
        let mut last = Fleet::after(&workers);
        // As many as before: suspects run one at a time in each.
        for _ in 0..self.plan.workers {
            let brief = Brief {
                last: true,
                ..self.of(Release::New)
            };
            self.add(&mut last, Role::Worker, brief).await?;
        }
        workers.end(2 * drain.exit).await?;
        let pool = self.brief.database(2)?;
        self.quiet(&pool, &last).await;
        last.end(2 * drain.exit).await?;
        self.result(&pool).await
    }

    /// Faults until the time is over.
    async fn storm(&self, stage: &Stage<'_>) -> Result<()> {
        let begin = Instant::now();
        let left = || self.plan.length.saturating_sub(begin.elapsed());
        sleep(WARM_UP.min(left())).await;
        let storms = Storms::new(
            self.plan.seed,
            stage.workers.slots.len(),
            stage.producers.slots.len(),
            self.plan.lease,
            &self.plan.faults,
        );
        for storm in storms {
            let end = left();
            if end.is_zero() {
                break;
            }
            let steps = storm.steps.iter().filter(|step| step.after < end);
            let steps = steps.map(|step| stage.inflict(*step));
            futures_util::future::try_join_all(steps).await?;
            sleep(storm.calm.min(left())).await;
        }
        // Where no fault is enabled.
        sleep(left()).await;
        Ok(())
    }

    /// Writes down where every job is, again and again.
    async fn look_around(&self, stop: &CancellationToken) {
        let mut rng = fastrand::Rng::with_seed(self.plan.seed);
        let mut progress = Progress::new(self.plan);
        let mut view = None;
        while !stop.is_cancelled() {
            match self.look(&mut view).await {
                Ok(look) => {
                    progress.show(&look);
                    self.journal.write(Event::Snapshot(Box::new(look.snapshot)));
                }
                // Redis is away.
                Err(_) => view = None,
            }
            sleep(LOOK_EVERY.mul_f64(rng.f64() * 2.0)).await;
        }
    }

    async fn look(&self, view: &mut Option<View>) -> Result<Look> {
        let view = match view {
            Some(view) => view,
            None => view.insert(View::open(&self.brief.redis).await?),
        };
        view.look().await
    }

    /// Waits until nothing is left to do, and Redis knows of no workers but these; or until that
    /// comes no nearer. Then the checker says what is left.
    async fn quiet(&self, pool: &PgPool, workers: &Fleet) {
        let mut view = None;
        let (mut least, mut since) = (usize::MAX, Instant::now());
        while since.elapsed() < STANDSTILL {
            sleep(Duration::from_millis(100)).await;
            let (Ok(look), Ok(outbox)) = (self.look(&mut view).await, outbox(pool).await) else {
                view = None;
                continue;
            };
            let seen = &look.snapshot;
            let pids = workers.pids().await;
            // A consumer is named after its host, its process and its life.
            let lives = |consumer: &&String| {
                let pid = consumer.split(':').nth(1).and_then(|pid| pid.parse().ok());
                pid.is_some_and(|pid| pids.contains(&pid))
            };
            let is_dead = |id| seen.dead.iter().any(|letter| letter.id == id);
            let waits = |(id, state): &&(queue::JobId, i16)| *state == 0 || !is_dead(*id);
            let left = seen.stream.len()
                + usize::try_from(look.pending).unwrap_or(usize::MAX)
                + seen.delayed.len()
                + seen.parked.len()
                + seen.blocked.len()
                + seen.kept.len()
                + outbox.iter().filter(waits).count()
                + look.consumers.iter().filter(|name| !lives(name)).count();
            if left == 0 {
                return;
            }
            if left < least {
                (least, since) = (left, Instant::now());
            }
        }
    }

    /// Reads what is there after all have ended.
    async fn result(&self, pool: &PgPool) -> Result<Final> {
        let look = View::open(&self.brief.redis).await?.look().await?;
        let left_behind = look.keys.iter();
        let left_behind = left_behind.filter(|(_, key, _)| !LASTING_KEYS.contains(&key.as_str()));
        let effects = sqlx::query("SELECT job, serial FROM chaos_effects")
            .fetch_all(pool)
            .await?
            .iter()
            .map(|row| {
                let id: uuid::Uuid = row.try_get("job")?;
                let serial: i64 = row.try_get("serial")?;
                Ok((id.into(), serial.unsigned_abs()))
            })
            .collect::<Result<_, sqlx::Error>>()?;
        Ok(Final {
            residue: left_behind
                .map(|(queue, key, ttl)| format!("{key} of {queue} (time to live {ttl} ms)"))
                .collect(),
            pending: look.pending,
            consumers: look.consumers,
            snapshot: look.snapshot,
            outbox: outbox(pool).await?,
            effects,
            seed: self.plan.seed,
            lease_ms: ms(self.plan.lease),
            scan_ms: ms(scan(self.plan.lease)),
            poison_after: self.brief.queue()?.tuning.poison_after,
            drain_ms: ms(self.brief.drain().exit),
            limits: [(Kind::Bounded.queue().to_owned(), LIMIT)].into(),
            gates: [(Kind::Gated.queue().to_owned(), GATE)].into(),
            schedules: worker::SCHEDULES
                .iter()
                .map(|(name, seconds, policy)| Planned {
                    name: (*name).to_owned(),
                    every_ms: seconds * 1000,
                    all: matches!(policy, CatchUp::All { .. }),
                })
                .collect(),
        })
    }
}

/// The rows of the outbox: job and state.
async fn outbox(pool: &PgPool) -> Result<Vec<(queue::JobId, i16)>> {
    let rows = sqlx::query("SELECT id, state FROM job_outbox")
        .fetch_all(pool)
        .await?;
    let rows = rows.iter().map(|row| {
        let id: uuid::Uuid = row.try_get("id")?;
        Ok((id.into(), row.try_get("state")?))
    });
    Ok(rows.collect::<Result<_, sqlx::Error>>()?)
}

pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
