//! Jobs that follow each other.

use std::{sync::Arc, time::Duration};

use queue::{
    Batch, Cancelled, Chain, Counts, EnqueueError, Envelope, Job, JobContext, JobError, JobId,
    Keyring, LinkError, Options, Packer, Priority, Queue, Registry, Relayed, Replay, Run,
    inspect::Deletion,
    testing::{Outcome, perform_envelope, run_until_empty},
};
use serde::{Deserialize, Serialize};

use crate::harness::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Lives elsewhere.
#[derive(Serialize, Deserialize)]
struct Far;

impl Job for Far {
    const NAME: &'static str = "far";
    const QUEUE: &'static str = "another";
}

fn quick() -> Quick {
    Quick { act: Act::Succeed }
}

/// Three jobs of two kinds.
fn three(first: Act) -> Chain {
    let chain = Chain::of(&task(first)).unwrap();
    let urgent = Envelope {
        priority: Priority::High,
        ..Envelope::new(&quick()).unwrap()
    };
    let chain = chain.then_envelope(urgent).unwrap();
    chain.then(&task(Act::Succeed)).unwrap()
}

async fn enqueue(fixture: &Fixture, chain: Chain) -> Vec<JobId> {
    let now = Options::default();
    fixture.queue.enqueue_chain(chain, &now).await.unwrap()
}

/// Buries whatever comes.
async fn bury(_: Task, _: JobContext<Arc<Log>>) -> Result<(), JobError> {
    Err(JobError::discard("told to die"))
}

