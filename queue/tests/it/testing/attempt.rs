//! One attempt, without Redis.

use std::{error::Error, sync::Arc, time::Duration};

use queue::{
    Envelope, Job, JobContext, JobError, JobId, Registry,
    testing::{Outcome, perform, perform_envelope},
    trace,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::harness::*;

fn retry(error: &str) -> Outcome {
    Outcome::Retry {
        after: Task::backoff(1),
        error: error.to_owned(),
    }
}

fn dead(why: &'static str, error: &str) -> Outcome {
    let error = error.to_owned();
    Outcome::Dead { why, error }
}

#[tokio::test]
async fn an_attempt_ends_as_it_does_in_a_worker() {
    let log = Arc::<Log>::default();
    for (act, end) in [
        (Act::Succeed, Outcome::Done),
        (Act::FailTimes(1), retry("told to fail")),
        (Act::Panic, retry("panicked: told to panic")),
        (Act::Discard, dead("discarded", "told to discard")),
    ] {
        let outcome = perform(&registry(), Arc::clone(&log), &task(act.clone())).await;
        assert_eq!(outcome, end, "{act:?}");
    }
    let hangs = Quick { act: Act::Hang };
    let outcome = perform(&registry(), Arc::clone(&log), &hangs).await;
    assert_eq!(outcome, dead("attempts", "timed out after 100 ms"));
    assert_eq!(log.done_count(), 1);
}

#[tokio::test]
async fn a_test_chooses_the_attempt_and_the_id() {
    let log = Arc::<Log>::default();
    let mut envelope = Envelope::new(&task(Act::FailTimes(2))).unwrap();
    let mut ends = Vec::new();
    for attempt in 1..=3 {
        envelope.attempt = attempt;
        ends.push(perform_envelope(&registry(), Arc::clone(&log), &envelope).await);
    }
    let failed = retry("told to fail");
    assert_eq!(ends, [failed.clone(), failed, Outcome::Done]);
    log.assert_each_done_once(&[envelope.id]);

    envelope = Envelope::new(&task(Act::FailTimes(9))).unwrap();
    envelope.attempt = Task::MAX_ATTEMPTS;
    let last = perform_envelope(&registry(), Arc::clone(&log), &envelope).await;
    assert_eq!(last, dead("attempts", "told to fail"));
}

/// Version 2 of a job; the first knew no limit.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fetch {
    page: u32,
    limit: u32,
}

impl Job for Fetch {
    const NAME: &'static str = "fetch";
    const VERSION: u16 = 2;
    const OLDEST_VERSION: u16 = 1;

    fn upcast(_: u16, mut payload: Value) -> Result<Value, Box<dyn Error + Send + Sync>> {
        payload["limit"] = 100.into();
        Ok(payload)
    }
}

/// What a handler has seen.
#[derive(Debug, PartialEq)]
struct Seen {
    job: Fetch,
    id: JobId,
    traceparent: Option<String>,
    enqueued_in: Option<String>,
}

type Sees = Arc<std::sync::Mutex<Vec<Seen>>>;

async fn see(job: Fetch, cx: JobContext<Sees>) -> Result<(), JobError> {
    let enqueued_in = Envelope::new(&job)?.traceparent;
    cx.app.lock().unwrap().push(Seen {
        job,
        id: cx.id,
        traceparent: cx.traceparent,
        enqueued_in,
    });
    Ok(())
}

#[tokio::test]
async fn an_older_payload_is_lifted_and_the_trace_goes_on() {
    let registry = Registry::new().register::<Fetch, _, _>(see);
    let job = Fetch { page: 7, limit: 1 };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let envelope = trace::scope(trace.clone(), async { Envelope::new(&job) }).await;
    let mut envelope = envelope.unwrap();
    envelope.version = 1;
    envelope.payload = br#"{"page":7}"#.to_vec();
    let seen = Sees::default();
    let outcome = perform_envelope(&registry, Arc::clone(&seen), &envelope).await;
    assert_eq!(outcome, Outcome::Done);
    let expected = Seen {
        job: Fetch {
            page: 7,
            limit: 100,
        },
        id: envelope.id,
        traceparent: Some(trace.clone()),
        enqueued_in: Some(trace),
    };
    assert_eq!(*seen.lock().unwrap(), [expected]);

    envelope.payload = br#"{"page":"x"}"#.to_vec();
    let outcome = perform_envelope(&registry, Arc::clone(&seen), &envelope).await;
    assert!(
        matches!(
            &outcome,
            Outcome::Dead {
                why: "discarded",
                ..
            }
        ),
        "{outcome}"
    );
    envelope.version = 3;
    let outcome = perform_envelope(&registry, seen, &envelope).await;
    assert_eq!(outcome, Outcome::Parked);
}

#[test]
fn an_outcome_prints_as_a_sentence() {
    let after = Duration::from_millis(1500);
    let error = "no".to_owned();
    let again = Outcome::Retry { after, error };
    assert_eq!(again.to_string(), "again after 1.5s (no)");
    assert_eq!(dead("discarded", "no").to_string(), "dead: discarded (no)");
}
