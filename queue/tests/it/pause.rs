//! A paused queue.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use queue::{Counts, Job, JobContext, JobError, Worker, WorkerSettings};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::harness::*;

/// Longer than a tick and some round trips, for what must not happen.
const A_WHILE: Duration = Duration::from_millis(400);

/// Each pending entry: its owner, and how often it was delivered.
async fn pending(fixture: &Fixture) -> Vec<(String, u64)> {
    let mut connection = fixture.connection().await;
    let words = ["XPENDING", &fixture.key("s:0"), "g", "-", "+", "1000"];
    let rows: Vec<(String, String, u64, u64)> = query(&mut connection, &words).await;
    rows.into_iter().map(|(_, by, _, n)| (by, n)).collect()
}

/// Waits until no worker runs or holds a job of the queue.
async fn until_quiet(fixture: &Fixture) {
    until("all is handed back", async || {
        pending(fixture).await.iter().all(|(by, _)| by == "~")
    })
    .await;
    assert_eq!(fixture.log.running.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_in_a_paused_queue_until_it_is_resumed() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut ids = queue
        .enqueue_many(&vec![task(Act::Sleep(30)); 60])
        .await
        .unwrap();
    let workers = [fixture.start(2), fixture.start(2)];
    until_done(log, 4).await;
    assert!(!queue.is_paused("default").await.unwrap());
    queue.pause("default").await.unwrap();
    assert!(queue.is_paused("default").await.unwrap());

    until_quiet(&fixture).await;
    let (starts, done) = (log.starts.lock().unwrap().len(), log.done_count());
    assert_eq!(starts, done, "what ran has come to its end");
    assert!(done < 60, "all were done before the pause");
    ids.push(queue.enqueue(&task(Act::Succeed)).await.unwrap());
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(log.starts.lock().unwrap().len(), starts);
    let back = pending(&fixture).await;
    assert!(
        back.iter().all(|row| *row == ("~".to_owned(), 0)),
        "{back:?}"
    );

    queue.resume("default").await.unwrap();
    until_done(log, ids.len()).await;
    log.assert_each_done_once(&ids);
    let starts = log.starts.lock().unwrap().clone();
    assert!(starts.iter().all(|(_, attempt)| *attempt == 1));
    assert_settled(queue, 0).await;
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_starts_later_finds_the_queue_paused() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    queue.pause("default").await.unwrap();
    let id = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    let worker = fixture.start(2);
    let mut connection = fixture.connection().await;
    until("it is there", async || {
        query::<u64>(&mut connection, &["ZCARD", &fixture.key("alive")]).await == 1
    })
    .await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(log.starts_of(id), 0);
    let ready = Counts {
        ready: 1,
        ..Counts::default()
    };
    assert_eq!(queue.counts("default").await.unwrap(), ready);
    queue.resume("default").await.unwrap();
    until_done(log, 1).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_on_and_delayed_ones_move_into_a_paused_queue() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let long = queue.enqueue(&task(Act::AwaitCancel)).await.unwrap();
    let worker = fixture.start(2);
    until("it runs", async || log.starts_of(long) == 1).await;
    queue.pause("default").await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    let soon = Duration::from_millis(1);
    queue.enqueue_in(&task(Act::Succeed), soon).await.unwrap();
    until("it is in the queue", async || {
        queue.counts("default").await.unwrap().ready == 1
    })
    .await;
    assert_eq!(log.running.load(Ordering::SeqCst), 1, "it may run on");
    assert_eq!(log.starts.lock().unwrap().len(), 1);
    worker.abort.cancel();
    worker.ended().await;
    let counts = queue.counts("default").await.unwrap();
    assert_eq!((counts.ready, counts.in_hand), (1, 1));
    fixture.end_leaving(counts).await;
}

/// A job of another queue.
#[derive(Serialize, Deserialize)]
struct Aside;

impl Job for Aside {
    const NAME: &'static str = "aside";
    const QUEUE: &'static str = "aside";
}

async fn run_aside(_: Aside, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    cx.app.done.lock().unwrap().push(cx.id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_queues_of_the_worker_go_on() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    queue.pause("default").await.unwrap();
    let held = queue.enqueue_many(&vec![task(Act::Succeed); 9]).await;
    let aside = queue.enqueue(&Aside).await.unwrap();
    let settings = WorkerSettings {
        queues: vec!["default".into(), "aside".into()],
        concurrency: 1,
        ..WorkerSettings::default()
    };
    let registry = registry().register::<Aside, _, _>(run_aside);
    let worker = Worker::new(queue.clone(), registry, Arc::clone(log), settings);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));
    until_done(log, 1).await;
    assert_eq!(*log.done.lock().unwrap(), [aside]);
    queue.resume("default").await.unwrap();
    until_done(log, 1 + held.unwrap().len()).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
    fixture.end().await;
}

/// Takes too long at its first attempt.
#[derive(Serialize, Deserialize)]
struct Late;

impl Job for Late {
    const NAME: &'static str = "late";
    const TIMEOUT: Duration = Duration::from_millis(600);

    fn backoff(_attempt: u16) -> Duration {
        Duration::from_millis(10)
    }
}

async fn run_late(_: Late, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    cx.app.starts.lock().unwrap().push((cx.id, cx.attempt));
    if cx.attempt == 1 {
        cx.cancel.cancelled().await;
        return Err(JobError::retry("too late"));
    }
    cx.app.done.lock().unwrap().push(cx.id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_attempt_waits_for_the_end_of_the_pause() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let late = queue.enqueue(&Late).await.unwrap();
    let registry = registry().register::<Late, _, _>(run_late);
    let worker = start_with(queue, registry, log, 2, Duration::from_secs(5));
    until("it runs", async || log.starts_of(late) == 1).await;
    queue.pause("default").await.unwrap();
    let ready = Counts {
        ready: 1,
        ..Counts::default()
    };
    until("it is to be tried again", async || {
        queue.counts("default").await.unwrap() == ready
    })
    .await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(log.starts_of(late), 1);
    queue.resume("default").await.unwrap();
    until_done(log, 1).await;
    assert_eq!(*log.starts.lock().unwrap(), [(late, 1), (late, 2)]);
    worker.stop().await;
    fixture.end().await;
}
