//! Limits for each key: I14, and what becomes of those that wait.

mod waiting;

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU8,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use queue::{
    Cancelled, Counts, Job, JobContext, JobError, JobId, KeyLimit, Options, Queue, Registry,
    testing,
};
use serde::{Deserialize, Serialize};

use crate::{
    broker::{Broker, limited},
    crash::Process,
    harness::*,
};

/// A job with a key of which so many may run at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Keyed {
    key: usize,
    most: u8,
    act: Act,
}

impl Job for Keyed {
    const NAME: &'static str = "keyed";
    const MAX_ATTEMPTS: u16 = 2;

    fn backoff(_attempt: u16) -> Duration {
        Duration::from_millis(10)
    }
}

fn one(key: &str) -> Options {
    Options {
        slot: Some(KeyLimit::one(key)),
        ..Options::default()
    }
}

async fn add(queue: &Queue, job: &Keyed) -> JobId {
    let most = NonZeroU8::new(job.most).unwrap();
    let options = Options {
        slot: Some(KeyLimit::new(format!("customer-{}", job.key), most)),
        ..Options::default()
    };
    queue.enqueue_with(job, &options).await.unwrap().id()
}

async fn add_task(queue: &Queue, act: Act) -> JobId {
    let enqueued = queue.enqueue_with(&task(act), &one("a")).await;
    enqueued.unwrap().id()
}

/// How many run of each key, and when there were more than there may be.
#[derive(Default)]
struct Watch {
    running: Mutex<HashMap<usize, u8>>,
    wrong: Mutex<Vec<String>>,
}

struct Leave(Arc<Watch>, usize);

