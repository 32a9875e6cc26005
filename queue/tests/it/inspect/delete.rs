//! Jobs that are deleted.

use std::{sync::Arc, time::Duration};

use queue::{
    Enqueued, Envelope, JobId, Options, Queue, Registry, Relayed, Run,
    inspect::{Deletion, State},
};

use super::all;
use crate::harness::*;

async fn delete(queue: &Queue, id: JobId) -> Deletion {
    queue.delete("default", id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_job_is_deleted_wherever_it_is_and_frees_its_key() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let unique = async |act, run| {
        let unique = Some("a".to_owned());
        let enqueued = queue
            .enqueue_with(
                &task(act),
                &Options {
                    run,
                    unique,
                    ..Options::default()
                },
            )
            .await;
        match enqueued.unwrap() {
            Enqueued::New(id) => id,
            other => panic!("the key is held: {other:?}"),
        }
    };
    let ready = unique(Act::Succeed, Run::Now).await;
    assert_eq!(delete(queue, ready).await, Deletion::Deleted);
    assert_eq!(delete(queue, ready).await, Deletion::Gone);

    let later = Run::In(Duration::from_secs(3600));
    let delayed = unique(Act::Succeed, later).await;
    assert_eq!(delete(queue, delayed).await, Deletion::Deleted);

    let parked = unique(Act::Succeed, Run::Now).await;
    let registry = Registry::new().register::<Quick, _, _>(run_quick);
    let stranger = start_with(queue, registry, log, 1, LEASE);
    until("it is parked", async || {
        queue.counts("default").await.unwrap().parked == 1
    })
    .await;
    stranger.stop().await;
    assert_eq!(delete(queue, parked).await, Deletion::Deleted);

    let dead = unique(Act::Discard, Run::Now).await;
    let worker = fixture.start(1);
    assert_settled(queue, 1).await;
    // The key is another's by now, and stays with it.
    let other = unique(Act::Hang, Run::Now).await;
    assert_eq!(delete(queue, dead).await, Deletion::Deleted);
    assert_eq!(queue.counts("default").await.unwrap().dead, 0);
    let again = queue
        .enqueue_unique(&task(Act::Succeed), "a")
        .await
        .unwrap();
    assert_eq!(again, Enqueued::Duplicate(other));

    until("it runs", async || log.starts_of(other) == 1).await;
    assert_eq!(delete(queue, other).await, Deletion::Running);
    worker.abort.cancel();
    worker.ended().await;
    // Handed back, it is nobody's.
    assert_eq!(delete(queue, other).await, Deletion::Deleted);
    assert_eq!(log.starts.lock().unwrap().len(), 2);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_does_not_bring_back_what_was_deleted() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let envelope = Envelope::new(&task(Act::Succeed)).unwrap().once();
    let relayed = [Relayed {
        envelope: envelope.encode(),
        id: envelope.id,
        queue: envelope.queue.clone(),
        run_at: None,
        again_after: Duration::ZERO,
    }];
    queue.relay(&relayed).await.unwrap();
    // As if its marker had ended.
    let mut redis = fixture.connection().await;
    let marker = fixture.key(&format!("once:{}", envelope.id));
    let _: u64 = query(&mut redis, &["DEL", &marker]).await;
    assert_eq!(delete(queue, envelope.id).await, Deletion::Deleted);
    queue.relay(&relayed).await.unwrap();
    assert_eq!(all(queue, State::Ready, 10).await, []);
    fixture.end().await;
}

/// Jobs are deleted while workers take them up: each is either deleted or run.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_deleted_or_run_and_never_both() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let acts = vec![task(Act::Sleep(2)); 200];
    let ids = queue.enqueue_many(&acts).await.unwrap();
    let worker = fixture.start(2);
    let ids = Arc::new(ids);
    let deleting = (0..4).map(|part| {
        let (queue, ids) = (queue.clone(), Arc::clone(&ids));
        tokio::spawn(async move {
            let mut deleted = Vec::new();
            for id in ids.iter().rev().skip(part).step_by(4) {
                if queue.delete("default", *id).await.unwrap() == Deletion::Deleted {
                    deleted.push(*id);
                }
            }
            deleted
        })
    });
    let deleting: Vec<_> = deleting.collect();
    let mut deleted = Vec::new();
    for part in deleting {
        deleted.extend(part.await.unwrap());
    }
    assert_settled(queue, 0).await;
    worker.stop().await;
    let run: Vec<_> = ids
        .iter()
        .filter(|id| !deleted.contains(id))
        .copied()
        .collect();
    log.assert_each_done_once(&run);
    assert!(!deleted.is_empty() && !run.is_empty());
    fixture.end().await;
}
