//! What an observer is told of attempts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use queue::{Attempt, Ended, Observer};

use crate::harness::*;

/// How often each kind ended how, and what has begun and not ended.
#[derive(Default)]
struct Seen {
    ended: Mutex<BTreeMap<(&'static str, &'static str), Vec<u16>>>,
    under_way: Mutex<i64>,
    panics: bool,
}

impl Observer for Seen {
    fn began(&self, _: Attempt<'_>) {
        *self.under_way.lock().unwrap() += 1;
        assert!(!self.panics, "the observer's own trouble");
    }

    fn ended(&self, attempt: Attempt<'_>, how: Ended, _: Duration) {
        assert_eq!(attempt.queue, "default");
        *self.under_way.lock().unwrap() -= 1;
        let mut ended = self.ended.lock().unwrap();
        let key = (attempt.kind, how.name());
        ended.entry(key).or_default().push(attempt.number);
    }
}

fn start_seen(fixture: &Fixture, seen: &Arc<Seen>) -> Running {
    let registry = registry().observe(Arc::clone(seen) as Arc<dyn Observer>);
    let (queue, log) = (&fixture.queue, &fixture.log);
    start_with(queue, registry, log, 4, Duration::from_millis(100))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_told_with_its_end() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let seen = Arc::<Seen>::default();
    let worker = start_seen(&fixture, &seen);
    for act in [Act::Succeed, Act::FailTimes(1), Act::FailTimes(9)] {
        queue.enqueue(&task(act)).await.unwrap();
    }
    queue.enqueue(&Quick { act: Act::Hang }).await.unwrap();
    assert_settled(queue, 2).await;
    let named = queue.enqueue(&Patient { act: Act::Hang }).await.unwrap();
    until("it runs", async || log.starts_of(named) == 1).await;
    queue.cancel("default", named).await.unwrap();
    until("it has ended", async || {
        *seen.under_way.lock().unwrap() == 0
    })
    .await;
    let held = queue.enqueue(&Patient { act: Act::Hang }).await.unwrap();
    until("it runs", async || log.starts_of(held) == 1).await;
    worker.stop().await;
    let mut ended = std::mem::take(&mut *seen.ended.lock().unwrap());
    ended.values_mut().for_each(|attempts| attempts.sort());
    let expected = [
        (("patient", "cancelled"), vec![1]),
        (("patient", "handed_back"), vec![1]),
        (("quick", "dead"), vec![1]),
        (("task", "dead"), vec![3]),
        (("task", "done"), vec![1, 2]),
        (("task", "retried"), vec![1, 1, 2]),
    ];
    assert_eq!(ended, expected.into());
    assert_eq!(*seen.under_way.lock().unwrap(), 0);
    fixture
        .end_leaving(queue::Counts {
            dead: 2,
            in_hand: 1,
            cancelled: 1,
            ..queue::Counts::default()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_that_panics_is_not_the_jobs_affair() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let seen = Arc::new(Seen {
        panics: true,
        ..Seen::default()
    });
    let worker = start_seen(&fixture, &seen);
    queue
        .enqueue_many(&vec![task(Act::Succeed); 9])
        .await
        .unwrap();
    until_done(log, 9).await;
    assert_settled(queue, 0).await;
    worker.stop().await;
    fixture.end().await;
}
