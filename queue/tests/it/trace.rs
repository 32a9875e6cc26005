//! The trace that a job belongs to.

use std::sync::{Arc, Mutex};

use queue::{Envelope, JobContext, JobError, Registry, Worker, WorkerSettings, trace};
use tokio_util::sync::CancellationToken;

use crate::harness::*;

/// The trace contexts of what each attempt would enqueue.
type Seen = Arc<Mutex<Vec<Option<String>>>>;

async fn see(task: Task, cx: JobContext<Seen>) -> Result<(), JobError> {
    let enqueued = Envelope::new(&task)?;
    cx.app.lock().unwrap().push(enqueued.traceparent);
    if cx.attempt == 1 {
        return Err(JobError::retry("once more"));
    }
    Ok(())
}

#[tokio::test]
async fn what_an_attempt_enqueues_is_in_the_trace_of_its_span() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let request = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let enqueued = async { queue.enqueue(&task(Act::Succeed)).await };
    trace::scope(request.to_owned(), enqueued).await.unwrap();
    queue.enqueue(&task(Act::Succeed)).await.unwrap();

    let seen = Seen::default();
    let settings = WorkerSettings {
        concurrency: 1,
        // As an exporter that does not export what has no trace.
        on_span: Some(|_, traceparent| Some(traceparent?.replace("b7ad", "cafe"))),
        ..WorkerSettings::default()
    };
    let registry = Registry::new().register::<Task, _, _>(see);
    let worker = Worker::new(queue.clone(), registry, Arc::clone(&seen), settings);
    let shutdown = CancellationToken::new();
    let worker = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));
    until("all are done", async || seen.lock().unwrap().len() == 4).await;
    assert_settled(queue, 0).await;
    shutdown.cancel();
    worker.await.unwrap().unwrap();

    let seen = seen.lock().unwrap().clone();
    let own = Some(request.replace("b7ad", "cafe"));
    let of_own = seen.iter().filter(|trace| **trace == own).count();
    let of_none = seen.iter().filter(|trace| trace.is_none()).count();
    assert_eq!((of_own, of_none), (2, 2), "of each attempt anew: {seen:?}");
    fixture.end().await;
}
