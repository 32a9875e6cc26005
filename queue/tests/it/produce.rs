//! Enqueueing: what is accepted, and what is refused.

use std::time::{Duration, SystemTime};

use queue::{EnqueueError, Envelope, Queue, Relayed};

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
        };
        queue.relay(&[relayed]).await.unwrap();
        let marker = fixture.key(&format!("once:{}", envelope.id));
        let left: u64 = query(&mut connection, &["PTTL", &marker]).await;
        assert!(Duration::from_millis(left) > at_least, "{left} ms");
    }
    fixture.end_leaving(delayed(2)).await;
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
