//! All that waits, run to its end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use queue::{
    Counts, Job, JobContext, JobError, Queue, Registry,
    testing::{Delayed, Outcome, RunError, RunOptions, run_until_empty, run_until_empty_with},
};
use serde::{Deserialize, Serialize};

use crate::harness::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Enqueues what its text says, if anything, and is tried again as long as told.
#[derive(Serialize, Deserialize)]
struct Step {
    text: String,
    failures: u16,
    /// Whether it is tried again at once.
    hurries: bool,
    next: Option<String>,
}

impl Job for Step {
    const NAME: &'static str = "step";
    const QUEUE: &'static str = "steps";

    fn backoff(_: u16) -> Duration {
        HOUR + HOUR / 2
    }
}

fn step(text: &str) -> Step {
    Step {
        text: text.to_owned(),
        failures: 0,
        hurries: false,
        next: None,
    }
}

#[derive(Clone)]
struct App {
    queue: Queue,
    texts: Arc<Mutex<Vec<String>>>,
}

async fn take(job: Step, cx: JobContext<App>) -> Result<(), JobError> {
    let text = format!("{} {}", job.text, cx.attempt);
    cx.app.texts.lock().unwrap().push(text);
    if let Some(next) = job.next {
        cx.app.queue.enqueue_in(&step(&next), HOUR).await?;
    }
    if cx.attempt <= job.failures {
        let retry = JobError::retry("told to fail");
        let at_once = JobError::retry_after("told to fail", Duration::ZERO);
        return Err(if job.hurries { at_once } else { retry });
    }
    Ok(())
}

fn steps() -> Registry<App> {
    Registry::new().register::<Step, _, _>(take)
}

fn app(queue: &Queue) -> App {
    App {
        queue: queue.clone(),
        texts: Arc::default(),
    }
}

#[tokio::test]
async fn time_leaps_from_one_job_to_the_next_in_their_order() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let app = app(queue);
    queue.enqueue_in(&step("late"), HOUR * 2).await.unwrap();
    queue.enqueue_in(&step("early"), HOUR).await.unwrap();
    let fails = Step {
        failures: 1,
        ..step("fails")
    };
    let id = queue.enqueue(&fails).await.unwrap();
    let brings = Step {
        next: Some("brought".to_owned()),
        ..step("brings")
    };
    queue.enqueue_in(&brings, HOUR * 3).await.unwrap();
    let report = run_until_empty(queue, steps(), app.clone()).await.unwrap();
    report.assert_all_done();
    assert_eq!((report.done(), report.left), (5, Counts::default()));
    // The retry comes after an hour and a half.
    let texts = [
        "fails 1",
        "early 1",
        "fails 2",
        "late 1",
        "brings 1",
        "brought 1",
    ];
    assert_eq!(*app.texts.lock().unwrap(), texts);
    let again = Outcome::Retry {
        after: Step::backoff(1),
        error: "told to fail".to_owned(),
    };
    let ran = report.job(id).unwrap();
    assert_eq!((&ran.name[..], &ran.queue[..]), ("step", "steps"));
    assert_eq!(ran.attempts, [again, Outcome::Done]);
    // Nothing is left to do a second time.
    let report = run_until_empty(queue, steps(), app).await.unwrap();
    assert!(report.jobs.is_empty(), "{report}");
    fixture.end().await;
}

#[tokio::test]
async fn dead_letters_are_told_with_their_attempts() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let earlier = queue.enqueue(&task(Act::Discard)).await.unwrap();
    let report = run_until_empty(queue, registry(), Arc::clone(log))
        .await
        .unwrap();
    assert_eq!(report.left.dead, 1, "{earlier}");
    let fine = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    let fails = queue.enqueue(&task(Act::Panic)).await.unwrap();
    let report = run_until_empty(queue, registry(), Arc::clone(log))
        .await
        .unwrap();
    assert!(!report.all_done());
    assert_eq!(report.left.dead, 1, "the earlier one does not count");
    assert_eq!(report.done(), 1);
    assert_eq!(report.job(fine).unwrap().outcome(), &Outcome::Done);
    let attempts = &report.job(fails).unwrap().attempts;
    assert_eq!(attempts.len(), usize::from(Task::MAX_ATTEMPTS));
    let error = "panicked: told to panic".to_owned();
    let end = Outcome::Dead {
        why: "attempts",
        error,
    };
    assert_eq!(attempts.last(), Some(&end));
    let text = report.to_string();
    for part in [
        &format!("task {fails} in default\n  again after 30.0ms (panicked: told to panic)\n"),
        "  dead: attempts (panicked: told to panic)\n",
        "left: 0 ready, 0 in hand, 0 delayed, 0 parked, 0 blocked, 1 dead, 0 cancelled",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn what_is_not_due_stays_if_it_is_to() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let app = app(queue);
    queue.enqueue_in(&step("later"), HOUR).await.unwrap();
    let soon = Duration::from_millis(1);
    let fails = Step {
        failures: 1,
        ..step("fails")
    };
    queue.enqueue_in(&fails, soon).await.unwrap();
    tokio::time::sleep(soon * 5).await;
    let options = RunOptions {
        delayed: Delayed::Leave,
        ..RunOptions::default()
    };
    let report = run_until_empty_with(queue, steps(), app.clone(), options)
        .await
        .unwrap();
    assert_eq!(*app.texts.lock().unwrap(), ["fails 1"]);
    assert_eq!(report.left, delayed(2));
    assert!(!report.all_done());
    let report = run_until_empty(queue, steps(), app).await.unwrap();
    assert_eq!(report.done(), 2);
    fixture.end().await;
}

