//! Schedules: who fires which slot, and when.

mod asked;
mod faults;
mod releases;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use queue::{
    CatchUp, Error, Job, JobContext, JobError, JobId, Queue, Registry, Schedule, Worker,
    WorkerError, WorkerSettings, redis::aio::MultiplexedConnection,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::harness::*;

/// So long that no slot of it comes while a test runs.
const AGE: u64 = 1000 * 24 * 60 * 60 * 1000;

#[derive(Serialize, Deserialize)]
struct Chime {
    slot: u64,
}

impl Job for Chime {
    const NAME: &'static str = "chime";
}

/// The same of a later release.
#[derive(Serialize, Deserialize)]
struct LaterChime {
    slot: u64,
}

impl Job for LaterChime {
    const NAME: &'static str = "chime";
    const VERSION: u16 = 2;
}

#[derive(Serialize, Deserialize)]
struct Elsewhere;

impl Job for Elsewhere {
    const NAME: &'static str = "elsewhere";
    const QUEUE: &'static str = "elsewhere";
}

fn ms(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn chime(slot: SystemTime) -> Chime {
    Chime { slot: ms(slot) }
}

fn every_age(name: &str) -> Schedule {
    Schedule::every(name, Duration::from_millis(AGE))
}

/// A queue with workers, and what their schedules have started.
struct Tower {
    fixture: Fixture,
    queue: Queue,
    connection: MultiplexedConnection,
    /// Job, version of its payload, slot; in the order of the starts.
    started: Arc<Mutex<Vec<(JobId, u16, u64)>>>,
    early: Arc<AtomicUsize>,
}

impl Tower {
    async fn new(fixture: Fixture) -> Self {
        Self {
            queue: fixture.queue.clone(),
            connection: fixture.connection().await,
            fixture,
            started: Arc::default(),
            early: Arc::default(),
        }
    }

    /// Kinds without schedules.
    fn kinds(&self) -> Registry<Arc<Log>> {
        let note = |version| {
            let (started, early) = (Arc::clone(&self.started), Arc::clone(&self.early));
            move |id, slot| {
                // A panic here would only be a failed attempt.
                if ms(SystemTime::now()) < slot {
                    early.fetch_add(1, Ordering::SeqCst);
                }
                started.lock().unwrap().push((id, version, slot));
            }
        };
        let (first, second) = (note(1), note(2));
        Registry::new()
            .register::<Task, _, _>(run_task)
            .register::<Chime, _, _>(move |chime: Chime, cx: JobContext<Arc<Log>>| {
                first(cx.id, chime.slot);
                std::future::ready(Ok::<(), JobError>(()))
            })
            .register::<LaterChime, _, _>(move |chime: LaterChime, cx: JobContext<Arc<Log>>| {
                second(cx.id, chime.slot);
                std::future::ready(Ok::<(), JobError>(()))
            })
    }

    /// A worker with these schedules of [`Chime`], one job at a time.
    fn worker(&self, schedules: impl IntoIterator<Item = Schedule>) -> Running {
        let registry = schedules
            .into_iter()
            .fold(self.kinds(), |all, one| all.schedule(one, chime));
        self.worker_with(registry)
    }

    fn worker_with(&self, registry: Registry<Arc<Log>>) -> Running {
        let log = Arc::new(Log::default());
        start_with(&self.queue, registry, &log, 1, Duration::from_secs(5))
    }

    fn key(&self, kind: &str) -> String {
        self.fixture.key(kind)
    }

    /// The next slot of a schedule, if Redis knows it.
    async fn next(&mut self, name: &str) -> Option<u64> {
        let key = self.key("cron");
        let score: Option<u64> = query(&mut self.connection, &["ZSCORE", &key, name]).await;
        score
    }

    async fn set_next(&mut self, name: &str, slot: u64) {
        let (key, slot) = (self.key("cron"), slot.to_string());
        let _: u64 = query(&mut self.connection, &["ZADD", &key, &slot, name]).await;
    }

    /// The rules in force, with their times.
    async fn rules(&mut self) -> HashMap<String, String> {
        let key = self.key("cronspec");
        query(&mut self.connection, &["HGETALL", &key]).await
    }

    async fn until_known(&mut self, name: &str) {
        until("the schedule is known", async || {
            self.next(name).await.is_some()
        })
        .await;
    }

    /// Lets a worker enroll the schedule, and sets its next slot as after a downtime.
    async fn after_downtime(&mut self, schedule: Schedule, due: u64) {
        let worker = self.worker([schedule]);
        self.until_known("chime").await;
        worker.stop().await;
        self.set_next("chime", due).await;
    }

    fn slots(&self) -> Vec<u64> {
        let started = self.started.lock().unwrap();
        started.iter().map(|(_, _, slot)| *slot).collect()
    }

    async fn until_started(&self, slots: usize) {
        until("slots are fired", async || self.slots().len() >= slots).await;
    }

    /// Every second has its slot since the first, each with one job.
    fn assert_no_gap_and_no_double(&self) {
        let mut slots = self.slots();
        slots.sort_unstable();
        for pair in slots.windows(2) {
            assert_eq!(pair[0] + 1000, pair[1], "{slots:?}");
        }
    }

    /// Finishes what was fired while the last worker stopped, and looks for leaks.
    async fn end(self) {
        assert_eq!(self.early.load(Ordering::SeqCst), 0, "started early");
        let worker = self.worker([]);
        assert_settled(&self.queue, 0).await;
        worker.stop().await;
        self.fixture.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_workers_fire_each_slot_once_and_none_early() {
    let tower = Tower::new(Fixture::new().await).await;
    let second = || Schedule::every("chime", Duration::from_secs(1));
    let workers = [(); 3].map(|()| tower.worker([second()]));
    tower.until_started(4).await;
    for worker in workers {
        worker.stop().await;
    }
    tower.assert_no_gap_and_no_double();
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_slots_are_caught_up_with_by_the_policy() {
    let all = CatchUp::All { at_most: 3 };
    for (policy, expected) in [
        (CatchUp::Skip, vec![]),
        (CatchUp::One, vec![0]),
        (all, vec![2, 1, 0]),
    ] {
        let mut tower = Tower::new(Fixture::new().await).await;
        let schedule = || every_age("chime").catch_up(policy);
        let latest = ms(SystemTime::now()) / AGE * AGE;
        tower.after_downtime(schedule(), latest - 5 * AGE).await;
        let worker = tower.worker([schedule()]);
        until("the schedule has moved on", async || {
            tower.next("chime").await == Some(latest + AGE)
        })
        .await;
        tower.until_started(expected.len()).await;
        worker.stop().await;
        let expected: Vec<u64> = expected.iter().map(|ago| latest - ago * AGE).collect();
        assert_eq!(tower.slots(), expected, "{policy:?}");
        tower.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_within_a_minute_is_no_reason_to_skip() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let slot = ms(SystemTime::now()) - 5000;
    tower.after_downtime(every_age("chime"), slot).await;
    let worker = tower.worker([every_age("chime")]);
    tower.until_started(1).await;
    worker.stop().await;
    assert_eq!(tower.slots(), [slot]);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_missed_slots_come_in_order_and_without_a_gap() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let policy = CatchUp::All { at_most: 120 };
    let schedule = || Schedule::every("chime", Duration::from_secs(1)).catch_up(policy);
    let now = ms(SystemTime::now()) / 1000 * 1000;
    tower.after_downtime(schedule(), now - 1_000_000).await;
    // Fired by more than one script, each of which could be another worker's.
    let workers = [(); 2].map(|()| tower.worker([schedule()]));
    tower.until_started(122).await;
    for worker in workers {
        worker.stop().await;
    }
    let oldest = *tower.slots().iter().min().unwrap();
    assert!(oldest >= now - 119_000, "at most 120 are caught up with");
    tower.assert_no_gap_and_no_double();
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_fires_for_the_queues_that_it_serves() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let registry = tower
        .kinds()
        .register::<Elsewhere, _, _>(async |_, _: JobContext<Arc<Log>>| Ok::<(), JobError>(()))
        .schedule(every_age("chime"), chime)
        .schedule(every_age("elsewhere"), |_| Elsewhere);
    let worker = tower.worker_with(registry);
    tower.until_known("chime").await;
    worker.stop().await;
    assert_eq!(tower.next("elsewhere").await, None);
    let there = format!("{{{}:elsewhere}}:cron", tower.fixture.settings().namespace);
    let exists: u64 = query(&mut tower.connection, &["EXISTS", &there]).await;
    assert_eq!(exists, 0);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_without_a_job_is_passed_over() {
    let tower = Tower::new(Fixture::new().await).await;
    let registry =
        tower
            .kinds()
            .schedule(Schedule::every("chime", Duration::from_secs(1)), |slot| {
                assert!(!ms(slot).is_multiple_of(2000), "told to panic");
                chime(slot)
            });
    let worker = tower.worker_with(registry);
    tower.until_started(2).await;
    worker.stop().await;
    let slots = tower.slots();
    assert_eq!(slots[0] + 2000, slots[1], "{slots:?}");
    tower.end().await;
}

#[tokio::test]
async fn mistakes_in_schedules_and_settings_are_told_together_at_start() {
    let tower = Tower::new(Fixture::new().await).await;
    let registry = tower
        .kinds()
        .schedule(Schedule::cron("chime", "61 * * * *"), chime)
        .schedule(
            Schedule::cron("chime.berlin", "0 6 * * *").zone("Berlin"),
            chime,
        );
    let worker = Worker::new(
        tower.queue.clone(),
        registry,
        Arc::new(Log::default()),
        WorkerSettings {
            concurrency: 0,
            ..WorkerSettings::default()
        },
    );
    let never = CancellationToken::new;
    let ended = worker.run(never(), never()).await;
    let Err(WorkerError::Queue(Error::Settings(wrong))) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(wrong[0].starts_with("concurrency"), "{wrong:?}");
    assert!(wrong[1].contains("\"61 * * * *\""), "{wrong:?}");
    assert!(wrong[2].contains("\"Berlin\" is unknown"), "{wrong:?}");
    tower.fixture.end().await;
}
