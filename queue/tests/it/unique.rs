//! Unique jobs: one key, one job that is neither done nor dead.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use queue::{
    Enqueued, Envelope, Job, JobId, Options, Queue, Registry, Run, Unknown,
    redis::{Script, aio::MultiplexedConnection},
    testing,
};

use crate::harness::*;

mod ends;
mod replace;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A test's queue, and a look behind it.
struct Bench {
    fixture: Fixture,
    queue: Queue,
    log: Arc<Log>,
    redis: MultiplexedConnection,
}

impl Bench {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        Self {
            queue: fixture.queue.clone(),
            log: Arc::clone(&fixture.log),
            redis: fixture.connection().await,
            fixture,
        }
    }

    fn key(&self, name: &str) -> String {
        self.fixture.key(name)
    }

    async fn unique(&self, act: Act, key: &str) -> Enqueued {
        self.queue.enqueue_unique(&task(act), key).await.unwrap()
    }

    /// Enqueues under a key that nobody holds.
    async fn new_job(&self, act: Act, key: &str) -> JobId {
        match self.unique(act, key).await {
            Enqueued::New(id) => id,
            other => panic!("{key} is held: {other:?}"),
        }
    }

    async fn locks(&mut self) -> Vec<String> {
        let pattern = self.key("u:*");
        query(&mut self.redis, &["KEYS", &pattern]).await
    }

    /// Time to live of the only lock, in ms; below 0 when it has no end.
    async fn lock_ttl(&mut self) -> i64 {
        let locks = self.locks().await;
        assert_eq!(locks.len(), 1, "{locks:?}");
        query(&mut self.redis, &["PTTL", &locks[0]]).await
    }

    /// Nothing is left to do, and no key is held.
    async fn end(mut self, dead: u64) {
        assert_settled(&self.queue, dead).await;
        assert_eq!(self.locks().await, Vec::<String>::new());
        self.fixture.end().await;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "times of a test")]
