//! What becomes of an attempt.

use std::{sync::atomic::Ordering, time::Duration};

use queue::{Envelope, JobId};

use crate::harness::*;

/// Runs one job to its end; returns what happened.
async fn run<J: queue::Job>(job: &J, dead: u64) -> (Fixture, JobId) {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let id = queue.enqueue(job).await.unwrap();
    until("the job starts", async || log.starts_of(id) > 0).await;
    assert_settled(queue, dead).await;
    worker.stop().await;
    (fixture, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_tried_again() {
    let (fixture, id) = run(&task(Act::FailTimes(2)), 0).await;
    let log = &fixture.log;
    let starts = log.starts.lock().unwrap().clone();
    assert_eq!(starts, [(id, 1), (id, 2), (id, 3)]);
    log.assert_each_done_once(&[id]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn used_up_attempts_end_among_the_dead_letters() {
    let (fixture, id) = run(&task(Act::FailTimes(99)), 1).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    assert_eq!(log.starts_of(id), 3);
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].why, "attempts");
    assert_eq!(letters[0].error, "told to fail");
    assert_eq!(letters[0].attempts, 3);
    let envelope = Envelope::decode(&letters[0].envelope).unwrap();
    assert_eq!(envelope.id, id);
    let payload: Task = serde_json::from_slice(&envelope.payload).unwrap();
    assert_eq!(payload, task(Act::FailTimes(99)));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_job_is_not_tried_again() {
    let (fixture, id) = run(&task(Act::Discard), 1).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    assert_eq!(log.starts_of(id), 1);
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(letters[0].why, "discarded");
    assert_eq!(letters[0].error, "told to discard");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_attempt() {
    let (fixture, id) = run(&task(Act::Panic), 1).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    assert_eq!(log.starts_of(id), 3);
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(letters[0].error, "panicked: told to panic");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_cancels_then_ends_the_attempt() {
    let (fixture, _) = run(&Quick { act: Act::Hang }, 1).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(letters[0].error, "timed out after 100 ms");
    assert_eq!(
        log.running.load(Ordering::SeqCst),
        0,
        "the handler was dropped"
    );
    fixture.end().await;

    let polite = Quick {
        act: Act::AwaitCancel,
    };
    let (fixture, _) = run(&polite, 1).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    assert_eq!(log.cancelled.load(Ordering::SeqCst), 1);
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(letters[0].error, "timed out after 100 ms");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_another_shape_is_kept_as_a_dead_letter() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut envelope = Envelope::new(&task(Act::Succeed)).unwrap();
    envelope.payload = br#"{"other":1}"#.to_vec();
    queue.enqueue_envelope(&envelope).await.unwrap();
    let worker = fixture.start(2);
    assert_settled(queue, 1).await;
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(letters[0].why, "discarded");
    assert!(letters[0].error.starts_with("the payload does not fit"));
    assert_eq!(Envelope::decode(&letters[0].envelope), Ok(envelope));
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_redis_refuses_holds_up_no_other() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let (stream, dead) = (fixture.key("s:0"), fixture.key("dead"));
    let mut connection = fixture.connection().await;
    // No stream, so a dead letter is refused.
    let () = query(&mut connection, &["SET", &dead, "x"]).await;
    let worker = fixture.start(1);
    let id = queue.enqueue(&task(Act::Discard)).await.unwrap();
    until("it has run", async || {
        log.starts_of(id) == 1 && log.running.load(Ordering::SeqCst) == 0
    })
    .await;
    queue
        .enqueue_many(&vec![task(Act::Succeed); 20])
        .await
        .unwrap();
    until("the others are settled", async || {
        let left: u64 = query(&mut connection, &["XLEN", &stream]).await;
        log.done_count() == 20 && left == 1
    })
    .await;
    let _: u64 = query(&mut connection, &["DEL", &dead]).await;
    assert_settled(queue, 1).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_outcomes_that_redis_refuses_do_not_stop_the_queue() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let (stream, dead) = (fixture.key("s:0"), fixture.key("dead"));
    let mut connection = fixture.connection().await;
    let () = query(&mut connection, &["SET", &dead, "x"]).await;
    let worker = fixture.start(4);
    // More than one pipeline takes.
    let jobs = vec![task(Act::Discard); 1100];
    queue.enqueue_many(&jobs).await.unwrap();
    until("all have run", async || {
        log.starts.lock().unwrap().len() == jobs.len() && log.running.load(Ordering::SeqCst) == 0
    })
    .await;
    let others = vec![task(Act::Succeed); 20];
    queue.enqueue_many(&others).await.unwrap();
    until("the others are settled", async || {
        let left: usize = query(&mut connection, &["XLEN", &stream]).await;
        log.done_count() == others.len() && left == jobs.len()
    })
    .await;
    let _: u64 = query(&mut connection, &["DEL", &dead]).await;
    assert_settled(queue, 1100).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_on_a_live_worker_runs_once() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let workers = [fixture.start(1), fixture.start(1)];
    let long = u64::try_from((LEASE * 3).as_millis()).unwrap();
    let ids = [
        queue.enqueue(&task(Act::Sleep(long))).await.unwrap(),
        queue.enqueue(&task(Act::Sleep(long))).await.unwrap(),
        // Waits behind the others, in a worker's buffer or in Redis.
        queue.enqueue(&task(Act::Succeed)).await.unwrap(),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    until_done(log, 3).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    assert_eq!(log.starts.lock().unwrap().len(), 3);
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}
