//! Jobs that no worker knows yet.

use std::sync::Arc;

use queue::{Counts, Envelope, Job, JobContext, JobError, Registry, Unknown};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    let parked = queue.parked("default", 10).await.unwrap();
    let reasons: Vec<_> = parked.iter().map(|job| job.reason.to_string()).collect();
    assert_eq!(
        reasons,
        [
            "no handler for quick of version 1",
            "no handler for task of version 2"
        ]
    );
    assert_eq!(
        parked.iter().map(|job| job.id).collect::<Vec<_>>(),
        [Some(unknown), Some(newer)]
    );
    let envelope = Envelope::decode(&parked[1].envelope).unwrap();
    assert_eq!((envelope.id, envelope.version), (newer, 2));
    assert_eq!(queue.parked("default", 1).await.unwrap(), parked[..1]);
    assert_eq!(queue.parked("default", 0).await.unwrap(), []);

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
async fn a_backlog_of_parked_jobs_does_not_wait_for_a_scan_per_handful() {
    // A handful per scan would take longer than the test is patient.
    let slow = |settings: &mut queue::Settings| {
        settings.lease = std::time::Duration::from_secs(6);
        settings.tuning.scan = std::time::Duration::from_secs(2);
    };
    let fixture = Fixture::tuned(slow).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let patience = std::time::Duration::from_secs(5);
    let old = start_with(queue, Registry::new(), log, 2, patience);
    let jobs = vec![task(Act::Succeed); 1500];
    let ids = queue.enqueue_many(&jobs).await.unwrap();
    until("all are parked", async || {
        queue.counts("default").await.unwrap().parked == 1500
    })
    .await;
    old.stop().await;
    let new = fixture.start(8);
    until_done(log, ids.len()).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
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

/// The task of a release in which a number became a text.
#[derive(Serialize, Deserialize)]
struct Lifted {
    number: String,
    act: Act,
}

impl Job for Lifted {
    const NAME: &'static str = "task";
    const VERSION: u16 = 3;
    const OLDEST_VERSION: u16 = 1;

    fn backoff(_attempt: u16) -> std::time::Duration {
        std::time::Duration::from_millis(30)
    }

    fn upcast(
        from: u16,
        mut payload: Value,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let number = payload.get_mut("number").ok_or("no number")?;
        *number = match from {
            1 => (number.as_u64().ok_or("not a number")? + 1).into(),
            _ => number.to_string().into(),
        };
        Ok(payload)
    }
}

async fn run_lifted(job: Lifted, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    assert_eq!(job.number, "8");
    run_task(
        Task {
            number: 8,
            act: job.act,
        },
        cx,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn older_payloads_are_lifted_also_those_that_were_parked() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let patience = std::time::Duration::from_secs(5);
    let older = |act| Task { number: 7, act };
    let id = queue.enqueue(&older(Act::FailTimes(1))).await.unwrap();
    // A release that no longer knew the version, and could not lift it.
    let registry = Registry::new().register::<Newer, _, _>(run_newer);
    let worker = start_with(queue, registry, log, 1, patience);
    until("it is parked", async || {
        queue.counts("default").await.unwrap().parked == 1
    })
    .await;
    let reason = Unknown::Kind {
        name: "task".to_owned(),
        version: 1,
    };
    assert_eq!(queue.parked("default", 9).await.unwrap()[0].reason, reason);
    worker.stop().await;

    let registry = || Registry::new().register::<Lifted, _, _>(run_lifted);
    let worker = start_with(queue, registry(), log, 1, patience);
    until_done(log, 1).await;
    assert_settled(queue, 0).await;
    let starts = log.starts.lock().unwrap().clone();
    assert_eq!(starts, [(id, 1), (id, 2)]);
    log.assert_each_done_once(&[id]);

    let mut misfit = Envelope::new(&older(Act::Succeed)).unwrap();
    misfit.payload = br#"{"number":"seven"}"#.to_vec();
    queue.enqueue_envelope(&misfit).await.unwrap();
    let dead = queue.enqueue(&older(Act::Discard)).await.unwrap();
    assert_settled(queue, 2).await;
    worker.stop().await;
    for letter in queue.dead_letters("default", 10).await.unwrap() {
        let envelope = Envelope::decode(&letter.envelope).unwrap();
        assert_eq!(envelope.version, 1, "what is stored keeps its shape");
        if envelope.id != dead {
            let text = "the payload cannot be lifted from version 1: not a number";
            assert_eq!(letter.error, text);
            assert_eq!(envelope.payload, misfit.payload);
        }
    }
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
    for (field, bytes) in [
        ("e", &newer[..]),
        ("e", b"\x01bad"),
        ("e", b"\0not ours"),
        ("other", b"x"),
    ] {
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
    until("one is parked, three are dead", async || {
        let counts = queue.counts("default").await.unwrap();
        (counts.parked, counts.dead, counts.in_hand) == (1, 3, 0)
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

#[tokio::test(flavor = "multi_thread")]
async fn two_that_nobody_can_read_are_kept_apart() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut connection = fixture.connection().await;
    let mut newer = Envelope::new(&task(Act::Succeed)).unwrap().encode();
    newer[0] = 200;
    // Jobs of several priorities that were written within one millisecond.
    for stream in ["s:0", "s:1", "s:2"] {
        let () = queue::redis::cmd("XADD")
            .arg(fixture.key(stream))
            .arg("7-0")
            .arg("e")
            .arg(&newer)
            .query_async(&mut connection)
            .await
            .unwrap();
    }
    let worker = fixture.start(2);
    let left = Counts {
        parked: 3,
        ..Counts::default()
    };
    until("all are parked", async || {
        queue.counts("default").await.unwrap() == left
    })
    .await;
    worker.stop().await;
    assert_eq!(queue.parked("default", 10).await.unwrap().len(), 3);
    fixture.end_leaving(left).await;
}
