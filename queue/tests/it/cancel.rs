//! Jobs that are cancelled by their id.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use queue::{
    Cancelled, Counts, Enqueued, Envelope, JobId, Options, Registry, Relayed, Replay, Run,
    inspect::Deletion,
};

use crate::harness::*;

const HOUR: Duration = Duration::from_secs(3600);

async fn cancel(fixture: &Fixture, job: JobId) -> Cancelled {
    fixture.queue.cancel("default", job).await.unwrap()
}

/// Waits until nothing is left but this many cancelled jobs, of which none is dead.
async fn until_cancelled(fixture: &Fixture, jobs: u64) {
    let cancelled = Counts {
        cancelled: jobs,
        ..Counts::default()
    };
    until("nothing is left of it", async || {
        fixture.queue.counts("default").await.unwrap() == cancelled
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_removed_at_once_and_frees_its_key() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let job = task(Act::Succeed);
    let later = Options {
        run: Run::In(HOUR),
        unique: Some("later".to_owned()),
        ..Options::default()
    };
    let parks = start_with(queue, Registry::new(), &fixture.log, 1, HOUR);
    let parked = queue.enqueue_unique(&job, "parked").await.unwrap().id();
    until("it is parked", async || {
        queue.counts("default").await.unwrap().parked == 1
    })
    .await;
    parks.stop().await;
    let jobs = [
        parked,
        queue.enqueue_with(&job, &later).await.unwrap().id(),
        queue.enqueue_unique(&job, "ready").await.unwrap().id(),
        queue.enqueue(&job).await.unwrap(),
    ];
    for job in jobs {
        assert_eq!(cancel(&fixture, job).await, Cancelled::Removed);
        assert_eq!(cancel(&fixture, job).await, Cancelled::Gone);
    }
    assert_eq!(cancel(&fixture, JobId::new()).await, Cancelled::Gone);
    until_cancelled(&fixture, 4).await;
    for key in ["parked", "later", "ready"] {
        let again = queue.enqueue_unique(&job, key).await.unwrap();
        assert!(matches!(again, Enqueued::New(_)), "{key}");
    }
    let worker = fixture.start(2);
    until_done(&fixture.log, 3).await;
    worker.stop().await;
    assert_eq!(fixture.log.starts.lock().unwrap().len(), 3);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_back_is_removed() {
    let fixture = Fixture::new().await;
    let id = fixture.queue.enqueue(&task(Act::Hang)).await.unwrap();
    let worker = fixture.start(1);
    until("it runs", async || fixture.log.starts_of(id) == 1).await;
    worker.abort.cancel();
    worker.ended().await;
    assert_eq!(cancel(&fixture, id).await, Cancelled::Removed);
    until_cancelled(&fixture, 1).await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_told_and_then_dropped() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(3);
    let polite = queue.enqueue(&task(Act::AwaitCancel)).await.unwrap();
    let deaf = queue.enqueue_unique(&task(Act::Hang), "a").await.unwrap();
    // It succeeds within the second that it is given.
    let done = queue.enqueue(&task(Act::Sleep(300))).await.unwrap();
    let jobs = [polite, deaf.id(), done];
    until("they run", async || {
        jobs.iter().all(|job| log.starts_of(*job) == 1)
    })
    .await;
    for job in jobs {
        assert_eq!(cancel(&fixture, job).await, Cancelled::Asked);
    }
    until_cancelled(&fixture, 2).await;
    assert_eq!(log.cancelled.load(Ordering::SeqCst), 1);
    log.assert_each_done_once(&[done]);
    assert_eq!(log.starts.lock().unwrap().len(), 3, "no other attempt");
    let again = queue
        .enqueue_unique(&task(Act::Succeed), "a")
        .await
        .unwrap();
    assert!(matches!(again, Enqueued::New(_)), "its key is free");
    until_done(log, 2).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_in_a_worker_does_not_start() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let long = queue.enqueue(&task(Act::Sleep(700))).await.unwrap();
    let worker = fixture.start(1);
    until("it runs", async || log.starts_of(long) == 1).await;
    let waits = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until("the other one waits", async || {
        queue.counts("default").await.unwrap().in_hand == 2
    })
    .await;
    assert_eq!(cancel(&fixture, waits).await, Cancelled::Asked);
    until_cancelled(&fixture, 1).await;
    assert_eq!(log.starts_of(waits), 0);
    log.assert_each_done_once(&[long]);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_outlives_the_worker_that_had_the_job() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut redis = fixture.connection().await;
    let stream = fixture.key("s:0");
    let group = ["XGROUP", "CREATE", &stream, "g", "0", "MKSTREAM"];
    let () = query(&mut redis, &group).await;
    let ids = [
        queue.enqueue(&task(Act::Succeed)).await.unwrap(),
        queue
            .enqueue_unique(&task(Act::Succeed), "a")
            .await
            .unwrap()
            .id(),
    ];
    let read = ["XREADGROUP", "GROUP", "g", "gone", "STREAMS", &stream, ">"];
    let _: queue::redis::Value = query(&mut redis, &read).await;
    for id in ids {
        assert_eq!(cancel(&fixture, id).await, Cancelled::Asked);
    }
    let worker = fixture.start(2);
    until_cancelled(&fixture, 2).await;
    assert!(log.starts.lock().unwrap().is_empty());
    until_alone(&fixture).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_found_in_a_long_queue_by_the_time_of_its_id() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let many = vec![task(Act::Succeed); 2500];
    queue.enqueue_many(&many).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let middle = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    // From a producer whose clock is ahead.
    let mut ahead = Envelope::new(&task(Act::Succeed)).unwrap();
    let id = uuid::Uuid::from(ahead.id).as_u128() + (HOUR.as_millis() << 80);
    ahead.id = uuid::Uuid::from_u128(id).into();
    queue.enqueue_many(&many).await.unwrap();
    queue.enqueue_envelope(&ahead).await.unwrap();
    assert_eq!(cancel(&fixture, middle).await, Cancelled::Removed);
    assert_eq!(cancel(&fixture, ahead.id).await, Cancelled::Removed);
    let unknown = cancel(&fixture, JobId::new()).await;
    assert_eq!(
        unknown,
        Cancelled::Asked,
        "not all of the queue was looked at"
    );
    let left = Counts {
        ready: 5000,
        ..Counts::default()
    };
    fixture.end_leaving(left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_does_not_bring_a_cancelled_job_back() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let worker = fixture.start(2);
    for act in [Act::Hang, Act::Succeed] {
        let waits = act == Act::Succeed;
        let envelope = Envelope::new(&task(act)).unwrap().once();
        let id = envelope.id;
        let relayed = Relayed {
            envelope: envelope.encode(),
            id,
            queue: envelope.queue,
            run_at: waits.then(|| SystemTime::now() + HOUR),
            again_after: Duration::ZERO,
        };
        queue.relay(std::slice::from_ref(&relayed)).await.unwrap();
        if !waits {
            until("it runs", async || fixture.log.starts_of(id) == 1).await;
        }
        cancel(&fixture, id).await;
        until("it is gone", async || {
            let counts = queue.counts("default").await.unwrap();
            counts.in_hand + counts.delayed == 0
        })
        .await;
        // However long ago the outbox sent it last, that is still known.
        let mut redis = fixture.connection().await;
        let marker = fixture.key(&format!("once:{id}"));
        let left: i64 = query(&mut redis, &["PTTL", &marker]).await;
        let age = fixture.settings().tuning.dead_max_age.as_millis();
        assert!(
            i128::from(left) > i128::try_from(age).unwrap() - 60_000,
            "{left} ms"
        );
        queue.relay(&[relayed]).await.unwrap();
    }
    until_cancelled(&fixture, 2).await;
    worker.stop().await;
    fixture.end().await;
}

/// A job that is due after letters of today are trimmed is remembered for as long as before.
#[tokio::test(flavor = "multi_thread")]
async fn cancelling_makes_no_marker_shorter() {
    let fixture = Fixture::new().await;
    let (queue, mut redis) = (&fixture.queue, fixture.connection().await);
    let late = 30 * 24 * HOUR;
    assert!(late > fixture.settings().tuning.dead_max_age);
    for cancelled in [true, false] {
        let envelope = Envelope::new(&task(Act::Succeed)).unwrap().once();
        let id = envelope.id;
        let relayed = Relayed {
            envelope: envelope.encode(),
            id,
            queue: envelope.queue,
            run_at: Some(SystemTime::now() + late),
            again_after: HOUR,
        };
        queue.relay(&[relayed]).await.unwrap();
        if cancelled {
            assert_eq!(cancel(&fixture, id).await, Cancelled::Removed);
        } else {
            let deleted = queue.delete("default", id).await.unwrap();
            assert_eq!(deleted, Deletion::Deleted);
        }
        let marker = fixture.key(&format!("once:{id}"));
        let left: u64 = query(&mut redis, &["PTTL", &marker]).await;
        assert!(Duration::from_millis(left) > late, "{left} ms");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_stays_while_a_request_would_end_its_job() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let id = queue.enqueue(&task(Act::Discard)).await.unwrap();
    let worker = fixture.start(1);
    until("it is dead", async || {
        queue.counts("default").await.unwrap().dead == 1
    })
    .await;
    worker.stop().await;
    // It is nowhere, so nothing is remembered of this.
    assert_eq!(cancel(&fixture, id).await, Cancelled::Gone);
    let letter = queue.dead_letters("default", 1).await.unwrap()[0].id;
    let mut redis = fixture.connection().await;
    let requests = fixture.key("cx");
    let any: u64 = query(&mut redis, &["EXISTS", &requests]).await;
    assert_eq!(any, 0);

    let id = id.to_string();
    let () = query(&mut redis, &["ZADD", &requests, "1", &id]).await;
    let refused = queue.replay("default", letter).await.unwrap();
    assert_eq!(refused, Replay::Cancelled);
    assert_eq!(queue.replay_all("default").await.unwrap(), 0);
    let () = query(&mut redis, &["DEL", &requests]).await;
    assert_eq!(queue.replay_all("default").await.unwrap(), 1);
    let left = Counts {
        ready: 1,
        ..Counts::default()
    };
    fixture.end_leaving(left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_forgotten_after_a_day() {
    let fixture = Fixture::new().await;
    let mut redis = fixture.connection().await;
    let requests = fixture.key("cx");
    let old = JobId::new().to_string();
    let _: u64 = query(&mut redis, &["ZADD", &requests, "1", &old]).await;
    assert_eq!(cancel(&fixture, JobId::new()).await, Cancelled::Gone);
    let worker = fixture.start(1);
    until("a tick has come", async || {
        query::<u64>(&mut redis, &["ZCARD", &requests]).await == 1
    })
    .await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_could_not_be_read_is_cancelled_all_the_same() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let old = queue::testing::release_before(fixture.settings().clone());
    let old = queue::Queue::connect(old).await.unwrap();
    let unique = queue
        .enqueue_unique(&task(Act::Succeed), "a")
        .await
        .unwrap();
    let worker = start(&old, &fixture.log, 1);
    until("it is parked unread", async || {
        queue.counts("default").await.unwrap().parked == 1
    })
    .await;
    worker.stop().await;
    let asked = queue.cancel("default", unique.id()).await.unwrap();
    assert_eq!(asked, Cancelled::Asked, "it could be the one");
    let worker = fixture.start(1);
    assert_settled_as(&fixture, 1).await;
    worker.stop().await;
    assert_eq!(fixture.log.starts_of(unique.id()), 0);
    fixture.end().await;
}

/// Waits until nothing is left to do, and this many jobs were cancelled.
async fn assert_settled_as(fixture: &Fixture, cancelled: u64) {
    let expected = queue::Counts {
        cancelled,
        ..queue::Counts::default()
    };
    until("the queue is settled", async || {
        fixture.queue.counts("default").await.unwrap() == expected
    })
    .await;
}
