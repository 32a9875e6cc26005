//! Queues with a limit.

use std::time::{Duration, SystemTime};

use queue::{Counts, EnqueueError, Enqueued, Envelope, JobId, Options, Relayed, Run};

use crate::harness::*;

async fn limited(limit: u64) -> Fixture {
    Fixture::tuned(|settings| {
        settings.limits.insert("default".to_owned(), limit);
    })
    .await
}

fn ready(ready: u64) -> Counts {
    Counts {
        ready,
        ..Counts::default()
    }
}

/// The jobs that were taken of a call that found this queue full.
fn taken<T: std::fmt::Debug>(result: Result<T, EnqueueError>) -> Vec<JobId> {
    match result {
        Err(EnqueueError::QueueFull { queue, taken, .. }) => {
            assert_eq!(queue, "default");
            taken
        }
        other => panic!("not full: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_every_kind_of_new_job() {
    let fixture = limited(4).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let job = task(Act::Succeed);
    let hour = Duration::from_secs(3600);
    let later = Options {
        run: Run::In(hour),
        unique: Some("b".to_owned()),
        ..Options::default()
    };
    let first = queue.enqueue_unique(&job, "a").await.unwrap();
    let mut ids = vec![first.id(), queue.enqueue(&job).await.unwrap()];
    queue.enqueue_with(&job, &later).await.unwrap();
    queue
        .enqueue_at(&job, SystemTime::now() + hour)
        .await
        .unwrap();

    assert!(taken(queue.enqueue(&job).await).is_empty());
    assert!(taken(queue.enqueue_many(std::slice::from_ref(&job)).await).is_empty());
    assert!(taken(queue.enqueue_in(&job, hour).await).is_empty());
    assert!(taken(queue.enqueue_unique(&job, "c").await).is_empty());
    let envelope = Envelope::new(&job).unwrap();
    assert!(taken(queue.enqueue_envelope(&envelope).await).is_empty());
    let twin = queue.enqueue_unique(&job, "a").await.unwrap();
    assert_eq!(twin, Enqueued::Duplicate(first.id()), "nothing to take");
    let counts = queue.counts("default").await.unwrap();
    assert_eq!((counts.ready, counts.delayed), (2, 2));

    let worker = fixture.start(2);
    until_done(log, 2).await;
    until("there is room again", async || {
        match queue.enqueue(&job).await {
            Ok(id) => {
                ids.push(id);
                true
            }
            Err(error) => {
                assert!(matches!(error, EnqueueError::QueueFull { .. }), "{error}");
                false
            }
        }
    })
    .await;
    until_done(log, 3).await;
    log.assert_each_done_once(&ids);
    worker.stop().await;
    let mut connection = fixture.connection().await;
    let lock: Vec<String> = query(&mut connection, &["KEYS", &fixture.key("u:*")]).await;
    assert_eq!(lock.len(), 1, "of the delayed job alone");
    let _: u64 = query(&mut connection, &["DEL", &lock[0]]).await;
    fixture.end_leaving(delayed(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_many_jobs_is_taken_as_a_whole_or_not_at_all() {
    let fixture = limited(1000).await;
    let queue = &fixture.queue;
    let first = taken(queue.enqueue_many(&vec![task(Act::Succeed); 1600]).await);
    assert_eq!(first.len(), 512);
    assert_eq!(queue.counts("default").await.unwrap(), ready(512));
    let more = queue.enqueue_many(&vec![task(Act::Succeed); 488]).await;
    assert!(taken(queue.enqueue(&task(Act::Succeed)).await).is_empty());
    let worker = fixture.start(16);
    until_done(&fixture.log, 1000).await;
    let ids = [first, more.unwrap()].concat();
    fixture.log.assert_each_done_once(&ids);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_jobs_than_the_limit_go_in_as_far_as_it() {
    let fixture = limited(10).await;
    let queue = &fixture.queue;
    let first = taken(queue.enqueue_many(&vec![task(Act::Succeed); 25]).await);
    assert_eq!(first.len(), 10);
    fixture.end_leaving(ready(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_together_stay_below_the_limit() {
    let fixture = limited(100).await;
    let tries = (0..400).map(|number| {
        let queue = fixture.queue.clone();
        tokio::spawn(async move {
            let (one, two) = (task(Act::Succeed), task(Act::Succeed));
            match number % 3 {
                0 => queue.enqueue(&one).await.map(|_| 1),
                1 => queue.enqueue_many(&[one, two]).await.map(|_| 2),
                _ => {
                    let key = number.to_string();
                    queue.enqueue_unique(&one, key).await.map(|_| 1)
                }
            }
        })
    });
    let mut accepted = 0;
    for one in futures_util::future::join_all(tries).await {
        match one.unwrap() {
            Ok(jobs) => accepted += jobs,
            Err(EnqueueError::QueueFull { limit, .. }) => assert_eq!(limit, 100),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(accepted, 100);
    assert_eq!(fixture.queue.counts("default").await.unwrap(), ready(100));
    let worker = fixture.start(16);
    until_done(&fixture.log, 100).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_once_goes_in_above_the_limit() {
    let fixture = limited(2).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let discarded = queue.enqueue(&task(Act::Discard)).await.unwrap();
    let failing = queue.enqueue(&task(Act::FailTimes(2))).await.unwrap();
    let worker = fixture.start(1);
    until("both have ended", async || {
        queue.counts("default").await.unwrap().dead == 1 && log.done_count() == 1
    })
    .await;
    worker.stop().await;
    assert_eq!(log.starts_of(failing), 3);
    let waiting = queue
        .enqueue_many(&vec![task(Act::Succeed); 2])
        .await
        .unwrap();
    assert_eq!(queue.replay_all("default").await.unwrap(), 1);
    assert!(taken(queue.enqueue(&task(Act::Succeed)).await).is_empty());
    assert_eq!(queue.counts("default").await.unwrap(), ready(3));
    let worker = fixture.start(1);
    until_done(log, 3).await;
    until("the letter has run again", async || {
        log.starts_of(discarded) == 2
    })
    .await;
    log.assert_each_done_once(&[vec![failing], waiting].concat());
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_told_what_a_full_queue_took() {
    let fixture = limited(300).await;
    let queue = &fixture.queue;
    let job = |queue: &str, run_at| {
        let mut envelope = Envelope::new(&task(Act::Succeed)).unwrap().once();
        queue.clone_into(&mut envelope.queue);
        Relayed {
            envelope: envelope.encode(),
            id: envelope.id,
            queue: envelope.queue,
            run_at,
            again_after: Duration::ZERO,
        }
    };
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let mut jobs: Vec<_> = (0..298).map(|_| job("default", None)).collect();
    jobs.extend((0..7).map(|_| job("default", Some(tomorrow))));
    jobs.extend((0..3).map(|_| job("other", None)));
    let ids = |jobs: &[Relayed]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    let expected = [ids(&jobs[..300]), ids(&jobs[305..])].concat();
    for _ in 0..2 {
        // What is known needs no room.
        assert_eq!(taken(queue.relay(&jobs).await), expected);
        let counts = queue.counts("default").await.unwrap();
        assert_eq!((counts.ready, counts.delayed), (298, 2));
        assert_eq!(queue.counts("other").await.unwrap().ready, 3);
    }
    let worker = fixture.start(16);
    until_done(&fixture.log, 298).await;
    queue.relay(&jobs).await.unwrap();
    worker.stop().await;
    let left = Counts {
        ready: 3,
        ..delayed(7)
    };
    fixture.end_leaving(left).await;
}
