//! Unique jobs that take each other's place.

use queue::{Cancelled, Counts, EnqueueError, Priority, UniqueMode, inspect::Deletion};

use super::*;
use crate::broker::{Broker, job};

const HOUR: Duration = Duration::from_secs(3600);

/// To take the place of the holder of the key.
fn options(mode: UniqueMode, run: Run) -> Options {
    Options {
        run,
        unique: Some("a".to_owned()),
        mode,
        ..Options::default()
    }
}

impl Bench {
    async fn put(&self, act: Act, mode: UniqueMode, run: Run) -> Enqueued {
        let options = options(mode, run);
        let enqueued = self.queue.enqueue_with(&task(act), &options).await;
        enqueued.unwrap()
    }

    /// A job that a worker runs until its token is cancelled.
    async fn running(&self, mode: UniqueMode) -> JobId {
        let id = self.put(Act::AwaitCancel, mode, Run::Now).await.id();
        until("it runs", async || self.log.starts_of(id) == 1).await;
        id
    }

    /// Neither a job nor a key is left.
    async fn over(mut self) {
        assert_eq!(self.locks().await, Vec::<String>::new());
        self.fixture.end().await;
    }

    async fn counts(&self) -> Counts {
        self.queue.counts("default").await.unwrap()
    }

    async fn until_counts(&self, counts: Counts) {
        until("the queue is so", async || self.counts().await == counts).await;
    }
}

