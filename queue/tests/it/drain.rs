//! The end of a worker that is told to end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use queue::{Worker, WorkerSettings};
use tokio_util::sync::CancellationToken;

use crate::{harness::*, server::Server};

#[tokio::test(flavor = "multi_thread")]
async fn running_jobs_finish_and_waiting_ones_go_back() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let ids = queue
        .enqueue_many(&vec![task(Act::Sleep(400)); 8])
        .await
        .unwrap();
    let worker = fixture.start(2);
    until("two run", async || log.running.load(Ordering::SeqCst) == 2).await;
    worker.stop().await;
    assert_eq!(log.done_count(), 2);
    assert_eq!(log.starts.lock().unwrap().len(), 2);

    let next = fixture.start(8);
    until_done(log, ids.len()).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    let attempts: Vec<u16> = log.starts.lock().unwrap().iter().map(|(_, n)| *n).collect();
    assert_eq!(attempts, vec![1; 8]);
    next.stop().await;
    fixture.end().await;
}

/// The job is handed back, and its attempt and its deliveries are not counted.
async fn handed_back(act: Act, hard: bool) -> Arc<Log> {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let id = queue.enqueue(&task(act)).await.unwrap();
    // More often than a job may be delivered, or tried.
    for round in 1..=7 {
        let worker = start_with(queue, registry(), log, 2, Duration::from_millis(50));
        until("it starts", async || log.starts_of(id) == round).await;
        if hard {
            worker.abort.cancel();
            worker.ended().await;
        } else {
            worker.stop().await;
        }
        let counts = queue.counts("default").await.unwrap();
        assert_eq!((counts.in_hand, counts.delayed, counts.dead), (1, 0, 0));
    }
    let starts = log.starts.lock().unwrap().clone();
    assert_eq!(starts, vec![(id, 1); 7]);
    let mut connection = fixture.connection().await;
    let pending: Vec<(String, String, u64, u64)> = queue::redis::cmd("XPENDING")
        .arg(fixture.key("s:0"))
        .arg("g")
        .arg("-")
        .arg("+")
        .arg(10)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!((pending[0].1.as_str(), pending[0].3), ("~", 0));
    let log = Arc::clone(log);
    fixture.end_leaving(held(1)).await;
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_deadline_jobs_are_cancelled_and_handed_back() {
    let log = handed_back(Act::AwaitCancel, false).await;
    assert_eq!(log.cancelled.load(Ordering::SeqCst), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_does_not_wait_for_handlers() {
    let begun = Instant::now();
    handed_back(Act::Hang, true).await;
    // Seven times the grace of a handler would be seven seconds.
    assert!(begun.elapsed() < Duration::from_secs(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_queues_of_a_silent_redis_are_given_up_together() {
    let server = Server::start(false);
    let fixture = Fixture::at(&server.url()).await;
    // One after the other, they would take longer than the test is patient.
    let names: Vec<_> = (0..40).map(|number| format!("q{number}")).collect();
    let settings = WorkerSettings {
        queues: names.iter().map(|name| name.as_str().into()).collect(),
        ..WorkerSettings::default()
    };
    let log = Arc::clone(&fixture.log);
    let worker = Worker::new(fixture.queue.clone(), registry(), log, settings);
    let shutdown = CancellationToken::new();
    let worker = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));
    let mut connection = fixture.connection().await;
    until("all fetch", async || {
        let clients: String = query(&mut connection, &["CLIENT", "LIST"]).await;
        clients.matches("cmd=xreadgroup").count() == names.len()
    })
    .await;
    server.freeze();
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), worker).await;
    server.thaw();
    ended.expect("the worker ends").unwrap().unwrap();
    let () = query(&mut connection, &["FLUSHALL"]).await;
    fixture.end().await;
}
