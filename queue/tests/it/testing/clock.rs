//! Time that is moved.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use queue::{
    Job, JobContext, JobError, Registry, Schedule,
    testing::{
        Delayed, Outcome, RunOptions, enqueued, fired, perform_envelope, pull_forward,
        run_until_empty_with,
    },
};
use serde::{Deserialize, Serialize};

use crate::harness::*;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn delayed_jobs_come_closer_by_as_much_as_asked() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let soon = queue.enqueue_in(&task(Act::Succeed), HOUR).await.unwrap();
    queue
        .enqueue_in(&task(Act::Succeed), HOUR * 3)
        .await
        .unwrap();
    let before = enqueued::<Task>(queue).await;
    assert_eq!(pull_forward(queue, "default", HOUR).await.unwrap(), 2);
    let after = enqueued::<Task>(queue).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.run_at.unwrap() - HOUR, after.run_at.unwrap());
    }
    let options = RunOptions {
        delayed: Delayed::Leave,
        ..RunOptions::default()
    };
    let report = run_until_empty_with(queue, registry(), Arc::clone(log), options).await;
    let report = report.unwrap();
    assert_eq!((report.done(), report.left.delayed), (1, 1));
    log.assert_each_done_once(&[soon]);
    assert_eq!(pull_forward(queue, "other", HOUR).await.unwrap(), 0);
    fixture.end_leaving(delayed(1)).await;
}

/// A job of the schedules below.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    hours: u64,
}

impl Job for Report {
    const NAME: &'static str = "report";
}

fn report(slot: SystemTime) -> Report {
    let since = slot.duration_since(UNIX_EPOCH).unwrap();
    Report {
        hours: since.as_secs() / 3600,
    }
}

async fn only_by_day(job: Report, _: JobContext<()>) -> Result<(), JobError> {
    if job.hours % 24 < 6 {
        return Err(JobError::discard("by night"));
    }
    Ok(())
}

#[tokio::test]
async fn the_slots_between_two_times_are_known_without_waiting() {
    let registry = Registry::new()
        .register::<Report, _, _>(only_by_day)
        .schedule(Schedule::cron("daily", "0 6 * * *"), report)
        .schedule(Schedule::every("often", HOUR * 4), report);
    let day = |hours: u32| UNIX_EPOCH + HOUR * 24 * 20_000 + HOUR * hours;
    // The first time is one of them, the last is not.
    let all = fired(&registry, day(0)..day(12));
    let slots: Vec<_> = all.iter().map(|one| (&one.schedule[..], one.at)).collect();
    let expected = [
        ("often", day(0)),
        ("often", day(4)),
        ("daily", day(6)),
        ("often", day(8)),
    ];
    assert_eq!(slots, expected);
    let mut ends = Vec::new();
    for one in &all {
        ends.push(perform_envelope(&registry, (), &one.job).await == Outcome::Done);
    }
    assert_eq!(ends, [false, false, true, true]);
    assert!(fired(&registry, day(9)..day(12)).is_empty());
    assert!(fired(&registry, day(12)..day(12)).is_empty());
}

#[tokio::test]
async fn a_run_leaves_schedules_alone() {
    let fixture = Fixture::new().await;
    let every = Schedule::every("often", Duration::from_secs(1));
    let registry = registry().schedule(every, |_| task(Act::Succeed));
    let second = RunOptions {
        limit: Duration::from_secs(20),
        ..RunOptions::default()
    };
    let wait = Duration::from_millis(1100).as_millis();
    let wait = u64::try_from(wait).unwrap();
    fixture
        .queue
        .enqueue(&task(Act::Sleep(wait)))
        .await
        .unwrap();
    let log = Arc::clone(&fixture.log);
    let ran = run_until_empty_with(&fixture.queue, registry, log, second).await;
    assert_eq!(ran.unwrap().jobs.len(), 1);
    fixture.end().await;
}