fn ms(time: Duration) -> i64 {
    time.as_millis() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_held_until_its_job_is_done() {
    let mut bench = Bench::new().await;
    let first = bench.new_job(Act::Sleep(300), "a").await;
    assert_eq!(
        bench.unique(Act::Succeed, "a").await,
        Enqueued::Duplicate(first)
    );
    let ttl = bench.lock_ttl().await;
    assert!((ms(DAY) - 60_000..=ms(DAY)).contains(&ttl), "{ttl}");
    // Another key, and another kind, are in nobody's way.
    let others = [
        bench.new_job(Act::Succeed, "b").await,
        bench
            .queue
            .enqueue_unique(&Quick { act: Act::Succeed }, "a")
            .await
            .unwrap()
            .id(),
    ];
    let worker = start(&bench.queue, &bench.log, 4);
    until("it runs", async || bench.log.starts_of(first) == 1).await;
    assert_eq!(
        bench.unique(Act::Succeed, "a").await,
        Enqueued::Duplicate(first)
    );
    until_done(&bench.log, 3).await;
    assert_settled(&bench.queue, 0).await;
    let second = bench.new_job(Act::Succeed, "a").await;
    until_done(&bench.log, 4).await;
    bench
        .log
        .assert_each_done_once(&[first, others[0], others[1], second]);
    worker.stop().await;
    bench.end(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_enqueued() {
    let bench = Bench::new().await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let queue = bench.queue.clone();
            tokio::spawn(async move {
                let job = task(Act::Succeed);
                queue.enqueue_unique(&job, "a").await.unwrap()
            })
        })
        .collect();
    let mut new = Vec::new();
    let mut holders = HashSet::new();
    for task in tasks {
        match task.await.unwrap() {
            Enqueued::New(id) => new.push(id),
            Enqueued::Duplicate(holder) => _ = holders.insert(holder),
            other @ Enqueued::Replaced { .. } => panic!("{other:?}"),
        }
    }
    assert_eq!(new.len(), 1);
    assert_eq!(holders, HashSet::from([new[0]]));
    let worker = start(&bench.queue, &bench.log, 4);
    until_done(&bench.log, 1).await;
    worker.stop().await;
    bench.log.assert_each_done_once(&new);
    bench.end(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_later_holds_its_key_until_a_day_after_its_time() {
    let mut bench = Bench::new().await;
    let hour = Duration::from_secs(3600);
    let far = SystemTime::now() + DAY * 365 * 5000;
    for (run, longest) in [
        (Run::In(hour), hour),
        (Run::At(SystemTime::now() + hour), hour),
        (Run::At(far), DAY * 3650),
        (Run::In(Duration::MAX), DAY * 3650),
    ] {
        let options = Options {
            run,
            unique: Some("a".to_owned()),
            ..Options::default()
        };
        let job = task(Act::Succeed);
        let first = bench.queue.enqueue_with(&job, &options).await.unwrap();
        assert!(matches!(first, Enqueued::New(_)), "{run:?}");
        let second = bench.unique(Act::Succeed, "a").await;
        assert_eq!(second, Enqueued::Duplicate(first.id()));
        let ttl = bench.lock_ttl().await;
        let longest = ms(longest + DAY);
        assert!((longest - 60_000..=longest).contains(&ttl), "{ttl}");
        for key in bench.locks().await {
            let _: u64 = query(&mut bench.redis, &["DEL", &key]).await;
        }
    }
    for name in ["j", "delayed"] {
        let key = bench.key(name);
        let _: u64 = query(&mut bench.redis, &["DEL", &key]).await;
    }
    // One that is due soon runs, and frees its key.
    let options = Options {
        run: Run::In(Duration::from_millis(50)),
        unique: Some("a".to_owned()),
        ..Options::default()
    };
    let job = task(Act::Succeed);
    let soon = bench.queue.enqueue_with(&job, &options).await.unwrap().id();
    let worker = start(&bench.queue, &bench.log, 1);
    until_done(&bench.log, 1).await;
    worker.stop().await;
    bench.log.assert_each_done_once(&[soon]);
    bench.end(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_options_are_the_plain_ways() {
    let bench = Bench::new().await;
    let job = task(Act::Succeed);
    let mut ids = Vec::new();
    for run in [
        Run::Now,
        Run::In(Duration::from_millis(20)),
        Run::At(SystemTime::now()),
    ] {
        let options = Options {
            run,
            ..Options::default()
        };
        for _ in 0..2 {
            match bench.queue.enqueue_with(&job, &options).await.unwrap() {
                Enqueued::New(id) => ids.push(id),
                other => panic!("nobody holds a key: {other:?}"),
            }
        }
    }
    let worker = start(&bench.queue, &bench.log, 4);
    until_done(&bench.log, ids.len()).await;
    worker.stop().await;
    bench.log.assert_each_done_once(&ids);
    bench.end(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_job_holds_its_key_for_as_long_as_it_waits() {
    let mut bench = Bench::new().await;
    let id = bench.new_job(Act::Sleep(300), "a").await;
    let patience = Duration::from_secs(5);
    let stranger = start_with(&bench.queue, Registry::new(), &bench.log, 1, patience);
    until("it is parked", async || {
        bench.queue.counts("default").await.unwrap().parked == 1
    })
    .await;
    stranger.stop().await;
    assert_eq!(bench.lock_ttl().await, -1, "no end");
    assert_eq!(
        bench.unique(Act::Succeed, "a").await,
        Enqueued::Duplicate(id)
    );
    assert_eq!(bench.lock_ttl().await, -1, "still none");
    let worker = start(&bench.queue, &bench.log, 1);
    until("it runs", async || bench.log.starts_of(id) == 1).await;
    assert_eq!(
        bench.unique(Act::Succeed, "a").await,
        Enqueued::Duplicate(id)
    );
    assert!(bench.lock_ttl().await > 0, "an end again");
    until_done(&bench.log, 1).await;
    worker.stop().await;
    bench.end(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_release_before_runs_plain_jobs_and_parks_unique_ones() {
    let bench = Bench::new().await;
    let old = testing::release_before(bench.fixture.settings().clone());
    let old = Queue::connect(old).await.unwrap();
    let plain = [
        bench.queue.enqueue(&task(Act::Succeed)).await.unwrap(),
        old.enqueue(&task(Act::Succeed)).await.unwrap(),
    ];
    let unique = bench.new_job(Act::Succeed, "a").await;
    let worker = start(&old, &bench.log, 2);
    until("the unique one is parked", async || {
        bench.queue.counts("default").await.unwrap().parked == 1
    })
    .await;
    until_done(&bench.log, 2).await;
    bench.log.assert_each_done_once(&plain);
    let parked = bench.queue.parked("default", 10).await.unwrap();
    assert_eq!(parked[0].reason, Unknown::Envelope { version: 2 });
    assert_eq!(parked[0].id, None);
    assert_eq!(
        Envelope::decode(&parked[0].envelope).unwrap().id,
        unique,
        "this release reads it"
    );
    assert_eq!(
        bench.unique(Act::Succeed, "a").await,
        Enqueued::Duplicate(unique)
    );
    worker.stop().await;
    let worker = start(&bench.queue, &bench.log, 2);
    until_done(&bench.log, 3).await;
    worker.stop().await;
    bench.end(0).await;
}
