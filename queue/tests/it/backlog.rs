//! More work than there are slots.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use queue::{Envelope, Job, JobContext, JobError, QueueSettings, Worker, WorkerSettings};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_gave_its_waiting_job_to_a_peer_goes_on_fetching() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let log = &fixture.log;
    let peers = Arc::new(Log::default());
    let worker = fixture.start(1);
    let long = queue.enqueue(&task(Act::Hold)).await.unwrap();
    until("it runs", async || log.starts_of(long) == 1).await;
    // Fetched ahead, and too old for that when the peer has come.
    let waiting = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until("it waits", async || {
        queue.counts("default").await.unwrap().in_hand == 2
    })
    .await;
    let peer = start(queue, &peers, 1);
    until_done(&peers, 1).await;
    peers.assert_each_done_once(&[waiting]);
    peer.stop().await;
    log.let_go.cancel();
    until_done(log, 1).await;
    let next = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until_done(log, 2).await;
    log.assert_each_done_once(&[long, next]);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_were_handed_back_do_not_wait_for_the_backlog() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut redis = fixture.connection().await;
    let stream = fixture.key("s:0");
    let group = ["XGROUP", "CREATE", &stream, "g", "0", "MKSTREAM"];
    let () = query(&mut redis, &group).await;
    let mut back = Vec::new();
    for _ in 0..4 {
        back.push(queue.enqueue(&task(Act::Sleep(40))).await.unwrap());
    }
    let read = ["XREADGROUP", "GROUP", "g", "~", "STREAMS", &stream, ">"];
    let _: queue::redis::Value = query(&mut redis, &read).await;
    let backlog = vec![task(Act::Sleep(40)); 120];
    let mut ids = queue.enqueue_many(&backlog).await.unwrap();
    let log = &fixture.log;
    let worker = fixture.start(2);
    until("they are done", async || {
        let done = log.done.lock().unwrap();
        back.iter().all(|id| done.contains(id))
    })
    .await;
    let before = log.done_count();
    assert!(before < ids.len() * 3 / 4, "{before} others came first");
    ids.extend(&back);
    until_done(log, ids.len()).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    worker.stop().await;
    fixture.end().await;
}

/// A worker that was taken for dead takes its own entry over, while the handler of
/// before still runs; that one's outcome is refused then.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_came_back_while_it_was_held_runs_again() {
    let fixture = Fixture::tuned(|settings| {
        // Not in time to help.
        settings.tuning.reconcile = Duration::from_secs(60);
    })
    .await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    // Runs on without a lease, because its token in Postgres protects it.
    let mut envelope = Envelope::new(&task(Act::Hang)).unwrap().once();
    envelope.timeout_ms = 2000;
    let id = queue.enqueue_envelope(&envelope).await.unwrap().id();
    until("it hangs", async || log.starts_of(id) == 1).await;
    let mut redis = fixture.connection().await;
    let alive = fixture.key("alive");
    let () = query(&mut redis, &["DEL", &alive]).await;
    until("its time is over and it starts anew", async || {
        log.starts_of(id) == 2 && log.running.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(queue.counts("default").await.unwrap().delayed, 0);
    worker.abort.cancel();
    worker.ended().await;
    fixture.end_leaving(held(1)).await;
}

/// A job of a queue that shall run one at a time.
#[derive(Serialize, Deserialize)]
struct Scarce;

impl Job for Scarce {
    const NAME: &'static str = "scarce";
    const QUEUE: &'static str = "scarce";
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_queue_leaves_the_other_slots_to_others() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let scarce = Arc::new(Log::default());
    let registry = {
        let scarce = Arc::clone(&scarce);
        registry().register(move |_: Scarce, mut cx: JobContext<Arc<Log>>| {
            cx.app = Arc::clone(&scarce);
            async move {
                run_task(task(Act::Sleep(30)), cx).await?;
                Ok::<(), JobError>(())
            }
        })
    };
    queue.enqueue_many(&[const { Scarce }; 8]).await.unwrap();
    queue
        .enqueue_many(&vec![task(Act::Sleep(30)); 24])
        .await
        .unwrap();
    let shutdown = CancellationToken::new();
    let worker = Worker::new(
        queue.clone(),
        registry,
        Arc::clone(log),
        WorkerSettings {
            queues: vec![QueueSettings::limited("scarce", 1), "default".into()],
            concurrency: 4,
            ..WorkerSettings::default()
        },
    );
    let worker = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));
    until_done(log, 24).await;
    until_done(&scarce, 8).await;
    assert_eq!(scarce.most_at_once.load(Ordering::SeqCst), 1);
    assert!(log.most_at_once.load(Ordering::SeqCst) >= 3);
    shutdown.cancel();
    worker.await.unwrap().unwrap();
    fixture.end().await;
}
