//! Enqueueing: what is accepted, and what is refused.

use std::time::{Duration, SystemTime};

use queue::{Counts, EnqueueError, Envelope, Queue, Relayed};

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_job_is_done_once() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let jobs: Vec<Task> = (0..2000)
        .map(|number| Task {
            number,
            act: Act::Succeed,
        })
        .collect();
    let mut ids = queue.enqueue_many(&jobs[..1500]).await.unwrap();
    let workers = [fixture.start(8), fixture.start(8)];
    for job in &jobs[1500..] {
        ids.push(queue.enqueue(job).await.unwrap());
    }
    until_done(log, ids.len()).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    assert!(log.most_at_once.load(std::sync::atomic::Ordering::SeqCst) <= 16);
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_payload_above_the_limit_is_refused() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Large(String);
    impl queue::Job for Large {
        const NAME: &'static str = "large";
    }
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let job = Large("x".repeat(Envelope::MAX_PAYLOAD));
    let error = queue.enqueue(&job).await.unwrap_err();
    assert!(matches!(error, EnqueueError::TooLarge { .. }), "{error}");
    let fits = Large("x".repeat(Envelope::MAX_PAYLOAD - 2));
    let error = queue.enqueue_many(&[fits, job]).await.unwrap_err();
    assert!(matches!(error, EnqueueError::TooLarge { .. }), "{error}");
    fixture.end().await;
}

#[tokio::test]
async fn an_envelope_that_no_worker_could_run_is_refused() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let wrong: [fn(&mut Envelope); 6] = [
        |envelope| envelope.queue = "a}b".to_owned(),
        |envelope| envelope.name = "A b".to_owned(),
        |envelope| envelope.attempt = 0,
        |envelope| envelope.max_attempts = 0,
        |envelope| envelope.timeout_ms = 0,
        |envelope| envelope.traceparent = Some("0".repeat(513)),
    ];
    for (at, spoil) in wrong.into_iter().enumerate() {
        let mut envelope = Envelope::new(&task(Act::Succeed)).unwrap();
        spoil(&mut envelope);
        let error = queue.enqueue_envelope(&envelope).await.unwrap_err();
        assert!(matches!(error, EnqueueError::Envelope(_)), "{at}: {error}");
    }
    let mut large = Envelope::new(&task(Act::Succeed)).unwrap();
    large.payload = vec![b' '; Envelope::MAX_PAYLOAD + 1];
    let error = queue.enqueue_envelope(&large).await.unwrap_err();
    assert!(matches!(error, EnqueueError::TooLarge { .. }), "{error}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_may_be_repeated() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let soon = SystemTime::now() + Duration::from_millis(200);
    let relayed: Vec<Relayed> = [None, Some(soon), Some(SystemTime::UNIX_EPOCH)]
        .into_iter()
        .map(|run_at| {
            let envelope = Envelope::new(&task(Act::Succeed)).unwrap().once();
            Relayed {
                envelope: envelope.encode(),
                id: envelope.id,
                queue: envelope.queue,
                run_at,
                again_after: Duration::ZERO,
            }
        })
        .collect();
    queue.relay(&relayed).await.unwrap();
    queue.relay(&relayed).await.unwrap();
    let counts = queue.counts("default").await.unwrap();
    assert_eq!((counts.ready, counts.delayed), (2, 1));
    let worker = fixture.start(4);
    until_done(log, 3).await;
    queue.relay(&relayed).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_settled(queue, 0).await;
    let ids: Vec<_> = relayed.iter().map(|job| job.id).collect();
    log.assert_each_done_once(&ids);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test]
async fn a_relay_of_a_job_for_later_is_remembered_until_after_it() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut connection = fixture.connection().await;
    let hour = Duration::from_secs(3600);
    for (later, at_least) in [(hour * 24, hour * 24), (hour * 24 * 365 * 5000, hour * 24)] {
        let envelope = Envelope::new(&task(Act::Succeed)).unwrap().once();
        let relayed = Relayed {
            envelope: envelope.encode(),
            id: envelope.id,
            queue: envelope.queue,
            run_at: Some(SystemTime::now() + later),
            again_after: Duration::ZERO,
        };
        queue.relay(&[relayed]).await.unwrap();
        let marker = fixture.key(&format!("once:{}", envelope.id));
        let left: u64 = query(&mut connection, &["PTTL", &marker]).await;
        assert!(Duration::from_millis(left) > at_least, "{left} ms");
    }
    fixture.end_leaving(delayed(2)).await;
}

