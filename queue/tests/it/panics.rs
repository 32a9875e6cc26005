//! Code of the application that panics outside of its handler.

use std::{fmt, sync::Arc, time::Duration};

use queue::{Job, JobContext, JobError, Registry, Worker, WorkerSettings};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::harness::*;

/// Where the panic comes from.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum From {
    Backoff,
    Display,
    Drop,
}

#[derive(Serialize, Deserialize)]
struct Clumsy {
    from: From,
}

impl Job for Clumsy {
    const NAME: &'static str = "clumsy";
    const MAX_ATTEMPTS: u16 = 2;
    const TIMEOUT: Duration = Duration::from_millis(50);

    fn backoff(attempt: u16) -> Duration {
        panic!("too long after attempt {attempt}")
    }
}

#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Unspeakable {}

struct Brittle;

impl Drop for Brittle {
    fn drop(&mut self) {
        panic!("broken");
    }
}

async fn run_clumsy(job: Clumsy, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    cx.app.starts.lock().unwrap().push((cx.id, cx.attempt));
    let soon = Duration::from_millis(1);
    match job.from {
        From::Backoff => Err(JobError::retry("told to fail")),
        From::Display => Err(JobError::retry_after(Unspeakable, soon)),
        From::Drop => {
            let _brittle = Brittle;
            std::future::pending().await
        }
    }
}

/// The worker goes on, each attempt counts, and the dead letter says this.
async fn dies(from: From, error: &str) {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let registry = registry().register::<Clumsy, _, _>(run_clumsy);
    let worker = start_with(queue, registry, log, 1, Duration::from_secs(5));
    let id = queue.enqueue(&Clumsy { from }).await.unwrap();
    until("it starts", async || log.starts_of(id) > 0).await;
    assert_settled(queue, 1).await;
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(
        (letters[0].why.as_str(), letters[0].error.as_str()),
        ("attempts", error)
    );
    let starts = log.starts.lock().unwrap().clone();
    assert_eq!(starts, [(id, 1), (id, 2)]);
    queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until_done(log, 1).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backoff_that_panics_is_the_default() {
    dies(From::Backoff, "told to fail").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_panics_is_a_failed_attempt() {
    dies(From::Display, "the error panicked: no words").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_when_it_is_dropped_is_a_failed_attempt() {
    dies(From::Drop, "timed out after 50 ms").await;
}

/// A context that cannot be handed to a handler.
struct Stubborn;

impl Clone for Stubborn {
    fn clone(&self) -> Self {
        panic!("there is only one")
    }
}

async fn never(_: Quick, _: JobContext<Stubborn>) -> Result<(), JobError> {
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_panics_is_a_failed_attempt() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let registry = Registry::new().register::<Quick, _, _>(never);
    let settings = WorkerSettings {
        concurrency: 1,
        ..WorkerSettings::default()
    };
    let shutdown = CancellationToken::new();
    let worker = Worker::new(queue.clone(), registry, Stubborn, settings);
    let worker = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));
    queue.enqueue(&Quick { act: Act::Succeed }).await.unwrap();
    assert_settled(queue, 1).await;
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(letters[0].error, "panicked: there is only one");
    shutdown.cancel();
    worker.await.unwrap().unwrap();
    fixture.end().await;
}
