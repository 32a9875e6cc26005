//! Dead letters that become jobs again, and those that are trimmed.

use std::{sync::Arc, time::Duration};

use queue::{DecodeError, Enqueued, EntryId, Envelope, Error, JobId, Queue, Relayed, Replay};

use crate::harness::*;

/// A job that is dead once, and then succeeds: its letter's payload is changed.
async fn dead(queue: &Queue, log: &Arc<Log>, acts: &[Act]) -> Vec<JobId> {
    let worker = start(queue, log, 2);
    let mut ids = Vec::new();
    let before = queue.counts("default").await.unwrap().dead;
    for act in acts {
        ids.push(queue.enqueue(&task(act.clone())).await.unwrap());
    }
    let dead = before + u64::try_from(acts.len()).unwrap();
    assert_settled(queue, dead).await;
    worker.stop().await;
    ids
}

async fn newest(queue: &Queue) -> EntryId {
    queue.dead_letters("default", 1).await.unwrap()[0].id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_a_job_again_with_its_id_and_all_attempts() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let ids = dead(queue, log, &[Act::FailTimes(99)]).await;
    let letter = newest(queue).await;
    let replay = queue.replay("default", letter).await.unwrap();
    assert_eq!(replay, Replay::Replayed(ids[0]));
    let again = queue.replay("default", letter).await.unwrap();
    assert_eq!(again, Replay::Gone);
    let worker = fixture.start(2);
    assert_settled(queue, 1).await;
    worker.stop().await;
    let starts = log.starts.lock().unwrap().clone();
    let attempts: Vec<_> = [1, 2, 3, 1, 2, 3].map(|at| (ids[0], at)).to_vec();
    assert_eq!(starts, attempts);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_replays_of_a_letter_one_finds_it() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let ids = dead(queue, log, &[Act::Discard]).await;
    let letter = newest(queue).await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.replay("default", letter).await.unwrap() })
        })
        .collect();
    let mut replays = Vec::new();
    for task in tasks {
        replays.push(task.await.unwrap());
    }
    replays.retain(|replay| *replay != Replay::Gone);
    assert_eq!(replays, [Replay::Replayed(ids[0])]);
    assert_eq!(queue.counts("default").await.unwrap().ready, 1);
    let worker = fixture.start(2);
    assert_settled(queue, 1).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_jobs_letter_waits_for_its_key() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let enqueue = async |act| queue.enqueue_unique(&task(act), "a").await.unwrap();
    let worker = fixture.start(2);
    let first = enqueue(Act::Discard).await.id();
    assert_settled(queue, 1).await;
    worker.stop().await;
    let letter = newest(queue).await;
    let second = enqueue(Act::Succeed).await.id();
    let replay = queue.replay("default", letter).await.unwrap();
    assert_eq!(replay, Replay::Duplicate(second));
    assert_eq!(queue.replay_all("default").await.unwrap(), 0);
    let worker = fixture.start(2);
    until_done(log, 1).await;
    assert_settled(queue, 1).await;
    worker.stop().await;
    let replay = queue.replay("default", letter).await.unwrap();
    assert_eq!(replay, Replay::Replayed(first));
    assert_eq!(enqueue(Act::Succeed).await, Enqueued::Duplicate(first));
    let worker = fixture.start(2);
    assert_settled(queue, 1).await;
    worker.stop().await;
    assert_eq!(log.starts_of(first), 2);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_once_job_is_not_relayed_beside() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let envelope = Envelope::new(&task(Act::Discard)).unwrap().once();
    let relayed = Relayed {
        envelope: envelope.encode(),
        id: envelope.id,
        queue: envelope.queue,
        run_at: None,
        again_after: Duration::ZERO,
    };
    queue.relay(std::slice::from_ref(&relayed)).await.unwrap();
    let worker = fixture.start(2);
    assert_settled(queue, 1).await;
    worker.stop().await;
    let replay = queue.replay("default", newest(queue).await).await;
    assert_eq!(replay.unwrap(), Replay::Replayed(envelope.id));
    queue.relay(&[relayed]).await.unwrap();
    assert_eq!(queue.counts("default").await.unwrap().ready, 1);
    let worker = fixture.start(2);
    assert_settled(queue, 1).await;
    worker.stop().await;
    assert_eq!(log.starts_of(envelope.id), 2);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_read_stays_and_the_others_go() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    dead(queue, log, &vec![Act::Discard; 150]).await;
    let mut redis = fixture.connection().await;
    let letters = fixture.key("dead");
    let _: String = query(&mut redis, &["XADD", &letters, "*", "e", "\u{1}bad"]).await;
    let _: String = query(&mut redis, &["XADD", &letters, "*", "e", "\u{64}"]).await;
    let found = queue.dead_letters("default", 2).await.unwrap();
    for letter in &found {
        let error = queue.replay("default", letter.id).await.unwrap_err();
        let Error::Letter { id, source } = error else {
            panic!("{error}");
        };
        assert_eq!(id, letter.id);
        assert!(matches!(
            source,
            DecodeError::Header(_) | DecodeError::Version(100)
        ));
    }
    // The worker makes new letters of them, which are none of this replay.
    let worker = fixture.start(4);
    assert_eq!(queue.replay_all("default").await.unwrap(), 150);
    assert_settled(queue, 152).await;
    worker.stop().await;
    assert_eq!(log.starts.lock().unwrap().len(), 300);
    let letters = fixture.key("dead");
    let _: u64 = query(&mut redis, &["DEL", &letters]).await;
    assert_eq!(queue.replay_all("default").await.unwrap(), 0);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_trimmed_by_age_and_number_and_counted() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut settings = fixture.settings().clone();
    dead(queue, log, &vec![Act::Discard; 450]).await;
    // Redis trims by whole nodes of a hundred, so there can be some more.
    settings.tuning.dead_max_len = 200;
    let few = Queue::connect(settings.clone()).await.unwrap();
    let worker = start(&few, log, 1);
    until("some are trimmed", async || {
        queue.counts("default").await.unwrap().dead_trimmed > 0
    })
    .await;
    worker.stop().await;
    let counts = queue.counts("default").await.unwrap();
    assert!((200..300).contains(&counts.dead), "{counts:?}");
    assert_eq!(counts.dead + counts.dead_trimmed, 450);
    // No new letter comes, and still they grow old.
    settings.tuning.dead_max_age = Duration::from_millis(1);
    let short = Queue::connect(settings.clone()).await.unwrap();
    let worker = start(&short, log, 1);
    until("all are trimmed", async || {
        queue.counts("default").await.unwrap().dead == 0
    })
    .await;
    worker.stop().await;
    let trimmed = queue.counts("default").await.unwrap().dead_trimmed;
    assert_eq!(trimmed, 450);
    fixture.end().await;
}
