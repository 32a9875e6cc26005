//! Jobs that no worker knows yet.

use std::sync::Arc;

use queue::{Counts, Envelope, Job, JobContext, JobError, Registry};
use serde::{Deserialize, Serialize};

use crate::harness::*;

#[derive(Serialize, Deserialize)]
struct Newer;

impl Job for Newer {
    const NAME: &'static str = "task";
    const VERSION: u16 = 2;
}

async fn run_newer(_: Newer, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    cx.app.done.lock().unwrap().push(cx.id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_and_versions_wait_for_a_worker_that_knows_them() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let old = start_with(
        queue,
        Registry::new().register::<Task, _, _>(run_task),
        log,
        2,
        std::time::Duration::from_secs(5),
    );
    let unknown = queue.enqueue(&Quick { act: Act::Succeed }).await.unwrap();
    let newer = queue.enqueue(&Newer).await.unwrap();
    let known = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until("two are parked", async || {
        queue.counts("default").await.unwrap().parked == 2
    })
    .await;
    until_done(log, 1).await;
    old.stop().await;

    let new = start_with(
        queue,
        Registry::new()
            .register::<Newer, _, _>(run_newer)
            .register::<Quick, _, _>(run_quick),
        log,
        2,
        std::time::Duration::from_secs(5),
    );
    until_done(log, 3).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&[unknown, newer, known]);
    new.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_a_job_run_side_by_side() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let registry = registry().register::<Newer, _, _>(run_newer);
    let patience = std::time::Duration::from_secs(5);
    let worker = start_with(queue, registry, log, 2, patience);
    let ids = [
        queue.enqueue(&task(Act::Succeed)).await.unwrap(),
        queue.enqueue(&Newer).await.unwrap(),
    ];
    until_done(log, 2).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    let started = log.starts.lock().unwrap().clone();
    assert_eq!(started, [(ids[0], 1)], "each by its own handler");
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_envelope_is_parked_and_damaged_bytes_are_kept() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut connection = fixture.connection().await;
    let stream = fixture.key("s:0");
    let mut newer = Envelope::new(&task(Act::Succeed)).unwrap().encode();
    newer[0] = 200;
    for (field, bytes) in [("e", &newer[..]), ("e", b"\x01bad"), ("other", b"x")] {
        let () = queue::redis::cmd("XADD")
            .arg(&stream)
            .arg("*")
            .arg(field)
            .arg(bytes)
            .query_async(&mut connection)
            .await
            .unwrap();
    }
    let worker = fixture.start(2);
    until("one is parked, two are dead", async || {
        let counts = queue.counts("default").await.unwrap();
        (counts.parked, counts.dead, counts.in_hand) == (1, 2, 0)
    })
    .await;
    for letter in queue.dead_letters("default", 10).await.unwrap() {
        assert_eq!(letter.why, "envelope");
    }
    worker.stop().await;
    let left = Counts {
        parked: 1,
        ..Counts::default()
    };
    fixture.end_leaving(left).await;
}
