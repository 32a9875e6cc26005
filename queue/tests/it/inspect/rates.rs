//! How fast a queue is worked off.

use std::time::Duration;

use queue::inspect::{Load, Minute};

use crate::harness::*;

/// All that was told in the last hour.
async fn told(queue: &queue::Queue) -> Minute {
    let rates = queue.rates("default").await.unwrap();
    assert_eq!(rates.len(), 61);
    let apart = rates
        .windows(2)
        .map(|two| two[1].start_ms - two[0].start_ms);
    assert!(apart.into_iter().all(|ms| ms == 60_000), "oldest first");
    rates.iter().fold(Minute::default(), |all, minute| Minute {
        start_ms: 0,
        done: all.done + minute.done,
        failed: all.failed + minute.failed,
        dead: all.dead + minute.dead,
        busy: all.busy + minute.busy,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_counted_by_all_workers() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    assert_eq!(told(queue).await, Minute::default());
    let workers = [fixture.start(2), fixture.start(2)];
    queue
        .enqueue_many(&vec![task(Act::Sleep(4)); 20])
        .await
        .unwrap();
    queue
        .enqueue_many(&vec![task(Act::FailTimes(1)); 3])
        .await
        .unwrap();
    queue
        .enqueue_many(&vec![task(Act::Discard); 2])
        .await
        .unwrap();
    let alone = queue.enqueue_unique(&task(Act::Succeed), "a").await;
    alone.unwrap();
    assert_settled(queue, 2).await;
    // While they work, too, not only in the end.
    until("it is told", async || told(queue).await.done == 24).await;
    for worker in workers {
        worker.stop().await;
    }
    let all = told(queue).await;
    assert_eq!((all.done, all.failed, all.dead, all.runs()), (24, 3, 2, 29));
    assert!(all.busy >= Duration::from_millis(80), "{all:?}");

    // In the current minute or the one before: nothing has ended that is older.
    queue
        .enqueue_many(&vec![task(Act::Succeed); 290])
        .await
        .unwrap();
    let load = queue.load("default").await.unwrap();
    assert_eq!(load.waiting, 290);
    assert!(
        load.work() >= 290 * (Duration::from_millis(80) / 29),
        "{load:?}"
    );
    assert!(load.workers(Duration::from_secs(3600), 1) >= 1);
    let worker = fixture.start(4);
    assert_settled(queue, 2).await;
    worker.stop().await;
    assert_eq!(told(queue).await.done, 314);
    assert_eq!(queue.load("default").await.unwrap().waiting, 0);
    assert_ne!(queue.load("default").await.unwrap(), Load::default());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_told_later() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut redis = fixture.connection().await;
    // In the place of the counters of this minute and the next ones: Redis refuses to add.
    let (seconds, _): (u64, u64) = query(&mut redis, &["TIME"]).await;
    let names = (0..4).map(|more| fixture.key(&format!("st:{}", seconds / 60 + more)));
    let names: Vec<String> = names.collect();
    for name in &names {
        let () = query(&mut redis, &["SET", name, "x", "EX", "60"]).await;
    }
    let worker = fixture.start(2);
    queue
        .enqueue_many(&vec![task(Act::Succeed); 5])
        .await
        .unwrap();
    until_done(&fixture.log, 5).await;
    // Long enough for a first attempt.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for name in &names {
        let _: u64 = query(&mut redis, &["DEL", name]).await;
    }
    until("it is told", async || told(queue).await.done == 5).await;
    worker.stop().await;
    assert_eq!(told(queue).await.done, 5);
    fixture.end().await;
}