impl Drop for Leave {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

fn watched(watch: &Arc<Watch>) -> Registry<Arc<Log>> {
    let watch = Arc::clone(watch);
    let run = move |job: Keyed, cx: JobContext<Arc<Log>>| {
        let watch = Arc::clone(&watch);
        async move {
            let running = {
                let mut running = watch.running.lock().unwrap();
                let running = running.entry(job.key).or_default();
                *running += 1;
                *running
            };
            let leave = Leave(Arc::clone(&watch), job.key);
            if running > job.most {
                let text = format!("{running} of key {}", job.key);
                watch.wrong.lock().unwrap().push(text);
            }
            let ended = run_task(task(job.act), cx).await;
            drop(leave);
            ended
        }
    };
    registry().register::<Keyed, _, _>(run)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_ever_runs_more_than_its_limit_and_all_end() {
    let fixture = Fixture::tuned(|settings| {
        settings.tuning.tick = Duration::from_millis(20);
    })
    .await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let watch = Arc::new(Watch::default());
    let start = |patience| start_with(queue, watched(&watch), log, 4, patience);
    let mut workers: Vec<_> = (0..3).map(|_| start(Duration::from_secs(5))).collect();
    let mut random = fastrand::Rng::new();
    println!("seed {}", random.get_seed());
    let mut jobs = 0;
    for round in 0..6 {
        for _ in 0..40 {
            let key = random.usize(0..6);
            let act = match random.u8(0..10) {
                0 => Act::FailTimes(1),
                1 => Act::FailTimes(2),
                2 => Act::Discard,
                3 => Act::Panic,
                _ => Act::Sleep(random.u64(0..8)),
            };
            // Keys 4 and 5 have two slots and three.
            let most = u8::try_from(key.saturating_sub(2).max(1)).unwrap();
            add(queue, &Keyed { key, most, act }).await;
            jobs += 1;
        }
        // One ends, in good order or with all that it has in hand, and another comes.
        let last = workers.remove(0);
        if round % 2 == 0 {
            last.stop().await;
        } else {
            last.abort.cancel();
            last.ended().await;
        }
        workers.push(start(Duration::ZERO));
    }
    until("all have ended", async || {
        let counts = queue.counts("default").await.unwrap();
        let left = Counts {
            dead: counts.dead,
            ..Counts::default()
        };
        counts == left
    })
    .await;
    let dead = queue.counts("default").await.unwrap().dead;
    let done: HashSet<_> = log.done.lock().unwrap().iter().copied().collect();
    assert_eq!(u64::try_from(done.len()).unwrap() + dead, jobs);
    assert_eq!(*watch.wrong.lock().unwrap(), Vec::<String>::new());
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_wait_start_in_their_order() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut ids = vec![add_task(queue, Act::Sleep(400)).await];
    let worker = fixture.start(4);
    until("the first runs", async || {
        fixture.log.starts_of(ids[0]) == 1
    })
    .await;
    for _ in 0..8 {
        ids.push(add_task(queue, Act::Sleep(5)).await);
    }
    until("the others wait", async || {
        queue.counts("default").await.unwrap().blocked == 8
    })
    .await;
    until_done(&fixture.log, 9).await;
    worker.stop().await;
    assert_eq!(*fixture.log.done.lock().unwrap(), ids);
    assert_eq!(fixture.log.most_at_once.load(Ordering::SeqCst), 1);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_for_all_kinds_and_others_pass_by() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let first = add_task(queue, Act::Sleep(300)).await;
    let worker = fixture.start(4);
    until("the first runs", async || fixture.log.starts_of(first) == 1).await;
    let quick = Quick { act: Act::Succeed };
    let same = queue.enqueue_with(&quick, &one("a")).await.unwrap().id();
    let other = queue.enqueue_with(&quick, &one("b")).await.unwrap().id();
    let free = queue.enqueue(&quick).await.unwrap();
    until_done(&fixture.log, 4).await;
    worker.stop().await;
    let done = fixture.log.done.lock().unwrap().clone();
    assert_eq!(done[2..], [first, same], "in all {done:?}");
    assert!(done.contains(&other) && done.contains(&free));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_the_slot_to_its_job() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut process = Process::start(fixture.settings());
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(add_task(queue, Act::Sleep(800)).await);
    }
    until("the child runs one, and the others wait", async || {
        let counts = queue.counts("default").await.unwrap();
        (counts.in_hand, counts.blocked) == (1, 3)
    })
    .await;
    process.kill();
    let worker = fixture.start(4);
    assert_settled(queue, 0).await;
    worker.stop().await;
    let done = log.done.lock().unwrap().clone();
    let each: HashSet<_> = done.iter().filter(|id| ids.contains(id)).collect();
    assert_eq!(each.len(), done.len());
    // The child may have done one, if the machine was slow.
    assert!(done.len() >= 3, "{done:?} of {ids:?}");
    assert_eq!(log.most_at_once.load(Ordering::SeqCst), 1);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_tried_again_later_leaves_its_slot() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let fails = |_: Keyed, cx: JobContext<Arc<Log>>| async move {
        cx.app.starts.lock().unwrap().push((cx.id, cx.attempt));
        tokio::time::sleep(Duration::from_millis(300)).await;
        Err(JobError::retry_after("later", Duration::from_secs(3600)))
    };
    let registry = registry().register::<Keyed, _, _>(fails);
    let worker = start_with(queue, registry, &fixture.log, 4, Duration::from_secs(5));
    let fails = Keyed {
        key: 0,
        most: 1,
        act: Act::Succeed,
    };
    let fails = queue.enqueue_with(&fails, &one("a")).await.unwrap().id();
    until("it runs", async || fixture.log.starts_of(fails) == 1).await;
    let next = add_task(queue, Act::Succeed).await;
    until("the other waits", async || {
        queue.counts("default").await.unwrap().blocked == 1
    })
    .await;
    until_done(&fixture.log, 1).await;
    assert_eq!(fixture.log.starts_of(next), 1);
    assert_eq!(queue.counts("default").await.unwrap().delayed, 1);
    worker.stop().await;
    fixture.end_leaving(delayed(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_back_keeps_its_slot() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let hangs = add_task(queue, Act::Hang).await;
    let worker = fixture.start(2);
    until("it runs", async || log.starts_of(hangs) == 1).await;
    let waits = add_task(queue, Act::Succeed).await;
    until("the other waits", async || {
        queue.counts("default").await.unwrap().blocked == 1
    })
    .await;
    worker.abort.cancel();
    worker.ended().await;
    let counts = queue.counts("default").await.unwrap();
    assert_eq!((counts.in_hand, counts.blocked), (1, 1));
    let worker = fixture.start(2);
    until("it runs again", async || log.starts_of(hangs) == 2).await;
    assert_eq!(log.starts_of(waits), 0);
    assert_eq!(
        queue.cancel("default", hangs).await.unwrap(),
        Cancelled::Asked
    );
    until_done(log, 1).await;
    worker.stop().await;
    assert_eq!(*log.done.lock().unwrap(), [waits]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_differ_and_the_first_comes_first() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let watch = Arc::new(Watch::default());
    let job = |most, act| Keyed { key: 0, most, act };
    let first = add(queue, &job(3, Act::Hang)).await;
    let worker = start_with(
        queue,
        watched(&watch),
        &fixture.log,
        4,
        Duration::from_secs(5),
    );
    until("the first runs", async || fixture.log.starts_of(first) == 1).await;
    let blocked = async |jobs| {
        until("the others wait", async || {
            queue.counts("default").await.unwrap().blocked == jobs
        })
        .await;
    };
    let alone = add(queue, &job(1, Act::Sleep(50))).await;
    blocked(1).await;
    // There would be room for them, but not before the second.
    let third = add(queue, &job(3, Act::Sleep(5))).await;
    let fourth = add(queue, &job(3, Act::Sleep(5))).await;
    blocked(3).await;
    assert_eq!(fixture.log.starts.lock().unwrap().len(), 1, "the first's");
    queue.cancel("default", first).await.unwrap();
    until_done(&fixture.log, 3).await;
    worker.stop().await;
    let done = fixture.log.done.lock().unwrap().clone();
    assert!([alone, third, fourth].iter().all(|job| done.contains(job)));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_runs_all_that_wait() {
    let fixture = Fixture::new().await;
    for _ in 0..5 {
        add_task(&fixture.queue, Act::FailTimes(1)).await;
    }
    let options = testing::RunOptions {
        concurrency: 3,
        ..testing::RunOptions::default()
    };
    let ran = testing::run_until_empty_with(&fixture.queue, registry(), Arc::default(), options);
    ran.await.unwrap().assert_all_done();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_job_that_vanished_is_let_in() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, 60_000).await;
    let waits = limited(1);
    broker.block(&waits).await;
    broker.haunt(&waits).await;
    // Nobody of its key comes, or ends.
    let worker = fixture.start(1);
    until_done(&fixture.log, 1).await;
    worker.stop().await;
    fixture.log.assert_each_done_once(&[waits.id]);
    fixture.end().await;
}