fn replaced(jobs: u64) -> Counts {
    Counts {
        replaced: jobs,
        ..Counts::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_gives_its_place_to_the_newest() {
    let bench = Bench::new().await;
    for mode in [UniqueMode::Replace, UniqueMode::KeepLast] {
        let mut old = bench.put(Act::Discard, mode, Run::Now).await.id();
        // From ready to delayed, again delayed, and back.
        for run in [Run::In(HOUR), Run::In(2 * HOUR), Run::Now, Run::Now] {
            let act = if run == Run::Now {
                Act::Succeed
            } else {
                Act::Discard
            };
            let enqueued = bench.put(act, mode, run).await;
            let new = enqueued.id();
            assert_eq!(enqueued, Enqueued::Replaced { old, new });
            let counts = bench.counts().await;
            assert_eq!(counts.ready + counts.delayed, 1);
            assert_eq!(counts.delayed == 1, run != Run::Now, "its time is its own");
            let gone = bench.queue.cancel("default", old).await.unwrap();
            assert_eq!(gone, Cancelled::Gone);
            old = new;
        }
        let worker = bench.fixture.start(1);
        until("it is done", async || {
            bench.log.done.lock().unwrap().last() == Some(&old)
        })
        .await;
        worker.stop().await;
    }
    assert_eq!(bench.log.done_count(), 2);
    bench.until_counts(replaced(8)).await;
    bench.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_and_a_parked_job_give_their_place_too() {
    let bench = Bench::new().await;
    let stranger = start_with(&bench.queue, Registry::new(), &bench.log, 1, HOUR);
    let parked = bench.put(Act::Succeed, UniqueMode::Replace, Run::Now).await;
    until("it is parked", async || bench.counts().await.parked == 1).await;
    stranger.stop().await;
    let later = Run::In(HOUR);
    let enqueued = bench.put(Act::Succeed, UniqueMode::Replace, later).await;
    let (old, new) = (parked.id(), enqueued.id());
    assert_eq!(enqueued, Enqueued::Replaced { old, new });
    let expected = Counts {
        delayed: 1,
        ..replaced(1)
    };
    assert_eq!(bench.counts().await, expected);
    bench.queue.delete("default", new).await.unwrap();

    let registry = Registry::new().register::<Task, _, _>(async |_: Task, _| {
        Err(queue::JobError::retry_after("told to fail", HOUR))
    });
    let fails = bench
        .put(Act::Succeed, UniqueMode::KeepLast, Run::Now)
        .await;
    let worker = start_with(&bench.queue, registry, &bench.log, 1, HOUR);
    until("it is to be tried again", async || {
        bench.counts().await.delayed == 1
    })
    .await;
    worker.stop().await;
    let enqueued = bench
        .put(Act::Succeed, UniqueMode::KeepLast, Run::Now)
        .await;
    let (old, new) = (fails.id(), enqueued.id());
    assert_eq!(enqueued, Enqueued::Replaced { old, new });
    let worker = bench.fixture.start(1);
    until_done(&bench.log, 1).await;
    bench.until_counts(replaced(2)).await;
    worker.stop().await;
    bench.log.assert_each_done_once(&[new]);
    bench.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_runs_refuses_or_is_followed_by_the_newest() {
    let bench = Bench::new().await;
    let worker = bench.fixture.start(2);
    let running = bench.running(UniqueMode::Replace).await;
    for mode in [UniqueMode::Skip, UniqueMode::Replace, UniqueMode::KeepLast] {
        let refused = bench.put(Act::Succeed, mode, Run::Now).await;
        assert_eq!(refused, Enqueued::Duplicate(running), "{mode:?}");
    }
    bench.queue.cancel("default", running).await.unwrap();
    let cancelled = |jobs, counts| Counts {
        cancelled: jobs,
        ..counts
    };
    bench.until_counts(cancelled(1, replaced(0))).await;

    let running = bench.running(UniqueMode::KeepLast).await;
    let refused = bench.put(Act::Succeed, UniqueMode::Replace, Run::Now).await;
    assert_eq!(refused, Enqueued::Duplicate(running));
    let first = bench
        .put(Act::Succeed, UniqueMode::KeepLast, Run::Now)
        .await;
    let first = match first {
        Enqueued::New(id) => id,
        other => panic!("{other:?}"),
    };
    let last = bench
        .put(Act::Succeed, UniqueMode::KeepLast, Run::Now)
        .await;
    let new = last.id();
    assert_eq!(last, Enqueued::Replaced { old: first, new });
    assert_eq!(bench.log.done_count(), 0, "the holder still runs");
    bench.queue.cancel("default", running).await.unwrap();
    until_done(&bench.log, 1).await;
    bench.until_counts(cancelled(2, replaced(1))).await;
    worker.stop().await;
    bench.log.assert_each_done_once(&[new]);
    bench.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_the_holder_what_was_kept_gets_the_key_and_runs() {
    let bench = Bench::new().await;
    let mut broker = Broker::new(&bench.fixture, 60_000).await;
    for end in [Act::Sleep(100), Act::Discard, Act::FailTimes(9)] {
        let before = bench.counts().await;
        let holder = bench.put(end.clone(), UniqueMode::KeepLast, Run::Now).await;
        // In the hands of a worker that has not begun.
        broker.fetch("peer", 1).await.unwrap();
        let kept = bench
            .put(Act::Sleep(50), UniqueMode::KeepLast, Run::Now)
            .await;
        assert!(matches!(kept, Enqueued::New(_)), "{kept:?}");
        let entry = broker.first_entry().await;
        let call = broker.hand_back("peer", &job(), &[entry]);
        broker.run(&call).await.unwrap();
        let worker = bench.fixture.start(1);
        until("it runs", async || bench.log.starts_of(kept.id()) == 1).await;
        let refused = bench.put(Act::Succeed, UniqueMode::Skip, Run::Now).await;
        assert_eq!(refused, Enqueued::Duplicate(kept.id()), "it holds the key");
        until("it is done", async || {
            bench.log.done.lock().unwrap().last() == Some(&kept.id())
        })
        .await;
        worker.stop().await;
        let dead = u64::from(end != Act::Sleep(100));
        let after = Counts {
            dead: before.dead + dead,
            ..before
        };
        bench.until_counts(after).await;
        assert_ne!(holder.id(), kept.id());
    }
    drop(broker);
    bench.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_runs_once_when_it_is_over() {
    let bench = Bench::new().await;
    let quiet = Options::debounced("a", HOUR);
    let mut last = None;
    for _ in 0..20 {
        let enqueued = bench.queue.enqueue_with(&task(Act::Succeed), &quiet).await;
        let enqueued = enqueued.unwrap();
        let new = enqueued.id();
        let expected = last.map_or(Enqueued::New(new), |old| Enqueued::Replaced { old, new });
        assert_eq!(enqueued, expected);
        last = Some(new);
    }
    let ran = testing::run_until_empty(&bench.queue, registry(), Arc::clone(&bench.log)).await;
    ran.unwrap().assert_all_done();
    bench.until_counts(replaced(19)).await;
    bench.log.assert_each_done_once(&[last.unwrap()]);
    bench.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_that_begins_while_one_runs_waits_until_it_is_over_too() {
    let bench = Bench::new().await;
    let mut broker = Broker::new(&bench.fixture, 60_000).await;
    let quiet = Options::debounced("a", HOUR);
    let put = async || {
        let enqueued = bench.queue.enqueue_with(&task(Act::Succeed), &quiet).await;
        enqueued.unwrap()
    };
    let first = bench
        .put(Act::Succeed, UniqueMode::KeepLast, Run::Now)
        .await;
    broker.fetch("peer", 1).await.unwrap();
    let kept = put().await;
    assert_eq!(kept, Enqueued::New(kept.id()));
    let newer = put().await;
    let (old, new) = (kept.id(), newer.id());
    assert_eq!(newer, Enqueued::Replaced { old, new });
    let entry = broker.first_entry().await;
    for call in [
        broker.hand_back("peer", &job(), &[entry]),
        broker.leave("peer"),
    ] {
        broker.run(&call).await.unwrap();
    }
    let worker = bench.fixture.start(1);
    until_done(&bench.log, 1).await;
    let waits = Counts {
        delayed: 1,
        ..replaced(1)
    };
    bench.until_counts(waits).await;
    worker.stop().await;
    // It holds the key, for as long as any delayed job does, and the burst goes on.
    let locks: Vec<String> = broker.ask(&["KEYS", &broker.key("u:*")]).await;
    let ttl: u64 = broker.ask(&["PTTL", &locks[0]]).await;
    let alone = bench.fixture.settings().tuning.unique_ttl;
    assert!(u128::from(ttl) > alone.as_millis(), "{ttl} ms");
    let last = put().await;
    let (old, new) = (newer.id(), last.id());
    assert_eq!(last, Enqueued::Replaced { old, new });
    let ran = testing::run_until_empty(&bench.queue, registry(), Arc::clone(&bench.log)).await;
    ran.unwrap().assert_all_done();
    assert_eq!(*bench.log.done.lock().unwrap(), [first.id(), last.id()]);
    drop(broker);
    bench.until_counts(replaced(2)).await;
    bench.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_one_that_nobody_sees_end_gives_way_to_the_next() {
    let bench = Bench::new().await;
    let mut broker = Broker::new(&bench.fixture, 60_000).await;
    let put = || bench.put(Act::Succeed, UniqueMode::KeepLast, Run::Now);
    let holder = put().await;
    broker.fetch("peer", 1).await.unwrap();
    let kept = put().await;
    assert!(matches!(kept, Enqueued::New(_)), "{kept:?}");
    let named: Vec<String> = broker.ask(&["KEYS", &broker.key("next:*")]).await;
    let ttl: i64 = broker.ask(&["TTL", &named[0]]).await;
    assert!(ttl > 29 * 24 * 3600, "it ends in {ttl} s");
    // Redis has lost the holder, its lock, and nothing else.
    let entry = broker.first_entry().await;
    broker.delete(&job(), &entry).await;
    broker.acknowledge(&job(), &entry).await;
    let leave = broker.leave("peer");
    broker.run(&leave).await.unwrap();
    let locks: Vec<String> = broker.ask(&["KEYS", &broker.key("u:*")]).await;
    for lock in locks {
        let _: u64 = broker.ask(&["DEL", &lock]).await;
    }
    let next = put().await;
    assert_eq!(next, Enqueued::New(next.id()));
    assert_ne!(next.id(), holder.id());
    let worker = bench.fixture.start(1);
    until_done(&bench.log, 1).await;
    bench.until_counts(replaced(1)).await;
    worker.stop().await;
    bench.log.assert_each_done_once(&[next.id()]);
    drop(broker);
    bench.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_left_and_all_others_are_accounted_for() {
    const JOBS: u64 = 40;
    let bench = Bench::new().await;
    let worker = bench.fixture.start(4);
    let puts = (0..JOBS).map(|at| {
        let queue = bench.queue.clone();
        let run = if at % 3 == 0 {
            Run::In(Duration::from_millis(at))
        } else {
            Run::Now
        };
        let options = options(UniqueMode::KeepLast, run);
        tokio::spawn(async move { queue.enqueue_with(&task(Act::Sleep(3)), &options).await })
    });
    let puts: Vec<_> = puts.collect();
    let mut refused = 0;
    for put in puts {
        let enqueued = put.await.unwrap().unwrap();
        refused += u64::from(matches!(enqueued, Enqueued::Duplicate(_)));
    }
    until("all are done or replaced", async || {
        let done = bench.log.done_count() as u64;
        let counts = bench.counts().await;
        done + counts.replaced + refused == JOBS && counts == replaced(counts.replaced)
    })
    .await;
    worker.stop().await;
    bench.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_and_another_priority_do_not_keep_a_job_from_its_place() {
    let fixture = Fixture::tuned(|settings| {
        settings.limits.insert("default".to_owned(), 1);
    })
    .await;
    let queue = &fixture.queue;
    let mut put = options(UniqueMode::Replace, Run::Now);
    let old = queue.enqueue_with(&task(Act::Succeed), &put).await;
    let old = old.unwrap().id();
    let full = queue.enqueue(&task(Act::Succeed)).await;
    assert!(
        matches!(full, Err(EnqueueError::QueueFull { .. })),
        "{full:?}"
    );
    put.priority = Some(Priority::High);
    let enqueued = queue.enqueue_with(&task(Act::Succeed), &put).await.unwrap();
    let new = enqueued.id();
    assert_eq!(enqueued, Enqueued::Replaced { old, new });
    put.priority = Some(Priority::Low);
    let enqueued = queue.enqueue_with(&task(Act::Succeed), &put).await.unwrap();
    assert_eq!(
        enqueued,
        Enqueued::Replaced {
            old: new,
            new: enqueued.id()
        }
    );
    let deletion = queue.delete("default", enqueued.id()).await.unwrap();
    assert_eq!(deletion, Deletion::Deleted);
    assert_eq!(queue.counts("default").await.unwrap(), replaced(2));
    fixture.end().await;
}
