//! Limits for a whole queue, over all workers: I14, and rates.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use queue::{
    Counts, Error, Options, Priority, QueueSettings, Rate, Worker, WorkerError, WorkerSettings,
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, job, taken},
    crash::Process,
    harness::*,
};

fn at_once(most: u64) -> QueueSettings {
    QueueSettings {
        most_at_once: Some(most),
        ..QueueSettings::from("default")
    }
}

fn rated(rate: Rate) -> QueueSettings {
    QueueSettings {
        rate: Some(rate),
        ..QueueSettings::from("default")
    }
}

/// Practically no more than the burst.
fn hourly(burst: u32) -> Rate {
    Rate {
        jobs: 1,
        per: Duration::from_secs(3600),
        burst,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_together_run_no_more_than_the_limit() {
    let fixture = Fixture::tuned(|settings| {
        settings.tuning.tick = Duration::from_millis(20);
    })
    .await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut random = fastrand::Rng::new();
    println!("seed {}", random.get_seed());
    let start = || start_serving(queue, log, at_once(3), 4);
    let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
    let mut ids = Vec::new();
    for round in 0..6 {
        for _ in 0..25 {
            let act = match random.u8(0..8) {
                0 => Act::FailTimes(1),
                1 => Act::Panic,
                _ => Act::Sleep(random.u64(0..8)),
            };
            let priority = [Priority::High, Priority::Normal, Priority::Low][random.usize(0..3)];
            let options = Options {
                priority: Some(priority),
                ..Options::default()
            };
            let enqueued = queue.enqueue_with(&task(act), &options).await;
            ids.push(enqueued.unwrap().id());
        }
        // Paused and resumed, and one worker ends, in good order or at once.
        queue.pause("default").await.unwrap();
        let last = workers.remove(0);
        if round % 2 == 0 {
            last.stop().await;
        } else {
            last.abort.cancel();
            last.ended().await;
        }
        queue.resume("default").await.unwrap();
        workers.push(start());
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
    assert_eq!(done.len() + usize::try_from(dead).unwrap(), ids.len());
    let most = log.most_at_once.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most} at once");
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_count_until_others_have_them() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut process = Process::start_gated(fixture.settings(), Some(2));
    let ids = queue
        .enqueue_many(&vec![task(Act::Sleep(1000)); 4])
        .await
        .unwrap();
    until("the child has as many as it may", async || {
        queue.counts("default").await.unwrap().in_hand == 2
    })
    .await;
    process.kill();
    let worker = start_serving(queue, log, at_once(2), 4);
    until("they run here", async || {
        log.running.load(Ordering::SeqCst) > 0
    })
    .await;
    let first = log.starts.lock().unwrap()[0].0;
    assert!(ids[..2].contains(&first), "the dead worker's come first");
    until_done(log, 4).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    assert_eq!(log.most_at_once.load(Ordering::SeqCst), 2);
    until_alone(&fixture).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_back_does_not_wait_for_a_backlog() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let first = queue.enqueue(&task(Act::AwaitCancel)).await.unwrap();
    let worker = start_serving(queue, log, at_once(1), 2);
    until("it runs", async || log.starts_of(first) == 1).await;
    queue
        .enqueue_many(&vec![task(Act::Succeed); 50])
        .await
        .unwrap();
    worker.abort.cancel();
    worker.ended().await;
    let worker = start_serving(queue, log, at_once(1), 2);
    until("it runs again", async || log.starts_of(first) == 2).await;
    assert_eq!(log.done_count(), 0, "it is the first");
    queue.cancel("default", first).await.unwrap();
    until_done(log, 50).await;
    worker.stop().await;
    assert_eq!(log.most_at_once.load(Ordering::SeqCst), 1);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_back_waits_for_a_place_too() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, 60_000).await;
    for name in ["me", "peer"] {
        let call = broker.beat(name, "");
        broker.run(&call).await.unwrap();
    }
    let (_, runs) = broker.entry_of("peer", job()).await;
    let (entry, back) = broker.entry_of("peer", job()).await;
    let call = broker.hand_back("peer", &back, &[entry]);
    broker.run(&call).await.unwrap();
    for (at_once, takes) in [(1, 0), (2, 1)] {
        let call = broker.reclaim_through("me", 100, at_once);
        let rows = taken(broker.run(&call).await.unwrap());
        assert_eq!(rows.len(), takes, "of {at_once} one runs");
        assert!(rows.iter().all(|(_, id, _)| *id != runs.id));
    }
    for name in ["me", "peer"] {
        broker.expire(name).await;
    }
    broker.end_grace().await;
    let worker = start_serving(&fixture.queue, &fixture.log, at_once(2), 2);
    until_done(&fixture.log, 2).await;
    until_alone(&fixture).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_never_come_faster_than_the_rate() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let rate = Rate {
        jobs: 10,
        per: Duration::from_millis(200),
        burst: 3,
    };
    let ids = queue
        .enqueue_many(&vec![task(Act::Succeed); 20])
        .await
        .unwrap();
    let begun = Instant::now();
    let workers: Vec<_> = (0..2)
        .map(|_| start_serving(queue, log, rated(rate), 4))
        .collect();
    for number in 1..=20u32 {
        let before = usize::try_from(number).unwrap();
        until("another has started", async || {
            log.starts.lock().unwrap().len() >= before
        })
        .await;
        // Who is late makes it later, never sooner.
        let earliest = rate.per / rate.jobs * number.saturating_sub(rate.burst);
        let took = begun.elapsed() + Duration::from_millis(1);
        assert!(took >= earliest, "{number} within {took:?}");
    }
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_are_not_lost_while_there_is_nothing_to_start() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = start_serving(queue, log, rated(hourly(3)), 4);
    tokio::time::sleep(Duration::from_millis(700)).await;
    queue
        .enqueue_many(&vec![task(Act::Succeed); 4])
        .await
        .unwrap();
    until("the burst is done", async || {
        let counts = queue.counts("default").await.unwrap();
        log.done_count() == 3 && (counts.ready, counts.in_hand) == (1, 0)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(log.done_count(), 3);
    worker.stop().await;
    let left = Counts {
        ready: 1,
        ..Counts::default()
    };
    fixture.end_leaving(left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_over_is_paid_for() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let first = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    let mut connection = fixture.connection().await;
    let stream = fixture.key("s:0");
    let group = ["XGROUP", "CREATE", &stream, "g", "0"];
    let () = query(&mut connection, &group).await;
    let fetch = ["XREADGROUP", "GROUP", "g", "gone", "STREAMS", &stream, ">"];
    let _: queue::redis::Value = query(&mut connection, &fetch).await;
    let worker = start_serving(queue, log, rated(hourly(3)), 4);
    until("it is taken over", async || log.starts_of(first) == 1).await;
    queue
        .enqueue_many(&vec![task(Act::Succeed); 3])
        .await
        .unwrap();
    until("the burst is used up", async || {
        let counts = queue.counts("default").await.unwrap();
        log.done_count() == 3 && (counts.ready, counts.in_hand) == (1, 0)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(log.done_count(), 3);
    until_alone(&fixture).await;
    worker.stop().await;
    let left = Counts {
        ready: 1,
        ..Counts::default()
    };
    fixture.end_leaving(left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_knows_priorities() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut ids = Vec::new();
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let options = Options {
            priority: Some(priority),
            ..Options::default()
        };
        let mut some = HashSet::new();
        for _ in 0..20 {
            let job = task(Act::Succeed);
            let enqueued = queue.enqueue_with(&job, &options).await.unwrap();
            some.insert(enqueued.id());
        }
        ids.push(some);
    }
    let worker = start_serving(queue, &fixture.log, at_once(1), 4);
    until_done(&fixture.log, 60).await;
    worker.stop().await;
    let done = fixture.log.done.lock().unwrap().clone();
    let first: HashSet<_> = done[..28].iter().copied().collect();
    let count = |ids: &HashSet<_>| first.intersection(ids).count();
    let shares: Vec<_> = ids.iter().map(count).collect();
    assert_eq!(shares, [4, 8, 16], "low, normal, high");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_several_partitions_has_no_gate() {
    let fixture = Fixture::tuned(|settings| {
        settings.partitions.insert("default".to_owned(), 2);
    })
    .await;
    let settings = WorkerSettings {
        queues: vec![at_once(1)],
        ..WorkerSettings::default()
    };
    let log = Arc::clone(&fixture.log);
    let worker = Worker::new(fixture.queue.clone(), registry(), log, settings);
    let ran = worker.run(CancellationToken::new(), CancellationToken::new());
    let refused = ran.await.unwrap_err();
    assert!(
        matches!(refused, WorkerError::Queue(Error::Settings(_))),
        "{refused:?}"
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_queue_does_not_keep_a_gated_one_from_its_turn() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let backlog = vec![task(Act::Sleep(20)); 100];
    queue.enqueue_many(&backlog).await.unwrap();
    let gated = QueueSettings {
        rate: Some(Rate::per_second(1000)),
        ..QueueSettings::from("gated")
    };
    let settings = WorkerSettings {
        queues: vec!["default".into(), gated],
        concurrency: 1,
        ..WorkerSettings::default()
    };
    let (shutdown, abort) = (CancellationToken::new(), CancellationToken::new());
    let worker = Worker::new(queue.clone(), registry(), Arc::clone(log), settings);
    let worker = tokio::spawn(worker.run(shutdown.clone(), abort));
    until_done(log, 5).await;
    let mut envelope = job();
    "gated".clone_into(&mut envelope.queue);
    queue.enqueue_envelope(&envelope).await.unwrap();
    until("it has run", async || {
        log.done.lock().unwrap().contains(&envelope.id)
    })
    .await;
    let before = log.done_count();
    assert!(before < 30, "{before} of the backlog came first");
    until_done(log, 101).await;
    shutdown.cancel();
    worker.await.unwrap().unwrap();
    fixture.end().await;
}