fn why(error: &EnqueueError) -> &LinkError {
    match error {
        EnqueueError::Link(why) => why,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_job_starts_when_the_one_before_is_done() {
    let fixture = Fixture::new().await;
    let chain = three(Act::FailTimes(2));
    let expected = chain.ids();
    let ids = enqueue(&fixture, chain).await;
    assert_eq!(ids, expected);
    let counts = fixture.queue.counts("default").await.unwrap();
    assert_eq!(counts.ready, 1, "the others come when their turn has");
    let worker = fixture.start(4);
    until_done(&fixture.log, 3).await;
    assert_settled(&fixture.queue, 0).await;
    worker.stop().await;
    let starts = [
        (ids[0], 1),
        (ids[0], 2),
        (ids[0], 3),
        (ids[1], 1),
        (ids[2], 1),
    ];
    assert_eq!(*fixture.log.starts.lock().unwrap(), starts);
    assert_eq!(*fixture.log.done.lock().unwrap(), ids);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_can_begin_later_and_with_another_priority() {
    let fixture = Fixture::new().await;
    let later = Options {
        run: Run::In(HOUR),
        priority: Some(Priority::Low),
        ..Options::default()
    };
    let queue = &fixture.queue;
    let ids = queue.enqueue_chain(three(Act::Succeed), &later).await;
    let ids = ids.unwrap();
    let first = queue.find("default", ids[0]).await.unwrap().found();
    let mut link = Some(first.unwrap().envelope);
    while let Some(bytes) = link {
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!(envelope.priority, Priority::Low);
        link = envelope.next;
    }
    let ran = run_until_empty(queue, registry(), Arc::clone(&fixture.log)).await;
    let ran = ran.unwrap();
    ran.assert_all_done();
    let jobs: Vec<_> = ran.jobs.iter().map(|job| job.id).collect();
    assert_eq!(jobs, ids);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_link_stops_the_chain_and_its_replay_goes_on() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let ids = enqueue(&fixture, three(Act::Succeed)).await;
    let buries = Registry::new().register::<Task, _, _>(bury);
    let worker = start_with(queue, buries, &fixture.log, 1, HOUR);
    assert_settled(queue, 1).await;
    worker.stop().await;
    let letter = queue.dead_letters("default", 1).await.unwrap().remove(0);
    let replay = queue.replay("default", letter.id).await.unwrap();
    assert_eq!(replay, Replay::Replayed(ids[0]));
    let worker = fixture.start(1);
    until_done(&fixture.log, 3).await;
    assert_settled(queue, 0).await;
    worker.stop().await;
    assert_eq!(*fixture.log.done.lock().unwrap(), ids);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_link_that_goes_the_rest_goes() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let cancelled = enqueue(&fixture, three(Act::Succeed)).await;
    let gone = queue.cancel("default", cancelled[1]).await.unwrap();
    assert_eq!(gone, Cancelled::Gone, "its turn has not come");
    let removed = queue.cancel("default", cancelled[0]).await.unwrap();
    assert_eq!(removed, Cancelled::Removed);
    let deleted = enqueue(&fixture, three(Act::Succeed)).await;
    let deletion = queue.delete("default", deleted[0]).await.unwrap();
    assert_eq!(deletion, Deletion::Deleted);
    let stopped = enqueue(&fixture, three(Act::Hang)).await;
    let worker = fixture.start(1);
    until("it runs", async || fixture.log.starts_of(stopped[0]) == 1).await;
    queue.cancel("default", stopped[0]).await.unwrap();
    let none = Counts {
        cancelled: 2,
        ..Counts::default()
    };
    until("nothing is left", async || {
        queue.counts("default").await.unwrap() == none
    })
    .await;
    worker.stop().await;
    assert_eq!(fixture.log.done_count(), 0);
    fixture.end().await;
}

#[tokio::test]
async fn what_cannot_be_a_link_is_refused() {
    let fixture = Fixture::new().await;
    let start = || Chain::of(&task(Act::Succeed)).unwrap();
    let link = || Envelope::new(&quick()).unwrap();
    let error = start().then(&Far).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a job of queue another cannot follow one of queue default"
    );
    let unique = Envelope {
        unique: Some([7; 16]),
        ..link()
    };
    let nested = Envelope {
        next: Some(link().encode()),
        ..link()
    };
    let member = Envelope {
        batch: Some(JobId::new().into()),
        ..link()
    };
    for (wrong, expected) in [
        (unique.clone(), LinkError::Unique),
        (link().once(), LinkError::Once),
        (nested, LinkError::Chain),
        (member, LinkError::Batch),
    ] {
        let error = start().then_envelope(wrong).unwrap_err();
        assert_eq!(*why(&error), expected);
    }
    let keyed = Options {
        unique: Some("a".to_owned()),
        ..Options::default()
    };
    let queue = &fixture.queue;
    let error = queue.enqueue_chain(start(), &keyed).await.unwrap_err();
    assert_eq!(*why(&error), LinkError::Unique);

    // The fields of an envelope are open to all.
    for (next, expected) in [
        (unique.encode(), LinkError::Unique),
        (link().once().encode(), LinkError::Once),
        (vec![0], LinkError::Unreadable),
    ] {
        let open = Envelope {
            next: Some(next),
            ..link()
        };
        let error = queue.enqueue_envelope(&open).await.unwrap_err();
        assert_eq!(*why(&error), expected);
    }

    let mut large = start();
    let long = Envelope {
        payload: vec![b' '; Chain::MAX_REST / 2],
        ..link()
    };
    for _ in 0..2 {
        large = large.then_envelope(long.clone()).unwrap();
    }
    let error = large.into_envelope().unwrap_err();
    assert!(matches!(why(&error), LinkError::TooLarge { .. }), "{error}");
    fixture.end().await;
}

/// A chain of a hundred links, each with a payload of so many bytes.
fn hundred(bytes: usize) -> Result<Envelope, EnqueueError> {
    let mut chain = Chain::of(&quick()).unwrap();
    for _ in 0..100 {
        let link = Envelope {
            payload: vec![b' '; bytes],
            ..Envelope::new(&quick()).unwrap()
        };
        chain = chain.then_envelope(link).unwrap();
    }
    chain.into_envelope()
}

#[tokio::test]
async fn what_packing_adds_is_not_counted_against_the_limit() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let some = hundred(2000).unwrap().next.unwrap().len();
    let largest = hundred(2000 + (Chain::MAX_REST - some) / 100).unwrap();
    for compress_above in [None, Some(0)] {
        let packer = Packer {
            compress_above,
            keys: Keyring::new(Some(7), [(7, &[7; 32])]).unwrap(),
        };
        let mut packed = largest.clone();
        packer.pack(&mut packed);
        queue.enqueue_envelope(&packed).await.unwrap();
        let deletion = queue.delete("default", packed.id).await.unwrap();
        assert_eq!(deletion, Deletion::Deleted);
    }
    let mut beyond = hundred(3000).unwrap_err();
    assert!(matches!(why(&beyond), LinkError::TooLarge { .. }));
    let mut large = largest;
    let link = Envelope {
        payload: vec![b' '; Envelope::MAX_PAYLOAD],
        next: large.next.take(),
        ..Envelope::new(&quick()).unwrap()
    };
    large.next = Some(link.encode());
    beyond = queue.enqueue_envelope(&large).await.unwrap_err();
    assert!(matches!(why(&beyond), LinkError::TooLarge { .. }));
    fixture.end().await;
}

#[tokio::test]
async fn a_link_performs_as_a_job_of_its_own() {
    let log = Arc::<Log>::default();
    let first = three(Act::Succeed).into_envelope().unwrap();
    let outcome = perform_envelope(&registry(), Arc::clone(&log), &first).await;
    assert_eq!(outcome, Outcome::Done);
    log.assert_each_done_once(&[first.id]);
}

/// This job, and those behind it, are so many, and all encrypted.
async fn assert_packed(queue: &Queue, first: JobId, jobs: usize) {
    let found = queue.find("default", first).await.unwrap().found();
    let mut link = Some(found.unwrap().envelope);
    let mut seen = 0;
    while let Some(bytes) = link {
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!(envelope.packing.and_then(|packing| packing.key), Some(7));
        link = envelope.next;
        seen += 1;
    }
    assert_eq!(seen, jobs);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_carries_is_packed_too() {
    let packing = Packer {
        compress_above: None,
        keys: Keyring::new(Some(7), [(7, &[7; 32])]).unwrap(),
    };
    let fixture = Fixture::tuned(|settings| settings.packing = packing).await;
    let queue = &fixture.queue;
    let first = enqueue(&fixture, three(Act::Succeed)).await[0];
    assert_packed(queue, first, 3).await;
    // From the outbox, where it may be JSON.
    let plain = three(Act::Succeed).into_envelope().unwrap();
    let relayed = Relayed {
        envelope: plain.encode(),
        id: plain.id,
        queue: plain.queue.clone(),
        run_at: None,
        again_after: HOUR,
    };
    queue.relay(&[relayed]).await.unwrap();
    assert_packed(queue, plain.id, 3).await;
    let open = three(Act::Succeed).into_envelope().unwrap();
    queue.enqueue_envelope(&open).await.unwrap();
    assert_packed(queue, open.id, 3).await;
    let mut batch = Batch::followed_by(&quick()).unwrap();
    let member = batch.add(&quick()).unwrap();
    let id = queue.enqueue_batch(batch).await.unwrap();
    let mut redis = fixture.connection().await;
    let key = fixture.key(&format!("b:{id}"));
    let follows: Vec<u8> = query(&mut redis, &["HGET", &key, "e"]).await;
    let member = queue.find("default", member).await.unwrap().found();
    for bytes in [follows, member.unwrap().envelope] {
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!(envelope.packing.and_then(|packing| packing.key), Some(7));
    }
    let ran = run_until_empty(queue, registry(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    assert_eq!(fixture.log.done_count(), 11);
    fixture.end().await;
}
