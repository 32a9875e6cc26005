//! What jobs leave behind, and how far they are.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use queue::{
    Awaited, Chain, Error, Job, JobContext, JobError, JobId, Options, Registry, ReportError,
    testing::run_until_empty,
};
use serde::{Deserialize, Serialize};

use crate::harness::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Leaves its number, in the attempt in which it succeeds.
#[derive(Serialize, Deserialize)]
struct Square {
    number: u64,
    fails: u16,
}

impl Job for Square {
    const NAME: &'static str = "square";

    fn backoff(_attempt: u16) -> Duration {
        Duration::from_millis(10)
    }
}

async fn square(job: Square, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    cx.set_result(&"not yet", MINUTE)?;
    cx.set_result(&(job.number * job.number), MINUTE)?;
    if cx.attempt <= job.fails {
        return Err(JobError::retry("told to fail"));
    }
    Ok(())
}

fn squares() -> Registry<Arc<Log>> {
    registry().register::<Square, _, _>(square)
}

async fn wait(fixture: &Fixture, job: JobId, ms: u64) -> Awaited<u64> {
    let timeout = Duration::from_millis(ms);
    let waited = fixture.queue.wait_result("default", job, timeout).await;
    waited.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_done_has_left_its_last_result() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let job = |number| Square { number, fails: 1 };
    let plain = queue.enqueue(&job(3)).await.unwrap();
    let unique = queue.enqueue_unique(&job(4), "a").await.unwrap().id();
    let chain = Chain::of(&job(5)).unwrap().then(&job(6)).unwrap();
    let now = Options::default();
    let chained = queue.enqueue_chain(chain, &now).await.unwrap();
    // On the same runner, after those that say something.
    let silent = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    let ran = run_until_empty(queue, squares(), Arc::clone(&fixture.log)).await;
    ran.unwrap().assert_all_done();
    for (job, number) in [(plain, 9), (unique, 16), (chained[0], 25), (chained[1], 36)] {
        let result: Option<u64> = queue.result("default", job).await.unwrap();
        assert_eq!(result, Some(number));
        assert_eq!(wait(&fixture, job, 0).await, Awaited::Done(number));
    }
    let none: Option<u64> = queue.result("default", silent).await.unwrap();
    assert_eq!(none, None);
    let error = queue.result::<Vec<String>>("default", plain).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
    let again = queue.enqueue_unique(&job(4), "a").await.unwrap();
    assert_ne!(again.id(), unique, "the key is free");
    queue.delete("default", again.id()).await.unwrap();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_job_that_is_done_leaves_a_result() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let fails = Square {
        number: 2,
        fails: 1,
    };
    let job = queue.enqueue(&fails).await.unwrap();
    let options = queue::testing::RunOptions {
        delayed: queue::testing::Delayed::Leave,
        ..Default::default()
    };
    let app = Arc::clone(&fixture.log);
    let fails = registry().register::<Square, _, _>(async |job: Square, cx| {
        cx.set_result(&job.number, MINUTE)?;
        Err(JobError::retry_after("told to fail", 60 * MINUTE))
    });
    let ran = queue::testing::run_until_empty_with(queue, fails, app, options).await;
    assert_eq!(ran.unwrap().left.delayed, 1, "it has failed, and waits");
    let none: Option<u64> = queue.result("default", job).await.unwrap();
    assert_eq!(none, None);
    let dead = Square {
        number: 2,
        fails: 99,
    };
    let dead = queue.enqueue(&dead).await.unwrap();
    let ran = run_until_empty(queue, squares(), Arc::clone(&fixture.log)).await;
    drop(ran.unwrap());
    assert_eq!(wait(&fixture, job, 0).await, Awaited::Done(4));
    let none: Option<u64> = queue.result("default", dead).await.unwrap();
    assert_eq!(none, None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_learns_what_became_of_the_job() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let dies = queue.enqueue(&task(Act::Discard)).await.unwrap();
    let hangs = queue.enqueue(&task(Act::Hang)).await.unwrap();
    let comes = queue
        .enqueue(&Square {
            number: 7,
            fails: 2,
        })
        .await
        .unwrap();
    assert_eq!(wait(&fixture, comes, 0).await, Awaited::Unfinished);
    let worker = start_with(queue, squares(), &fixture.log, 3, MINUTE);
    assert_eq!(wait(&fixture, comes, 20_000).await, Awaited::Done(49));
    let dead = Awaited::Dead {
        why: "discarded".to_owned(),
        error: "told to discard".to_owned(),
    };
    assert_eq!(wait(&fixture, dies, 20_000).await, dead);
    assert_eq!(wait(&fixture, hangs, 30).await, Awaited::Unfinished);
    queue.cancel("default", hangs).await.unwrap();
    assert_eq!(wait(&fixture, hangs, 20_000).await, Awaited::Cancelled);
    assert_eq!(wait(&fixture, JobId::new(), 30).await, Awaited::Absent);
    worker.stop().await;
    fixture.end().await;
}

/// Tries what is refused, then waits until it may end.
#[derive(Serialize, Deserialize)]
struct Careless;

impl Job for Careless {
    const NAME: &'static str = "careless";
    const MAX_ATTEMPTS: u16 = 1;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_progress_is_seen_while_the_job_runs() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let go = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&go);
    let registry = Registry::<Arc<Log>>::new().register::<Careless, _, _>(move |_, cx| {
        let go = Arc::clone(&gate);
        async move {
            for percent in 1..=42 {
                cx.set_progress(&percent)?;
            }
            while !go.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cx.set_progress(&vec!["nearly"])?;
            Ok(())
        }
    });
    let job = queue.enqueue(&Careless).await.unwrap();
    let none: Option<u8> = queue.progress("default", job).await.unwrap();
    assert_eq!(none, None);
    let worker = start_with(queue, registry, &fixture.log, 1, MINUTE);
    until("it is seen", async || {
        queue.progress::<u8>("default", job).await.unwrap() == Some(42)
    })
    .await;
    go.store(true, Ordering::SeqCst);
    until("the latest is seen", async || {
        let latest = queue.progress::<Vec<String>>("default", job).await;
        latest.is_ok_and(|latest| latest == Some(vec!["nearly".to_owned()]))
    })
    .await;
    assert_settled(queue, 0).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_seen_while_a_worker_drains_and_the_last_of_it_afterwards() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let drains = Arc::new(AtomicBool::new(false));
    let go = Arc::new(AtomicBool::new(false));
    let gates = [Arc::clone(&drains), Arc::clone(&go)];
    let registry = Registry::<Arc<Log>>::new().register::<Careless, _, _>(move |_, cx| {
        let gates = gates.clone();
        async move {
            cx.set_progress(&0)?;
            for (gate, percent) in gates.iter().zip([50, 100]) {
                while !gate.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                cx.set_progress(&percent)?;
            }
            Ok(())
        }
    });
    let job = queue.enqueue(&Careless).await.unwrap();
    let worker = start_with(queue, registry, &fixture.log, 1, MINUTE);
    let progress = || queue.progress::<u8>("default", job);
    until("it runs", async || progress().await.unwrap() == Some(0)).await;
    let shutdown = worker.shutdown.clone();
    let ended = tokio::spawn(worker.stop());
    shutdown.cancelled().await;
    drains.store(true, Ordering::SeqCst);
    until("it is seen", async || progress().await.unwrap() == Some(50)).await;
    go.store(true, Ordering::SeqCst);
    ended.await.unwrap();
    assert_eq!(progress().await.unwrap(), Some(100));
    fixture.end().await;
}

