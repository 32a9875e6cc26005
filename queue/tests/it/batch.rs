//! Jobs that one follows when all of them have ended.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use queue::{
    Batch, BatchError, BatchId, BatchState, Counts, EnqueueError, Job, JobContext, JobError, JobId,
    Queue, Registry, Replay, inspect::Deletion, testing::run_until_empty,
};
use serde::{Deserialize, Serialize};

use crate::harness::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Lives elsewhere.
#[derive(Serialize, Deserialize)]
struct Far;

impl Job for Far {
    const NAME: &'static str = "far";
    const QUEUE: &'static str = "another";
}

/// Adds so many members to its batch, each with one less to add.
#[derive(Serialize, Deserialize)]
struct Spread(u8);

impl Job for Spread {
    const NAME: &'static str = "spread";
}

fn batch_of(acts: &[Act]) -> (Batch, Vec<JobId>) {
    let mut batch = Batch::followed_by(&Quick { act: Act::Succeed }).unwrap();
    let members = acts
        .iter()
        .map(|act| batch.add(&task(act.clone())).unwrap());
    let members = members.collect();
    (batch, members)
}

async fn state(queue: &Queue, batch: BatchId) -> BatchState {
    queue.batch("default", batch).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_runs_once_when_all_have_ended_somehow() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let acts = [
        Act::Succeed,
        Act::FailTimes(1),
        Act::Discard,
        Act::Hang,
        Act::Succeed,
    ];
    let (batch, members) = batch_of(&acts);
    let follower = batch.follower();
    let batch = queue.enqueue_batch(batch).await.unwrap();
    let begun = BatchState {
        total: 5,
        sealed: true,
        ..BatchState::default()
    };
    assert_eq!(state(queue, batch).await, begun);
    let deleted = queue.delete("default", members[4]).await.unwrap();
    assert_eq!(deleted, Deletion::Deleted);
    let worker = fixture.start(4);
    until("one is left", async || {
        state(queue, batch).await.left() == 1
    })
    .await;
    assert_eq!(log.starts_of(follower), 0);
    queue.cancel("default", members[3]).await.unwrap();
    until("what follows runs", async || log.starts_of(follower) == 1).await;
    let over = BatchState {
        done: 2,
        dead: 1,
        cancelled: 2,
        ..begun
    };
    assert_eq!(state(queue, batch).await, over);
    assert!(over.is_over());

    // It has ended once, whatever becomes of it now.
    let letter = queue.dead_letters("default", 1).await.unwrap().remove(0);
    let replay = queue.replay("default", letter.id).await.unwrap();
    assert_eq!(replay, Replay::Replayed(members[2]));
    until("it is dead again", async || {
        log.starts_of(members[2]) == 2 && queue.counts("default").await.unwrap().dead == 1
    })
    .await;
    queue.delete("default", members[2]).await.unwrap();
    assert_eq!(state(queue, batch).await, over);
    until("nothing is left", async || {
        let counts = queue.counts("default").await.unwrap();
        counts
            == Counts {
                cancelled: counts.cancelled,
                ..Counts::default()
            }
    })
    .await;
    worker.stop().await;
    assert_eq!(log.starts_of(follower), 1);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_members_is_over_at_once() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let (batch, _) = batch_of(&[]);
    let follower = batch.follower();
    let batch = queue.enqueue_batch(batch).await.unwrap();
    assert!(state(queue, batch).await.is_over());
    let error = queue.enqueue_into_batch(batch, &[task(Act::Succeed)]).await;
    let over = matches!(error, Err(EnqueueError::Batch(BatchError::Over(of))) if of == batch);
    assert!(over, "nothing waits for it");
    let ran = run_until_empty(queue, registry(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    fixture.log.assert_each_done_once(&[follower]);
    let unknown = queue.batch("default", JobId::new().into()).await.unwrap();
    assert_eq!(unknown, None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_comes_in_several_writes() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let (batch, mut jobs) = batch_of(&vec![Act::Succeed; 1100]);
    let worker = fixture.start(16);
    jobs.push(batch.follower());
    let batch = queue.enqueue_batch(batch).await.unwrap();
    until_done(&fixture.log, jobs.len()).await;
    worker.stop().await;
    assert_eq!(state(queue, batch).await.done, 1100);
    assert_eq!(fixture.log.done.lock().unwrap().last(), jobs.last());
    fixture.log.assert_each_done_once(&jobs);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_finds_no_room_runs_as_far_as_it_was_taken() {
    let fixture = Fixture::tuned(|settings| {
        settings.limits.insert("default".to_owned(), 3);
    })
    .await;
    let queue = &fixture.queue;
    let (batch, members) = batch_of(&vec![Act::Succeed; 5]);
    let error = queue.enqueue_batch(batch).await.unwrap_err();
    let EnqueueError::QueueFull { taken, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(taken, members[..3]);
    let ran = run_until_empty(queue, registry(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    fixture.log.assert_each_done_once(&members[..3]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_adds_no_job_needs_no_room() {
    let fixture = Fixture::tuned(|settings| {
        settings.limits.insert("default".to_owned(), 1);
    })
    .await;
    let mut settings = fixture.settings().clone();
    settings.limits.clear();
    let unlimited = Queue::connect(settings).await.unwrap();
    let (batch, members) = batch_of(&vec![Act::Succeed; 2]);
    let follower = batch.follower();
    let batch = unlimited.enqueue_batch(batch).await.unwrap();
    let queue = &fixture.queue;
    let none = queue.enqueue_into_batch::<Task>(batch, &[]).await.unwrap();
    assert_eq!(none, []);
    let (empty, _) = batch_of(&[]);
    let alone = empty.follower();
    queue.enqueue_batch(empty).await.unwrap();
    let ran = run_until_empty(queue, registry(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    let all = [&members[..], &[follower, alone]].concat();
    fixture.log.assert_each_done_once(&all);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_may_add_members_while_they_run() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut batch = Batch::followed_by(&Quick { act: Act::Succeed }).unwrap();
    batch.add(&Spread(2)).unwrap();
    let follower = batch.follower();
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let producer = queue.clone();
    let registry = Registry::<Arc<Log>>::new()
        .register::<Spread, _, _>(move |Spread(more), cx| {
            let queue = producer.clone();
            async move {
                let jobs: Vec<_> = (0..more).map(|_| Spread(more - 1)).collect();
                let batch = cx.batch.ok_or("no member").map_err(JobError::discard)?;
                queue.enqueue_into_batch(batch, &jobs).await?;
                Ok(())
            }
        })
        .register::<Quick, _, _>(move |_, cx: JobContext<Arc<Log>>| {
            telling.lock().unwrap().push((cx.id, cx.batch, cx.follows));
            async { Ok(()) }
        });
    let batch = queue.enqueue_batch(batch).await.unwrap();
    let ran = run_until_empty(queue, registry, Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    // 2, of each of which 1, and the first.
    let state = state(queue, batch).await;
    assert_eq!((state.total, state.done), (5, 5));
    assert_eq!(*told.lock().unwrap(), [(follower, None, Some(batch))]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_nobody_seals_runs_and_is_followed_by_nothing() {
    use crate::broker::{Broker, job};
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, 60_000).await;
    let batch = BatchId::from(JobId::new());
    let member = queue::Envelope {
        batch: Some(batch),
        ..job()
    };
    let call = broker.batch(batch, true, "", &[&member], None);
    broker.run(&call).await.unwrap();
    let worker = start_with(&fixture.queue, registry(), &fixture.log, 1, MINUTE);
    until_done(&fixture.log, 1).await;
    assert_settled(&fixture.queue, 0).await;
    worker.stop().await;
    let state = state(&fixture.queue, batch).await;
    assert_eq!((state.left(), state.sealed), (0, false));
    drop(broker);
    fixture.end().await;
}

#[tokio::test]
async fn the_time_of_a_batch_begins_anew_with_each_that_adds() {
    use crate::broker::{Broker, job};
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, 60_000).await;
    let batch = BatchId::from(JobId::new());
    let member = || queue::Envelope {
        batch: Some(batch),
        ..job()
    };
    let keys = [format!("b:{batch}"), format!("b:{batch}:m")].map(|key| fixture.key(&key));
    let call = broker.batch(batch, true, "", &[&member()], None);
    broker.run(&call).await.unwrap();
    let follows = job();
    for sealed_by in [None, Some(&follows)] {
        for key in &keys {
            let _: u64 = broker.ask(&["EXPIRE", key, "30"]).await;
        }
        let call = broker.batch(batch, false, "", &[&member()], sealed_by);
        broker.run(&call).await.unwrap();
        for key in &keys {
            let left: u64 = broker.ask(&["TTL", key]).await;
            assert!(left > 30, "{key} ends in {left} s");
        }
    }
    drop(broker);
    let ran = run_until_empty(&fixture.queue, registry(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    fixture.end().await;
}

#[test]
fn a_job_of_another_queue_is_no_member() {
    let (mut batch, _) = batch_of(&[]);
    let error = batch.add(&Far).unwrap_err();
    let text = "a job of queue another cannot be in a batch of queue default";
    assert_eq!(error.to_string(), text);
}
