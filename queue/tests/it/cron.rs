//! Schedules: who fires which slot, and when.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use queue::{
    CatchUp, Error, Job, JobContext, JobError, JobId, Queue, Registry, Schedule, Settings, Worker,
    WorkerError, WorkerSettings, redis::aio::MultiplexedConnection,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{harness::*, server::Server};

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
    settings: Settings,
    queue: Queue,
    connection: MultiplexedConnection,
    /// Job, version of its payload, slot; in the order of the starts.
    started: Arc<Mutex<Vec<(JobId, u16, u64)>>>,
    early: Arc<AtomicUsize>,
}

impl Tower {
    async fn new(settings: Settings) -> Self {
        Self {
            queue: Queue::connect(settings.clone()).await.unwrap(),
            connection: connection(&settings).await,
            settings,
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
        format!("{{{}:default}}:{kind}", self.settings.namespace)
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
        assert_no_leak(&self.settings).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_workers_fire_each_slot_once_and_none_early() {
    let tower = Tower::new(settings()).await;
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
        let mut tower = Tower::new(settings()).await;
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
    let mut tower = Tower::new(settings()).await;
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
    let mut tower = Tower::new(settings()).await;
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
async fn where_releases_differ_the_worker_that_began_last_is_followed() {
    let mut settings = settings();
    settings.tuning.schedule_ttl = Duration::from_secs(1);
    let mut tower = Tower::new(settings).await;
    let in_force = async |tower: &mut Tower, rule: &str| {
        let rules = tower.rules().await;
        rules.get("chime").is_some_and(|held| held.contains(rule))
    };
    let old = tower.worker([Schedule::cron("chime", "0 6 1 1 *")]);
    until("the old rule holds", async || {
        in_force(&mut tower, "0 6 1 1").await
    })
    .await;
    let before = tower.next("chime").await.unwrap();
    let new = tower.worker([Schedule::cron("chime", "0 7 1 1 *")]);
    until("the new rule holds", async || {
        in_force(&mut tower, "0 7 1 1").await
    })
    .await;
    assert_eq!(tower.next("chime").await, Some(before + 60 * 60 * 1000));
    // The old worker tells of its own several times.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(in_force(&mut tower, "0 7 1 1").await);
    // When it is the last one, its rule is better than none.
    new.stop().await;
    until("the old rule holds again", async || {
        in_force(&mut tower, "0 6 1 1").await
    })
    .await;
    assert_eq!(tower.next("chime").await, Some(before));
    old.stop().await;
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_keeps_the_rule_keeps_the_slot() {
    let mut tower = Tower::new(settings()).await;
    let latest = ms(SystemTime::now()) / AGE * AGE;
    tower.after_downtime(every_age("chime"), latest).await;
    let schedule = every_age("chime").catch_up(CatchUp::One);
    let registry = tower
        .kinds()
        .schedule(schedule, |slot| LaterChime { slot: ms(slot) });
    let worker = tower.worker_with(registry);
    tower.until_started(1).await;
    worker.stop().await;
    let started = tower.started.lock().unwrap().clone();
    assert_eq!((started[0].1, started[0].2), (2, latest), "of the new kind");
    assert_eq!(started.len(), 1);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_rule_starts_with_its_own_next_slot() {
    let mut tower = Tower::new(settings()).await;
    let now = ms(SystemTime::now());
    let one = CatchUp::One;
    tower
        .after_downtime(every_age("chime").catch_up(one), now - 5000)
        .await;
    let worker =
        tower.worker([Schedule::every("chime", Duration::from_millis(2 * AGE)).catch_up(one)]);
    let next = (now / (2 * AGE) + 1) * 2 * AGE;
    until("the slot is another", async || {
        tower.next("chime").await == Some(next)
    })
    .await;
    worker.stop().await;
    assert_eq!(tower.slots(), [0; 0]);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_of_removed_code_disappear() {
    let mut settings = settings();
    settings.tuning.schedule_ttl = Duration::from_secs(1);
    let mut tower = Tower::new(settings).await;
    let before = tower.worker(["kept", "removed"].map(every_age));
    tower.until_known("kept").await;
    tower.until_known("removed").await;
    before.stop().await;
    let after = tower.worker([every_age("kept")]);
    until("it is removed", async || {
        tower.next("removed").await.is_none()
    })
    .await;
    until("its rule too", async || {
        !tower.rules().await.contains_key("removed")
    })
    .await;
    assert!(tower.next("kept").await.is_some());
    after.stop().await;
    // Also when no schedule is left in the code.
    let without = tower.worker([]);
    let keys = [tower.key("cron"), tower.key("cronspec")];
    until("the last one is removed", async || {
        let left: u64 = query(&mut tower.connection, &["EXISTS", &keys[0], &keys[1]]).await;
        left == 0
    })
    .await;
    without.stop().await;
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_whose_workers_come_back_late_are_still_there() {
    let mut settings = settings();
    settings.tuning.schedule_ttl = Duration::from_secs(4);
    let mut tower = Tower::new(settings).await;
    let mark = ms(SystemTime::now()) + 12_345_678;
    tower.after_downtime(every_age("chime"), mark).await;
    // Nobody was there for half a century.
    let rules = tower.key("cronspec");
    let told = tower.rules().await.remove("chime").unwrap();
    let told = format!("0 0 {}", told.splitn(3, ' ').nth(2).unwrap());
    let _: u64 = query(&mut tower.connection, &["HSET", &rules, "chime", &told]).await;
    let other = tower.worker([every_age("other")]);
    tower.until_known("other").await;
    assert_eq!(tower.rules().await["chime"], told, "not judged at once");
    let back = tower.worker([every_age("chime")]);
    until("it is told of again", async || {
        tower.rules().await["chime"] != told
    })
    .await;
    assert_eq!(tower.next("chime").await, Some(mark));
    for worker in [other, back] {
        worker.stop().await;
    }
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_fires_for_the_queues_that_it_serves() {
    let mut tower = Tower::new(settings()).await;
    let registry = tower
        .kinds()
        .register::<Elsewhere, _, _>(async |_, _: JobContext<Arc<Log>>| Ok::<(), JobError>(()))
        .schedule(every_age("chime"), chime)
        .schedule(every_age("elsewhere"), |_| Elsewhere);
    let worker = tower.worker_with(registry);
    tower.until_known("chime").await;
    worker.stop().await;
    assert_eq!(tower.next("elsewhere").await, None);
    let there = format!("{{{}:elsewhere}}:cron", tower.settings.namespace);
    let exists: u64 = query(&mut tower.connection, &["EXISTS", &there]).await;
    assert_eq!(exists, 0);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_without_a_job_is_passed_over() {
    let tower = Tower::new(settings()).await;
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
    let tower = Tower::new(settings()).await;
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_its_data_is_told_again() {
    let mut server = Server::start(false);
    let mut tower = Tower::new(settings_at(&server.url())).await;
    let second = || Schedule::every("chime", Duration::from_secs(1));
    let workers = [(); 2].map(|()| tower.worker([second()]));
    tower.until_started(2).await;
    server.kill();
    let before = tower.slots().len();
    server.resume();
    tower.until_started(before + 2).await;
    for worker in workers {
        worker.stop().await;
    }
    let mut slots = tower.slots();
    let all = slots.len();
    slots.dedup();
    assert_eq!(slots.len(), all, "no slot fired twice");
    tower.connection = connection(&tower.settings).await;
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_come_while_redis_is_away_are_caught_up_with() {
    let mut server = Server::start(true);
    let mut tower = Tower::new(settings_at(&server.url())).await;
    let policy = CatchUp::All { at_most: 100 };
    let second = || Schedule::every("chime", Duration::from_secs(1)).catch_up(policy);
    let workers = [(); 2].map(|()| tower.worker([second()]));
    tower.until_started(2).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = tower.slots().len();
    server.resume();
    tower.until_started(before + 4).await;
    for worker in workers {
        worker.stop().await;
    }
    tower.assert_no_gap_and_no_double();
    tower.connection = connection(&tower.settings).await;
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_lose_and_double_no_slot() {
    let server = Server::start(false);
    let tower = Tower::new(settings_at(&server.url())).await;
    let policy = CatchUp::All { at_most: 100 };
    let second = || Schedule::every("chime", Duration::from_secs(1)).catch_up(policy);
    let workers = [(); 2].map(|()| tower.worker([second()]));
    let mut killer = connection(&tower.settings).await;
    while tower.slots().len() < 4 {
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        let _: u64 = query(&mut killer, &kill).await;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    let then = tower.slots().len();
    tower.until_started(then + 1).await;
    for worker in workers {
        worker.stop().await;
    }
    let mut slots = tower.slots();
    slots.sort_unstable();
    // A job whose outcome was lost may have run again; its slot is one job.
    slots.dedup();
    let span = (slots[slots.len() - 1] - slots[0]) / 1000 + 1;
    assert_eq!(u64::try_from(slots.len()).unwrap(), span, "{slots:?}");
    let started = tower.started.lock().unwrap().clone();
    let ids: std::collections::HashSet<JobId> = started.iter().map(|(id, _, _)| *id).collect();
    assert_eq!(ids.len(), slots.len(), "one id for each slot");
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_slots_wait_and_delayed_jobs_do_not() {
    let server = Server::start(false);
    let mut tower = Tower::new(settings_at(&server.url())).await;
    let policy = CatchUp::All { at_most: 100 };
    let second = Schedule::every("chime", Duration::from_secs(1)).catch_up(policy);
    let worker = tower.worker([second]);
    tower.until_started(1).await;
    let delay = Duration::from_secs(3);
    tower
        .queue
        .enqueue_in(&task(Act::Succeed), delay)
        .await
        .unwrap();
    let full = ["CONFIG", "SET", "maxmemory", "1"];
    let () = query(&mut tower.connection, &full).await;
    let before = tower.slots().len();
    until("the delayed job is moved and done", async || {
        let counts = tower.queue.counts("default").await.unwrap();
        counts.delayed + counts.ready + counts.in_hand == 0
    })
    .await;
    // One may have been on its way.
    assert!(tower.slots().len() <= before + 1, "nothing is fired");
    let () = query(&mut tower.connection, &["CONFIG", "SET", "maxmemory", "0"]).await;
    tower.until_started(before + 2).await;
    worker.stop().await;
    tower.assert_no_gap_and_no_double();
    tower.end().await;
}

/// A caller computes the first slot by a time that is past when Redis hears of it.
#[tokio::test]
async fn a_rule_does_not_begin_with_a_slot_that_is_past() {
    let mut tower = Tower::new(settings()).await;
    let script = include_str!("../../src/lua/enroll.lua");
    let (cron, rules) = (tower.key("cron"), tower.key("cronspec"));
    let now = ms(SystemTime::now());
    for (slot, late, known) in [(now - 1, 1, None), (now + AGE, 0, Some(now + AGE))] {
        let slot = slot.to_string();
        let call = ["EVAL", script, "2", &cron, &rules, "7", ""];
        let call = [&call[..], &["chime", "every 5000 ms", &slot]].concat();
        let told: (u64, Vec<String>) = query(&mut tower.connection, &call).await;
        assert_eq!(told, (late, Vec::new()));
        assert_eq!(tower.next("chime").await, known);
        assert_eq!(tower.rules().await.is_empty(), known.is_none());
    }
    let _: u64 = query(&mut tower.connection, &["DEL", &cron, &rules]).await;
}

/// What a caller does whose answer was lost, and one that was late.
#[tokio::test]
async fn a_repeated_fire_changes_nothing() {
    let mut tower = Tower::new(settings()).await;
    tower.set_next("chime", 5000).await;
    let rules = tower.key("cronspec");
    let stored = "7 7 every 5000 ms";
    let _: u64 = query(&mut tower.connection, &["HSET", &rules, "chime", stored]).await;
    let script = include_str!("../../src/lua/cron.lua");
    let (stream, cron) = (tower.key("s:0"), tower.key("cron"));
    let mut fire = async |rule: &str, due: &str, next: &str| -> u64 {
        let call = ["EVAL", script, "3", &stream, &cron, &rules, "chime", rule];
        let call = [&call[..], &[due, next, due, "envelope"]].concat();
        query(&mut tower.connection, &call).await
    };
    let rule = "every 5000 ms";
    assert_eq!(
        fire("every 6000 ms", "5000", "10000").await,
        0,
        "not in force"
    );
    assert_eq!(fire(rule, "4000", "9000").await, 0, "not due");
    assert_eq!(fire(rule, "5000", "10000").await, 1);
    assert_eq!(fire(rule, "5000", "10000").await, 0, "repeated");
    assert_eq!(tower.next("chime").await, Some(10_000));
    let stream = tower.key("s:0");
    let jobs: u64 = query(&mut tower.connection, &["XLEN", &stream]).await;
    assert_eq!(jobs, 1);
    let keys = [stream, tower.key("cron"), tower.key("cronspec")];
    for key in keys {
        let _: u64 = query(&mut tower.connection, &["DEL", &key]).await;
    }
}