#[tokio::test]
async fn what_is_too_large_or_kept_for_no_time_is_refused() {
    let registry = Registry::<()>::new().register::<Careless, _, _>(|_, cx| async move {
        let long = |bytes: usize| "x".repeat(bytes - 1);
        type Cx = JobContext<()>;
        let results = [
            cx.set_result(&long(Cx::MAX_RESULT), MINUTE),
            cx.set_progress(&long(Cx::MAX_PROGRESS)),
        ];
        for (result, limit) in results.into_iter().zip([Cx::MAX_RESULT, Cx::MAX_PROGRESS]) {
            let Err(ReportError::TooLarge { size, limit: told }) = result else {
                panic!("{result:?}")
            };
            assert_eq!((size, told), (limit + 1, limit));
        }
        for ttl in [Duration::ZERO, Duration::MAX] {
            let result = cx.set_result(&7, ttl);
            assert!(matches!(result, Err(ReportError::Ttl(_))), "{result:?}");
        }
        let no_json = std::collections::HashMap::from([((), 1)]);
        let result = cx.set_result(&no_json, MINUTE);
        assert!(
            matches!(result, Err(ReportError::Serialize(_))),
            "{result:?}"
        );
        Ok(())
    });
    let outcome = queue::testing::perform(&registry, (), &Careless).await;
    assert_eq!(outcome, queue::testing::Outcome::Done);
}
