//! Jobs for later.

use std::time::{Duration, Instant, SystemTime};

use queue::redis::Value;

use crate::{
    broker::{Broker, job},
    harness::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_job_is_never_early() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let begun = Instant::now();
    let delay = Duration::from_millis(300);
    let ids = [
        queue.enqueue_in(&task(Act::Succeed), delay).await.unwrap(),
        queue
            .enqueue_at(&task(Act::Succeed), SystemTime::now() + delay)
            .await
            .unwrap(),
    ];
    assert_eq!(queue.counts("default").await.unwrap().delayed, 2);
    until_done(log, 2).await;
    // The server counts whole milliseconds.
    assert!(begun.elapsed() >= delay - Duration::from_millis(2));
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_stops_nothing() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    let ahead = ahead.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let meta = fixture.key("m");
    let mut connection = fixture.connection().await;
    let ticked = ["HSET", &meta, "tick", &ahead.as_millis().to_string()];
    let _: u64 = query(&mut connection, &ticked).await;
    let worker = fixture.start(2);
    let delay = Duration::from_millis(50);
    let id = queue.enqueue_in(&task(Act::Succeed), delay).await.unwrap();
    until_done(log, 1).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&[id]);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_due_jobs_are_moved_in_order_of_their_time() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let past = SystemTime::now() - Duration::from_secs(60);
    let mut ids = Vec::new();
    // More than one script moves at once.
    for number in 0..600u64 {
        let time = past + Duration::from_millis(number);
        ids.push(queue.enqueue_at(&task(Act::Succeed), time).await.unwrap());
    }
    let worker = fixture.start(1);
    until_done(log, ids.len()).await;
    assert_settled(queue, 0).await;
    let started: Vec<_> = log
        .starts
        .lock()
        .unwrap()
        .iter()
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(started, ids);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test]
async fn a_tick_that_came_too_early_tells_when_to_come_again() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, 6000).await;
    let mut left = Vec::new();
    for moved in [1, 0] {
        let job = broker.schedule(&job(), "at", 1);
        broker.run(&job).await.unwrap();
        let call = broker.tick_after(100, 60_000);
        let Value::Array(parts) = broker.run(&call).await.unwrap() else {
            panic!("no list");
        };
        assert_eq!(parts[0], Value::Int(moved));
        let Value::Int(wait) = parts[1] else {
            panic!("no number");
        };
        left.push(wait);
    }
    // After the first nothing waits; the second waits for the gate, though it is due.
    assert_eq!(left[0], -1);
    assert!((30_000..=60_000).contains(&left[1]), "{left:?}");
    broker.lose_data().await;
    fixture.end().await;
}