#[tokio::test]
async fn what_becomes_due_meanwhile_does_not_stay() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let hurries = Step {
        failures: 15,
        hurries: true,
        ..step("hurries")
    };
    queue.enqueue(&hurries).await.unwrap();
    let options = RunOptions {
        delayed: Delayed::Leave,
        ..RunOptions::default()
    };
    let report = run_until_empty_with(queue, steps(), app(queue), options).await;
    let report = report.unwrap();
    report.assert_all_done();
    assert_eq!(report.jobs[0].attempts.len(), 16);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_comes_and_goes_is_run_to_its_end() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let fails = |number: u16| task(Act::FailTimes(number % 3));
    let jobs: Vec<_> = (0..300).map(fails).collect();
    let ids = queue.enqueue_many(&jobs).await.unwrap();
    let options = RunOptions {
        concurrency: 8,
        ..RunOptions::default()
    };
    let log = Arc::clone(log);
    let report = run_until_empty_with(queue, registry(), log, options).await;
    let report = report.unwrap();
    report.assert_all_done();
    assert_eq!((report.done(), report.left), (300, Counts::default()));
    for (number, id) in ids.iter().enumerate() {
        let attempts = &report.job(*id).unwrap().attempts;
        assert_eq!(attempts.len(), number % 3 + 1);
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_run_ends_at_its_limit_and_says_what_it_has_done() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    queue.enqueue(&task(Act::Succeed)).await.unwrap();
    queue.enqueue(&task(Act::Hang)).await.unwrap();
    let options = RunOptions {
        limit: Duration::from_millis(500),
        concurrency: 2,
        ..RunOptions::default()
    };
    let ran = run_until_empty_with(queue, registry(), Arc::clone(log), options).await;
    let Err(RunError::TimedOut { report, .. }) = &ran else {
        panic!("{ran:?}");
    };
    assert_eq!((report.done(), report.left), (1, held(1)));
    let text = ran.as_ref().unwrap_err().to_string();
    assert!(text.starts_with("not done within 500ms\ntask "), "{text}");
    fixture.end_leaving(held(1)).await;
}

#[tokio::test]
async fn a_worker_that_cannot_run_is_an_error() {
    let fixture = Fixture::new().await;
    let none = RunOptions {
        concurrency: 0,
        ..RunOptions::default()
    };
    let ran = run_until_empty_with(&fixture.queue, registry(), Arc::default(), none).await;
    assert!(matches!(ran, Err(RunError::Worker(_))), "{ran:?}");
    fixture.end().await;
}

#[tokio::test]
async fn parked_jobs_run_where_they_are_known() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let jobs = [Act::Succeed, Act::Succeed].map(|act| Quick { act });
    queue.enqueue_many(&jobs).await.unwrap();
    let stranger = Registry::new().register::<Task, _, _>(run_task);
    let report = run_until_empty(queue, stranger, Arc::clone(log))
        .await
        .unwrap();
    assert_eq!((report.done(), report.left.parked), (0, 2));
    assert!(!report.all_done());
    let reason = "parked: no handler for quick of version 1\n";
    assert!(report.to_string().starts_with(reason), "{report}");
    let report = run_until_empty(queue, registry(), Arc::clone(log))
        .await
        .unwrap();
    report.assert_all_done();
    assert_eq!((report.done(), report.parked.len()), (2, 0));
    fixture.end().await;
}

#[tokio::test]
async fn a_job_that_cancels_itself_is_told_as_such() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let waits = Registry::new().register::<Step, _, _>(async |_, cx: JobContext<App>| {
        cx.app.queue.cancel("steps", cx.id).await?;
        cx.cancel.cancelled().await;
        Err(JobError::retry("cancelled"))
    });
    queue.enqueue(&step("waits")).await.unwrap();
    let report = run_until_empty(queue, waits, app(queue)).await.unwrap();
    assert_eq!(report.jobs[0].attempts, [Outcome::Cancelled]);
    assert_eq!((report.all_done(), report.left.cancelled), (false, 1));
    fixture.end().await;
}