#[tokio::test]
async fn a_job_is_remembered_until_after_its_next_relay_however_long_it_waits() {
    let fixture = Fixture::tuned(|settings| {
        settings.tuning.marker_ttl = Duration::from_secs(1);
    })
    .await;
    let queue = &fixture.queue;
    let mut connection = fixture.connection().await;
    let envelope = Envelope::new(&task(Act::Succeed)).unwrap().once();
    let mut relayed = Relayed {
        envelope: envelope.encode(),
        id: envelope.id,
        queue: envelope.queue,
        run_at: None,
        again_after: Duration::ZERO,
    };
    let marker = fixture.key(&format!("once:{}", envelope.id));
    // The third is beyond all that Redis counts to; the last does not shorten it.
    let hour = Duration::from_secs(3600);
    let (mut at_least, longest) = (Duration::ZERO, hour * 24 * 365 * 11);
    for again_after in [hour, 2 * hour, Duration::MAX, hour] {
        relayed.again_after = again_after;
        queue.relay(&[relayed.clone()]).await.unwrap();
        let left: u64 = query(&mut connection, &["PTTL", &marker]).await;
        let left = Duration::from_millis(left);
        at_least = at_least.max(again_after.min(hour * 24 * 365));
        assert!((at_least..longest).contains(&left), "{left:?}");
    }
    assert_eq!(queue.counts("default").await.unwrap().ready, 1);
    let left = Counts {
        ready: 1,
        ..Counts::default()
    };
    fixture.end_leaving(left).await;
}

#[tokio::test]
async fn a_relay_remembers_a_job_whose_marker_ended_while_it_waited() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut connection = fixture.connection().await;
    let later = Duration::from_secs(60);
    let waiting = queue.enqueue_in(&task(Act::Succeed), later).await.unwrap();
    let relayed = Relayed {
        envelope: Envelope::new(&task(Act::Succeed)).unwrap().encode(),
        id: waiting,
        queue: "default".to_owned(),
        run_at: None,
        again_after: later,
    };
    queue.relay(&[relayed]).await.unwrap();
    let marker = fixture.key(&format!("once:{waiting}"));
    let left: i64 = query(&mut connection, &["PTTL", &marker]).await;
    assert!(left > 60_000, "{left} ms");
    fixture.end_leaving(delayed(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_does_not_bring_a_dead_or_waiting_job_back() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let envelope = Envelope::new(&task(Act::Discard)).unwrap().once();
    let relayed = Relayed {
        envelope: envelope.encode(),
        id: envelope.id,
        queue: envelope.queue.clone(),
        run_at: None,
        again_after: Duration::ZERO,
    };
    // Not relayed before: the marker is the dead letter's own.
    queue.enqueue_envelope(&envelope).await.unwrap();
    assert_settled(queue, 1).await;
    queue.relay(std::slice::from_ref(&relayed)).await.unwrap();
    let waiting = queue
        .enqueue_in(&task(Act::Succeed), Duration::from_secs(60))
        .await
        .unwrap();
    let again = Relayed {
        id: waiting,
        ..relayed
    };
    queue.relay(&[again]).await.unwrap();
    let counts = queue.counts("default").await.unwrap();
    assert_eq!((counts.ready, counts.in_hand), (0, 0));
    assert_eq!((counts.delayed, counts.dead), (1, 1));
    assert_eq!(log.starts.lock().unwrap().len(), 1);
    worker.stop().await;
    fixture.end_leaving(delayed(1)).await;
}

#[tokio::test]
async fn wrong_settings_are_refused_at_once() {
    let mut wrong = queue::testing::settings();
    wrong.namespace = "a:b".to_owned();
    assert!(Queue::connect(wrong).await.is_err());
}
