//! Jobs that belong together, in a queue with several partitions.

use std::{collections::BTreeSet, sync::Arc};

use queue::{
    Batch, BatchId, Chain, Enqueued, JobId, Options, UniqueMode, testing::run_until_empty,
};

use crate::harness::*;

const PARTITIONS: u16 = 4;
const TIMES: usize = 12;

async fn fixture() -> Fixture {
    Fixture::tuned(|settings| {
        settings.partitions.insert("default".to_owned(), PARTITIONS);
    })
    .await
}

/// The partitions that have jobs now.
async fn in_use(fixture: &Fixture) -> BTreeSet<u16> {
    let mut used = BTreeSet::new();
    for number in 0..PARTITIONS {
        let name = format!("default:{number}");
        let counts = fixture.queue.counts(&name).await.unwrap();
        if counts.ready > 0 {
            used.insert(number);
        }
    }
    used
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_stays_where_it_began_and_its_results_are_found() {
    let fixture = fixture().await;
    let queue = &fixture.queue;
    let now = Options::default();
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..TIMES {
        let chain = Chain::of(&task(Act::Tell(1))).unwrap();
        let chain = chain.then(&task(Act::Tell(2))).unwrap();
        ids.extend(queue.enqueue_chain(chain, &now).await.unwrap());
    }
    assert!(in_use(&fixture).await.len() > 1);
    let ran = run_until_empty(queue, registry(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    fixture.log.assert_each_done_once(&ids);
    for pair in ids.chunks(2) {
        for (id, number) in pair.iter().zip([1, 2]) {
            let left: Option<u64> = queue.result("default", *id).await.unwrap();
            assert_eq!(left, Some(number));
        }
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_in_one_partition_and_found_by_its_id() {
    let fixture = fixture().await;
    let queue = &fixture.queue;
    let mut ids: Vec<JobId> = Vec::new();
    let mut batches: Vec<BatchId> = Vec::new();
    for _ in 0..TIMES {
        let before = in_use(&fixture).await;
        let mut batch = Batch::followed_by(&task(Act::Succeed)).unwrap();
        for _ in 0..3 {
            ids.push(batch.add(&task(Act::Succeed)).unwrap());
        }
        ids.push(batch.follower());
        let batch = queue.enqueue_batch(batch).await.unwrap();
        assert!(in_use(&fixture).await.difference(&before).count() <= 1);
        let more = [task(Act::Succeed)];
        ids.extend(queue.enqueue_into_batch(batch, &more).await.unwrap());
        batches.push(batch);
    }
    assert!(in_use(&fixture).await.len() > 1);
    let ran = run_until_empty(queue, registry(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    fixture.log.assert_each_done_once(&ids);
    for batch in batches {
        let state = queue.batch("default", batch).await.unwrap().unwrap();
        assert_eq!((state.total, state.done, state.is_over()), (4, 4, true));
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_with_one_key_take_each_others_place() {
    let fixture = fixture().await;
    let queue = &fixture.queue;
    let mut last: Vec<JobId> = Vec::new();
    for key in 0..TIMES {
        let options = Options {
            unique: Some(key.to_string()),
            mode: UniqueMode::KeepLast,
            ..Options::default()
        };
        let mut ids = Vec::new();
        for _ in 0..2 {
            let enqueued = queue.enqueue_with(&task(Act::Succeed), &options).await;
            ids.push(enqueued.unwrap());
        }
        let (old, new) = (ids[0].id(), ids[1].id());
        assert_eq!(ids[1], Enqueued::Replaced { old, new });
        last.push(new);
    }
    assert!(in_use(&fixture).await.len() > 1);
    let counts = queue.counts("default").await.unwrap();
    assert_eq!((counts.ready, counts.replaced), (12, 12));
    let ran = run_until_empty(queue, registry(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    fixture.log.assert_each_done_once(&last);
    fixture.end().await;
}
