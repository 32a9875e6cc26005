//! Jobs that wait for a slot: they are seen, and can be removed.

use std::{sync::atomic::Ordering, time::Duration};

use queue::{
    Cancelled, EnqueueError, Envelope, KeyLimit, Relayed,
    inspect::{Deletion, Place, State},
    redis::Value,
};

use super::add_task;
use crate::{
    broker::{Broker, limited, slots},
    harness::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_is_seen_counted_and_removed() {
    let fixture = Fixture::tuned(|settings| {
        settings.limits.insert("default".to_owned(), 5);
    })
    .await;
    let queue = &fixture.queue;
    let first = add_task(queue, Act::Hang).await;
    let worker = fixture.start(4);
    until("the first runs", async || fixture.log.starts_of(first) == 1).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(add_task(queue, Act::Succeed).await);
    }
    until("the others wait", async || {
        queue.counts("default").await.unwrap().blocked == 4
    })
    .await;
    let full = queue.enqueue(&task(Act::Succeed)).await;
    assert!(
        matches!(full, Err(EnqueueError::QueueFull { .. })),
        "{full:?}"
    );
    let mut told = Vec::new();
    let mut after = None;
    loop {
        let page = queue.jobs("default", State::Blocked, after.as_ref(), 3);
        let page = page.await.unwrap();
        told.extend(page.jobs.into_iter().filter_map(|job| job.id));
        after = page.next.map(|next| next.to_string().parse().unwrap());
        if after.is_none() {
            break;
        }
    }
    assert_eq!(told, ids);
    let found = queue.find("default", ids[2]).await.unwrap().found();
    let place = found.unwrap().place;
    assert!(
        matches!(place, Place::Blocked { slot } if slot.limit.get() == 1),
        "{place:?}"
    );
    let load = queue.load("default").await.unwrap();
    assert_eq!(load.waiting, 0, "another worker would not start them");
    let removed = queue.cancel("default", ids[0]).await.unwrap();
    assert_eq!(removed, Cancelled::Removed);
    let deleted = queue.delete("default", ids[1]).await.unwrap();
    assert_eq!(deleted, Deletion::Deleted);
    queue.cancel("default", first).await.unwrap();
    until_done(&fixture.log, 2).await;
    worker.stop().await;
    assert_eq!(*fixture.log.done.lock().unwrap(), ids[2..]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_goes_while_it_waits_gets_no_slot_on_the_way() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, 60_000).await;
    for cancels in [false, true] {
        // The only slot was left behind, so there is room as soon as anybody looks.
        let job = limited(1);
        broker.block(&job).await;
        broker.haunt(&job).await;
        let (index, kind, member) = broker.place_of(&job).await.unwrap();
        let call = match cancels {
            true => broker.cancel(&job, "blocked", ""),
            false => broker.delete_job(index, kind, &member, &job),
        };
        assert_eq!(broker.run(&call).await.unwrap(), Value::Int(1));
        assert_eq!(broker.place_of(&job).await, None);
        let slots = broker.key(&slots(&job));
        let _: u64 = broker.ask(&["DEL", &slots]).await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_partition_on_every_way() {
    let fixture = Fixture::tuned(|settings| {
        settings.partitions.insert("default".to_owned(), 4);
    })
    .await;
    let queue = &fixture.queue;
    for _ in 0..6 {
        add_task(queue, Act::Succeed).await;
    }
    let relayed = (0..6).map(|_| {
        let job = Envelope::new(&task(Act::Succeed)).unwrap().once();
        let job = job.with_slot(&KeyLimit::one("a"));
        Relayed {
            envelope: job.encode(),
            id: job.id,
            queue: job.queue,
            run_at: None,
            again_after: Duration::ZERO,
        }
    });
    queue.relay(&relayed.collect::<Vec<_>>()).await.unwrap();
    let mut ready = Vec::new();
    for partition in 0..4 {
        let counts = queue.counts(&format!("default:{partition}")).await;
        ready.push(counts.unwrap().ready);
    }
    ready.sort_unstable();
    assert_eq!(ready, [0, 0, 0, 12]);
    let worker = fixture.start(4);
    until_done(&fixture.log, 12).await;
    worker.stop().await;
    assert_eq!(fixture.log.most_at_once.load(Ordering::SeqCst), 1);
    fixture.end().await;
}
